"""The long results of chapter 04, one command each; run from the root: python benchmarks/vmc_results.py WHAT.

ring      N = 20 at four couplings, three seeds: --profile quick, class or paper; --couplings 0.8 narrows
long      N = 100 at J2 = 0 against the Bethe equations
square4   the 4 x 4 torus at J2 = 0.5 against exact diagonalisation
square6   the 6 x 6 torus at J2 = 0.5 against the published exact energy
marshall  N = 20 at J2 = 0.2, with and without the Marshall rotation

Every energy is sampled with its error bar; up to 20 sites it is summed over all configurations, too. Each writes its
table into benchmarks/results.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from tqdm.auto import tqdm

from benchmarks.record import Row, save, table
from helpers import spins, vmc

SQUARE6 = -72.548590160286 / 4  # exact diagonalisation at J2 = 0.5 (varbench quotes it in Pauli matrices)
COUPLINGS = [0.0, 0.2, 0.5, 0.8]
PUBLISHED_SQUARE6 = -70.1176 / 4  # an RBM with alpha = 1, from the same collection
HEAD = "| case | seed | E exact | E sampled | relative error | E summed | relative error | V-score | CPU s |"


class Case(NamedTuple):
    """A magnet, its exact energy, what to train on it, and the target of its error; enumerate: it can be summed.

    published: what the target quotes, if it is somebody's error.
    """

    name: str
    bonds: spins.Bonds
    exact: float
    plan: vmc.Recipe
    start: Callable[[torch.Generator], vmc.Ansatz]
    target: float
    enumerate: bool = True
    published: str = ""


def ring(profile: str, couplings: list[float]) -> list[Case]:
    """Twenty sites."""
    easy, hard = (1e-4, 1e-3) if profile == "paper" else (1e-3, 5e-3)
    suffix = "" if profile == "class" else f", {profile}"
    return [_ring(20, J2, vmc.recipe(J2, profile), easy if J2 < 0.4 else hard, suffix) for J2 in couplings]


def _ring(sites: int, J2: float, plan: vmc.Recipe, target: float, suffix: str = "") -> Case:
    bonds = spins.chain(sites, J2)
    exact = spins.bethe_energy(sites) if sites > 20 else float(spins.ground_state(bonds).energies[0])
    start = lambda generator: vmc.ring_ansatz(sites, plan, generator)  # noqa: E731
    return Case(f"{sites} spins, J2 = {J2}{suffix}", bonds, exact, plan, start, target, sites <= 20)


def long(*_: object) -> list[Case]:
    """A hundred sites."""
    return [_ring(100, 0.0, replace(vmc.recipe(0.0, "class"), filters=6, steps=300), 1e-3)]


def square4(*_: object) -> list[Case]:
    """The 4 x 4 torus."""
    bonds = spins.square(4, 0.5)
    return [_square(4, bonds, float(spins.ground_state(bonds).energies[0]), 1e-3)]


def square6(*_: object) -> list[Case]:
    """The 6 x 6 torus."""
    missed = 1 - PUBLISHED_SQUARE6 / SQUARE6
    return [_square(6, spins.square(6, 0.5), SQUARE6, missed, "RBM with alpha = 1, arXiv:2302.04919")]


def _square(side: int, bonds: spins.Bonds, exact: float, target: float, published: str = "") -> Case:
    plan = vmc.square_recipe(side)
    start = lambda generator: vmc.square_ansatz(side, plan, generator)  # noqa: E731
    return Case(f"{side} x {side} spins, J2 = 0.5", bonds, exact, plan, start, target, side == 4, published)


def marshall(*_: object) -> list[Case]:
    """Twenty sites and a plain RBM with alpha = 1, which could learn the sign rule by itself."""
    plan = vmc.Recipe(filters=20, steps=300, chains=1024, scale=0.01)
    start = lambda generator: vmc.Ansatz(vmc.random_rbm(20, plan.filters, generator, scale=plan.scale))  # noqa: E731
    bonds = spins.chain(20, 0.2)
    exact = float(spins.ground_state(bonds).energies[0])
    turned, name = spins.rotated(bonds, spins.chain_sublattice(20)), "20 spins, J2 = 0.2, plain RBM, Marshall rotation"
    return [
        Case(f"{name} given", turned, exact, plan, start, 0),
        Case(f"{name} not given", bonds, exact, plan, start, 0),
    ]


def learn(case: Case, seed: int, device: str) -> tuple[tuple, Row]:
    """Train, measure, sum: one line of the table, and its relative error beside the target."""
    generator, start = torch.Generator(device).manual_seed(seed), time.process_time()
    bonds = case.bonds.to(device)
    bar = tqdm(vmc.train(bonds, case.start(generator), case.plan, generator), total=case.plan.steps, desc=case.name)
    for step in bar:
        bar.set_postfix_str(f"relative error {1 - step.energy / case.exact:.1e}", refresh=False)
    spent = time.process_time() - start
    found = vmc.measure(bonds, step.ansatz, generator, start=step.spins, sweeps=16)
    off = f"{1 - found.energy / case.exact:.1e} ± {found.error / abs(case.exact):.0e}"
    summed = exactly = ""
    if case.enumerate:
        energy = vmc.exact_energy(lambda x: vmc.log_amplitude(x, step.ansatz), bonds, device)
        summed, exactly = f"{energy:.6f}", f"{1 - energy / case.exact:.1e}"
    sampled, score = f"{found.energy:.5f} ± {found.error:.5f}", vmc.v_score(found.energy, found.variance, bonds.sites)
    line = (case.name, seed, f"{case.exact:.6f}", sampled, off, summed, exactly, f"{score:.0e}", f"{spent:.0f}")
    target = f"ours <= {case.target:.2g}" if case.target else ""
    theirs = f"{case.target:.1e}" if case.published else ""
    what = f"{case.name}, seed {seed}, relative error of the energy"
    return line, Row(what, exactly or off, case.published, theirs, target)


KINDS = {"ring": ring, "long": long, "square4": square4, "square6": square6, "marshall": marshall}


def main() -> None:
    """Read the command line, train every case from every seed, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=KINDS)
    parser.add_argument("--profile", choices=("quick", "class", "paper"), default="class")
    parser.add_argument("--couplings", type=float, nargs="+", default=COUPLINGS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    cases = KINDS[chosen.what](chosen.profile, chosen.couplings)
    found = [learn(case, seed, chosen.device) for case in cases for seed in range(1, chosen.seeds + 1)]
    notes = [f"{chosen.device}, {torch.get_num_threads()} threads.", *dict.fromkeys(str(case.plan) for case in cases)]
    lines = [*notes, "", *table(HEAD, [line for line, _ in found])]
    narrowed = [str(J2) for J2 in chosen.couplings if chosen.couplings != COUPLINGS]
    name = "_".join([chosen.what, chosen.profile, *narrowed]) if chosen.what == "ring" else chosen.what
    save(f"04_rbm_vmc_{name}", lines, [row for _, row in found])


if __name__ == "__main__":
    main()
