"""One training step of a Monge-Ampere flow (float32, one thread): helpers.monge_ampere against two rivals.

Rivals: the published algorithm written down literally (dense diagonal products, the layer evaluated anew for gradient
and Laplacian, plain backprop through every RK4 stage), and odeint_adjoint of torchdiffeq with fixed rk4 steps. Each
contestant steps in a fresh process of its own: CPU seconds, and the peak of its memory.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import torch

from benchmarks.record import Row, present, save, table
from helpers import monge_ampere as ma

ROUNDS, PATIENCE = 2, 4.0
PEER = "torchdiffeq odeint_adjoint rk4"
SIZES = {  # dim, hidden, batch, RK4 steps
    "d = 64, 50 steps": (64, 512, 64, 50),
    "d = 64, 100 steps": (64, 512, 64, 100),
    "d = 784, 50 steps": (784, 1024, 100, 50),
    "d = 784, 100 steps": (784, 1024, 100, 100),
}
TARGETS = {"plain": "<= 0.25", "checkpoint": "<= 0.35"}
Step = Callable[[], float]


class Literal(torch.nn.Module):
    """phi = w2 . softplus(W1 x + b): the layer is evaluated for the gradient, and once more for the Laplacian."""

    def __init__(self, layer: ma.Layer):
        super().__init__()
        self.W1, self.b, self.w2 = (torch.nn.Parameter(p.detach().clone()) for p in (layer.W, layer.b, layer.a))

    def grad(self, x: torch.Tensor) -> torch.Tensor:
        slope = torch.sigmoid(x @ self.W1.t() + self.b)
        return slope @ torch.diag(self.w2) @ self.W1

    def laplacian(self, x: torch.Tensor) -> torch.Tensor:
        slope = torch.sigmoid(x @ self.W1.t() + self.b)
        return (slope * (1 - slope) @ torch.diag(self.w2) @ self.W1**2).sum(1)


def problem(size: tuple[int, int, int, int]) -> tuple[ma.OneHidden, torch.Tensor]:
    dim, hidden, batch, _ = size
    generator = torch.Generator().manual_seed(0)
    potential = ma.OneHidden(dim, hidden, dtype=torch.float32, generator=generator)
    return potential, torch.randn(batch, dim, generator=generator)


def loss_of(x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    return (change + 0.5 * (x * x).sum(1)).mean()


def ours(gradient: str) -> Callable[..., Step]:
    def make(size: tuple[int, int, int, int]) -> Step:
        potential, z = problem(size)

        def step() -> float:
            loss = loss_of(*ma.integrate(potential, z, 0.0, 1.0, size[3], gradient=gradient))
            loss.backward()
            return float(loss.detach())

        return step

    return make


def literal(size: tuple[int, int, int, int]) -> Step:
    potential, z = problem(size)
    net, h = Literal(potential.layer()), 1.0 / size[3]

    def rate(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return net.grad(x), -net.laplacian(x)

    def step() -> float:
        x, log_p = z, torch.zeros(len(z))
        for _ in range(size[3]):
            k1, l1 = rate(x)
            k2, l2 = rate(x + h / 2 * k1)
            k3, l3 = rate(x + h / 2 * k2)
            k4, l4 = rate(x + h * k3)
            x, log_p = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), log_p + h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
        loss = loss_of(x, log_p)
        loss.backward()
        return float(loss.detach())

    return step


def torchdiffeq_adjoint(size: tuple[int, int, int, int]) -> Step:
    from torchdiffeq import odeint_adjoint

    potential, z = problem(size)

    class Rate(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.potential = potential

        def forward(
            self, t: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
        ) -> tuple[torch.Tensor, torch.Tensor]:
            grad, lap = self.potential.gradient_laplacian(state[0], t)
            return grad, -lap

    rate, options = Rate(), {"step_size": 1.0 / size[3]}

    def step() -> float:
        start, times = (z, torch.zeros(len(z))), torch.tensor([0.0, 1.0])
        x, change = odeint_adjoint(rate, start, times, method="rk4", options=options, adjoint_options=options)
        loss = loss_of(x[-1], change[-1])
        loss.backward()
        return float(loss.detach())

    return step


LITERAL = "published algorithm, literally"
CONTESTANTS = {
    LITERAL: literal,
    "plain": ours("backprop"),
    "checkpoint": ours("checkpoint"),
    PEER: torchdiffeq_adjoint,
}


def trial(name: str, label: str) -> tuple[float, float]:
    """CPU seconds of a training step and MiB above the bare import, from a fresh process of its own."""
    command = [sys.executable, __file__, name, label]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory = out.stdout.split()[-2:]
    return float(seconds), float(memory)


def run_trial(name: str, label: str) -> None:
    """Print the least CPU time of `ROUNDS` steps after a first one (long ones are timed once), and the peak memory."""
    torch.ones(4, 4) @ torch.ones(4, 4)
    before = resident()
    step = CONTESTANTS[name](SIZES[label])
    times = []
    while len(times) <= ROUNDS and sum(times) < PATIENCE:
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    print(min(times[1:] or times), resident() - before)


def resident() -> float:
    """Peak resident size in MiB; on Linux from the kernel's own line, since getrusage remembers the parent's peak."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(label: str, found: dict[str, tuple[str, str]]) -> list[Row]:
    """Our two ways beside the two rivals: time, and at d = 784 memory."""
    rows = []
    for name, target in TARGETS.items():
        rows.append(Row(f"{label}, {name}, CPU s a step", found[name][0], LITERAL, found[LITERAL][0], target))
    mine, theirs = found["checkpoint"], found.get(PEER, ("", ""))
    rows.append(Row(f"{label}, checkpoint, CPU s a step", mine[0], PEER, theirs[0], "<= 0.8"))
    goal = "<= 0.1" if "784" in label else ""
    return [*rows, Row(f"{label}, checkpoint, MiB", mine[1], LITERAL, found[LITERAL][1], goal)]


def main() -> None:
    """Measure every size and write the table after each; with two arguments, one trial in this process."""
    torch.set_num_threads(1)
    if len(sys.argv) == 3:
        run_trial(*sys.argv[1:])
        return
    peers, lines, rows = present("torchdiffeq==0.2.5"), [], []
    about = f"One training step, float32, one thread. CPU seconds, least of {ROUNDS} after a first step (steps over "
    about += f"{PATIENCE} s once); MiB above the bare import."
    for label in SIZES:
        found = {}
        for name in CONTESTANTS if peers else list(CONTESTANTS)[:-1]:
            seconds, memory = trial(name, label)
            found[name] = f"{seconds:.3f}", f"{memory:.0f}"
            lines.append((label, name, *found[name]))
        rows += compare(label, found)
        text = table("| size | contestant | CPU s | MiB |", lines)
        save("05_monge_ampere_flow", [about, "", *text], rows, peers)


if __name__ == "__main__":
    main()
