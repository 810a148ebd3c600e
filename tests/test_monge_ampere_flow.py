"""Laws of helpers.monge_ampere: autograd, finite differences, quadrature and enumeration are the oracles."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from helpers import monge_ampere as ma
from helpers import oracles
from helpers.checks import wire
from helpers.figures import monge_ampere_flow as figures

F64 = torch.float64
GROUP = ma.lattice_group(3)


def potentials():
    g = torch.Generator().manual_seed(3)
    A, B = torch.randn(2, 4, 4, generator=g, dtype=F64)
    moved = ma.OneHidden(4, 7, time=True, scale=3.0, generator=g)
    torch.nn.init.normal_(moved.c, generator=g)
    spectral = ma.Spectral(ma.adjacency(3))
    torch.nn.init.normal_(spectral.f, generator=g)
    return {
        "softplus": ma.OneHidden(4, 7, scale=3.0, generator=g),
        "ln cosh, wide": ma.OneHidden(4, 16, activation="lncosh", scale=3.0, generator=g),
        "with time": moved,
        "convolution": ma.Convolutional(GROUP, 2, scale=3.0, generator=g),
        "deep": ma.Deep((4, 6, 5), scale=3.0, time=True, generator=g),
        "symmetrised": ma.Symmetrised(ma.Deep((9, 6), scale=3.0, generator=g), GROUP),
        "quadratic": ma.Quadratic(A, B),
        "spectral": spectral,
    }


NAMES = list(potentials())


def dim_of(name):
    return 9 if name in ("convolution", "symmetrised", "spectral") else 4


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(11)


def points(name, generator, batch=5):
    return torch.randn(batch, dim_of(name), generator=generator, dtype=F64)


# ------------------------------------------------------------------------------------------------ potentials


@pytest.mark.parametrize("name", NAMES)
def test_gradient_and_laplacian_are_those_of_the_value(name, generator):
    phi, x = potentials()[name], points(name, generator).requires_grad_()
    grad, lap = phi.gradient_laplacian(x, 0.3)
    (slope,) = torch.autograd.grad(phi.value(x, 0.3).sum(), x, create_graph=True)
    trace = sum(torch.autograd.grad(slope[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1]))
    assert torch.allclose(grad, slope, atol=1e-12)
    assert torch.allclose(lap, trace, atol=1e-12)


def test_closed_form_agrees_with_differences(generator):
    x, W, b, a = (torch.randn(s, generator=generator, dtype=F64) for s in ((1, 3), (5, 3), (5,), (5,)))
    value = lambda y: float(torch.nn.functional.softplus(torch.from_numpy(y) @ W.T + b) @ a)  # noqa: E731
    grad, lap = ma.potential_grad_laplacian(x, W, b, a)
    assert np.allclose(grad[0], oracles.central_difference(value, x[0].numpy()), atol=1e-8)
    rows = oracles.jacobian(lambda y: oracles.central_difference(value, y, 1e-3), x[0].numpy(), 1e-3)
    assert abs(float(lap[0]) - np.trace(rows)) < 1e-5


@pytest.mark.parametrize("name", ["convolution", "symmetrised", "spectral"])
def test_invariant_potential_and_equivariant_gradient(name, generator):
    phi, x = potentials()[name], points(name, generator)
    for g in GROUP:
        assert torch.allclose(phi.value(x[:, g]), phi.value(x), atol=1e-12)
        assert torch.allclose(phi.gradient_laplacian(-x[:, g])[0], -phi.gradient_laplacian(x)[0][:, g], atol=1e-12)


@pytest.mark.parametrize("L", [3, 4, 6])
def test_a_spectral_potential_is_a_function_of_its_matrix(L, generator):
    A = ma.adjacency(L)
    phi = ma.Spectral(A)
    levels = torch.linalg.eigvalsh(A)
    assert len(phi.f) == len(levels.round(decimals=6).unique()), "one number for each distinct eigenvalue"
    torch.nn.init.normal_(phi.f, generator=generator)
    x = torch.randn(3, L * L, generator=generator, dtype=F64)
    grad, _ = phi.gradient_laplacian(x)
    assert torch.allclose(phi.gradient_laplacian(x @ A)[0], grad @ A, atol=1e-10), "f(A) and A commute"
    for g in ma.lattice_group(L, point_group=True):
        assert torch.allclose(phi.value(x[:, g]), phi.value(x), atol=1e-10)
    with torch.no_grad():
        phi.f.copy_(levels[phi.level.diff(prepend=-torch.ones(1)).bool()])  # f(A) = A
    assert torch.allclose(phi.gradient_laplacian(x)[0], x @ A, atol=1e-10)
    assert torch.allclose(phi.gradient_laplacian(x)[1], torch.trace(A).expand(3), atol=1e-10)


def test_symmetrising_an_invariant_potential_changes_nothing(generator):
    phi, x = potentials()["convolution"], points("convolution", generator)
    value, grad = ma.symmetrise(phi, x, GROUP)
    assert torch.allclose(value, phi.value(x))
    assert torch.allclose(grad, phi.gradient_laplacian(x)[0])


@pytest.mark.parametrize(("L", "point", "elements"), [(3, False, 9), (3, True, 72), (4, True, 128)])
def test_the_lattice_group_is_a_group_of_bond_preserving_permutations(L, point, elements):
    group, A = ma.lattice_group(L, point), ma.adjacency(L)
    assert len(group) == elements
    rows = {tuple(g.tolist()) for g in group}
    assert all(tuple(g[h].tolist()) in rows for g in group[:9] for h in group)
    assert all(torch.equal(A[g][:, g], A) for g in group)


# ------------------------------------------------------------------------------------------------ the flow


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_every_exact_gradient_equals_plain_backprop(name, gradient, generator):
    truth, got = (
        _gradients(name, torch.Generator().manual_seed(5), **how) for how in ({"fused": False}, {"gradient": gradient})
    )
    for a, b in zip(got, truth, strict=True):
        assert float((a - b).abs().max()) <= 1e-10 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_generic_checkpoint_equals_plain_backprop(name):
    truth, got = (
        _gradients(name, torch.Generator().manual_seed(5), fused=False, gradient=g) for g in ("backprop", "checkpoint")
    )
    for a, b in zip(got, truth, strict=True):
        assert float((a - b).abs().max()) <= 1e-10 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("name", ["softplus", "with time", "deep"])
def test_the_adjoint_gradient_converges_at_fourth_order(name):
    errors = []
    for steps in (8, 16):
        truth, got = (
            _gradients(name, torch.Generator().manual_seed(5), fused=False, gradient=g, steps=steps)
            for g in ("backprop", "adjoint")
        )
        errors.append(max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(got, truth, strict=True)))
    assert 0 < errors[1] < errors[0] / 8


def _gradients(name, generator, steps=8, **how):
    phi, x = potentials()[name], points(name, generator).requires_grad_()
    mix = torch.randn(x.shape, generator=generator, dtype=F64)
    end, change = ma.integrate(phi, x, 0.1, 0.9, steps, **how)
    loss = (torch.sin(end) * mix).sum() + (change * mix[:, 0]).sum()
    return torch.autograd.grad(
        loss, [x, *(p for p in phi.parameters() if p.requires_grad)], allow_unused=True, materialize_grads=True
    )


def test_one_step_on_a_quadratic_is_the_series_to_fourth_order(generator):
    S = torch.randn(3, 3, generator=generator, dtype=F64)
    A, h = (S + S.T) / 2, 0.37
    x, log_p = torch.randn(4, 3, generator=generator, dtype=F64), torch.zeros(4, dtype=F64)
    y, change = ma.rk4_step(ma.Quadratic(A), x, log_p, 0.0, h)
    series = sum(torch.linalg.matrix_power(h * A, k) / math.factorial(k) for k in range(5))
    assert torch.allclose(y, x @ series, atol=1e-12)
    assert torch.allclose(change, -h * torch.trace(A).expand(4), atol=1e-12)


def test_global_error_has_slope_four_and_the_round_trip_slope_five(generator):
    phi, x = potentials()["with time"], points("with time", generator)
    exact = ma.integrate(phi, x, 0.0, 1.0, 512)[0]
    there = {n: ma.integrate(phi, x, 0.0, 1.0, n)[0] for n in (8, 16, 32)}
    errors = [float((there[n] - exact).abs().max()) for n in (8, 16, 32)]
    back = [float((ma.integrate(phi, there[n], 1.0, 0.0, n)[0] - x).abs().max()) for n in (8, 16, 32)]
    assert 3.5 < math.log2(errors[1] / errors[2]) < 4.5
    assert 4.4 < math.log2(back[1] / back[2]) < 5.6


@pytest.mark.parametrize("name", ["softplus", "with time"])
def test_adaptive_steps_meet_their_tolerance(name, generator):
    phi, x = potentials()[name], points(name, generator)
    exact, change = ma.integrate(phi, x, 0.0, 1.0, 512)
    for tol in (1e-4, 1e-8):
        y, log_p, used = ma.dormand_prince(phi, x, 0.0, 1.0, tol=tol)
        assert float((y - exact).abs().max()) < 20 * tol
        assert float((log_p - change).abs().max()) < 20 * tol
        assert used < 2000


def test_torchdiffeq_agrees_where_it_is_installed(generator):
    phi, x = potentials()["softplus"], points("softplus", generator)
    for mine, theirs in zip(
        ma.dormand_prince(phi, x, 0.0, 1.0, tol=1e-9), ma.torchdiffeq_solve(phi, x, 0.0, 1.0, tol=1e-9), strict=False
    ):
        assert torch.allclose(mine, theirs, atol=1e-7)


def test_the_density_integrates_to_one_and_belongs_to_the_samples(generator):
    flow = ma.MongeAmpereFlow(ma.OneHidden(2, 12, scale=3.0, generator=generator), 1.0, 30)
    side = torch.linspace(-8, 8, 161, dtype=F64)
    with torch.no_grad():
        log_p = flow.log_prob(torch.cartesian_prod(side, side))
        assert abs(float(log_p.exp().sum() * (side[1] - side[0]) ** 2) - 1) < 1e-6
        x, log_q = flow(torch.randn(50, 2, generator=generator, dtype=F64))
        assert torch.allclose(flow.log_prob(x), log_q, atol=1e-5)
        assert torch.allclose(ma.flow_log_prob(flow.potential, x, 1.0, 30), flow.log_prob(x))


def test_a_composed_flow_has_the_density_of_its_samples_whatever_it_is_made_of(generator):
    timed = zip(list(potentials().values())[:3], (0.5, 0.3, 0.7), strict=True)
    flow = ma.ComposedFlow([ma.MongeAmpereFlow(phi, T, 40) for phi, T in timed])
    z = torch.randn(6, 4, generator=generator, dtype=F64)
    x, log_q = flow(z)
    assert torch.allclose(flow.log_prob(x), log_q, atol=1e-8)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda y: flow(y[None])[0][0], one) for one in z])
    assert torch.allclose(log_q, ma.normal_log_density(z) - torch.linalg.slogdet(jacobians)[1], atol=1e-5)
    swapped = ma.ComposedFlow(list(flow.flows)[::-1])
    assert float((swapped(z)[0] - x).abs().max()) > 0.1, "the order counts"


def test_a_composed_flow_of_halves_is_the_whole(generator):
    A = ma.adjacency(3) / 10
    half = ma.MongeAmpereFlow(ma.Quadratic(A), 0.5, 40)
    x, log_q = ma.ComposedFlow([half, half])(z := torch.randn(4, 9, generator=generator, dtype=F64))
    assert torch.allclose(x, z @ torch.linalg.matrix_exp(A), atol=1e-10)
    assert torch.allclose(log_q, ma.normal_log_density(z) - torch.trace(A), atol=1e-10)


# ------------------------------------------------------------------------------------------------ Gaussians


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_brenier_map_is_symmetric_positive_carries_the_covariance_and_is_cheapest(d, generator):
    S0, S1 = (m @ m.T + 0.1 * torch.eye(d, dtype=F64) for m in torch.randn(2, d, d, generator=generator, dtype=F64))
    A = ma.gaussian_brenier_map(S0, S1)
    assert torch.equal(A, A.T)
    assert float(torch.linalg.eigvalsh(A)[0]) > 0
    assert torch.allclose(A @ S0 @ A.T, S1, atol=1e-10)
    rival = torch.linalg.cholesky(S1) @ torch.linalg.inv(torch.linalg.cholesky(S0))
    assert ma.transport_cost(A, S0) <= ma.transport_cost(rival, S0) + 1e-12


# ------------------------------------------------------------------------------------------------ free energy


@pytest.mark.parametrize("name", ma.TARGETS)
def test_normalisation_and_entropy_of_the_targets(name):
    target, side = ma.TARGETS[name], torch.linspace(-8, 8, 1601, dtype=F64)
    log_density = target.log_density(torch.cartesian_prod(side, side))
    area = float((side[1] - side[0]) ** 2)
    log_Z = float(torch.logsumexp(log_density, 0)) + math.log(area)
    p = torch.exp(log_density - log_Z) * area
    assert abs(log_Z - target.log_Z) < 1e-7
    assert abs(float(-(p * (log_density - log_Z)).sum()) - target.entropy) < 1e-6


def test_free_energy_is_exact_on_a_table_and_has_no_variance_where_q_is_p(generator):
    energy = torch.randn(6, generator=generator, dtype=F64)
    log_Z = torch.logsumexp(-energy, 0)
    mean, error = ma.variational_free_energy(-energy - log_Z, energy)
    assert abs(mean + float(log_Z)) < 1e-12
    assert error < 1e-12
    counts = torch.tensor([1, 2, 3, 4, 5, 6])
    log_q = torch.log(counts / 21).repeat_interleave(counts)
    mean, _ = ma.variational_free_energy(log_q, energy.repeat_interleave(counts))
    assert mean > -float(log_Z)
    log_Z_weighted, ess = ma.importance(log_q, energy.repeat_interleave(counts))
    assert abs(log_Z_weighted - float(log_Z)) < 1e-6
    assert 1 <= ess <= 21


class Well:
    """E = sum x^4 / 4 + x^2 / 2."""

    def energy(self, x):
        return (x**4 / 4 + x**2 / 2).sum(1)

    def gradient(self, x):
        return x**3 + x


def test_both_gradient_estimators_agree_in_mean_and_not_in_variance(generator):
    z = torch.randn(200_000, 2, generator=generator, dtype=F64)
    mean, log_width = torch.tensor([0.3, -0.5], dtype=F64), torch.tensor([0.1, -0.2], dtype=F64)
    followed, scored = ma.free_energy_gradients(z, mean, log_width, Well())
    error = ((followed.var(0) + scored.var(0)) / len(z)).sqrt()
    assert bool(((followed.mean(0) - scored.mean(0)).abs() < 6 * error).all())
    assert bool((scored.var(0) > followed.var(0)).all())


# ------------------------------------------------------------------------------------------------ Ising


def _states(L):
    return torch.from_numpy(2.0 * oracles.bit_strings(L * L) - 1)


@pytest.mark.parametrize("L", [2, 3, 4])
@pytest.mark.parametrize("T", [1.7, ma.CRITICAL_TEMPERATURE, 3.5])
def test_kaufmans_partition_function_equals_enumeration(L, T):
    s = _states(L)
    log_Z = torch.logsumexp(0.5 * ((s @ ma.adjacency(L)) * s).sum(1) / T, 0)
    assert abs(ma.log_partition(L, T) - float(log_Z)) < 1e-10


@pytest.mark.parametrize(("L", "log_Z"), [(8, 60.141780789069), (16, 238.642256635133), (32, 952.648079548543)])
def test_published_partition_functions(L, log_Z):
    assert abs(ma.log_partition(L) - log_Z) < 1e-9


@pytest.mark.parametrize(("L", "value"), [(4, -2.3360457306), (8, -2.3227346294), (16, -2.3159208588)])
def test_dual_free_energy_per_site(L, value):
    assert abs(ma.dual_free_energy(L) - value) < 1e-9


@pytest.mark.parametrize("L", [2, 3])
def test_the_dual_density_is_the_sum_over_spins(L, generator):
    K, alpha = ma.dual_coupling(L)
    x, s = torch.randn(6, L * L, generator=generator, dtype=F64), _states(L)
    joint = x @ s.T - 0.5 * ((x @ torch.linalg.inv(K)) * x).sum(1)[:, None]
    truth = torch.logsumexp(joint, 1) - L * L * math.log(2)
    assert torch.allclose(ma.ising_dual_log_prob(x, K), truth, atol=1e-10)
    gauss = 0.5 * L * L * math.log(2 * math.pi) + 0.5 * torch.logdet(K)
    log_Z_dual = float(torch.logsumexp(0.5 * ((s @ K) * s).sum(1), 0) + gauss) - L * L * math.log(2)
    assert abs(log_Z_dual - (ma.log_partition(L) - ma.dual_constant(K, alpha))) < 1e-9


def test_spins_of_exact_fields_have_the_ising_order_parameter(generator):
    """x ~ N(K s, K) for spins s drawn from the Boltzmann weight is a sample of the dual density."""
    L, count = 3, 40_000
    K, _ = ma.dual_coupling(L)
    s = _states(L)
    weight = torch.softmax(0.5 * ((s @ K) * s).sum(1), 0)
    exact = float((weight * s.mean(1) ** 2).sum())
    spins = s[torch.multinomial(weight, count, replacement=True, generator=generator)]
    noise = torch.randn(count, L * L, generator=generator, dtype=F64)
    x = spins @ K + noise @ torch.linalg.cholesky(K).T
    mean, error, ess = ma.order_parameter(x)
    assert abs(mean - exact) < 6 * error
    assert abs(ess - count) < 1e-6 * count
    drawn = ma.sample_spins(x, torch.rand(x.shape, generator=generator, dtype=F64)).mean(1) ** 2
    assert abs(float(drawn.mean()) - exact) < 6 * float(drawn.std()) / count**0.5


# ------------------------------------------------------------------------------------------------ the rest


def test_training_a_gaussian_reaches_its_bound(generator):
    target = ma.TARGETS["tilted"]
    flow = ma.MongeAmpereFlow(ma.OneHidden(2, 16, generator=generator), 1.0, 6)
    ma.train(flow, ma.reverse_loss(flow, target.energy, 256, 2, generator), iterations=150, lr=0.03)
    x, log_q = ma.samples(flow, 4096, 2, generator)
    loss, error = ma.variational_free_energy(log_q, target.energy(x))
    assert -6 * error < loss + target.log_Z < 0.1


# ------------------------------------------------------------------------------------------------ experiments


def test_the_error_of_a_gradient_is_nothing_for_backprop_and_falls_with_the_steps_of_an_adjoint(generator):
    phi, z = potentials()["deep"], points("deep", generator)
    assert ma.gradient_error(phi, z, 1.0, 4, "backprop") == 0.0
    assert ma.gradient_error(phi, z, 1.0, 4, "checkpoint") < 1e-10
    coarse, fine = (ma.gradient_error(phi, z, 1.0, steps) for steps in (4, 16))
    assert 1e-10 < fine < coarse / 100


def test_logits_return_as_the_grey_levels_they_came_from(generator):
    images = torch.randint(256, (20, 6, 6), generator=generator, dtype=torch.uint8).numpy()
    x = ma.to_logits(images, generator)
    back = 256 * ma.from_logits(x)
    assert x.shape == (20, 36)
    assert np.abs(back - images - 0.5).max() < 0.51, "noise lies within one level, up to float32"


def test_whitened_data_have_no_mean_and_no_correlation(generator):
    x = torch.randn(500, 5, generator=generator) @ torch.randn(5, 5, generator=generator) + 3
    white = ma.whitening(x)
    z, log_det = white.there(x)
    assert torch.allclose(z.mean(0), torch.zeros(5, dtype=F64), atol=1e-10)
    assert torch.allclose(torch.cov(z.T), torch.eye(5, dtype=F64), atol=1e-10)
    assert torch.allclose(white.back(z), x.double(), atol=1e-10)
    assert torch.allclose(log_det, -0.5 * torch.linalg.slogdet(torch.cov(x.double().T))[1].expand(500), atol=1e-10)


def _scanned(generator, count=4000, side=2):
    """Images with an ink that the scanner likes, a ground that is mostly empty, and neighbours alike."""
    ink = torch.randint(200, 256, (count, side, side), generator=generator)
    inked = torch.rand(count, 1, 1, generator=generator) < torch.linspace(0.1, 0.9, side * side).reshape(side, side)
    return torch.where(inked, ink, 0).to(torch.uint8).numpy()


def test_the_map_of_each_pixel_is_monotone_normal_invertible_and_knows_its_slope(generator):
    images = _scanned(generator)
    pixels, x = ma.rearrangement(images), ma.to_logits(images, generator).double().requires_grad_()
    y, log_det = pixels.there(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert bool((slope > 0).all())
    assert torch.allclose(log_det, slope.log().sum(1), atol=1e-6)
    assert torch.allclose(pixels.back(y), x, atol=1e-6)
    for moment, exact in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        spread = (y**moment).std(0) / len(y) ** 0.5
        assert bool((((y**moment).mean(0) - exact).abs() < 6 * spread + 0.01).all()), f"moment {moment}"


def test_the_density_of_a_pixel_integrates_to_one(generator):
    pixels = ma.rearrangement(_scanned(generator, side=1))
    x = torch.linspace(-13.8, 13.8, 2_000_001, dtype=F64)
    y, log_det = pixels.there(x[:, None])
    density = (log_det + ma.normal_log_density(y)).exp()
    assert abs(float(density.sum() * (x[1] - x[0])) - 1) < 1e-3


def test_independent_uniform_pixels_cost_two_nats_each(generator):
    images = torch.randint(256, (20_000, 2, 2), generator=generator, dtype=torch.uint8).numpy()
    y, log_det = ma.rearrangement(images[:10_000]).there(ma.to_logits(images[10_000:], generator))
    cost = -log_det - ma.normal_log_density(y)
    assert abs(float(cost.mean()) - 8) < 6 * float(cost.std()) / 100 + 0.06, "the entropy of the logistic density is 2"


def test_the_digits_flow_starts_where_the_closed_maps_end(generator):
    pixels = torch.randint(256, (400, 4, 4), generator=generator, dtype=torch.uint8).numpy()
    recipe = ma.digit_recipe("quick")._replace(hidden=16, iterations=1, lr=1e-12)
    run = ma.learn_digits(pixels[:300], pixels[300:], recipe, generator)
    assert abs(run.nll - run.both) < 1e-3
    x = ma.to_logits(pixels[:300], torch.Generator().manual_seed(5)).double()
    entropy = 0.5 * float(torch.linalg.slogdet(2 * math.pi * math.e * torch.cov(x.T))[1])
    assert abs(run.gaussian - entropy) < 6 * run.error + 0.5, "a held-out Gaussian costs about its entropy"


def test_digits_that_depend_on_each_other_are_cheaper_together_than_pixel_by_pixel(generator):
    images = _scanned(generator, side=3)
    recipe = ma.digit_recipe("quick")._replace(hidden=9, iterations=1, lr=1e-12)
    run = ma.learn_digits(images[:3000], images[3000:], recipe, generator)
    assert run.both < run.pixels < run.gaussian


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_free_energy_of_a_flow_on_the_ising_model_is_a_bound(symmetric, generator):
    recipe = ma.ising_recipe("quick")._replace(iterations=5)
    run = ma.learn_ising(4, recipe, generator, symmetric=symmetric, count=1024)
    assert run.exact + 4 * run.F_error < run.F, "hardly trained, so strictly above"
    assert run.F_weighted < run.F, "weights can only lower it"
    assert 1 <= run.ess <= run.count
    assert len(run.losses) == 5
    if symmetric:
        assert abs(float(run.samples.mean())) < 6 * float(run.samples.std() / run.count**0.5)


def test_a_target_that_nobody_knows_is_refused_with_the_names_of_those_that_are(generator):
    with pytest.raises(ValueError, match="ring"):
        ma.learn_target("rong", ma.plane_recipe("quick"), generator)


def test_the_weighted_loss_is_the_cross_entropy_of_the_target(generator):
    flow = ma.MongeAmpereFlow(ma.Quadratic(torch.diag(torch.tensor([0.3, -0.1], dtype=F64))), 1.0, 20)
    variance = torch.tensor([1.3, 1.1], dtype=F64)
    energy = lambda x: 0.5 * (x * x / variance).sum(1)  # noqa: E731
    loss = ma.weighted_loss(flow, energy, 4000, 2, generator)
    found = torch.stack([loss().detach() for _ in range(25)])
    width = torch.exp(2 * flow.potential.A.diagonal()).detach()  # q is normal with these variances
    exact = 0.5 * float((torch.log(2 * math.pi * width) + variance / width).sum())
    assert abs(float(found.mean()) - exact) < 6 * float(found.std()) / 5
    reverse = ma.reverse_loss(flow, energy, 100_000, 2, generator)()
    assert abs(float(reverse) - exact) > 0.1, "another direction of the divergence"


def test_weighted_steps_end_at_the_target(generator):
    flow = ma.MongeAmpereFlow(ma.Quadratic(torch.full((1, 1), -0.4, dtype=F64)), 1.0, 20)
    loss = ma.weighted_loss(flow, lambda x: 0.5 * x[:, 0] ** 2, 2000, 1, generator)
    ma.train(flow, loss, iterations=60, lr=0.05)
    growth = (flow.potential.A + flow.potential.B / 2).item()  # ln of the width of q
    assert abs(growth) < 0.02, "q = p is its minimum"


@pytest.mark.parametrize("weighted", [0, 2])
def test_the_recipe_says_how_many_weighted_steps_follow(weighted, generator):
    recipe = ma.ising_recipe("quick")._replace(iterations=3, weighted=weighted)
    run = ma.learn_ising(4, recipe, generator, count=512)
    assert run.exact - 4 * run.F_error < run.F
    assert len(run.losses) == 3, "the weighted loss is no free energy"


def test_drawn_group_elements_are_right_on_average_but_make_no_flow(generator):
    lopsided, x = ma.OneHidden(9, 5, scale=3.0, generator=generator), torch.randn(4, 9, generator=generator, dtype=F64)
    drawn, summed = ma.Drawn(lopsided, GROUP, 3), ma.Symmetrised(lopsided, GROUP, flip=False)
    looks = [drawn.gradient_laplacian(x, 0.0) for _ in range(2000)]
    mean = torch.stack([grad for grad, _ in looks]).mean(0)
    spread = torch.stack([grad for grad, _ in looks]).std(0)
    assert not torch.allclose(looks[0][0], looks[1][0]), "another element at each look"
    assert bool(((mean - summed.gradient_laplacian(x, 0.0)[0]).abs() < 6 * spread / 2000**0.5 + 1e-12).all())


@pytest.mark.parametrize(
    "call",
    [
        lambda: ma.OneHidden(0, 3),
        lambda: ma.OneHidden(2, 3, activation="relu"),
        lambda: ma.lattice_group(0),
        lambda: ma.adjacency(1),
        lambda: ma.dual_coupling(4, T=-1),
        lambda: ma.log_partition(4, 0),
        lambda: ma.gaussian_brenier_map(torch.eye(2), torch.eye(3)),
        lambda: ma.gaussian_brenier_map(-torch.eye(2), torch.eye(2)),
        lambda: ma.integrate(ma.OneHidden(2, 3), torch.zeros(3), 0, 1, 4),
        lambda: ma.integrate(ma.OneHidden(2, 3), torch.zeros(3, 2), 0, 1, 4, gradient="none"),
        lambda: ma.integrate(ma.OneHidden(2, 3), torch.zeros(3, 2), 0, 1, 0),
        lambda: ma.MongeAmpereFlow(ma.OneHidden(2, 3), T=0),
        lambda: ma.ComposedFlow([]),
        lambda: ma.rearrangement(np.zeros((3, 2, 2))),
        lambda: ma.to_logits(np.zeros((0, 2, 2), np.uint8), torch.Generator()),
        lambda: ma.Spectral(torch.tensor([[0.0, 1.0], [0.0, 0.0]])),
        lambda: ma.learn_ising(4, ma.ising_recipe("quick"), torch.Generator(), heat=-1.0),
        lambda: ma.sample_spins(torch.zeros(2, 3), torch.zeros(3, 2)),
        lambda: ma.ising_dual_log_prob(torch.zeros(2, 3), torch.eye(2)),
        lambda: ma.potential_grad_laplacian(torch.zeros(2, 3), torch.zeros(4, 2), torch.zeros(4), torch.zeros(4)),
        lambda: ma.variational_free_energy(torch.zeros(3), torch.zeros(4)),
        lambda: ma.dormand_prince(ma.OneHidden(2, 3), torch.zeros(3, 2), 0.0, 1.0, tol=0),
    ],
)
def test_bad_input_is_answered_with_one_sentence(call):
    with pytest.raises(ValueError, match=r"got|must|eigenvalue"):
        call()


@pytest.mark.parametrize("kind", ["OneHidden", "Quadratic"])
def test_potentials_cross_the_boundary_and_bad_ones_are_refused(kind, generator):
    phi = potentials()["softplus" if kind == "OneHidden" else "quadratic"]
    again = wire.decode(wire.encode(phi))
    x = points("softplus", generator)
    assert torch.equal(again.value(x, 0.5), phi.value(x, 0.5))
    assert not any(p.requires_grad for p in again.parameters())
    with pytest.raises(ValueError, match="plain"):
        getattr(ma, kind).from_plain({"W": "no"})


def test_every_name_in_answers_exists():
    for names in ma.ANSWERS.values():
        for name in names:
            at = ma
            for part in name.removeprefix("monge_ampere.").split("."):
                at = getattr(at, part)
            assert callable(at)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_gpu_agrees_with_the_cpu(generator):
    phi, x = potentials()["softplus"], points("softplus", generator)
    cpu = ma.integrate(phi, x, 0.0, 1.0, 8)
    gpu = ma.integrate(phi.cuda(), x.cuda(), 0.0, 1.0, 8)
    assert all(torch.allclose(a, b.cpu(), atol=1e-12) for a, b in zip(cpu, gpu, strict=True))


def test_figures_return_their_axes(generator):
    flow = ma.MongeAmpereFlow(ma.OneHidden(2, 8, generator=generator), 1.0, 4)
    points, _ = flow.path(torch.randn(30, 2, generator=generator, dtype=F64), 5)
    assert figures.snapshots(flow, points).axes
    S0, S1 = torch.eye(2, dtype=F64), torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)
    assert figures.gaussian_maps({"Brenier": ma.gaussian_brenier_map(S0, S1)}, S0).axes
    assert figures.against_exact({"run": (-2.3, 0.01, 0.7, 0.02)}, -2.336, 0.761).axes
    assert figures.domains({"with": np.ones((2, 16))}, 4).axes
    assert "<script" in figures.motion(flow, points[:, :10], frames=2).data
    plt.close("all")
