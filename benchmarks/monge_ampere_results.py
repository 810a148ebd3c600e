"""The long results of chapter 05, one command each; run from the root: python benchmarks/monge_ampere_results.py WHAT.

ising    the dual Ising field at Tc on a periodic --side x --side lattice, symmetric flow; L = 16 is the published size
digits   MNIST in logit space

The recipe is that of `paper`, with --iterations of one's own where no GPU is at hand. Each writes its table into
benchmarks/results, beside the published number.
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.record import Row, save, table
from helpers import data
from helpers import monge_ampere as ma

EXACT_M2 = {4: 0.761358909, 16: 0.544445}  # the published code: 0.178 at L = 16, and -ln Z / N 0.95 % high
PUBLISHED_NLL = "1255.5"


def ising(side: int, iterations: int, device: str) -> tuple[list[str], list[Row]]:
    """Free energy and order parameter against the exact ones, per site."""
    recipe = ma.ising_recipe("paper")._replace(iterations=iterations)
    run = ma.learn_ising(side, recipe, torch.Generator().manual_seed(1), device=device, count=4096)
    head = "| L | -ln Z / N exact | flow | gap | reweighted | m^2 | % off exact | m^2 reweighted | samples worth |"
    free, gap = f"{run.F:.6f} ± {run.F_error:.6f}", abs(run.F / run.exact - 1)
    m2, worth = f"{run.m2:.4f} ± {run.m2_error:.4f}", f"{run.ess / run.count:.2%}"
    off = f"{100 * abs(run.m2 / EXACT_M2[side] - 1):.1f}" if side in EXACT_M2 else ""
    energies = (f"{run.exact:.6f}", free, f"{gap:.2%}", f"{run.F_weighted:.6f}")
    line = (side, *energies, m2, off, f"{run.m2_weighted:.4f}", worth)
    torus = f"Ising {side} x {side} at Tc"
    rows = [Row(f"{torus}, -ln Z / N above the exact one, %", f"{100 * gap:.2f}", target="ours <= 0.5")]
    if off:
        rows.append(Row(f"{torus}, <m^2> beside the exact one, % off", off, target="ours <= 10"))
    reached = all(row.met == "yes" for row in rows)
    targets = f"Targets: free energy within 0.5 %, m^2 within 10 %: {'reached' if reached else 'not yet reached'}."
    return [f"{recipe}", "", *table(head, [line]), "", targets], rows


def digits(iterations: int, device: str) -> tuple[list[str], list[Row]]:
    """Test NLL in logit space, nats."""
    recipe = ma.digit_recipe("class" if device == "cpu" else "paper")._replace(iterations=iterations)
    mnist = data.mnist()
    rng = torch.Generator().manual_seed(1)
    run = ma.learn_digits(mnist.train_images, mnist.test_images, recipe, rng, device=device)
    found = f"{run.nll:.1f} ± {run.error:.1f}"
    lines = table("| one Gaussian | flow |", [(f"{run.gaussian:.1f}", found)])
    row = Row("MNIST in logit space, test NLL in nats", found, "published", PUBLISHED_NLL, "<= 1")
    return [f"{recipe}", "", *lines], [row]


def main() -> None:
    """Read the command line, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ising", "digits"))
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    start = time.process_time(), time.perf_counter()
    if chosen.what == "ising":
        lines, rows = ising(chosen.side, chosen.iterations, chosen.device)
    else:
        lines, rows = digits(chosen.iterations, chosen.device)
    cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
    cost = f"{chosen.device}, {torch.get_num_threads()} threads, {cpu:.0f} CPU s, {wall:.0f} s."
    save(f"05_monge_ampere_flow_{chosen.what}", [cost, "", *lines], rows)


if __name__ == "__main__":
    main()
