"""Energy gradient, stochastic reconfiguration in both of its forms, Adam, and the optimisation loop."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from helpers.spins import Bonds
from helpers.vmc.rbm import Ansatz, amplitude_derivatives, flatten, log_amplitude, unflatten
from helpers.vmc.sampling import random_spins, sweep
from helpers.vmc.statistics import autocorrelation_time, binned_error
from helpers.vmc.swaps import Walkers, local_energies


def _centred(derivatives: Tensor, energies: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """sqrt(w) (O - <O>) and sqrt(w) (E - <E>), weights summing to one: products of the two are covariances."""
    samples = derivatives.shape[:1]
    if derivatives.ndim != 2 or energies.shape != samples or (weights is not None and weights.shape != samples):
        given = [tuple(tensor.shape) for tensor in (derivatives, energies, weights) if tensor is not None]
        raise ValueError(
            "need derivatives (samples, parameters), energies (samples,) and weights (samples,) or none, "
            f"got {', '.join(map(str, given))}"
        )
    if weights is None:
        centred, deviation, root = derivatives - derivatives.mean(dim=0), energies - energies.mean(), samples[0] ** -0.5
        return centred.mul_(root), deviation.to(centred.dtype).mul(root)
    share = weights.to(derivatives.dtype) / weights.to(derivatives.dtype).sum()
    root = share.sqrt()
    energies = energies.to(derivatives.dtype)
    return (derivatives - share @ derivatives) * root[:, None], (energies - share @ energies) * root


def energy_gradient(derivatives: Tensor, energies: Tensor, real: bool = False, weights: Tensor | None = None) -> Tensor:
    """Note Eq. (66): g = <O* E_loc> - <O*><E_loc>, the derivative dE/d theta* for complex parameters.

    With real=True the parameters are real and the derivative dE/d theta is 2 Re g. derivatives O (samples, parameters),
    energies (samples,), samples of |psi|^2, or of another distribution with its weights (samples,); returns
    (parameters,).
    """
    centred, deviation = _centred(derivatives, energies, weights)
    g = centred.mH @ deviation
    return 2 * g.real if real else g


def sr_update(derivatives: Tensor, energies: Tensor, eps: float, weights: Tensor | None = None) -> Tensor:
    """Solve (S + eps) d = g with S = <O* O> - <O*><O> and g of Eq. (66); the smaller of two equivalent systems is used.

    derivatives O (samples, parameters) complex, energies (samples,), eps >= 0; returns d (parameters,).
    """
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    if derivatives.ndim == 2 and derivatives.shape[1] > derivatives.shape[0]:
        return minsr_update(derivatives, energies, eps, weights)
    centred, deviation = _centred(derivatives, energies, weights)
    overlap = centred.mH @ centred
    overlap.diagonal().add_(eps)
    return _positive_solve(overlap, centred.mH @ deviation)


def minsr_update(derivatives: Tensor, energies: Tensor, eps: float, weights: Tensor | None = None) -> Tensor:
    """The same d from the (samples, samples) system: d = O^+ (O O^+ + eps)^-1 (E - <E>), O centred and divided by the
    root of the number of samples (2302.01941).
    """
    centred, deviation = _centred(derivatives, energies, weights)
    kernel = centred @ centred.mH
    kernel.diagonal().add_(eps)
    return centred.mH @ _positive_solve(kernel, deviation)


def _positive_solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """Solve a Hermitian positive system by Cholesky, by least squares where it is numerically singular."""
    if matrix.device.type == "cpu":  # LAPACK itself: torch.linalg.cholesky spends half its time clearing a triangle
        solve = get_lapack_funcs("posv", dtype=matrix.numpy().dtype)
        _, solution, failed = solve(matrix.resolve_conj().numpy().T, vector.conj().resolve_conj().numpy(), lower=1)
        solution = torch.from_numpy(solution).conj()
    else:
        factor, info = torch.linalg.cholesky_ex(matrix)
        failed = int(info)
        solution = torch.cholesky_solve(vector[:, None], factor)[:, 0]
    if failed:
        return torch.linalg.pinv(matrix, hermitian=True) @ vector
    return solution.resolve_conj()


def plain_update(state: Walkers, energies: Tensor, eps: float) -> Tensor:
    """sr_update for a plain RBM, from x and tanh(theta) alone: O is never formed where its kernel is smaller.

    O O^+ = x x^T + t t^+ + (x x^T) * (t t^+), elementwise product in the last term.
    """
    x = state.spins
    t = state.tanh[:, 0, :-1]
    samples, units, sites = len(x), t.shape[1], x.shape[1]
    if sites + units + sites * units <= samples:
        weights = (t[:, :, None] * x[:, None, :]).flatten(1)
        return sr_update(torch.cat([x.to(t.dtype), t, weights], dim=1), energies, eps)
    spin, cosh = x @ x.T, t @ t.mH
    kernel = torch.view_as_complex(torch.view_as_real(cosh).mul_((spin + 1)[:, :, None]))
    kernel.real.add_(spin)
    mean = kernel.mean(dim=0)
    kernel.sub_(mean).sub_(mean.conj()[:, None] - mean.mean().real)
    kernel.diagonal().add_(eps * samples)
    v = _positive_solve(kernel, (energies - energies.mean()).to(t.dtype))
    v = v - v.mean()
    tv = t.conj() * v[:, None]
    xc = x.to(t.dtype)
    return torch.cat([xc.T @ v, tv.sum(dim=0), (tv.T @ xc).flatten()])


class Step(NamedTuple):
    """One optimisation step: energy, its standard error and variance of E_loc (totals, J1), acceptance, new ansatz.

    spins (chains, sites) is where the chains stand, distributed as |psi|^power of the ansatz before the step.
    """

    energy: float
    error: float
    variance: float
    acceptance: float
    ansatz: Ansatz
    spins: Tensor


class Adam:
    """Adam on a complex vector (1412.6980), with |g|^2 as second moment."""

    def __init__(self, rate: float, decay: tuple[float, float] = (0.9, 0.999)) -> None:
        self.rate, self.decay, self.step, self.first, self.second = rate, decay, 0, 0.0, 0.0

    def __call__(self, gradient: Tensor) -> Tensor:
        """The displacement to subtract from the parameters."""
        a, b = self.decay
        self.step += 1
        self.first = a * self.first + (1 - a) * gradient
        self.second = b * self.second + (1 - b) * gradient.abs().square()
        scale = (self.second / (1 - b**self.step)).sqrt() + 1e-8
        return self.rate * self.first / (1 - a**self.step) / scale


def optimise(
    bonds: Bonds,
    ansatz: Ansatz,
    generator: torch.Generator,
    *,
    steps: int,
    chains: int = 1024,
    sweeps: int = 1,
    pairs: Tensor | None = None,
    rate: float = 0.1,
    eps: float = 0.01,
    final: float = 1.0,
    power: float = 2.0,
    adam: Adam | None = None,
) -> Iterator[Step]:
    """Variational Monte Carlo: sample, measure, update, one Step at a time, so that a loop can plot while it trains.

    rate and eps fall geometrically to `final` times their value over the run. With `adam` the gradient goes through it
    instead of stochastic reconfiguration. Chains persist, with `sweeps` between steps; five precede the first. pairs
    (default: the bonds) are the exchanges proposed. The chains sample |psi|^power and weigh |psi|^(2 - power): below 2
    they also visit, and so correct, configurations that psi wrongly holds rare (2507.05352).
    """
    if steps < 1 or chains < 2 or not 0 < power <= 2:
        raise ValueError(f"need a step, two chains and 0 < power <= 2, got {steps}, {chains} and {power}")
    spins = random_spins(chains, bonds.sites, generator)
    pairs = bonds.pairs if pairs is None else pairs
    spins = sweep(spins, ansatz, pairs, generator, 5, power)[0].spins
    for step in range(steps):
        state, acceptance = sweep(spins, ansatz, pairs, generator, sweeps, power)
        spins = state.spins
        energies, weights = local_energies(spins, ansatz, bonds, state), _weights(spins, ansatz, power)
        decay = final ** (step / steps)
        update = _update(ansatz, state, energies, eps * decay, adam, weights) * (1.0 if adam else rate * decay)
        share = torch.full((chains,), 1 / chains, device=spins.device) if weights is None else weights
        mean = (share * energies).sum()
        square = (energies - mean).abs().square()
        error, variance = float((share.square() * square).sum()) ** 0.5, float((share * square).sum())
        ansatz = ansatz._replace(rbm=unflatten(flatten(ansatz.rbm) - update, ansatz.rbm))
        yield Step(float(mean.real), error, variance, acceptance, ansatz, spins)


def _weights(spins: Tensor, ansatz: Ansatz, power: float) -> Tensor | None:
    """|psi|^(2 - power), summing to one: from samples of |psi|^power to means over |psi|^2; none if all are equal."""
    return None if power == 2 else torch.softmax((2 - power) * log_amplitude(spins, ansatz).real, dim=0)


def _update(
    ansatz: Ansatz, state: Walkers, energies: Tensor, eps: float, adam: Adam | None, weights: Tensor | None
) -> Tensor:
    if adam is None and weights is None and ansatz.shared is None and ansatz.projection is None:
        return plain_update(state, energies, eps)
    derivatives = amplitude_derivatives(state.spins, ansatz)
    if adam is None:
        return sr_update(derivatives, energies, eps, weights)
    return adam(energy_gradient(derivatives, energies, weights=weights))


class Estimate(NamedTuple):
    """Energy and its standard error and variance (totals, J1), acceptance, autocorrelation time in sweeps, series."""

    energy: float
    error: float
    variance: float
    acceptance: float
    tau: float
    series: Tensor  # (chains, sweeps) real


def measure(
    bonds: Bonds,
    ansatz: Ansatz,
    generator: torch.Generator,
    *,
    chains: int = 1024,
    sweeps: int = 64,
    burn: int | None = None,
    start: Tensor | None = None,
) -> Estimate:
    """Estimate the energy of a fixed wavefunction: `burn` sweeps unrecorded, then `sweeps` recorded ones.

    start (chains, sites): chains near |psi|^2 already, such as `Step.spins`; 20 sweeps let them forget the last step.
    `chains` random ones may stand where psi is tiny, and E_loc huge: they burn 20 sweeps a site, as spins spread by
    exchanges. The error is that of the chain means, which are independent of one another.
    """
    if start is not None and (start.ndim != 2 or start.shape[1] != bonds.sites):
        raise ValueError(f"start must be (chains, {bonds.sites}), got {tuple(start.shape)}")
    spins = random_spins(chains, bonds.sites, generator) if start is None else start
    for _ in range((20 * bonds.sites if start is None else 20) if burn is None else burn):
        spins = sweep(spins, ansatz, bonds.pairs, generator)[0].spins
    series, accepted = [], 0.0
    for _ in range(sweeps):
        state, acceptance = sweep(spins, ansatz, bonds.pairs, generator)
        spins, accepted = state.spins, accepted + acceptance / sweeps
        series.append(local_energies(spins, ansatz, bonds, state))
    energies = torch.stack(series, dim=1)
    variance = float((energies - energies.mean()).abs().square().mean())
    error = binned_error(energies.real, sweeps)
    tau = autocorrelation_time(energies.real) if sweeps >= 4 else float("nan")
    return Estimate(float(energies.mean().real), error, variance, accepted, tau, energies.real)
