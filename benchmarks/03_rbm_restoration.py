"""A CD-1 epoch on MNIST (60,000 digits, 500 hidden units, float32, one thread) against its rivals.

Rivals: scikit-learn's BernoulliRBM (PCD-1, the same five products a step) and the bare matrix products of the epoch.
CPU seconds of this process; the contestants take turns, a tenth of the epoch each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from benchmarks.record import Row, present, save, table
from helpers import data, rbm

HIDDEN = 500
PEER = "scikit-learn"
TARGETS = {(PEER, 64): "<= 0.6", ("bare products", 64): "<= 1.5", ("bare products", 256): "<= 1.5"}


def ours(batch: int) -> Callable[[torch.Tensor], object]:
    """CD-1 of helpers.rbm on a share of the digits."""
    plan = rbm.Plan(epochs=1, batch=batch, rate=0.1, centred=False, decay=False)
    start = rbm.create(784, HIDDEN, torch.Generator().manual_seed(0))
    return lambda images: rbm.fit(start, images, plan, np.random.Generator(np.random.SFC64(0)))


def bare(batch: int) -> Callable[[torch.Tensor], object]:
    """The matrix products of the same steps and nothing else, into memory that is there already."""
    v, W = (torch.rand(batch, 784) < 0.2).float(), 0.01 * torch.randn(784, HIDDEN)
    h, back, up = torch.rand(batch, HIDDEN), torch.empty_like(v), torch.empty(batch, HIDDEN)
    X, Y = torch.cat((v, v)), torch.cat((h, -h))

    def products(images: torch.Tensor) -> None:
        for _ in range(-(-len(images) // batch)):
            torch.mm(v, W, out=up)  # positive phase
            torch.mm(h, W.T, out=back)  # down
            torch.mm(v, W, out=up)  # and up again
            W.addmm_(X.T, Y, alpha=1e-9)  # both halves of the gradient

    return products


def scikit(batch: int) -> Callable[[torch.Tensor], object]:
    """scikit-learn in float32 on the same digits."""
    from sklearn.neural_network import BernoulliRBM

    machine = BernoulliRBM(HIDDEN, learning_rate=0.1, batch_size=batch, n_iter=1, random_state=0)
    return lambda images: machine.fit(images.numpy())


def race(contestants: dict[str, Callable[[torch.Tensor], object]], images: torch.Tensor) -> dict[str, float]:
    """CPU seconds of every contestant for all digits, taken in turns of a tenth, so that all see the same weather."""
    spent = dict.fromkeys(contestants, 0.0)
    for share in images.split(len(images) // 10):
        for name, work in contestants.items():
            start = time.process_time()
            work(share)
            spent[name] += time.process_time() - start
    return spent


def main() -> None:
    """Race at both batch sizes and write the table."""
    torch.set_num_threads(1)
    images = (torch.tensor(data.mnist().train_images.reshape(-1, 784)) > 127).float()
    peers, lines, rows = present(f"{PEER}==1.9.1"), [], []
    for batch in (64, 256):
        contestants = {"helpers.rbm CD-1": ours(batch), "bare products": bare(batch)}
        contestants |= {name: scikit(batch) for name in peers}
        spent = {name: f"{seconds:.2f}" for name, seconds in race(contestants, images).items()}
        lines += [(batch, name, seconds) for name, seconds in spent.items()]
        what, mine = f"CD-1, batch {batch}, CPU s an epoch", spent["helpers.rbm CD-1"]
        for name in ("bare products", PEER):
            rows.append(Row(what, mine, name, spent.get(name, ""), TARGETS.get((name, batch), "")))
    text = table("| batch | contestant | CPU s an epoch |", lines)
    save("03_rbm_restoration", ["A CD-1 epoch, one thread.", "", *text], rows, peers)


if __name__ == "__main__":
    main()
