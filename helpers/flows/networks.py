"""The networks that steer a flow: a perceptron with all weights in one vector, and its masked, autoregressive kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS = ("relu", "tanh")


class Perceptron(nn.Module):
    """h_l = a(W_l h_{l-1} + b_l), the last layer linear; x: (batch, sizes[0]) -> (batch, sizes[-1]).

    All weights live in the one vector `theta`, layer after layer, W before b: an optimiser then walks over one tensor
    instead of six.  `first` and `last` scale the initial weights of those layers: a large first makes sharp features, a
    last of 0 the zero function.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        first: float = 1.0,
        last: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"a perceptron needs at least two sizes, all positive; got {tuple(sizes)}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is unknown: choose one of {', '.join(ACTIVATIONS)}")
        self.sizes, self.activation = tuple(int(size) for size in sizes), activation
        self.counts = [n for a, b in zip(self.sizes, self.sizes[1:], strict=False) for n in (a * b, b)]
        width = [a**-0.5 for a in self.sizes[:-1] for _ in range(2)]
        width[:2] = [first * w for w in width[:2]]
        width[-2:] = [last * w for w in width[-2:]]
        parts = [
            w * (2 * torch.rand(n, generator=generator, dtype=dtype) - 1)
            for n, w in zip(self.counts, width, strict=True)
        ]
        self.theta = nn.Parameter(torch.cat(parts))

    def layers(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Views of the vector `theta` as weights and biases, one pair (out, in), (out,) per layer."""
        parts = theta.split(self.counts)
        return [(w.view(len(b), -1), b) for w, b in zip(parts[::2], parts[1::2], strict=True)]

    def hidden(self, x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """What enters each of the `layers`: [x, h_1, h_2, ...], each (batch, sizes[l])."""
        states = [x]
        for w, b in layers[:-1]:
            h = torch.addmm(b, states[-1], w.t())
            states.append(h.relu_() if self.activation == "relu" else h.tanh_())
        return states

    def forward(self, x: Tensor) -> Tensor:
        """The network's output (batch, sizes[-1]) for x (batch, sizes[0]) of the weights' dtype."""
        if x.ndim != 2 or x.shape[1] != self.sizes[0]:
            raise ValueError(f"this perceptron takes inputs of shape (batch, {self.sizes[0]}), got {tuple(x.shape)}")
        layers = self.layers(self.theta)
        w, b = layers[-1]
        return torch.addmm(b, self.hidden(x, layers)[-1], w.t())

    def back(
        self, gradient: Tensor, states: list[Tensor], layers: list[tuple[Tensor, Tensor]], to_input: bool
    ) -> tuple:
        """Back propagation (note Eqs. 13-16) of dL/d(output) (batch, sizes[-1]): dL/dx or None, and dL/dtheta."""
        whole = gradient.new_empty(sum(self.counts))
        slots = self.layers(whole)
        for k in range(len(layers) - 1, -1, -1):
            torch.mm(gradient.t(), states[k], out=slots[k][0])
            torch.sum(gradient, 0, out=slots[k][1])
            if k == 0 and not to_input:
                return None, whole
            gradient = gradient @ layers[k][0]
            if k:
                gradient = self._through_activation(gradient, states[k])
        return gradient, whole

    def _through_activation(self, gradient: Tensor, h: Tensor) -> Tensor:
        if self.activation == "tanh":
            return gradient.mul_(1 - h * h)
        return torch.ops.aten.threshold_backward.grad_input(gradient, h, 0, grad_input=gradient)  # in place: no copy

    def to_plain(self) -> dict[str, Any]:
        """Sizes, activation, weights, and whether they are to be trained, as plain values."""
        theta = self.theta
        state = {"theta": theta.detach(), "train": theta.requires_grad}
        return {"sizes": list(self.sizes), "activation": self.activation, **state}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Perceptron:
        """The perceptron that `to_plain` described; ValueError if the tree is no such description."""
        sizes, activation, theta, train = fields(plain, sizes=list, activation=str, theta=Tensor, train=bool)
        if not all(type(size) is int and 0 < size <= 4096 for size in sizes) or len(sizes) > 9:
            raise ValueError("a plain perceptron has at most nine sizes from 1 to 4096")
        net = cls(sizes, activation=activation, dtype=theta.dtype)
        net.theta = weight(theta, net.theta.shape, train)
        return net


def fields(plain: Any, **kinds: type) -> list[Any]:
    """The named entries of the dict `plain`, each of its kind; ValueError names the first that is missing or wrong."""
    if not isinstance(plain, dict) or set(plain) != set(kinds):
        raise ValueError(f"expected a dict with the entries {', '.join(kinds)}")
    for name, kind in kinds.items():
        if not isinstance(plain[name], kind):
            raise ValueError(f"{name} should be a {kind.__name__}, got a {type(plain[name]).__name__}")
    return [plain[name] for name in kinds]


def weight(values: Tensor, shape: Sequence[int], train: bool) -> nn.Parameter:
    """`values` as a parameter of that shape; ValueError for another shape or whole numbers."""
    if not isinstance(values, Tensor) or values.shape != tuple(shape) or not values.is_floating_point():
        raise ValueError(f"weights of shape {tuple(shape)} and a floating dtype are needed")
    return nn.Parameter(values.clone(), requires_grad=train)


def ar_masks(dim: int, hidden: int) -> tuple[Tensor, Tensor]:
    """Masks, bool (hidden, dim) and (dim, hidden), that let output i see the inputs before i only (Eq. 36).

    Hidden unit k is given a degree m_k in 0..dim-2, all degrees in turn: it may read x_j with j <= m_k and may speak to
    output i with i > m_k (Germain et al., arXiv:1502.03509).  dim = 1 leaves nothing to see, so both masks are False.
    """
    if dim < 1 or hidden < 1:
        raise ValueError(f"masks need at least one input and one hidden unit, got dim {dim} and hidden {hidden}")
    order = torch.arange(dim)
    degree = torch.arange(hidden) % (dim - 1) if dim > 1 else torch.full((hidden,), -1)
    return order[None, :] <= degree[:, None], (order[:, None] > degree[None, :]) & (degree >= 0)[None, :]


class MaskedPerceptron(nn.Module):
    """A network whose outputs (mean_i, log_sigma_i) depend on x_{<i} alone (Eq. 36).

    x (batch, dim) -> two of (batch, dim); masked weights W * M, `depth` hidden tanh layers.  MADE, arXiv:1502.03509.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        depth: int = 1,
        *,
        last: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"a masked perceptron needs at least one hidden layer, got depth {depth}")
        enter, leave = ar_masks(dim, hidden)
        degree = enter.sum(1)  # one more than m_k
        masks = [enter, *[degree[:, None] >= degree[None, :]] * (depth - 1), leave.repeat(2, 1)]
        width = [mask.shape[1] ** -0.5 for mask in masks]
        width[-1] *= last
        weights = [_uniform(mask.shape, w, generator, dtype) for mask, w in zip(masks, width, strict=True)]
        biases = [_uniform(mask.shape[:1], w, generator, dtype) for mask, w in zip(masks, width, strict=True)]
        self._fill(masks, weights, biases, True)

    def _fill(self, masks: list[Tensor], weights: list[Tensor], biases: list[Tensor], train: bool) -> None:
        self.dim, self.hidden = masks[0].shape[1], masks[0].shape[0]
        self.weights = nn.ParameterList([weight(w, m.shape, train) for w, m in zip(weights, masks, strict=True)])
        self.biases = nn.ParameterList([weight(b, m.shape[:1], train) for b, m in zip(biases, masks, strict=True)])
        for k, mask in enumerate(masks):
            self.register_buffer(f"mask{k}", mask)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of each x_i given the x before it, both (batch, dim)."""
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"this network takes inputs of shape (batch, {self.dim}), got {tuple(x.shape)}")
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.addmm(bias, x.tanh() if k else x, (weight * getattr(self, f"mask{k}")).t())
        mean, raw = x.chunk(2, dim=1)
        return mean, 4 * torch.tanh(raw / 4)  # sigma within e^{+-4}: no overflow while training

    def to_plain(self) -> dict[str, Any]:
        """Masks and weights, and whether these are to be trained, as plain values."""
        masks = [getattr(self, f"mask{k}") for k in range(len(self.weights))]
        weights, biases = ([p.detach() for p in group] for group in (self.weights, self.biases))
        return {"masks": masks, "weights": weights, "biases": biases, "train": self.weights[0].requires_grad}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> MaskedPerceptron:
        """The network that `to_plain` described; ValueError if the tree is no such description."""
        masks, weights, biases, train = fields(plain, masks=list, weights=list, biases=list, train=bool)
        if not (2 <= len(masks) == len(weights) == len(biases) <= 9):
            raise ValueError("a plain masked perceptron has a mask, weights and biases for each of two to nine layers")
        if not all(isinstance(mask, Tensor) and mask.ndim == 2 and mask.dtype == torch.bool for mask in masks):
            raise ValueError("masks are boolean matrices")
        chain = [masks[0].shape[1], *(mask.shape[0] for mask in masks)]
        if chain[1:-1] != [mask.shape[1] for mask in masks[1:]] or chain[-1] != 2 * chain[0]:
            raise ValueError("the shapes of the masks do not fit one another")
        net = cls.__new__(cls)
        nn.Module.__init__(net)
        net._fill(masks, weights, biases, train)
        return net


def _uniform(shape: Sequence[int], width: float, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    return width * (2 * torch.rand(*shape, generator=generator, dtype=dtype) - 1)
