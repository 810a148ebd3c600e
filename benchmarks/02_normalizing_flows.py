"""Real NVP of helpers.flows against zuko, normflows and nflows: seconds per training step, and the NLL they buy.

Eight couplings, two hidden ReLU layers, float32, one thread, the same fused Adam (1e-3) for all.  CPU seconds of this
process: the contestants take turns of a few steps, and the fastest turn counts.  The NLL is that of held-out points of
the 2-D ring (entropy 3.0337 nats) after the same number of steps on the same batches, averaged over seeds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from statistics import mean, stdev
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from benchmarks.record import Row, present, save, table
from helpers import data, flows

PEERS = ("zuko==1.6.0", "normflows==1.7.3", "nflows==0.14")
STEPS, SEEDS, BATCH = 1000, range(1, 9), 1024
TARGETS = {"2-D": "<= 0.65", "784-D": "<= 0.85"}  # of zuko's time


class Contestant(NamedTuple):
    """A model and its loss: mean NLL of a batch (batch, dim), in nats."""

    model: nn.Module
    nll: Callable[[Tensor], Tensor]


def ours(dim: int, hidden: int) -> Contestant:
    """Eight affine couplings on alternating halves."""
    flow = flows.real_nvp(dim, 8, (hidden, hidden), first=3.0, dtype=torch.float32)
    flow.bijector.steps = flow.bijector.steps[:-1]  # without the closing diagonal layer, which the peers lack
    return Contestant(flow, lambda x: -flow.log_prob(x).mean())


def zuko(dim: int, hidden: int) -> Contestant:
    """zuko.flows.RealNVP as documented."""
    import zuko

    flow = zuko.flows.RealNVP(dim, transforms=8, hidden_features=(hidden, hidden))
    return Contestant(flow, lambda x: -flow().log_prob(x).mean())


def normflows(dim: int, hidden: int) -> Contestant:
    """normflows' README example: AffineCouplingBlock and a swap, eight times."""
    import normflows as nf

    half, layers = dim // 2, []
    for _ in range(8):
        net = nf.nets.MLP([half, hidden, hidden, 2 * (dim - half)], init_zeros=True)
        layers += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(dim, mode="swap")]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)
    return Contestant(flow, flow.forward_kld)


def nflows(dim: int, hidden: int) -> Contestant:
    """nflows' SimpleRealNVP (its conditioner is a residual net of one block, hence more parameters)."""
    from nflows.flows.realnvp import SimpleRealNVP

    flow = SimpleRealNVP(dim, hidden, num_layers=8, num_blocks_per_layer=1)
    return Contestant(flow, lambda x: -flow.log_prob(x).mean())


MAKERS = {"helpers.flows": ours, "zuko": zuko, "normflows": normflows, "nflows": nflows}


def optimiser(model: nn.Module) -> torch.optim.Adam:
    """Adam with step 1e-3 and its fused kernel, the fastest that torch has for every contestant."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


def train_step(contestant: Contestant, adam: torch.optim.Adam, x: Tensor) -> None:
    """Loss, gradients, update."""
    adam.zero_grad()
    contestant.nll(x).backward()
    adam.step()


def race(field: dict[str, Contestant], x: Tensor, turns: int, steps: int) -> dict[str, float]:
    """Fewest CPU milliseconds of a training step over `turns` turns of `steps` steps each."""
    seen: dict[str, list[float]] = {name: [] for name in field}
    adams = {name: optimiser(entrant.model) for name, entrant in field.items()}
    for _ in range(turns):
        for name, entrant in field.items():
            train_step(entrant, adams[name], x)  # wakes the caches
            start = time.process_time()
            for _ in range(steps):
                train_step(entrant, adams[name], x)
            seen[name].append(1000 * (time.process_time() - start) / steps)
    return {name: min(values) for name, values in seen.items()}


def ring_nll(name: str, seed: int) -> float:
    """Held-out NLL of the ring, nats, after STEPS steps from the contestant's own initial weights."""
    torch.manual_seed(seed)
    entrant = MAKERS[name](2, 64)
    generator = torch.Generator().manual_seed(seed)
    pool, held_out = (data.ring(count, generator).float() for count in (BATCH * STEPS, 50_000))
    adam = optimiser(entrant.model)
    for x in pool.split(BATCH):
        train_step(entrant, adam, x)
    with torch.no_grad():
        return float(entrant.nll(held_out))


def size(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters())


def times(names: list[str], dim: int, hidden: int, batch: int, turns: int, steps: int) -> list[tuple[str, ...]]:
    """Dimension, name, parameters and milliseconds a step of each contestant."""
    torch.manual_seed(0)
    x = torch.randn(batch, dim)
    field = {name: MAKERS[name](dim, hidden) for name in names}
    took = race(field, x, turns, steps)
    return [(f"{dim}-D", name, str(size(field[name].model)), f"{took[name]:.2f}") for name in names]


def likelihoods(names: list[str]) -> list[tuple[str, ...]]:
    """Held-out NLL of the ring after the same number of steps: mean, spread over seeds, gap to the entropy."""
    rows = []
    for name in names:
        nll = [ring_nll(name, seed) for seed in SEEDS]
        rows.append((name, f"{mean(nll):.4f}", f"{stdev(nll):.4f}", f"{mean(nll) - data.RING_ENTROPY:.4f}"))
    return rows


def compare(raced: list[tuple[str, ...]], found: list[tuple[str, ...]]) -> list[Row]:
    """Our milliseconds and our NLL beside those of every peer, installed or not."""
    took = {(dim, name): shown for dim, name, _, shown in raced}
    nll = {name: f"{shown} ± {spread}" for name, shown, spread, _ in found}
    rows = []
    for peer in list(MAKERS)[1:]:
        for dim, target in TARGETS.items():
            goal = target if peer == "zuko" else ""
            what = f"Real NVP {dim}, CPU ms a step"
            rows.append(Row(what, took[dim, "helpers.flows"], peer, took.get((dim, peer), ""), goal))
        what = f"Real NVP, NLL of the ring after {STEPS} steps, nats"
        rows.append(Row(what, nll["helpers.flows"], peer, nll.get(peer, ""), "<= 1"))
    return rows


def main() -> None:
    """Race, train and write the tables; `--times` only races and writes nothing."""
    torch.set_num_threads(1)
    peers = present(*PEERS)
    names = ["helpers.flows", *peers]
    raced = times(names, 2, 64, BATCH, 20, 20) + times(names, 784, 512, 128, 12, 4)
    lines = table("| data | contestant | parameters | CPU ms a step |", raced)
    if "--times" in sys.argv:
        print(*lines, sep="\n")
        return
    found = likelihoods(names)
    lines += ["", f"Ring, {STEPS} steps, {len(SEEDS)} seeds:", ""]
    lines += table("| contestant | held-out NLL | s.d. over seeds | gap to the entropy |", found)
    save("02_normalizing_flows", ["Real NVP, one thread.", "", *lines], compare(raced, found), peers)


if __name__ == "__main__":
    main()
