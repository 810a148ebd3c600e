"""A CD-1 epoch on MNIST (60,000 digits, 500 hidden units, float32, one thread) against its rivals.

Rivals: scikit-learn's BernoulliRBM (PCD-1, the same five products a step) and the bare matrix products of the epoch.
CPU seconds of this process; the contestants take turns and the fastest of `ROUNDS` epochs counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from helpers import data, rbm

try:
    import sklearn
    from sklearn.neural_network import BernoulliRBM
except ImportError:
    sklearn = None

HIDDEN, ROUNDS = 500, 3
TARGETS = {("scikit-learn", 64): 0.6, ("bare products", 64): 1.5, ("bare products", 256): 1.5}


def ours(images: torch.Tensor, batch: int) -> Callable[[], object]:
    """One CD-1 epoch of helpers.rbm, from fresh weights."""
    plan = rbm.Plan(epochs=1, batch=batch, rate=0.1, centred=False, decay=False)
    start = rbm.create(images.shape[1], HIDDEN, torch.Generator().manual_seed(0))
    return lambda: rbm.fit(start, images, plan, np.random.Generator(np.random.SFC64(0)))


def bare(images: torch.Tensor, batch: int) -> Callable[[], object]:
    """The matrix products of that epoch and nothing else, into memory that is there already."""
    v, W = images[:batch].clone(), 0.01 * torch.randn(images.shape[1], HIDDEN)
    h, back, up = torch.rand(batch, HIDDEN), torch.empty_like(v), torch.empty(batch, HIDDEN)
    X, Y = torch.cat((v, v)), torch.cat((h, -h))

    def epoch() -> None:
        for _ in range(-(-len(images) // batch)):
            torch.mm(v, W, out=up)  # positive phase
            torch.mm(h, W.T, out=back)  # down
            torch.mm(v, W, out=up)  # and up again
            W.addmm_(X.T, Y, alpha=1e-9)  # both halves of the gradient

    return epoch


def scikit(images: torch.Tensor, batch: int) -> Callable[[], object]:
    """One epoch of scikit-learn in float32."""
    X = images.numpy()
    return lambda: BernoulliRBM(HIDDEN, learning_rate=0.1, batch_size=batch, n_iter=1, random_state=0).fit(X)


def race(contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Fewest CPU seconds of every contestant over ROUNDS turns."""
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(ROUNDS):
        for name, epoch in contestants.items():
            start = time.process_time()
            epoch()
            best[name] = min(best[name], time.process_time() - start)
    return best


def main() -> None:
    """Race at both batch sizes, print the table and write it to benchmarks/results."""
    torch.set_num_threads(1)
    images = (torch.tensor(data.mnist().train_images.reshape(-1, 784)) > 127).float()
    lines = ["| batch | contestant | CPU s an epoch | helpers.rbm / it | target |", "|---|---|---|---|---|"]
    for batch in (64, 256):
        contestants = {"helpers.rbm CD-1": ours(images, batch), "bare products": bare(images, batch)}
        if sklearn:
            contestants["scikit-learn"] = scikit(images, batch)
        best = race(contestants)
        for name, seconds in best.items():
            target = TARGETS.get((name, batch))
            goal = f"<= {target}" if target else "-"
            lines.append(f"| {batch} | {name} | {seconds:.2f} | {best['helpers.rbm CD-1'] / seconds:.2f} | {goal} |")
    peer = f"scikit-learn {sklearn.__version__}" if sklearn else "scikit-learn is not installed here, so it is missing"
    lines += ["", f"One thread; torch {torch.__version__}, numpy {np.__version__}, {peer}."]
    text = "\n".join(lines)
    print(text)
    (Path(__file__).parent / "results" / "03_rbm_restoration.md").write_text(f"# 03 RBM: a CD-1 epoch\n\n{text}\n")


if __name__ == "__main__":
    main()
