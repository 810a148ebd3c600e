"""The long results of chapter 03, one command each; run from the root: python benchmarks/rbm_results.py WHAT.

pocket      train the small machine that helpers ships, helpers/rbm/pocket.npz
ais         AIS against exact ln Z on trained machines of 10, 15 and 20 hidden units, ten seeds each
class       train as the notebook does in `class`, judge by the long AIS; keeps the machine in --keep
paper       the same in `paper`
contest     restore 1,000 test digits with the machine in --keep, against its rivals
"""

from __future__ import annotations

import argparse
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import HERE, Row, save, table
from helpers import data, rbm
from helpers.rbm.training import pixel_means

LONG = rbm.long_schedule("paper")


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images (60000, 784) uint8 and labels, test images binarised once, and their labels."""
    mnist = data.mnist()
    flat = [torch.tensor(images.reshape(-1, 784)) for images in (mnist.train_images, mnist.test_images)]
    labels = [torch.tensor(x) for x in (mnist.train_labels, mnist.test_labels)]
    return flat[0], labels[0], rbm.held_out(flat[1], seed=99), labels[1]


def fast(seed: int) -> np.random.Generator:
    """numpy's SFC64, the cheapest source of random float32."""
    return np.random.Generator(np.random.SFC64(seed))


def pocket() -> None:
    """12 epochs of PCD-1, 64 hidden units, kept in float16."""
    plan = rbm.Plan(epochs=12, batch=100, rate=0.1, chains=100, average=0.3)
    model = rbm.train(digits()[0], rbm.Recipe(60_000, 64, plan, LONG), 0)
    target = files("helpers.rbm").joinpath("pocket.npz")
    np.savez(str(target), **{name: part.numpy().astype(np.float16) for name, part in zip("Wab", model, strict=True)})


def ais() -> None:
    """Errors of ln Z in nats, and how many of ten seeds lie within three standard errors."""
    images = digits()[0]
    base = rbm.log_odds(pixel_means(images))
    betas = rbm.schedule((0.5, 150), (1.0, 1_350))
    lines, rows = [], []
    for hidden in (20, 15, 10):
        plan = rbm.Plan(epochs=3, batch=100, rate=0.1, chains=100, average=0.3)
        model = rbm.train(images, rbm.Recipe(60_000, hidden, plan, betas), hidden)
        exact = float(rbm.exact_log_z(*model))
        runs = [rbm.ais_log_z(model, betas, fast(seed), chains=2000, base=base) for seed in range(10)]
        errors, bars = (torch.stack([getattr(r, k).double() for r in runs]) for k in ("log_z", "error"))
        errors -= exact
        z = ", ".join(f"{x:+.1f}" for x in errors / bars)
        worst = f"{errors.abs().max():.4f}"
        lines.append((hidden, f"{exact:.3f}", f"{errors.mean():+.4f}", worst, f"{bars.mean():.4f}", z))
        print(*lines[-1], flush=True)
        rows.append(Row(f"AIS, {hidden} hidden, largest error of ln Z in ten seeds, nats", worst, target="ours <= 0.1"))
    head = "| hidden | exact ln Z | mean error | largest error | standard error | z of ten seeds |"
    save("03_rbm_restoration_ais", table(head, lines), rows)


def trained(profile: str, keep: Path) -> None:
    """Train, say what it cost, and judge on all 10,000 test digits."""
    images, _, test, _ = digits()
    wall, cpu = time.perf_counter(), time.process_time()
    model = rbm.train(images, rbm.recipe(profile), 1)
    cost = f"{time.perf_counter() - wall:.0f} s wall, {time.process_time() - cpu:.0f} CPU s"
    keep.parent.mkdir(exist_ok=True)
    torch.save(tuple(model), keep)
    z = rbm.ais_log_z(model, LONG, fast(2), base=rbm.log_odds(pixel_means(images).float()))
    mean, digit = rbm.mean_and_error(rbm.log_likelihood(test, model, z.log_z))
    floor = rbm.mean_image_log_likelihood(test, images)
    found = f"{mean:.2f} ± {float(np.hypot(digit, float(z.error))):.2f}"
    shown = (cost, torch.get_num_threads(), found, f"{digit:.2f}", f"{float(z.error):.2f}")
    head = "| training | threads | ln p of a test digit | ± digits | ± AIS | chains that count | independent pixels |"
    goal = "ours >= -86.3" if profile == "paper" else "ours >= -110"
    row = Row(f"RBM of `{profile}`, ln p of a test digit, nats", found, "published", "-86.3", goal)
    save(
        f"03_rbm_restoration_{profile}",
        table(head, [(*shown, f"{float(z.effective):.0f} of 100", f"{floor:.2f}")]),
        [row],
    )


def contest(keep: Path, count: int = 1_000) -> None:
    """The large machine by clamped AIS, a small one exactly, and three rivals."""
    images, labels, test, test_labels = digits()
    truth, known = test[:count], rbm.top_half_lost()
    reader = rbm.train_reader(images, labels, torch.Generator().manual_seed(3))
    entries = rbm.rivals(truth, known, images, fast(4))
    small = rbm.train(images, rbm.Recipe(60_000, 12, rbm.Plan(epochs=4, batch=100, rate=0.1, chains=100), LONG), 5)
    entries["RBM, 12 hidden, exact"], _ = rbm.machine(truth, known, small, fast(6))
    large = rbm.RBM(*torch.load(keep))
    betas = rbm.schedule((1.0, 300))
    entries["RBM, 500 hidden, AIS"], error = rbm.machine(
        truth, known, large, fast(7), betas=betas, sweeps=150, ais_chains=4
    )
    scores = rbm.table(entries, truth, known, test_labels[:count], reader)
    about = f"Mean AIS error of one digit's ln Z: {float(error.mean()):.3f} nats, largest {float(error.max()):.3f}."
    measures = ("pixel error", "log-likelihood", "read")
    shown = {who: {m: f"{row[m][0]:.4f} ± {row[m][1]:.4f}" for m in row} for who, row in scores.items()}
    lines = [(who, *(row.get(m, "") for m in measures)) for who, row in shown.items()]
    text = table("| who | pixel error | conditional ln p, nats | read right |", lines)
    save("03_rbm_restoration_contest", [about, "", *text], beaten(shown))


def beaten(shown: dict[str, dict[str, str]]) -> list[Row]:
    """The large machine beside each rival that has the measure."""
    ours, rows = "RBM, 500 hidden, AIS", []
    for measure, target in (("pixel error", "< 1"), ("log-likelihood", "< 1"), ("read", "> 1")):
        what = f"top half of a digit lost, {measure}"
        rivals = (who for who in shown if not who.startswith("RBM") and who != "undamaged" and measure in shown[who])
        rows += [Row(what, shown[ours][measure], who, shown[who][measure], target) for who in rivals]
    return rows


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pocket", "ais", "class", "paper", "contest"))
    parser.add_argument(
        "--keep", type=Path, default=HERE.parent / "build/rbm_class.pt", help="where the trained machine is kept"
    )
    chosen = parser.parse_args()
    match chosen.what:
        case "pocket":
            pocket()
        case "ais":
            ais()
        case "contest":
            contest(chosen.keep)
        case profile:
            trained(profile, chosen.keep)


if __name__ == "__main__":
    main()
