"""A quantum computer as its user sees it: set the angles, run, read bit strings. No amplitudes, no derivatives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from helpers.born_machine.circuit import Circuit
from helpers.born_machine.shift import measure
from helpers.born_machine.simulator import born_probabilities


class Hardware:
    """A circuit that can only be run: `hardware(theta)` gives the frequencies of the measured bit strings.

    theta: (..., parameters). Returns (..., 2^n), rows summing to 1: frequencies of `shots` fresh measurements, drawn
    from a generator seeded with `seed`, or the exact probabilities when `shots` is None.
    """

    def __init__(self, circuit: Circuit, shots: int | None = None, seed: int = 0) -> None:
        if shots is not None and shots < 1:
            raise ValueError(f"a measurement needs at least one shot, got {shots}")
        self.circuit, self.shots, self.seed = circuit, shots, int(seed)
        self._generator = np.random.default_rng(self.seed)

    def __call__(self, theta: Tensor) -> Tensor:
        theta = torch.as_tensor(theta)
        p = born_probabilities(self.circuit, theta.detach())
        return p if self.shots is None else measure(p, self.shots, self._generator)

    def to_plain(self) -> dict:
        """The circuit, the shots and the seed as plain values; `from_plain` is its inverse."""
        return {"circuit": self.circuit.to_plain(), "shots": self.shots, "seed": self.seed}

    @classmethod
    def from_plain(cls, plain: dict) -> Hardware:
        """The hardware that `to_plain` described, its generator at the start."""
        return cls(Circuit.from_plain(plain["circuit"]), plain["shots"], plain["seed"])
