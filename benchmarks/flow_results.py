"""The long results of chapter 02, one command each; run from the root: python benchmarks/flow_results.py WHAT.

plane    Real NVP on five targets and NICE on the ring, `class`, three seeds each
digits   MNIST in logit space on a CPU: a small Real NVP behind a counted whitening, test NLL over the first epochs
paper    the recipe of the notebook's `paper` profile; --device cuda

Each writes its table into benchmarks/results.
"""

from __future__ import annotations

import argparse
import time
from statistics import mean

import torch

from benchmarks.record import Row, save, table
from helpers import flows

SEEDS = (1, 2, 3)
PUBLISHED = {("ring", "real_nvp"): "0.0703", ("ring", "nice"): "0.3213"}  # gaps of the code beside the lecture note
TARGETS = {("ring", "real_nvp"): "ours <= 0.02", ("ring", "nice"): "ours <= 0.15"}


def plane(device: str) -> tuple[list[str], list[Row]]:
    """Gap between held-out NLL and entropy, in nats."""
    cases = [("real_nvp", target) for target in flows.TARGETS] + [("nice", flows.TARGETS[0])]
    lines, rows = [], []
    for kind, target in cases:
        start, runs = time.process_time(), []
        for seed in SEEDS:
            rng = torch.Generator().manual_seed(seed)
            runs.append(flows.learn_plane(target, kind, flows.plane_recipe("class", kind), rng, device=device))
        spent = (time.process_time() - start) / len(SEEDS)
        gaps = [f"{run.gap:.4f} ± {run.error:.4f}" for run in runs]
        case, error = (target.name, kind), sum(run.error**2 for run in runs) ** 0.5 / len(SEEDS)
        what = f"{target.name}, {kind}, nats above the entropy, {len(SEEDS)} seeds"
        ours = f"{mean(run.gap for run in runs):.4f} ± {error:.4f}"
        lines.append((target.name, kind, f"{target.entropy:.4f}", *gaps, ours, f"{spent:.0f}"))
        print(*lines[-1], flush=True)
        beside = "published" if case in PUBLISHED else ""
        rows.append(Row(what, ours, beside, PUBLISHED.get(case, ""), TARGETS.get(case, "")))
    return table("| target | flow | entropy | gap, nats, seed 1 | seed 2 | seed 3 | mean | CPU s |", lines), rows


def digits(recipe: flows.DigitRecipe, device: str) -> tuple[list[str], list[Row]]:
    """Test NLL in logit space over the steps, nats."""
    start = time.process_time(), time.perf_counter()
    run = flows.learn_digits(recipe, torch.Generator().manual_seed(1), device=device)
    cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
    about = f"{recipe}, {device}, {torch.get_num_threads()} threads, {cpu:.0f} CPU s, {wall:.0f} s."
    epoch = recipe.batch / recipe.images
    history = zip(*run.history, run.bits, strict=True)
    lines = [(k, f"{epoch * k:.2f}", f"{nll:.1f} ± {error:.1f}", f"{bits:.3f}") for k, nll, error, bits in history]
    text = table("| step | epoch | test NLL in nats | bits per dimension |", lines)
    what = f"MNIST in logit space, test NLL in nats, {recipe.tested:,} digits"
    return [about, "", *text], [Row(what, lines[-1][2], "Real NVP, arXiv:1705.07057", "1323.2", "< 1")]


def main() -> None:
    """Read the command line, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("plane", "digits", "paper"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=3000, help="steps of `digits`, 500 an epoch")
    chosen = parser.parse_args()
    if chosen.what == "plane":
        found = plane(chosen.device)
    elif chosen.what == "paper":
        found = digits(flows.digit_recipe("paper"), chosen.device)
    else:
        small = flows.DigitRecipe(chosen.steps, 100, 1e-3, couplings=6, hidden=(256,), histogram=False)
        found = digits(small, chosen.device)
    save(f"02_normalizing_flows_{chosen.what}", *found)


if __name__ == "__main__":
    main()
