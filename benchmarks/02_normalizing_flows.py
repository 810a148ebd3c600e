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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from helpers import data, flows

PEERS = ("zuko", "normflows", "nflows")
STEPS, SEEDS, BATCH = 1000, (1, 2, 3), 1024


class Contestant(NamedTuple):
    """A model and its loss: mean NLL of a batch (batch, dim), in nats."""

    model: nn.Module
    nll: Callable[[Tensor], Tensor]


def ours(dim: int, hidden: int) -> Contestant:
    """Eight affine couplings on alternating halves."""
    flow = flows.real_nvp(dim, 8, (hidden, hidden), dtype=torch.float32)
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


def entrants(dim: int, hidden: int) -> dict[str, Contestant]:
    """Everyone that is installed, by name."""
    makers = {"helpers.flows": ours, "zuko": zuko, "normflows": normflows, "nflows": nflows}
    return {name: make(dim, hidden) for name, make in makers.items() if name not in PEERS or installed(name)}


def installed(name: str) -> str:
    """Version of an installed package, or the empty string."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


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
    entrant = entrants(2, 64)[name]
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


def times(dim: int, hidden: int, batch: int, turns: int, steps: int, target: float) -> list[str]:
    """Table rows of one size: parameters, milliseconds a step, and our share of each."""
    torch.manual_seed(0)
    x = torch.randn(batch, dim)
    field = entrants(dim, hidden)
    took = race(field, x, turns, steps)
    rows = []
    for name, entrant in field.items():
        share = f"{took['helpers.flows'] / took[name]:.2f}" + (f" (goal {target})" if name == "zuko" else "")
        rows.append(f"| {dim}-D | {name} | {size(entrant.model)} | {took[name]:.2f} | {share} |")
    return rows


def likelihoods() -> list[str]:
    """Table rows: held-out NLL of the ring after the same number of steps, mean and spread over seeds."""
    rows = []
    for name in ("helpers.flows", *filter(installed, PEERS)):
        nll = [ring_nll(name, seed) for seed in SEEDS]
        gap = mean(nll) - data.RING_ENTROPY
        rows.append(f"| {name} | {mean(nll):.4f} | {stdev(nll):.4f} | {gap:.4f} |")
    return rows


def main() -> None:
    """Race, train, print the tables and write them to benchmarks/results; `--times` only races and writes nothing."""
    torch.set_num_threads(1)
    present = [name for name in PEERS if installed(name)]
    missing = [name for name in PEERS if name not in present]
    lines = ["- " + ", ".join(f"{name} {installed(name)}" for name in ("torch", *present))]
    lines += [f"- not installed, so not measured: {', '.join(missing)}"] if missing else []
    lines += ["", "| data | contestant | parameters | CPU ms a step | ours / it |", "|---|---|---|---|---|"]
    lines += times(2, 64, BATCH, 20, 20, 0.65) + times(784, 512, 128, 12, 4, 0.85)
    if "--times" not in sys.argv:
        lines += ["", f"Ring, {STEPS} steps, {len(SEEDS)} seeds (goal: the lowest NLL at equal parameters)", ""]
        lines += ["| contestant | held-out NLL | s.d. over seeds | gap to the entropy |", "|---|---|---|---|"]
        lines += likelihoods()
    text = "\n".join(["# Real NVP, one thread", "", *lines, ""])
    print(text)
    if "--times" not in sys.argv:
        Path(__file__).parent.joinpath("results", "02_normalizing_flows.md").write_text(text)


if __name__ == "__main__":
    main()
