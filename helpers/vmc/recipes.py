"""Which symmetric RBM to train on which magnet, and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from helpers import spins
from helpers.spins import Bonds
from helpers.vmc.descent import Step, optimise
from helpers.vmc.rbm import Ansatz, random_rbm, symmetric


@dataclass(frozen=True)
class Recipe:
    """Filters and symmetries of the ansatz, and the settings of vmc.optimise.

    stride 1 shares filters under all translations; stride 2 shares them under every second one and sums over the other
    half, so that a dimerised state and its shifted twin can be superposed; stride 0 shares nothing and sums over all
    symmetries, reflections and rotations included: dearest, and most exact. mirror: sum over a ring's mirror images at
    any stride. sign is "neel" or "stripe". The chains sample |psi|^power.
    """

    filters: int = 4
    stride: int = 1
    mirror: bool = False
    sign: str = "neel"
    steps: int = 150
    chains: int = 512
    rate: float = 0.1
    eps: float = 0.01
    final: float = 0.1
    scale: float = 0.05
    power: float = 2.0


_CLASS = {
    "ordered": Recipe(),
    "dimer": Recipe(filters=6, stride=2, steps=200),
    "spiral": Recipe(filters=8, stride=2, sign="stripe", steps=200),
}
_LENGTHS = {"quick": {"steps": 30, "chains": 256}, "class": {}}
_PAPER = {
    "ordered": {"filters": 6, "steps": 300, "chains": 1024},
    "dimer": {"filters": 8, "steps": 300, "chains": 1024},
    "spiral": {"filters": 12, "mirror": True, "steps": 150, "chains": 2048, "eps": 0.004, "power": 1.0},
}
_SQUARE = {
    4: Recipe(filters=8, stride=0, steps=100, chains=1024, eps=0.005, scale=0.1, power=1.0),
    6: Recipe(filters=8, steps=200),
}


def recipe(J2: float, profile: str = "class") -> Recipe:
    """The recipe for a J1-J2 ring: Neel-like up to J2 = 0.4, dimerised up to 0.6, spiral beyond."""
    kind = "ordered" if J2 <= 0.4 else "dimer" if J2 <= 0.6 else "spiral"
    if profile not in ("quick", "class", "paper"):
        raise ValueError(f"profile {profile!r} is unknown: choose quick, class or paper")
    return replace(_CLASS[kind], **(_PAPER[kind] if profile == "paper" else _LENGTHS[profile]))


def square_recipe(side: int) -> Recipe:
    """The recipe for the J1-J2 model on the periodic side x side square around J2 = 0.5."""
    if side not in _SQUARE:
        raise ValueError(f"there are recipes for squares of side {', '.join(map(str, _SQUARE))}, not {side}")
    return _SQUARE[side]


def ring_ansatz(sites: int, plan: Recipe, generator: torch.Generator) -> Ansatz:
    """A random symmetric RBM on a ring as the recipe has it, with its sign rule in the frozen visible layer."""
    signs = {"neel": spins.chain_sublattice, "stripe": spins.stripe_sublattice}
    if plan.sign not in signs or plan.stride not in (0, 1, 2) or sites % max(2, 2 * plan.stride):
        raise ValueError(f"no ansatz with sign {plan.sign!r} and stride {plan.stride} on {sites} sites")
    rbm = random_rbm(sites, plan.filters, generator, scale=plan.scale)
    groups = spins.chain_group(sites, reflections=plan.mirror or not plan.stride).split(sites)
    shared = groups[0][:: plan.stride] if plan.stride else None
    summed = torch.cat([group[: plan.stride or sites] for group in groups])
    return symmetric(rbm, shared, summed if len(summed) > 1 else None, sublattice=signs[plan.sign](sites))


def square_ansatz(side: int, plan: Recipe, generator: torch.Generator) -> Ansatz:
    """A random symmetric RBM on the periodic square, stride 0 or 1, with the checkerboard sign."""
    if plan.stride not in (0, 1):
        raise ValueError(f"filters on a square have stride 0 or 1, got {plan.stride}")
    rbm = random_rbm(side * side, plan.filters, generator, scale=plan.scale)
    group = spins.square_group(side, point_group=not plan.stride)
    shared, summed = (group, None) if plan.stride else (None, group)
    return symmetric(rbm, shared, summed, sublattice=spins.square_sublattice(side))


def train(bonds: Bonds, ansatz: Ansatz, plan: Recipe, generator: torch.Generator) -> Iterator[Step]:
    """vmc.optimise with the settings of the recipe."""
    names = ("steps", "chains", "rate", "eps", "final", "power")
    return optimise(bonds, ansatz, generator, **{name: getattr(plan, name) for name in names})
