"""Answers to chapter 05: the mistakes that people make, and right answers written in other ways than ours."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import linalg

from helpers import monge_ampere as ma
from tests.suite import Suite

suite = Suite("monge_ampere_flow")
right, wrong = suite.right, suite.wrong
F = torch.nn.functional

# ---------------------------------------------------------------------------------------------- gaussian_brenier_map


def brenier_by_scipy(S0, S1):
    root = linalg.sqrtm(S0.numpy()).real
    inverse = np.linalg.inv(root)
    return torch.from_numpy(inverse @ linalg.sqrtm(root @ S1.numpy() @ root).real @ inverse)


def brenier_from_the_target(S0, S1):
    """A = S1^(1/2) (S1^(1/2) S0 S1^(1/2))^(-1/2) S1^(1/2)."""
    root = ma.symmetric_sqrt(S1)
    middle = root @ S0 @ root
    return root @ torch.linalg.inv(ma.symmetric_sqrt((middle + middle.T) / 2)) @ root


def brenier_geometric_mean(S0, S1):
    """The geometric mean of S0^(-1) and S1, through S0^(-1) (S0 S1)^(1/2)."""
    return torch.from_numpy(np.linalg.solve(S0.numpy(), linalg.sqrtm((S0 @ S1).numpy()).real))


def brenier_cholesky(S0, S1):
    return torch.linalg.cholesky(S1) @ torch.linalg.inv(torch.linalg.cholesky(S0))


def brenier_two_roots(S0, S1):
    return ma.symmetric_sqrt(S1) @ torch.linalg.inv(ma.symmetric_sqrt(S0))


def brenier_no_inner_root(S0, S1):
    root = ma.symmetric_sqrt(S0)
    inverse = torch.linalg.inv(root)
    return inverse @ (root @ S1 @ root) @ inverse


def brenier_backwards(S0, S1):
    return ma.gaussian_brenier_map(S1, S0)


def brenier_no_inverse(S0, S1):
    return ma.symmetric_sqrt(S1) @ ma.symmetric_sqrt(S0)


def brenier_negative(S0, S1):
    return -ma.gaussian_brenier_map(S0, S1)


def brenier_elementwise_root(S0, S1):
    return torch.sqrt(S1.abs() / S0.abs())


right("gaussian_brenier_map", ma.gaussian_brenier_map)
right("gaussian_brenier_map", brenier_by_scipy)
right("gaussian_brenier_map", brenier_from_the_target)
right("gaussian_brenier_map", brenier_geometric_mean)
wrong("gaussian_brenier_map", "triangular", brenier_cholesky)
wrong("gaussian_brenier_map", "commute", brenier_two_roots)
wrong("gaussian_brenier_map", "inner square root", brenier_no_inner_root)
wrong("gaussian_brenier_map", "turn it round", brenier_backwards)
wrong("gaussian_brenier_map", "should be inverse", brenier_no_inverse)
wrong("gaussian_brenier_map", "not convex", brenier_negative)
wrong("gaussian_brenier_map", "is not S1", brenier_elementwise_root)

# ------------------------------------------------------------------------------------------ potential_grad_laplacian


def potential_by_autograd(x, W, b, a):
    x = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad((F.softplus(x @ W.T + b) @ a).sum(), x, create_graph=True)
    lap = sum(torch.autograd.grad(grad[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1]))
    return grad, lap


def potential_by_einsum(x, W, b, a):
    e = torch.tanh((torch.einsum("bd,hd->bh", x, W) + b) / 2)
    grad = torch.einsum("h,bh,hd->bd", a, (1 + e) / 2, W)
    return grad, torch.einsum("h,bh,hd,hd->b", a, (1 - e * e) / 4, W, W)


def _potential(x, W, b, a, slope=torch.sigmoid, bend=None):
    u = x @ W.T + b
    s = torch.sigmoid(u)
    bend = s * (1 - s) if bend is None else bend(u)
    return (a * slope(u)) @ W, bend @ (a * (W * W).sum(1))


def potential_w_once(x, W, b, a):
    s = torch.sigmoid(x @ W.T + b)
    return (a * s) @ W, (s * (1 - s)) @ (a * W.sum(1))


def potential_sigma_in_laplacian(x, W, b, a):
    return _potential(x, W, b, a, bend=torch.sigmoid)


def potential_no_amplitude(x, W, b, a):
    return _potential(x, W, b, torch.ones_like(a))


def potential_softplus_for_sigma(x, W, b, a):
    return _potential(x, W, b, a, slope=F.softplus)


def potential_sigma_squared(x, W, b, a):
    return _potential(x, W, b, a, bend=lambda u: torch.sigmoid(u) ** 2)


def potential_downhill(x, W, b, a):
    grad, lap = _potential(x, W, b, a)
    return -grad, -lap


def potential_mean_laplacian(x, W, b, a):
    grad, lap = _potential(x, W, b, a)
    return grad, lap / x.shape[1]


def potential_square_of_the_sum(x, W, b, a):
    s = torch.sigmoid(x @ W.T + b)
    return (a * s) @ W, (s * (1 - s)) @ (a * W.sum(1) ** 2)


def potential_overflows(x, W, b, a):
    e = torch.exp(x @ W.T + b)
    return (a * e / (1 + e)) @ W, (e / (1 + e) ** 2) @ (a * (W * W).sum(1))


right("potential_grad_laplacian", ma.potential_grad_laplacian)
right("potential_grad_laplacian", potential_by_autograd)
right("potential_grad_laplacian", potential_by_einsum)
wrong("potential_grad_laplacian", "W²", potential_w_once)
wrong("potential_grad_laplacian", "σ where σ' belongs", potential_sigma_in_laplacian)
wrong("potential_grad_laplacian", "amplitudes a are missing", potential_no_amplitude)
wrong("potential_grad_laplacian", "not softplus itself", potential_softplus_for_sigma)
wrong("potential_grad_laplacian", "1 - σ is missing", potential_sigma_squared)
wrong("potential_grad_laplacian", "downhill", potential_downhill)
wrong("potential_grad_laplacian", "not a mean", potential_mean_laplacian)
wrong("potential_grad_laplacian", "square first", potential_square_of_the_sum)
wrong("potential_grad_laplacian", "overflows|NaN", potential_overflows)

# ---------------------------------------------------------------------------------------------------------- rk4_step


def rk4_written_out(potential, x, log_p, t, h):
    k1, l1 = potential.gradient_laplacian(x, t)
    k2, l2 = potential.gradient_laplacian(x + h / 2 * k1, t + h / 2)
    k3, l3 = potential.gradient_laplacian(x + h / 2 * k2, t + h / 2)
    k4, l4 = potential.gradient_laplacian(x + h * k3, t + h)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), log_p - h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)


def rk4_on_the_joint_state(potential, x, log_p, t, h):
    def rate(y, s):
        grad, lap = potential.gradient_laplacian(y[:, :-1], s)
        return torch.cat([grad, -lap[:, None]], 1)

    y = torch.cat([x, log_p[:, None]], 1)
    half = t + h / 2
    k1 = rate(y, t)
    k2 = rate(y + h * k1 / 2, half)
    k3 = rate(y + h * k2 / 2, half)
    y = y + h * (k1 + 2 * k2 + 2 * k3 + rate(y + h * k3, t + h)) / 6
    return y[:, :-1], y[:, -1]


def _tableau(nodes, shifts, weights, sign=1):
    def step(potential, x, log_p, t, h):
        k, after, log_after = torch.zeros_like(x), x, log_p
        for node, shift, weight in zip(nodes, shifts, weights, strict=True):
            k, lap = potential.gradient_laplacian(x + shift * h * k, t + node * h)
            after, log_after = after + h * weight * k, log_after - sign * h * weight * lap
        return after, log_after

    return step


CLASSIC = ((0, 0.5, 0.5, 1), (0, 0.5, 0.5, 1), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


def rk4_exact_flow(potential, x, log_p, t, h):
    """The matrix exponential, by many small steps."""
    for n in range(200):
        x, log_p = rk4_written_out(potential, x, log_p, t + n * h / 200, h / 200)
    return x, log_p


def rk4_downhill(potential, x, log_p, t, h):
    y, _ = rk4_written_out(potential, x, log_p, t, -h)
    return y, rk4_written_out(potential, x, log_p, t, h)[1]


def rk4_forgets_log_p(potential, x, log_p, t, h):
    return rk4_written_out(potential, x, torch.zeros_like(log_p), t, h)


def rk4_without_the_sixth(potential, x, log_p, t, h):
    y, change = rk4_written_out(potential, x, torch.zeros_like(log_p), t, h)
    return x + 6 * (y - x), log_p + 6 * change


def rk4_ignores_time(potential, x, log_p, t, h):
    return rk4_written_out(potential, x, log_p, 0.0, h)


right("rk4_step", ma.rk4_step)
right("rk4_step", rk4_written_out)
right("rk4_step", rk4_on_the_joint_state)
wrong("rk4_step", "Euler", _tableau((0,), (0,), (1,)), name="euler")
wrong("rk4_step", "midpoint", _tableau((0, 0.5), (0, 0.5), (0, 1)), name="midpoint")
wrong("rk4_step", "not equally", _tableau(CLASSIC[0], CLASSIC[1], (0.25,) * 4), name="equal_weights")
wrong("rk4_step", "sign is turned round", _tableau(*CLASSIC, sign=-1), name="laplacian_sign")
wrong("rk4_step", "at the time t", _tableau((0, 0, 0, 0), *CLASSIC[1:]), name="stages_at_t")
wrong("rk4_step", "last stage", _tableau((0, 0.5, 0.5, 0.5), *CLASSIC[1:]), name="last_stage_at_half")
wrong("rk4_step", "middle stages", _tableau((0, 1, 1, 1), *CLASSIC[1:]), name="middle_stages_at_the_end")
wrong(
    "rk4_step",
    "fourth order|third order",
    _tableau(CLASSIC[0], (0, 0.5, 0.5, 0.5), CLASSIC[2]),
    name="last_half_a_step",
)
wrong("rk4_step", "cuts its series", rk4_exact_flow)
wrong("rk4_step", "downhill", rk4_downhill)
wrong("rk4_step", "old ln p is lost", rk4_forgets_log_p)
wrong("rk4_step", "divide by it", rk4_without_the_sixth)
wrong("rk4_step", "ignored", rk4_ignores_time)

# ----------------------------------------------------------------------------------------------------- flow_log_prob


def _log_normal(z):
    return -0.5 * (z * z).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


def _backwards(potential, x, T, steps):
    h, change = T / steps, torch.zeros(len(x), dtype=x.dtype)
    for n in range(steps, 0, -1):
        x, change = rk4_written_out(potential, x, change, n * h, -h)
    return x, change


def log_prob_by_steps(potential, x, T, steps):
    z, change = _backwards(potential, x, T, steps)
    return _log_normal(z) - change


def log_prob_adaptive(potential, x, T, steps):
    z, change, _ = ma.dormand_prince(potential, x, T, 0.0, tol=1e-8)
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) - change


def log_prob_sign(potential, x, T, steps):
    z, change = _backwards(potential, x, T, steps)
    return _log_normal(z) + change


def log_prob_no_change(potential, x, T, steps):
    return _log_normal(_backwards(potential, x, T, steps)[0])


def log_prob_no_prior(potential, x, T, steps):
    return -_backwards(potential, x, T, steps)[1]


def log_prob_no_constant(potential, x, T, steps):
    z, change = _backwards(potential, x, T, steps)
    return -0.5 * (z * z).sum(1) - change


def log_prob_forwards(potential, x, T, steps):
    z, change = ma.integrate(potential, x, 0.0, T, steps)
    return _log_normal(z) - change


def log_prob_prior_at_x(potential, x, T, steps):
    return _log_normal(x) - _backwards(potential, x, T, steps)[1]


def log_prob_clock_backwards(potential, x, T, steps):
    h, change = T / steps, torch.zeros(len(x), dtype=x.dtype)
    for n in range(steps):
        x, change = rk4_written_out(
            ma.OneHidden.from_plain(_mirror(potential, T)) if hasattr(potential, "c") else potential,
            x,
            change,
            T - n * h,
            -h,
        )
    return _log_normal(x) - change


def _mirror(phi, T):
    return {**phi.to_plain(), "b": phi.b + phi.c * T, "c": -phi.c}


def log_prob_frozen_clock(potential, x, T, steps):
    h, change = T / steps, torch.zeros(len(x), dtype=x.dtype)
    still = (
        ma.OneHidden.from_plain({**potential.to_plain(), "c": 0 * potential.c})
        if hasattr(potential, "c")
        else potential
    )
    for n in range(steps, 0, -1):
        x, change = rk4_written_out(still, x, change, n * h, -h)
    return _log_normal(x) - change


def log_prob_one_step(potential, x, T, steps):
    return log_prob_by_steps(potential, x, T, 1)


right("flow_log_prob", ma.flow_log_prob)
right("flow_log_prob", log_prob_by_steps)
right("flow_log_prob", log_prob_adaptive)
wrong("flow_log_prob", "wrong sign", log_prob_sign)
wrong("flow_log_prob", "along the way is missing", log_prob_no_change)
wrong("flow_log_prob", "density of z is missing", log_prob_no_prior)
wrong("flow_log_prob", "2π", log_prob_no_constant)
wrong("flow_log_prob", "forwards", log_prob_forwards)
wrong("flow_log_prob", "belongs to z", log_prob_prior_at_x)
wrong("flow_log_prob", "starts at T", log_prob_clock_backwards)
wrong("flow_log_prob", "pass the time on", log_prob_frozen_clock)
wrong("flow_log_prob", "not that of the Gaussian|adds up|disagree", log_prob_one_step)

# ------------------------------------------------------------------------------------------- variational_free_energy


def loss_by_numpy(log_q, energy):
    each = (log_q + energy).numpy()
    return each.mean(), np.sqrt(((each - each.mean()) ** 2).sum() / len(each)) / np.sqrt(len(each))


def gradients_by_autograd(z, mean, log_width, target):
    m, s = (p.expand(len(z), -1).clone().requires_grad_() for p in (mean, log_width))
    x = m + s.exp() * z
    surrogate = (target.gradient(x).detach() * x).sum() - s.sum()
    followed = torch.autograd.grad(surrogate, [m, s])
    fixed = x.detach()
    log_q = torch.distributions.Normal(m, s.exp()).log_prob(fixed).sum(1)
    score = torch.autograd.grad(log_q.sum(), [m, s])
    weight = (target.energy(fixed) + log_q.detach())[:, None]
    return torch.cat(followed, 1), weight * torch.cat(score, 1)


def gradients_with_the_score_of_the_bracket(z, mean, log_width, target):
    followed, scored = ma.free_energy_gradients(z, mean, log_width, target)
    return followed, scored + torch.cat([z / log_width.exp(), z * z - 1], 1)


LOSS, GRADIENTS = ma.variational_free_energy, ma.free_energy_gradients


def loss_entropy_sign(log_q, energy):
    return LOSS(-log_q, energy)


def loss_without_entropy(log_q, energy):
    return LOSS(0 * log_q, energy)


def loss_weighs_twice(log_q, energy):
    _, error = LOSS(log_q, energy)
    return float((log_q.exp() * (log_q + energy)).mean()), error


def loss_is_a_sum(log_q, energy):
    mean, error = LOSS(log_q, energy)
    return mean * len(log_q), error


def loss_error_of_one_sample(log_q, energy):
    mean, _ = LOSS(log_q, energy)
    return mean, float((log_q + energy).std())


def _broken(which):
    def gradients(z, mean, log_width, target):
        width = log_width.exp()
        x = mean + width * z
        force, energy = target.gradient(x), target.energy(x)
        log_q = _log_normal(z) - log_width.sum()
        score = torch.cat([z / width, z * z - 1], 1)
        followed = torch.cat([force, force * width * z - 1], 1)
        scored = (energy + log_q)[:, None] * score
        if which == "detached":
            followed = torch.cat([0 * force, 0 * force - 1], 1)
        elif which == "no entropy":
            followed = torch.cat([force, force * width * z], 1)
        elif which == "entropy sign":
            followed = torch.cat([force, force * width * z + 1], 1)
        elif which == "no chain rule":
            followed = torch.cat([force, force * z - 1], 1)
        elif which == "no prior":
            scored = (energy - log_width.sum())[:, None] * score
        elif which == "no width":
            scored = (energy + _log_normal(z))[:, None] * score
        elif which == "energy only":
            scored = energy[:, None] * score
        elif which == "score":
            scored = (energy + log_q)[:, None] * torch.cat([z / width, z * z], 1)
        return followed, scored

    return gradients


right("variational_free_energy", LOSS, GRADIENTS, name="helpers")
right("variational_free_energy", loss_by_numpy, gradients_by_autograd)
right("variational_free_energy", LOSS, gradients_with_the_score_of_the_bracket, name="score_of_the_bracket")
for loss, says in (
    (loss_entropy_sign, "wrong sign"),
    (loss_without_entropy, "entropy is missing"),
    (loss_weighs_twice, "counts it twice"),
    (loss_is_a_sum, "not their mean"),
    (loss_error_of_one_sample, "spread of one sample"),
):
    wrong("variational_free_energy", says, loss, GRADIENTS)
for which, says in (
    ("detached", "detached"),
    ("no entropy", "entropy's share is missing"),
    ("entropy sign", "entropy's share has the wrong sign"),
    ("no chain rule", r"e\^s is missing"),
    ("no prior", "prior term is missing"),
    ("no width", "width is missing from ln q"),
    ("energy only", "ln q is missing"),
    ("score", "z² - 1"),
):
    wrong("variational_free_energy", says, LOSS, _broken(which), name=which.replace(" ", "_"))

# -------------------------------------------------------------------------------------------------------- symmetrise


def symmetrise_by_loops(phi, x, group):
    value, grad = torch.zeros(len(x), dtype=x.dtype), torch.zeros_like(x)
    for sign in (1, -1):
        for g in group:
            value += phi.value(sign * x[:, g])
            slope = torch.empty_like(x)
            slope[:, g] = sign * phi.gradient_laplacian(sign * x[:, g])[0]
            grad += slope
    return value / (2 * len(group)), grad / (2 * len(group))


def symmetrise_by_matrices(phi, x, group):
    P = torch.eye(x.shape[1], dtype=x.dtype)[group]
    P = torch.cat([P, -P])  # (elements, sites, sites): (g x)_i = P_ij x_j
    orbit = torch.einsum("gij,bj->gbi", P, x)
    grads = torch.stack([phi.gradient_laplacian(y)[0] for y in orbit])
    return torch.stack([phi.value(y) for y in orbit]).mean(0), torch.einsum("gij,gbi->bj", P, grads) / len(P)


def symmetrise_does_nothing(phi, x, group):
    return phi.value(x), phi.gradient_laplacian(x)[0]


def symmetrise_without_flip(phi, x, group):
    return ma.symmetrise(phi, x, group, flip=False)


def symmetrise_flip_only(phi, x, group):
    return ma.symmetrise(phi, x, torch.arange(x.shape[1])[None])


def symmetrise_sum(phi, x, group):
    value, grad = ma.symmetrise(phi, x, group)
    return 2 * len(group) * value, 2 * len(group) * grad


def symmetrise_draws(phi, x, group):
    g = group[torch.randint(len(group), ())]
    sign = 1 - 2 * torch.randint(2, ())
    slope = torch.empty_like(x)
    slope[:, g] = sign * phi.gradient_laplacian(sign * x[:, g])[0]
    return phi.value(sign * x[:, g]) + 1e-6 * torch.rand(()), slope


def symmetrise_averages_x(phi, x, group):
    orbit = torch.cat([x[:, group], -x[:, group]], 1).mean(1)
    return phi.value(orbit), phi.gradient_laplacian(orbit)[0]


def symmetrise_gradient_stays(phi, x, group):
    slopes = [sign * phi.gradient_laplacian(sign * x[:, g])[0] for sign in (1, -1) for g in group]
    return ma.symmetrise(phi, x, group)[0], torch.stack(slopes).mean(0)


def symmetrise_gradient_goes_on(phi, x, group):
    slopes = [sign * phi.gradient_laplacian(sign * x[:, g])[0][:, g] for sign in (1, -1) for g in group]
    return ma.symmetrise(phi, x, group)[0], torch.stack(slopes).mean(0)


def symmetrise_gradient_forgets_flip(phi, x, group):
    back = torch.argsort(group, 1)
    slopes = [
        phi.gradient_laplacian(sign * x[:, g])[0][:, i] for sign in (1, -1) for g, i in zip(group, back, strict=True)
    ]
    return ma.symmetrise(phi, x, group)[0], torch.stack(slopes).mean(0)


def symmetrise_old_gradient(phi, x, group):
    return ma.symmetrise(phi, x, group)[0], phi.gradient_laplacian(x)[0]


right("symmetrise", ma.symmetrise)
right("symmetrise", symmetrise_by_loops)
right("symmetrise", symmetrise_by_matrices)
wrong("symmetrise", "where is the group", symmetrise_does_nothing)
wrong("symmetrise", "flip x → -x is missing", symmetrise_without_flip)
wrong("symmetrise", "translations are missing", symmetrise_flip_only)
wrong("symmetrise", "divide by the number", symmetrise_sum)
wrong("symmetrise", "do not draw|keeps something", symmetrise_draws)
wrong("symmetrise", "average φ, not x", symmetrise_averages_x)
wrong("symmetrise", "carried back by g", symmetrise_gradient_stays)
wrong("symmetrise", "must be carried back", symmetrise_gradient_goes_on)
wrong("symmetrise", "changes sign", symmetrise_gradient_forgets_flip)
wrong("symmetrise", "unsymmetrised", symmetrise_old_gradient)

# -------------------------------------------------------------------------------------------------------- ising_dual


def dual_by_logaddexp(x, K):
    return (torch.logaddexp(x, -x) - math.log(2)).sum(1) - 0.5 * (x * torch.linalg.solve(K, x.T).T).sum(1)


def dual_by_cholesky(x, K):
    half = torch.linalg.solve_triangular(torch.linalg.cholesky(K), x.T, upper=False)
    return (x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - math.log(2)).sum(1) - 0.5 * (half * half).sum(0)


def spins_from_the_other_end(x, uniforms):
    """The same odds with uniforms read from 1 down."""
    return torch.sign(uniforms - torch.sigmoid(-2 * x))


def spins_by_tanh(x, uniforms):
    return torch.where(2 * uniforms - 1 < torch.tanh(x), 1, -1)


def dual_with_two(x, K):
    return ma.ising_dual_log_prob(x, K) + x.shape[1] * math.log(2)


def dual_with_K(x, K):
    return ma.ising_dual_log_prob(x, torch.linalg.inv(K))


def dual_without_half(x, K):
    return torch.log(torch.cosh(x)).sum(1) - (x * torch.linalg.solve(K, x.T).T).sum(1)


def dual_without_spins(x, K):
    return -0.5 * (x * torch.linalg.solve(K, x.T).T).sum(1)


def dual_positive_gaussian(x, K):
    return torch.log(torch.cosh(x)).sum(1) + 0.5 * (x * torch.linalg.solve(K, x.T).T).sum(1)


def dual_cosh_of_the_sum(x, K):
    return dual_without_spins(x, K) + torch.log(torch.cosh(x.sum(1)))


def dual_overflows(x, K):
    return dual_without_spins(x, K) + torch.log(torch.cosh(x)).sum(1)


def spins_half_the_field(x, uniforms):
    return torch.where(uniforms < torch.sigmoid(x), 1.0, -1.0)


def spins_exchanged(x, uniforms):
    return torch.where(uniforms < torch.sigmoid(-2 * x), 1.0, -1.0)


def spins_follow_the_field(x, uniforms):
    return torch.sign(x)


def spins_zero_and_one(x, uniforms):
    return (uniforms < torch.sigmoid(2 * x)).double()


def spins_share_a_number(x, uniforms):
    return torch.where(uniforms[:, :1] < torch.sigmoid(2 * x), 1.0, -1.0)


def spins_ignore_the_field(x, uniforms):
    return torch.where(uniforms < 0.5, 1.0, -1.0) + 0 * x


LN_PI, SPINS = ma.ising_dual_log_prob, ma.sample_spins
right("ising_dual", LN_PI, SPINS, name="helpers")
right("ising_dual", dual_by_logaddexp, spins_from_the_other_end)
right("ising_dual", dual_by_cholesky, spins_by_tanh)
for log_prob, says in (
    (dual_with_two, r"2\^N"),
    (dual_with_K, "inverse belongs"),
    (dual_without_half, "1/2"),
    (dual_without_spins, "spins are missing"),
    (dual_positive_gaussian, "fall off"),
    (dual_cosh_of_the_sum, "not inside"),
    (dual_overflows, "overflows|infinity"),
):
    wrong("ising_dual", says, log_prob, SPINS)
for spins, says in (
    (spins_half_the_field, "2 is missing"),
    (spins_exchanged, "exchanged"),
    (spins_follow_the_field, "without chance"),
    (spins_zero_and_one, "not 1 and 0"),
    (spins_share_a_number, "of its own"),
    (spins_ignore_the_field, "half of the time"),
):
    wrong("ising_dual", says, LN_PI, spins, name=spins.__name__)
