"""Fitting a circuit: quasi-Newton on exact probabilities, Adam on measured ones, and a game against a classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from helpers.born_machine.circuit import Circuit
from helpers.born_machine.gates import qubit_count
from helpers.born_machine.loss import BANDWIDTHS, mmd_loss, total_variation, valid_rate
from helpers.born_machine.shift import parameter_shift_gradient
from helpers.born_machine.simulator import born_probabilities
from helpers.oracles import bit_strings
from helpers.training import progress


class Fit(NamedTuple):
    """Where a fit ended and how it went: theta (parameters,), loss there, one loss per step, number of starts used."""

    theta: Tensor
    loss: float
    losses: list[float]
    starts: int


class Trace(NamedTuple):
    """A noisy fit: theta (parameters,) at the end, and per step the exact loss and valid rate that nobody measures."""

    theta: Tensor
    losses: list[float]
    valid: list[float]


def random_angles(circuit: Circuit, generator: np.random.Generator) -> Tensor:
    """Angles uniform in (-pi, pi): (parameters,) float64."""
    return torch.from_numpy(generator.uniform(-pi, pi, circuit.parameters))


def near_uniform_angles(circuit: Circuit, generator: np.random.Generator, spread: float = 0.05) -> Tensor:
    """Angles that start a layered ansatz beside the uniform superposition: (parameters,) float64.

    The first Rx and the Rz after it get pi/2, which makes |+> of |0>; CNOTs leave |++...+> alone, so with all other
    angles zero the whole circuit does. To every angle comes noise, uniform in (-spread pi, spread pi).
    """
    theta = spread * random_angles(circuit, generator)
    for qubit in range(circuit.qubits):
        mine = [g for g in circuit.gates if g.qubits == (qubit,) and g.parameter is not None]
        first = next((k for k, g in enumerate(mine) if g.name == "rx"), None)
        if first is None or first + 1 == len(mine) or mine[first + 1].name != "rz":
            raise ValueError(f"qubit {qubit} has no Rx with an Rz after it: this start is for layered_ansatz")
        theta[[mine[first].parameter, mine[first + 1].parameter]] += pi / 2
    return theta


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int, goal: float = -np.inf) -> Fit:
    """L-BFGS-B (scipy) on a differentiable loss of float64 angles, until `goal`, convergence or `iterations`."""
    losses: list[float] = []

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.from_numpy(x.copy()).to(start.device).requires_grad_()
        value = loss(theta)
        (gradient,) = torch.autograd.grad(value, theta)
        return value.item(), gradient.cpu().numpy()

    def note(intermediate_result) -> None:  # scipy looks at this name
        losses.append(float(intermediate_result.fun))
        if losses[-1] <= goal:
            raise StopIteration

    options = {"maxiter": iterations, "maxfun": 20 * iterations, "maxcor": 50, "ftol": 1e-14, "gtol": 1e-10}
    x = start.detach().double().cpu().numpy()
    result = minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", callback=note, options=options)
    return Fit(torch.from_numpy(result.x).to(start), float(result.fun), losses, 1)


def fit_exact(
    circuit: Circuit,
    target: Tensor,
    generator: np.random.Generator,
    *,
    bandwidths: Sequence[float] = BANDWIDTHS,
    kernel: str = "bits",
    goal: float = 0.0,
    iterations: int = 800,
    starts: int = 12,
    draw: Callable[[Circuit, np.random.Generator], Tensor] = near_uniform_angles,
) -> Fit:
    """The best of several random starts of L-BFGS-B on the exact MMD loss; the first to reach `goal` ends the search.

    target: (2^n,) float64. `draw` makes random starts from `generator` one after the other and none is dropped or
    chosen: `starts` of the answer says how many it took. The losses are those of the start that won.
    """
    _check_target(circuit, target)
    best: Fit | None = None
    bar = progress(range(starts), "L-BFGS-B starts")
    for start in bar:
        angles = draw(circuit, generator).to(target.device)
        fit = minimise(
            lambda theta: mmd_loss(born_probabilities(circuit, theta), target, bandwidths, kernel),
            angles,
            iterations=iterations,
            goal=goal,
        )
        if best is None or fit.loss < best.loss:
            best = fit
        best = best._replace(starts=start + 1)
        bar.set_postfix(mmd=f"{best.loss:.1e}")
        if best.loss <= goal:
            bar.close()
            break
    return best


def fit_adam(
    circuit: Circuit,
    target: Tensor,
    start: Tensor,
    *,
    steps: int,
    rate: float = 0.1,
    shots: int | None = None,
    generator: np.random.Generator | None = None,
    bandwidths: Sequence[float] = BANDWIDTHS,
    kernel: str = "bits",
) -> Trace:
    """Adam on the parameter-shift gradient, its rate falling along a cosine; `shots=None` means exact probabilities."""
    _check_target(circuit, target)
    theta = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([theta], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    trace = Trace(theta.detach(), [], [])
    bar = progress(range(steps), f"Adam, {shots or 'exact'} shots" if shots else "Adam, exact")
    for step in bar:
        p = born_probabilities(circuit, theta)
        loss = mmd_loss(p, target, bandwidths, kernel)
        if shots is None:
            (theta.grad,) = torch.autograd.grad(loss, theta)
        else:
            theta.grad = parameter_shift_gradient(
                circuit, theta.detach(), target, bandwidths, kernel, shots=shots, generator=generator
            )
        trace.losses.append(loss.item())
        trace.valid.append(valid_rate(p.detach(), target).item())
        optimiser.step()
        schedule.step()
        if step % 20 == 0:
            bar.set_postfix(valid=f"{trace.valid[-1]:.3f}")
    return trace


def fit_adversarial(
    circuit: Circuit,
    target: Tensor,
    start: Tensor,
    generator: torch.Generator,
    *,
    steps: int = 1500,
    rates: tuple[float, float] = (0.02, 0.05),
    hidden: int = 32,
) -> tuple[Tensor, list[float]]:
    """The circuit against a classifier D of bit strings: D tells data from circuit, the circuit makes D err.

    D maximises sum_x q ln D + p ln(1 - D); the circuit minimises - sum_x p ln D. Sums run over all x, so this is the
    game in the limit of many shots. target: (2^n,). Returns theta and the total variation distance at every step.
    """
    _check_target(circuit, target)
    n = qubit_count(len(target))
    bits = torch.from_numpy(bit_strings(n)).to(target) * 2 - 1
    critic = [
        (torch.randn(a, b, generator=generator, dtype=target.dtype) / a**0.5).to(target.device).requires_grad_()
        for a, b in ((n + 1, hidden), (hidden + 1, hidden), (hidden + 1, 1))
    ]
    theta = start.clone().requires_grad_()
    players = torch.optim.Adam([theta], lr=rates[0]), torch.optim.Adam(critic, lr=rates[1], weight_decay=1e-3)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(p, steps) for p in players]
    distances: list[float] = []
    for _ in progress(range(steps), "circuit against critic"):
        p = born_probabilities(circuit, theta)
        distances.append(total_variation(p.detach(), target).item())
        logit = _critic(critic, bits)
        doubt = torch.nn.functional.softplus
        critic_loss = (target * doubt(-logit) + p.detach() * doubt(logit)).sum()
        circuit_loss = (p * doubt(-logit).detach()).sum()
        theta.grad, *slopes = (
            *torch.autograd.grad(circuit_loss, theta),
            *torch.autograd.grad(critic_loss, critic),
        )
        for weight, slope in zip(critic, slopes, strict=True):
            weight.grad = slope
        for move in (*players, *schedules):
            move.step()
    return theta.detach(), distances


def _critic(weights: list[Tensor], bits: Tensor) -> Tensor:
    """A perceptron with two hidden layers: (2^n, n) of +-1 -> logit (2^n,) of "this is data"."""
    x = bits
    for number, weight in enumerate(weights):
        x = torch.nn.functional.pad(x, (0, 1), value=1.0) @ weight
        if number < len(weights) - 1:
            x = torch.tanh(x)
    return x[:, 0]


def _check_target(circuit: Circuit, target: Tensor) -> None:
    if target.shape != (1 << circuit.qubits,):
        raise ValueError(
            f"a target for {circuit.qubits} qubits has shape ({1 << circuit.qubits},), got {tuple(target.shape)}"
        )
