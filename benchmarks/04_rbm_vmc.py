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
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
warnings.simplefilter("ignore")

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


def report(device: str, seeds: int, rival: bool) -> list[str]:
    """The table, row by row."""
    lines = ["| N = sites, alpha | helpers.vmc | NetKet | ratio | target |", "|---|---|---|---|---|"]
    for sites, alpha, J2, target in SIZES:
        mine = seconds(ours(sites, alpha, J2, 0, device)[0])
        theirs = seconds(netket_step(sites, alpha, J2, 0)[0]) if rival else float("nan")
        goal = f"<= {target}" if target else ""
        lines.append(f"| {sites}, {alpha}: CPU s a step | {mine:.3f} | {theirs:.3f} | {mine / theirs:.3f} | {goal} |")
        print(lines[-1], flush=True)
    mine, theirs = cold_start("ours", device), cold_start("netket", device) if rival else {}
    for unit in ("wall", "cpu"):
        pair = mine[unit], theirs.get(unit, float("nan"))
        goal = "<= 0.2" if unit == "wall" else ""
        name = f"20, 4: {unit} s from cold to 1e-3 ({mine['steps']} and {theirs.get('steps', '-')} steps)"
        lines.append(f"| {name} | {pair[0]:.1f} | {pair[1]:.1f} | {pair[0] / pair[1]:.3f} | {goal} |")
        print(lines[-1], flush=True)
    if seeds:
        means = []
        for make in (lambda s: ours(20, 1, 0.2, s, device), lambda s: netket_step(20, 1, 0.2, s))[: 1 + rival]:
            errors = accuracy(make, seeds)
            centre = sum(errors) / seeds
            spread = (sum((e - centre) ** 2 for e in errors) / max(1, seeds - 1) / seeds) ** 0.5
            means.append((centre, spread))
        shown = [f"{m:.2e} ({s:.0e})" for m, s in means] + ["nan"] * (2 - len(means))
        ratio = f"{means[0][0] / means[1][0]:.2f}" if rival else "nan"
        lines.append(
            f"| 20, 1: exact relative error after 100 steps, {seeds} seeds | {shown[0]} | {shown[1]} | {ratio} | <= 1 |"
        )
        print(lines[-1], flush=True)
    return lines


def results(profile: str, seeds: list[int], couplings: list[float], device: str) -> list[str]:
    """Train the recipe of every coupling at N = 20 and sum its energy over all configurations."""
    import torch

    from helpers import spins, vmc

    lines = ["| J2 | seed | E sampled | E summed | relative error | V-score | CPU s |", "|---|---|---|---|---|---|---|"]
    for J2 in couplings:
        exact = float(spins.ground_state(spins.chain(20, J2)).energies[0])
        for seed in seeds:
            generator, ring, start = torch.Generator(device).manual_seed(seed), spins.chain(20, J2), time.process_time()
            plan = vmc.recipe(J2, profile)
            *_, last = vmc.train(ring.to(device), vmc.ring_ansatz(20, plan, generator), plan, generator)
            spent = time.process_time() - start
            found = vmc.measure(ring.to(device), last.ansatz, generator, chains=512, sweeps=16)
            summed = vmc.exact_energy(lambda x, a=last.ansatz: vmc.log_amplitude(x, a), ring, device)
            score = vmc.v_score(found.energy, found.variance, 20)
            sampled = f"{found.energy:.5f} +- {found.error:.5f}"
            lines.append(
                f"| {J2} | {seed} | {sampled} | {summed:.6f} | {1 - summed / exact:.1e} | {score:.0e} | {spent:.0f} |"
            )
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure, print the table and write it to benchmarks/results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--seeds", type=int, default=5, help="runs of 100 steps for the accuracy row, 0 to leave it out"
    )
    parser.add_argument("--cold", choices=("ours", "netket"), help=argparse.SUPPRESS)
    parser.add_argument("--results", choices=("quick", "class", "paper"), help="train at N = 20 instead of racing")
    parser.add_argument("--couplings", type=float, nargs="+", default=[0.0, 0.2, 0.5, 0.8])
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    if options.cold:
        cold(options.cold, options.device)
        return
    if options.results:
        table = results(options.results, list(range(1, options.seeds + 1)), options.couplings, options.device)
        _write(f"_{options.results}", f"helpers.vmc.recipe(J2, {options.results!r}), N = 20, {options.device}", table)
        return
    try:
        import netket
    except ImportError:
        netket = None
        print("NetKet is not installed here, so its column stays empty: pip install netket==3.23.0.")
    import torch

    lines = report(options.device, options.seeds, netket is not None)
    versions = f"torch {torch.__version__}, NetKet {netket.__version__ if netket else 'missing'}, {options.device}"
    _write("", f"{__doc__}\n{versions}", lines)


def _write(suffix: str, head: str, lines: list[str]) -> None:
    """Put the table into benchmarks/results."""
    stem = Path(__file__).stem + suffix
    target = Path(__file__).parent / "results" / f"{stem}.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(f"# {stem}\n\n{head}\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
