"""Optimal maps between Gaussians in closed form: the one family where Brenier's theorem can be checked by hand."""

from __future__ import annotations

import torch
from torch import Tensor


def symmetric_sqrt(S: Tensor) -> Tensor:
    """S^(1/2) of a symmetric positive (d, d) matrix, by its eigenvectors; ValueError where S is not positive."""
    if S.ndim != 2 or S.shape[0] != S.shape[1] or not torch.allclose(S, S.T):
        raise ValueError(f"a covariance must be a symmetric square matrix; got shape {tuple(S.shape)}")
    values, vectors = torch.linalg.eigh(S)
    if not values[0] > 0:
        raise ValueError(f"a covariance must be positive definite; its lowest eigenvalue is {values[0]:.3g}")
    return (vectors * values.sqrt()) @ vectors.T


def gaussian_brenier_map(S0: Tensor, S1: Tensor) -> Tensor:
    """A = S0^(-1/2) (S0^(1/2) S1 S0^(1/2))^(1/2) S0^(-1/2): x = A z = grad (z^T A z / 2) carries S0 to S1.

    S0, S1: (d, d) covariances, symmetric positive definite -> A (d, d), symmetric positive definite. Of all maps with
    A S0 A^T = S1 it moves the mass least.
    """
    if S0.shape != S1.shape:
        raise ValueError(f"the two covariances must have one shape; got {tuple(S0.shape)} and {tuple(S1.shape)}")
    root = symmetric_sqrt(S0)
    inverse = torch.linalg.inv(root)
    A = inverse @ symmetric_sqrt(symmetrical(root @ S1 @ root)) @ inverse
    return symmetrical(A)


def transport_cost(A: Tensor, S0: Tensor) -> Tensor:
    """<|A z - z|^2> over z ~ N(0, S0) = tr (A - 1) S0 (A - 1)^T: the mean squared way, a scalar."""
    shift = A - torch.eye(len(A), dtype=A.dtype, device=A.device)
    return torch.trace(shift @ S0 @ shift.T)


def symmetrical(A: Tensor) -> Tensor:
    """(A + A^T) / 2."""
    return (A + A.T) / 2
