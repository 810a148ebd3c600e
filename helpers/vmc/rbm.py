"""The complex RBM wavefunction, its derivatives, and its symmetric forms."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from helpers.spins import checked_spins


class RBM(NamedTuple):
    """log psi(x) = sum_i a_i x_i + sum_j log 2cosh(b_j + sum_i W_ji x_i).

    visible a (sites,), hidden b (units,), weights W (units, sites), complex128. The same triple holds the gradient.
    """

    visible: Tensor
    hidden: Tensor
    weights: Tensor

    @property
    def count(self) -> int:
        """Number of complex parameters."""
        return sum(tensor.numel() for tensor in self)


def random_rbm(sites: int, units: int, generator: torch.Generator, *, scale: float = 0.05) -> RBM:
    """Gaussian complex parameters of standard deviation `scale`, units = alpha * sites, on the generator's device."""
    if sites < 1 or units < 1 or not scale >= 0:
        raise ValueError(f"need at least one site, one unit and scale >= 0, got {sites}, {units}, {scale}")
    shapes = ((sites,), (units,), (units, sites))
    options = {"dtype": torch.complex128, "device": generator.device, "generator": generator}
    return RBM(*(scale * torch.randn(shape, **options) for shape in shapes))


def flatten(rbm: RBM) -> Tensor:
    """All parameters in one vector (parameters,): visible, hidden, then the weights row by row."""
    return torch.cat([tensor.reshape(-1) for tensor in rbm])


def unflatten(vector: Tensor, like: RBM) -> RBM:
    """The inverse of flatten, with the shapes of `like`."""
    if vector.numel() != like.count:
        raise ValueError(f"this RBM has {like.count} parameters, got {vector.numel()}")
    parts = torch.split(vector, [tensor.numel() for tensor in like])
    return RBM(*(part.reshape(tensor.shape) for part, tensor in zip(parts, like, strict=True)))


def log_2cosh(theta: Tensor) -> Tensor:
    """log(2 cosh theta) for complex theta, = z + log(1 + exp(-2z)) with z = +-theta so that Re z >= 0."""
    z = torch.where(theta.real < 0, -theta, theta)
    return z + torch.log(1 + torch.exp(-2 * z))  # torch's complex log1p is nan for denormal arguments


def _checked(spins: Tensor, rbm: RBM) -> Tensor:
    spins = checked_spins(spins)
    sites, units = rbm[0].shape[-1], rbm[1].shape[-1]
    if spins.shape[1] != sites or tuple(rbm[2].shape) != (units, sites):
        shapes = [tuple(tensor.shape) for tensor in rbm]
        raise ValueError(f"RBM of shapes {shapes} does not fit spins of shape {tuple(spins.shape)}")
    return spins.to(rbm[2].dtype)


def log_psi(spins: Tensor, rbm: RBM) -> Tensor:
    """log psi(x) of the RBM for spins (batch, sites) of +-1: (batch,) complex, imaginary part modulo 2 pi."""
    visible, hidden, weights = rbm
    x = _checked(spins, rbm)
    return x @ visible + log_2cosh(hidden + x @ weights.T).sum(dim=1)


def log_derivatives(spins: Tensor, rbm: RBM) -> Tensor:
    """O_k(x) = d log psi(x) / d theta_k in the order of flatten: (x_i, tanh theta_j, tanh theta_j x_i).

    spins (batch, sites) gives (batch, parameters) complex.
    """
    x = _checked(spins, rbm)
    t = torch.tanh(rbm[1] + x @ rbm[2].T)
    return torch.cat([x, t, (t[:, :, None] * x[:, None, :]).flatten(1)], dim=1)


class Ansatz(NamedTuple):
    """psi(x) = sum_p chi_p exp(a.px) prod_g prod_f 2cosh(b_f + w_f.gpx): an RBM with two kinds of symmetry, or none.

    shared (elements, sites): permutations g under which filters are shared, which makes the product invariant.
    projection (images, sites) and characters (images,): permutations p summed over, which selects a symmetry sector.
    With either of them the visible layer is frozen: it only carries a sign rule.
    """

    rbm: RBM
    shared: Tensor | None = None
    projection: Tensor | None = None
    characters: Tensor | None = None


