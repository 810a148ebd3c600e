"""The long results of chapter 05, one command each; run from the root: python benchmarks/monge_ampere_results.py WHAT.

ising    the dual Ising field at Tc on a periodic --side x --side lattice, symmetric flow; L = 16 is the published size
digits   MNIST in logit space

The recipe is that of `paper`, with --iterations of one's own where no GPU is at hand. Each writes its table into
benchmarks/results, beside the published number.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from helpers import data
from helpers import monge_ampere as ma


def ising(side: int, iterations: int, device: str) -> list[str]:
    """Free energy and order parameter against the exact free energy, per site."""
    recipe = ma.ising_recipe("paper")._replace(iterations=iterations)
    run = ma.learn_ising(side, recipe, torch.Generator().manual_seed(1), device=device, count=4096)
    gap = abs(run.F / run.exact - 1)
    return [
        f"{recipe}",
        "",
        "| L | -ln Z / N exact | flow | gap | reweighted | m^2 | m^2 reweighted | samples worth |",
        "|---|---|---|---|---|---|---|---|",
        f"| {side} | {run.exact:.6f} | {run.F:.6f} ± {run.F_error:.6f} | {gap:.2%} | {run.F_weighted:.6f} "
        f"| {run.m2:.4f} ± {run.m2_error:.4f} | {run.m2_weighted:.4f} | {run.ess / run.count:.2%} |",
        "",
        "The published code at L = 16: gap 0.95 %, m^2 0.178, where 0.545 is exact.",
    ]


def digits(iterations: int, device: str) -> list[str]:
    """Test NLL in logit space, nats."""
    recipe = ma.digit_recipe("class" if device == "cpu" else "paper")._replace(iterations=iterations)
    mnist = data.mnist()
    rng = torch.Generator().manual_seed(1)
    run = ma.learn_digits(mnist.train_images, mnist.test_images, recipe, rng, device=device)
    table = ["| one Gaussian | flow | published |", "|---|---|---|"]
    return [f"{recipe}", "", *table, f"| {run.gaussian:.1f} | {run.nll:.1f} ± {run.error:.1f} | 1255.5 |"]


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
        lines = ising(chosen.side, chosen.iterations, chosen.device)
    else:
        lines = digits(chosen.iterations, chosen.device)
    cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
    cost = (
        f"{chosen.device}, {torch.get_num_threads()} threads, {cpu:.0f} CPU s, {wall:.0f} s, torch {torch.__version__}."
    )
    text = "\n".join([f"# 05 Monge-Ampère flow: {chosen.what}", "", cost, "", *lines, ""])
    print(text)
    (Path(__file__).parent / "results" / f"05_monge_ampere_flow_{chosen.what}.md").write_text(text)


if __name__ == "__main__":
    main()
