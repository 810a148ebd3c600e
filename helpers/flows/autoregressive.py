"""Autoregressive flows (note Eqs. 36-40): triangular maps steered by a masked network."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from helpers.flows.bijectors import Bijector
from helpers.flows.networks import MaskedPerceptron, fields


def ar_log_prob(x: Tensor, net: MaskedPerceptron) -> Tensor:
    """ln p(x) = -1/2 sum_i [((x_i - mu_i) / sigma_i)^2 + ln(2 pi sigma_i^2)], x: (batch, dim), returns (batch,).

    Eq. (37) with its misprint mended: the note has ln(2 pi sigma_i).
    """
    mean, log_sigma = net(x)
    return -0.5 * (((x - mean) * torch.exp(-log_sigma)).square() + math.log(2 * math.pi) + 2 * log_sigma).sum(1)


def ar_sample(noise: Tensor, net: MaskedPerceptron) -> Tensor:
    """x_i = sigma_i(x_<i) noise_i + mu_i(x_<i) (Eq. 38), one coordinate after the other; noise, x: (batch, dim)."""
    x = torch.zeros_like(noise)
    for i in range(noise.shape[1]):
        mean, log_sigma = net(x)
        x = torch.cat([x[:, :i], (noise * log_sigma.exp() + mean)[:, i : i + 1], x[:, i + 1 :]], dim=1)
    return x


class Autoregressive(Bijector):
    """Eq. (38) as a bijector: the inverse takes one pass of the network, forward takes dim of them (arXiv:1705.07057).

    `Inverse(Autoregressive(net))` is the inverse autoregressive flow of Eq. (40): quick to sample, slow to score.
    """

    def __init__(self, net: MaskedPerceptron) -> None:
        super().__init__()
        self.net, self.dim = net, net.dim

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x_i = sigma_i(x_<i) z_i + mu_i(x_<i)."""
        self.check(z)
        x = ar_sample(z, self.net)
        return x, self.net(x)[1].sum(1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z_i = (x_i - mu_i(x_<i)) / sigma_i(x_<i)."""
        self.check(x)
        mean, log_sigma = self.net(x)
        return (x - mean) * torch.exp(-log_sigma), -log_sigma.sum(1)

    def to_plain(self) -> dict[str, Any]:
        """The network as plain values."""
        return {"net": self.net}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Autoregressive:
        """The layer that `to_plain` described; ValueError if the tree is no such description."""
        return cls(*fields(plain, net=MaskedPerceptron))
