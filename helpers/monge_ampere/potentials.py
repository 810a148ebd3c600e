"""Scalar potentials phi(x, t) with exact gradient and Laplacian: one hidden layer, deep, quadratic."""

from __future__ import annotations

import itertools
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

ACTIVATIONS = ("softplus", "lncosh")


class Potential(Protocol):
    """Anything with `gradient_laplacian(x, t)` -> grad phi (batch, d), lap phi (batch,)."""

    def gradient_laplacian(self, x: Tensor, t: float = 0.0) -> tuple[Tensor, Tensor]: ...


class Layer(NamedTuple):
    """phi(x, t) = sum_j a_j f(W_j x + b_j + c_j t): W (hidden, d); b, c, a (hidden,); f = softplus or ln cosh."""

    W: Tensor
    b: Tensor
    c: Tensor
    a: Tensor
    activation: str


def slope(u: Tensor, activation: str) -> Tensor:
    """f'(u): the logistic function of softplus, tanh of ln cosh; elementwise."""
    return torch.sigmoid(u) if activation == "softplus" else torch.tanh(u)


def curvature(s: Tensor, activation: str) -> Tensor:
    """f''(u) as a polynomial in s = f'(u): s (1 - s) for softplus, 1 - s^2 for ln cosh; elementwise."""
    return s - s * s if activation == "softplus" else 1 - s * s


def value_of(u: Tensor, activation: str) -> Tensor:
    """f(u) without overflow: softplus(u), or ln cosh(u) = |u| + softplus(-2|u|) - ln 2; elementwise."""
    if activation == "softplus":
        return nn.functional.softplus(u)
    return u.abs() + nn.functional.softplus(-2 * u.abs()) - 0.6931471805599453