def symmetric(
    rbm: RBM,
    shared: Tensor | None = None,
    projection: Tensor | None = None,
    characters: Tensor | None = None,
    sublattice: Tensor | None = None,
) -> Ansatz:
    """The RBM with filters shared under one set of permutations and summed over another; characters default to one.

    The visible layer becomes the Marshall sign of the sublattice, i pi/2 on its sites, or zero without one.
    """
    device, sites = rbm.weights.device, rbm.weights.shape[1]
    for group in (shared, projection):
        if group is not None and (group.ndim != 2 or group.shape[1] != sites):
            raise ValueError(f"permutations must be (elements, {sites}), got {tuple(group.shape)}")
    if projection is not None and characters is None:
        characters = torch.ones(len(projection))
    if characters is not None and (projection is None or characters.shape != projection.shape[:1]):
        raise ValueError(f"characters need a projection of their length, got {tuple(characters.shape)}")
    visible = torch.zeros_like(rbm.visible)
    if sublattice is not None:
        visible = 0.5j * math.pi * sublattice.to(device, visible.dtype)
    shared, projection = (g if g is None else g.to(device) for g in (shared, projection))
    characters = None if characters is None else characters.to(device, rbm.weights.dtype)
    return Ansatz(rbm._replace(visible=visible), shared, projection, characters)


def _permuted(rows: Tensor, group: Tensor) -> Tensor:
    """w_g with w_g[g(i)] = w[i], so that w_g.x = w.gx: (units, sites) to (elements, units, sites)."""
    images = torch.zeros(len(group), *rows.shape, dtype=rows.dtype, device=rows.device)
    return images.scatter_(2, group[:, None, :].expand_as(images), rows.expand_as(images))


def unfold(ansatz: Ansatz) -> tuple[Tensor, Tensor]:
    """All cosh factors: hidden (images, units) and weights (images, units + 1, sites), the visible layer last."""
    (visible, hidden, weights), shared, projection, _ = ansatz
    if shared is not None:
        weights, hidden = _permuted(weights, shared).flatten(0, 1), hidden.repeat(len(shared))
    rows = torch.cat([weights, visible[None]])
    if projection is None:
        return hidden[None], rows[None]
    return hidden.expand(len(projection), -1), _permuted(rows, projection)


def image_logs(spins: Tensor, ansatz: Ansatz) -> Tensor:
    """log of every term of the projection, character included: (batch, images) complex."""
    hidden, weights = unfold(ansatz)
    theta = torch.einsum("bi,gui->bgu", _checked(spins, ansatz.rbm), weights)
    logs = theta[..., -1] + log_2cosh(theta[..., :-1] + hidden).sum(dim=2)
    return logs if ansatz.characters is None else logs + torch.log(ansatz.characters)


def log_amplitude(spins: Tensor, ansatz: Ansatz | RBM) -> Tensor:
    """log psi(x) of a plain or symmetric RBM, (batch, sites) of +-1 to (batch,) complex."""
    if isinstance(ansatz, RBM):
        return log_psi(spins, ansatz)
    logs = image_logs(spins, ansatz)
    top = logs.real.amax(dim=1, keepdim=True)
    return torch.log(torch.exp(logs - top).sum(dim=1)) + top[:, 0]


def image_shares(spins: Tensor, ansatz: Ansatz) -> Tensor:
    """The share of every term of the projection in psi(x), summing to one: (batch, images) complex."""
    logs = image_logs(spins, ansatz)
    share = torch.exp(logs - logs.real.amax(dim=1, keepdim=True))
    return share / share.sum(dim=1, keepdim=True)


def amplitude_derivatives(spins: Tensor, ansatz: Ansatz) -> Tensor:
    """d log psi / d theta of a plain or symmetric RBM, (batch, parameters) in the order of flatten."""
    rbm, shared, projection, _ = ansatz
    if shared is None and projection is None:
        return log_derivatives(spins, rbm)
    x = _checked(spins, rbm)
    images = x[:, None, :] if projection is None else x[:, projection]  # (batch, images, sites)
    moved = images[:, :, None, :] if shared is None else images[:, :, shared]  # (batch, images, elements, sites)
    t = torch.tanh(rbm.hidden + moved @ rbm.weights.T)  # (batch, images, elements, units)
    if projection is not None:
        t = t * image_shares(spins, ansatz)[:, :, None, None]
    t, moved = t.flatten(1, 2), moved.flatten(1, 2)
    return torch.cat([torch.zeros_like(x), t.sum(dim=1), (t.mT @ moved).flatten(1)], dim=1)
