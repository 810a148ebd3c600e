"""The long results of chapter 02, one command each; run from the root: python benchmarks/flow_results.py WHAT.

plane    Real NVP on five targets and NICE on the ring, `class`, three seeds each
digits   MNIST in logit space on a CPU: a small Real NVP behind a counted whitening, test NLL over the first epochs
paper    the recipe of the notebook's `paper` profile; --device cuda

Each writes its table into benchmarks/results.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from helpers import flows

SEEDS = (1, 2, 3)
PUBLISHED = "1323.2 nats: Real NVP in arXiv:1705.07057"


def plane(device: str) -> list[str]:
    """Gap between held-out NLL and entropy, in nats."""
    cases = [("real_nvp", target) for target in flows.TARGETS] + [("nice", flows.TARGETS[0])]
    lines = [
        "| target | flow | entropy | gap in nats, one column a seed | | | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, target in cases:
        start, gaps = time.process_time(), []
        for seed in SEEDS:
            rng = torch.Generator().manual_seed(seed)
            run = flows.learn_plane(target, kind, flows.plane_recipe("class", kind), rng, device=device)
            gaps.append(f"{run.gap:.4f} ± {run.error:.4f}")
        spent = (time.process_time() - start) / len(SEEDS)
        lines.append(f"| {target.name} | {kind} | {target.entropy:.4f} | {' | '.join(gaps)} | {spent:.0f} |")
        print(lines[-1], flush=True)
    return lines


def digits(recipe: flows.DigitRecipe, device: str) -> list[str]:
    """Test NLL in logit space over the steps, nats."""
    start = time.process_time(), time.perf_counter()
    run = flows.learn_digits(recipe, torch.Generator().manual_seed(1), device=device)
    cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
    lines = [f"{recipe}, {device}, {torch.get_num_threads()} threads, {cpu:.0f} CPU s, {wall:.0f} s.", ""]
    lines += [f"Published: {PUBLISHED}. {recipe.tested:,} test digits.", ""]
    lines += ["| step | epoch | test NLL in nats | bits per dimension |", "|---|---|---|---|"]
    for step, nll, error, bits in zip(*run.history, run.bits, strict=True):
        epoch = step * recipe.batch / recipe.images
        lines.append(f"| {step} | {epoch:.2f} | {nll:.1f} ± {error:.1f} | {bits:.3f} |")
    return lines


def main() -> None:
    """Read the command line, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("plane", "digits", "paper"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=3000, help="steps of `digits`, 500 an epoch")
    chosen = parser.parse_args()
    if chosen.what == "plane":
        lines = plane(chosen.device)
    elif chosen.what == "paper":
        lines = digits(flows.digit_recipe("paper"), chosen.device)
    else:
        small = flows.DigitRecipe(chosen.steps, 100, 1e-3, couplings=6, hidden=(256,), histogram=False)
        lines = digits(small, chosen.device)
    title = f"02 Normalizing flows, `python benchmarks/flow_results.py {chosen.what}`, torch {torch.__version__}"
    text = "\n".join([f"# {title}", "", *lines, ""])
    print(text)
    (Path(__file__).parent / "results" / f"02_normalizing_flows_{chosen.what}.md").write_text(text)


if __name__ == "__main__":
    main()