def potential_grad_laplacian(x: Tensor, W: Tensor, b: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """grad phi = W^T (a sigma(u)), lap phi = sum_j a_j |W_j|^2 sigma'(u_j), phi = sum_j a_j softplus(u_j), u = Wx + b.

    x (batch, d), W (hidden, d), b and a (hidden,) -> (batch, d), (batch,). arXiv:1809.10188.
    """
    if x.ndim != 2 or W.ndim != 2 or x.shape[1] != W.shape[1]:
        raise ValueError(f"x (batch, d) and W (hidden, d) must share d; got {tuple(x.shape)} and {tuple(W.shape)}")
    if b.shape != W.shape[:1] or a.shape != W.shape[:1]:
        raise ValueError(f"b and a need shape ({W.shape[0]},); got {tuple(b.shape)} and {tuple(a.shape)}")
    return _layer_gradient(Layer(W, b, torch.zeros_like(b), a, "softplus"), x, 0.0)


def _layer_gradient(layer: Layer, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
    W, b, c, a, activation = layer
    s = slope(x @ W.T + (b + c * t), activation)  # (batch, hidden)
    return (s * a) @ W, curvature(s, activation) @ (a * (W * W).sum(1))


class OneHidden(nn.Module):
    """phi(x, t) = sum_j a_j f(W_j x + b_j + c_j t); with f = ln cosh and no bias phi is even.

    dim, hidden: sizes; activation: softplus or lncosh; bias, time: whether b and c are learned (zero otherwise);
    scale: width of the initial a; dtype float64 by default. Closed forms of arXiv:1809.10188.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        *,
        activation: str = "softplus",
        bias: bool = True,
        time: bool = False,
        scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        _check_sizes(activation, dim=dim, hidden=hidden)
        self.activation = activation
        self.W = nn.Parameter(torch.randn(hidden, dim, generator=generator, dtype=dtype) / dim**0.5)
        self.a = nn.Parameter(scale * torch.randn(hidden, generator=generator, dtype=dtype) / hidden**0.5)
        spread = torch.randn(hidden, generator=generator, dtype=dtype)
        self.b = nn.Parameter(spread) if bias else None
        self.c = nn.Parameter(torch.zeros(hidden, dtype=dtype)) if time else None

    def layer(self) -> Layer:
        """The weights that the closed forms and the fused integrator need."""
        none = torch.zeros_like(self.a)
        b, c = (none if p is None else p for p in (self.b, self.c))
        return Layer(self.W, b, c, self.a, self.activation)

    def value(self, x: Tensor, t: float = 0.0) -> Tensor:
        """phi: (batch, d) -> (batch,)."""
        W, b, c, a, activation = self.layer()
        return value_of(x @ W.T + (b + c * t), activation) @ a

    def gradient_laplacian(self, x: Tensor, t: float = 0.0) -> tuple[Tensor, Tensor]:
        """grad phi (batch, d) and lap phi (batch,) in closed form."""
        return _layer_gradient(self.layer(), x, t)

    def to_plain(self) -> dict[str, object]:
        """The weights, with symmetry written out, as plain tensors."""
        return {key: p.detach() if isinstance(p, Tensor) else p for key, p in self.layer()._asdict().items()}

    @staticmethod
    def from_plain(tree: dict[str, object]) -> OneHidden:
        """Rebuild a potential without gradients from `to_plain`; ValueError unless every field has its shape."""
        W, b, c, a = _plain_tensors(tree, "W", "b", "c", "a")
        if W.ndim != 2 or not b.shape == c.shape == a.shape == W.shape[:1]:
            raise ValueError("a plain potential holds W (hidden, d) and b, c, a (hidden,)")
        made = OneHidden(W.shape[1], W.shape[0], activation=tree.get("activation"), time=True, dtype=W.dtype)
        for parameter, value in zip((made.W, made.b, made.c, made.a), (W, b, c, a), strict=True):
            parameter.data = value
        return made.requires_grad_(False)


class Convolutional(OneHidden):
    """phi = sum over filters f and symmetries g of (N / 2 |G|) a_f [f(w_f . g x + b_f) + f(-w_f . g x + b_f)].

    One hidden layer of tied weights, invariant by construction: over translations it is a convolution. group:
    (elements, sites) permutations from `lattice_group`; filters: orbits of hidden units; flip: the second term,
    x -> -x (ln cosh without bias has it anyway). b_f + c_f t when time is set.
    """

    def __init__(
        self,
        group: Tensor,
        filters: int,
        *,
        activation: str = "softplus",
        bias: bool = True,
        time: bool = False,
        flip: bool = True,
        scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(
            group.shape[1],
            filters,
            activation=activation,
            bias=bias,
            time=time,
            scale=scale,
            generator=generator,
            dtype=dtype,
        )
        self.register_buffer("group", group)
        self.flip = flip

    def layer(self) -> Layer:
        """The tied weights written out: (filters * elements, sites), twice that with the flip."""
        W, b, c, a, activation = super().layer()
        elements = len(self.group)
        tied = W[:, self.group].reshape(-1, W.shape[1])  # rows w_f o g
        b, c, a = (p.repeat_interleave(elements) for p in (b, c, a * W.shape[1] / elements))
        if self.flip:
            tied, b, c, a = torch.cat([tied, -tied]), b.repeat(2), c.repeat(2), a.repeat(2) / 2
        return Layer(tied, b, c, a, activation)


class Deep(nn.Module):
    """phi(x, t) = w . f(W_2 f(W_1 (x, t) + b_1) + ...): value, gradient and Laplacian pushed forward layer by layer.

    sizes: (dim, hidden, ..., hidden). Through y = W x: J -> W J, l -> W l; through f: l -> f' l + f'' sum_i J_i^2,
    J -> f' J, so no second backward pass is taken. The cost is that of dim evaluations.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        *,
        activation: str = "softplus",
        time: bool = False,
        scale: float = 0.1,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        _check_sizes(activation, **{f"sizes[{i}]": n for i, n in enumerate(sizes)})
        self.activation, self.time = activation, time
        widths = (sizes[0] + time, *sizes[1:])
        self.W = nn.ParameterList(
            torch.randn(m, n, generator=generator, dtype=dtype) / n**0.5 for n, m in itertools.pairwise(widths)
        )
        self.b = nn.ParameterList(torch.randn(m, generator=generator, dtype=dtype) for m in widths[1:])
        self.w = nn.Parameter(scale * torch.randn(widths[-1], generator=generator, dtype=dtype) / widths[-1] ** 0.5)

    def value(self, x: Tensor, t: float = 0.0) -> Tensor:
        """phi: (batch, d) -> (batch,)."""
        h = self._with_time(x, t)
        for W, b in zip(self.W, self.b, strict=True):
            h = value_of(h @ W.T + b, self.activation)
        return h @ self.w

    def gradient_laplacian(self, x: Tensor, t: float = 0.0) -> tuple[Tensor, Tensor]:
        """grad phi (batch, d) and lap phi (batch,), exact, in one forward sweep."""
        h = self._with_time(x, t)
        J = torch.eye(h.shape[1], dtype=x.dtype, device=x.device)[: x.shape[1]].expand(len(x), -1, -1)
        lap = torch.zeros_like(h)
        for W, b in zip(self.W, self.b, strict=True):
            u, J, lap = h @ W.T + b, J @ W.T, lap @ W.T  # J: (batch, d, width)
            s = slope(u, self.activation)
            lap = s * lap + curvature(s, self.activation) * (J * J).sum(1)
            h, J = value_of(u, self.activation), s[:, None] * J
        return J @ self.w, lap @ self.w

    def _with_time(self, x: Tensor, t: float) -> Tensor:
        return torch.cat([x, torch.full_like(x[:, :1], t)], 1) if self.time else x


class Quadratic(nn.Module):
    """phi(x, t) = x^T (A + t B) x / 2 with symmetric A, B (d, d): the flow is linear, all is known exactly."""

    def __init__(self, A: Tensor, B: Tensor | None = None):
        super().__init__()
        B = torch.zeros_like(A) if B is None else B
        if A.ndim != 2 or A.shape[0] != A.shape[1] or A.shape != B.shape:
            raise ValueError(f"A and B must be square and alike; got {tuple(A.shape)} and {tuple(B.shape)}")
        self.A, self.B = nn.Parameter((A + A.T) / 2), nn.Parameter((B + B.T) / 2)

    def value(self, x: Tensor, t: float = 0.0) -> Tensor:
        """phi: (batch, d) -> (batch,)."""
        return 0.5 * (x * self.gradient_laplacian(x, t)[0]).sum(1)

    def gradient_laplacian(self, x: Tensor, t: float = 0.0) -> tuple[Tensor, Tensor]:
        """(A + t B) x and its trace, repeated over the batch."""
        matrix = self.A + t * self.B
        return x @ matrix, torch.trace(matrix).expand(len(x))

    def to_plain(self) -> dict[str, Tensor]:
        """A and B as plain tensors."""
        return {"A": self.A.detach(), "B": self.B.detach()}

    @staticmethod
    def from_plain(tree: dict[str, Tensor]) -> Quadratic:
        """Rebuild the potential without gradients from `to_plain`; ValueError unless A and B are square and alike."""
        return Quadratic(*_plain_tensors(tree, "A", "B")).requires_grad_(False)


class Spectral(nn.Module):
    """phi(x) = x^T f(A) x / 2 with f learned freely on the spectrum of a symmetric A (d, d); f = 0 at first.

    The flow is linear, exp(t f(A)), and has every symmetry of A: with A = `adjacency(L)`, those of the lattice.
    """

    def __init__(self, A: Tensor, dtype: torch.dtype = torch.float64):
        super().__init__()
        if A.ndim != 2 or not torch.equal(A, A.T):
            raise ValueError(f"A must be a symmetric matrix; got {tuple(A.shape)}")
        levels, modes = torch.linalg.eigh(A)
        level = (levels.diff(prepend=levels[:1]) > 1e-9 * levels.abs().max()).cumsum(0)  # equal ones share f
        self.f = nn.Parameter(torch.zeros(int(level[-1]) + 1, dtype=dtype))
        self.register_buffer("level", level)
        self.register_buffer("modes", modes.to(dtype))

    def value(self, x: Tensor, t: float = 0.0) -> Tensor:
        """phi: (batch, d) -> (batch,)."""
        return 0.5 * (x * self.gradient_laplacian(x, t)[0]).sum(1)

    def gradient_laplacian(self, x: Tensor, t: float = 0.0) -> tuple[Tensor, Tensor]:
        """f(A) x and the trace of f(A), repeated over the batch."""
        f = self.f[self.level]
        return (x @ self.modes * f) @ self.modes.T, f.sum().expand(len(x))


def _plain_tensors(tree: dict[str, Tensor], *names: str) -> list[Tensor]:
    fields = [tree.get(name) for name in names] if isinstance(tree, dict) else [None]
    if not all(isinstance(p, Tensor) and p.is_floating_point() for p in fields):
        raise ValueError(f"a plain potential is a dict with the float tensors {', '.join(names)}")
    return fields


def _check_sizes(activation: str, **sizes: int) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {ACTIVATIONS}; got {activation!r}")
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1; got {size}")
