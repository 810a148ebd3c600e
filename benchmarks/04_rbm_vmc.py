"""Variational Monte Carlo with a complex RBM on the J1-J2 ring, helpers.vmc against NetKet, complex128, one thread.

Both: 1024 samples, `sites` proposals per sample between steps, Marshall rotation, stochastic reconfiguration with shift
0.01 and the same step, weights of width 0.01. The step is 0.2 in units of S = 1/2 and of note Eq. (66). NetKet's
energies are four times as large (Pauli), its force for complex parameters is twice Eq. (66): the rate is .025.
CPU seconds of this process, fewest of `ROUNDS` turns; cold starts are processes of their own, compilation included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, stdev

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.record import Row, present, save, table  # noqa: E402

SIZES = ((20, 1, 0.2, 0.25), (20, 4, 0.2, 0.25), (40, 1, 0.5, None), (100, 1, 0.5, 0.12))  # sites, alpha, J2, target
EXACT = -8.20291625218  # N = 20, J2 = 0.2
ROUNDS, SAMPLES, SHIFT, RATE, SCALE = 3, 1024, 0.01, 0.2, 0.01
COLD_LIMIT = 80  # steps


def ours(sites: int, alpha: int, J2: float, seed: int, device: str) -> tuple[Callable[[], float], Callable[[], float]]:
    """A step of helpers.vmc, and the exact energy of the wavefunction after it."""
    import torch

    from helpers import spins, vmc

    torch.set_num_threads(1)
    generator = torch.Generator(device).manual_seed(seed)
    bonds = spins.rotated(spins.chain(sites, J2), spins.chain_sublattice(sites)).to(device)
    start = vmc.Ansatz(vmc.random_rbm(sites, alpha * sites, generator, scale=SCALE))
    run = vmc.optimise(bonds, start, generator, steps=10**6, chains=SAMPLES, rate=RATE, eps=SHIFT)
    last = []

    def step() -> float:
        last[:] = [next(run)]
        return last[0].energy

    return step, lambda: vmc.exact_energy(lambda x: vmc.log_amplitude(x, last[0].ansatz), bonds, device)


def netket_step(sites: int, alpha: int, J2: float, seed: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """The same for NetKet: exchange sampler with 16 chains, jax operator, its default SR."""
    import netket as nk

    space = nk.hilbert.Spin(0.5, sites, total_sz=0)
    graph = nk.graph.Chain(sites, max_neighbor_order=2)
    operator = nk.operator.Heisenberg(space, graph, J=[1.0, J2], sign_rule=[True, False]).to_jax_operator()
    sampler = nk.sampler.MetropolisExchange(space, graph=nk.graph.Chain(sites), n_chains=16)
    model = nk.models.RBM(alpha=alpha, param_dtype=complex)
    options = {"n_samples": SAMPLES, "n_discard_per_chain": 5, "seed": seed, "sampler_seed": seed}
    state = nk.vqs.MCState(sampler, model, **options)
    solver = nk.optimizer.SR(diag_shift=SHIFT)
    driver = nk.driver.VMC(operator, nk.optimizer.Sgd(RATE / 8), variational_state=state, preconditioner=solver)

    def step() -> float:
        driver.run(1, out=None, show_progress=False)
        return float(driver.energy.mean.real) / 4

    def exact() -> float:
        full = nk.vqs.FullSumState(space, model, variables=state.variables)
        return float(full.expect(operator).mean.real) / 4

    return step, exact


def seconds(step: Callable[[], float]) -> float:
    """CPU seconds of one step: fewest of ROUNDS turns of three steps."""
    step(), step()
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(3):
            step()
        best = min(best, (time.process_time() - start) / 3)
    return best


def cold(which: str, device: str) -> None:
    """In a process of its own: seconds from the first import until five energies average within 1e-3 of exact."""
    wall = time.perf_counter()
    step, _ = ours(20, 4, 0.2, 0, device) if which == "ours" else netket_step(20, 4, 0.2, 0)
    energies = []
    for _ in range(COLD_LIMIT):
        energies.append(step())
        if len(energies) >= 5 and abs(sum(energies[-5:]) / 5 / EXACT - 1) < 1e-3:
            break
    result = {"steps": len(energies), "wall": time.perf_counter() - wall, "cpu": time.process_time()}
    print(json.dumps(result))


def cold_start(which: str, device: str) -> dict[str, float]:
    """Run `cold` in a fresh process."""
    command = [sys.executable, __file__, "--cold", which, "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def accuracy(make: Callable[[int], tuple], seeds: int, steps: int = 100) -> list[float]:
    """Relative error of the exact energy after `steps` steps at N = 20, alpha = 1, for each seed."""
    errors = []
    for seed in range(seeds):
        step, exact = make(seed)
        for _ in range(steps):
            step()
        errors.append(1 - exact() / EXACT)
    return errors


def compared(what: str, form: str, mine: float, theirs: float | None, target: str = "") -> Row:
    """A row of both numbers; an empty one where there is no rival."""
    row = Row(what, f"{mine:{form}}", "NetKet", "" if theirs is None else f"{theirs:{form}}", target)
    print(row, flush=True)
    return row


def races(device: str, rival: bool) -> Iterator[Row]:
    """CPU seconds of a step."""
    for sites, alpha, J2, target in SIZES:
        mine = seconds(ours(sites, alpha, J2, 0, device)[0])
        theirs = seconds(netket_step(sites, alpha, J2, 0)[0]) if rival else None
        goal = f"<= {target}" if target else ""
        yield compared(f"N = {sites}, alpha = {alpha}: CPU s a step", ".3f", mine, theirs, goal)


def cold_starts(device: str, rival: bool) -> Iterator[Row]:
    """Seconds from the first import to a relative error of 1e-3."""
    mine, theirs = cold_start("ours", device), cold_start("netket", device) if rival else {}
    for unit, goal in (("wall", "<= 0.2"), ("cpu", "")):
        what = f"N = 20, alpha = 4: {unit} s from cold to 1e-3 ({mine['steps']} and {theirs.get('steps', '-')} steps)"
        yield compared(what, ".1f", mine[unit], theirs.get(unit), goal)


def accuracies(device: str, rival: bool, seeds: int) -> Row:
    """Exact relative error after 100 steps, its mean over seeds and the error of that mean."""
    shown = []
    for make in (lambda s: ours(20, 1, 0.2, s, device), lambda s: netket_step(20, 1, 0.2, s))[: 1 + rival]:
        errors = accuracy(make, seeds)
        shown.append(f"{mean(errors):.2e} ± {stdev(errors) / seeds**0.5:.0e}")
    what = f"N = 20, alpha = 1: exact relative error after 100 steps, {seeds} seeds"
    return Row(what, shown[0], "NetKet", shown[1] if rival else "", "<= 1")


def main() -> None:
    """Measure, print the table and write it to benchmarks/results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=5, help="runs of 100 steps for the accuracy row, at least 2")
    parser.add_argument("--cold", choices=("ours", "netket"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cold:
        cold(options.cold, options.device)
        return
    rival = bool(present("netket==3.23.0"))
    rows = [*races(options.device, rival), *cold_starts(options.device, rival)]
    rows.append(accuracies(options.device, rival, max(2, options.seeds)))
    shown = [(row.what, row.ours, row.theirs, f"{row.ratio or 0:.3f}" if rival else "", row.target) for row in rows]
    lines = [__doc__, *table("| what | helpers.vmc | NetKet | ratio | target |", shown)]
    save("04_rbm_vmc", lines, rows, ["netket"] if rival else [], on=options.device)


if __name__ == "__main__":
    main()
