"""Chapter 03: the laws that helpers.rbm must obey, against enumeration on small machines."""

import numpy as np
import pytest
import torch

from helpers import oracles, rbm
from helpers.rbm.model import softplus
from helpers.rbm.partition import LIMIT
from helpers.rbm.training import ascend

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def toy(visible=5, hidden=3, seed=0, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    return rbm.RBM(*(scale * torch.randn(s, generator=g, dtype=torch.float64)
                     for s in ((visible, hidden), (visible,), (hidden,))))  # fmt: skip


def states(n):
    return torch.from_numpy(oracles.bit_strings(n)).double()


def joint(model):
    """p(v, h) of every pair of states, (2^visible, 2^hidden), straight from Eq. (29)."""
    v, h = states(len(model.a)), states(len(model.b))
    E = torch.stack([torch.stack([rbm.energy(x, y, *model) for y in h]) for x in v])
    return torch.softmax(-E.flatten(), 0).view(E.shape)


def chi_square_fits(counts, p):
    """Pearson's statistic with rare cells pooled to an expectation of 20; true within six sigma."""
    order = np.argsort(p)
    expected, seen, cells = 0.0, 0.0, []
    for k in order:
        expected, seen = expected + p[k] * counts.sum(), seen + counts[k]
        if expected >= 20:
            cells.append((expected, seen))
            expected, seen = 0.0, 0.0
    E, S = np.array(cells).T
    E[-1], S[-1] = E[-1] + expected, S[-1] + seen
    degrees = len(E) - 1
    return abs(((S - E) ** 2 / E).sum() - degrees) < 6 * np.sqrt(2 * degrees) + 12


def draw(p, count, seed):
    """Exact samples of a table of probabilities, as row numbers."""
    return torch.from_numpy(np.random.default_rng(seed).choice(len(p), size=count, p=p.numpy() / p.numpy().sum()))


# ------------------------------------------------------------------------------------------------ model


def test_free_energy_is_minus_log_of_the_sum_over_hidden_states():
    model = toy()
    h = states(3)
    for v in states(5):
        brute = -torch.logsumexp(-torch.stack([rbm.energy(v, y, *model) for y in h]), 0)
        assert torch.isclose(rbm.free_energy(v, *model), brute, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_free_energy_is_finite_and_right_at_weights_of_a_thousand(sign, dtype):
    model = rbm.RBM(*(t.to(dtype).sign() * sign * 1e3 for t in toy()))
    F = rbm.free_energy(states(5).to(dtype), *model)
    kink = -(states(5).to(dtype) @ model.a) - (states(5).to(dtype) @ model.W + model.b).clamp(min=0).sum(-1)
    assert torch.isfinite(F).all()
    assert torch.allclose(F, kink, atol=3)  # softplus exceeds the kink by at most ln 2 a unit


def test_softplus_is_exact_in_float64():
    x = torch.linspace(-800, 800, 20001, dtype=torch.float64)
    assert torch.allclose(softplus(x), torch.logaddexp(x, torch.zeros_like(x)), rtol=1e-15, atol=1e-16)


def test_conditionals_are_those_of_the_joint_distribution():
    model, p = toy(), joint(toy())
    v, h = states(5), states(3)
    ph, _ = rbm.conditionals(v, h[:1].expand(32, -1), *model)
    _, pv = rbm.conditionals(v[:1].expand(8, -1), h, *model)
    assert torch.allclose(ph, (p / p.sum(1, keepdim=True)) @ h, atol=1e-12)
    assert torch.allclose(pv, (p / p.sum(0)).T @ v, atol=1e-12)


def test_spin_conditionals_carry_the_factor_two():
    model = toy()
    v, h = 2 * states(5) - 1, 2 * states(3) - 1
    E = torch.stack([torch.stack([rbm.energy(x, y, *model) for y in h]) for x in v])
    p = torch.softmax(-E, 1)
    ph, _ = rbm.conditionals(v, h[:1].expand(32, -1), *model, low=-1)
    assert torch.allclose(ph, p @ (h == 1).double(), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["numpy", "numpy_old", "torch"])
def test_uniform_numbers_are_uniform_and_stay_below_one(kind, dtype):
    g = {"numpy": np.random.default_rng(1), "numpy_old": np.random.Generator(np.random.MT19937(1)),
         "torch": torch.Generator().manual_seed(1)}[kind]  # fmt: skip
    u = rbm.uniform((257, 1001), g, dtype=dtype)
    assert u.dtype == dtype
    assert 0 <= u.min() <= u.max() < 1
    counts = torch.histc(u.double(), 64, 0, 1).numpy()
    assert chi_square_fits(counts, np.full(64, 1 / 64))
    lag = np.corrcoef(u.double().flatten()[:-1], u.double().flatten()[1:])[0, 1]
    assert abs(lag) < 6 / u.numel() ** 0.5


@pytest.mark.parametrize("generator", [np.random.default_rng(2), torch.Generator().manual_seed(2)])
def test_bernoulli_never_misses_a_certain_unit(generator):
    assert rbm.bernoulli(torch.ones(300000), generator).all()
    assert not rbm.bernoulli(torch.zeros(300000), generator).any()


def test_gibbs_sweeps_leave_the_exact_distribution_alone():
    model, p = toy(4, 3), joint(toy(4, 3)).sum(1)
    start = states(4)[draw(p, 40000, 3)]
    end = rbm.gibbs(start, model, 3, np.random.default_rng(4))
    code = (end @ (2.0 ** torch.arange(3, -1, -1, dtype=torch.float64))).long()
    assert chi_square_fits(np.bincount(code, minlength=16), p.numpy())


def test_one_sweep_from_a_fixed_start_has_the_exact_conditional_distribution():
    model, p = toy(3, 2), joint(toy(3, 2))
    given_v, given_h = p / p.sum(1, keepdim=True), p / p.sum(0)
    exact = (given_v[5][:, None] * given_h.T).flatten()  # (h', v')
    v, h = rbm.gibbs_sweep(states(3)[5].repeat(40000, 1), torch.ones(40000, 2).double(), *model, seed=5)
    code = (torch.cat([h, v], 1) @ (2.0 ** torch.arange(4, -1, -1, dtype=torch.float64))).long()
    assert chi_square_fits(np.bincount(code, minlength=32), exact.numpy())


# ------------------------------------------------------------------------------------------------ training


def nll(data, model):
    return float(rbm.free_energy(data, *model).mean() + rbm.exact_log_z(*model))


def test_cd_gradient_is_the_exact_gradient_when_the_negative_phase_is_exact():
    model, data = toy(4, 3), states(4)[[1, 1, 7, 12, 14]]
    p = joint(model).sum(1)
    counts = (p * 1e6).round().long()  # the model's distribution as a batch: exact to 1e-6
    got = rbm.cd_gradient(data, states(4).repeat_interleave(counts, 0), model.W, model.b)
    for k, gradient in enumerate(got):

        def loss(x, k=k):
            return nll(data, rbm.RBM(*(torch.from_numpy(x) if i == k else t for i, t in enumerate(model))))  # fmt: skip

        assert np.allclose(gradient, oracles.central_difference(loss, model[k].numpy()), atol=2e-5)


def test_cd_gradient_vanishes_when_data_and_model_agree():
    model, v = toy(), states(5)[::3]
    for gradient in rbm.cd_gradient(v, v.flip(0), model.W, model.b):
        assert torch.allclose(gradient, torch.zeros_like(gradient), atol=1e-14)


def test_one_product_update_is_the_plain_gradient_step():
    model, v, w = toy(), states(5)[3:9], states(5)[20:24]
    expected = [t - 0.1 * g for t, g in zip(model, rbm.cd_gradient(v, w, model.W, model.b), strict=True)]
    rows = torch.cat((w, v, torch.full((2, 5), torch.nan)))
    ascend(model, rows, rbm.hidden_given_visible(rows, model.W, model.b), len(w), 0.1, None)
    assert all(torch.allclose(t, e, atol=1e-14) for t, e in zip(model, expected, strict=True))


def test_the_centred_step_is_the_gradient_in_centred_coordinates():
    model, v, w = toy(), states(5)[3:9], states(5)[20:24]
    mu, lam = torch.rand(5).double(), torch.rand(3).double()
    dW, da, db = (-g for g in rbm.cd_gradient(v, w, model.W, model.b))
    cW = dW - torch.outer(da, lam) - torch.outer(mu, db)
    expected = (model.W + 0.1 * cW, model.a + 0.1 * (da - cW @ lam), model.b + 0.1 * (db - cW.T @ mu))
    rows = torch.cat((w, v, torch.full((2, 5), torch.nan)))
    ascend(model, rows, rbm.hidden_given_visible(rows, model.W, model.b), len(w), 0.1, (mu, lam))
    assert all(torch.allclose(t, e, atol=1e-14) for t, e in zip(model, expected, strict=True))


@pytest.mark.parametrize("held", [True, False])
def test_delta_gradient_with_held_and_with_moving_samples(held):
    rng = np.random.default_rng(6)
    features, theta, data = rng.normal(size=(12, 4)), rng.normal(size=4), rng.dirichlet(np.ones(12))

    def energies(t):
        return features @ t + np.sin(features @ t)

    def delta(t):
        at = theta if held else t
        p = np.exp(-energies(at)) / np.exp(-energies(at)).sum()
        return data @ energies(t) - p @ energies(t)

    dE = oracles.jacobian(energies, theta)
    got = rbm.delta_gradient(*(torch.from_numpy(x) for x in (energies(theta), dE, data)), held)
    assert np.allclose(got, oracles.central_difference(delta, theta), atol=1e-8)


def test_rao_blackwell_has_the_same_mean_and_less_variance():
    model, v = toy(), states(5)[[3, 9, 17, 30]]
    exact = rbm.rao_blackwell_estimator(v, model.W, model.b)
    raw = torch.stack([rbm.raw_estimator(v, model.W, model.b, seed) for seed in range(4000)])
    assert torch.all((raw.mean(0) - exact).abs() <= 6 * raw.std(0) / 4000**0.5 + 1e-12)
    p = joint(model).sum(1)
    batches = [states(5)[draw(p, 8, seed)] for seed in range(500)]
    plain = torch.stack([rbm.raw_estimator(x, model.W, model.b, k) for k, x in enumerate(batches)])
    blackwell = torch.stack([rbm.rao_blackwell_estimator(x, model.W, model.b) for x in batches])
    assert plain.var(0).sum() > 1.2 * blackwell.var(0).sum()


@pytest.mark.parametrize("plan", [
    rbm.Plan(epochs=400, batch=30, rate=0.5, chains=200, average=0.3),
    rbm.Plan(epochs=400, batch=30, rate=0.5, sweeps=5, centred=False),
])  # fmt: skip
def test_training_comes_close_to_the_entropy_of_bars_and_stripes(plan):
    patterns = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]])
    images = patterns.repeat(35, 1).float()
    start = rbm.create(4, 8, torch.Generator().manual_seed(0), scale=0.1)
    before = [t.clone() for t in start]
    trained = rbm.fit(start, images, plan, np.random.default_rng(1))
    gap = nll(patterns.double(), trained.to(torch.float64)) - np.log(6)
    assert all(torch.equal(x, y) for x, y in zip(before, start, strict=True))
    assert 0 <= gap < 0.3  # the uniform model is ln 16 - ln 6 = 0.98 away


def test_grey_images_are_binarised_with_their_grey_level_as_probability():
    grey = torch.tensor([0, 51, 128, 255], dtype=torch.uint8).repeat(60000, 1)
    mean = rbm.binarise(grey, np.random.default_rng(7)).mean(0)
    expected = torch.tensor([0, 51, 128, 255]) / 255
    assert torch.all((mean - expected).abs() <= 6 * (expected * (1 - expected) / 60000).sqrt())
    assert torch.allclose(rbm.pixel_means(grey), expected.double())


# ------------------------------------------------------------------------------------------------ partition functions


@pytest.mark.parametrize(("visible", "hidden"), [(6, 3), (3, 6), (5, 5), (1, 1)])
def test_exact_log_z_is_the_sum_over_all_pairs_of_states(visible, hidden):
    model = toy(visible, hidden)
    E = torch.stack([rbm.energy(v, h, *model) for v in states(visible) for h in states(hidden)])
    assert torch.isclose(rbm.exact_log_z(*model, chunk=3), torch.logsumexp(-E, 0), atol=1e-12, rtol=0)


def test_exact_log_z_of_a_batch_of_hidden_biases():
    model = toy(7, 4)
    biases = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one_by_one = torch.stack([rbm.exact_log_z(model.W, model.a, b) for b in biases])
    assert torch.allclose(rbm.exact_log_z(model.W, model.a, biases), one_by_one, atol=1e-12)


def test_exact_log_z_takes_25_units_in_little_memory():
    resource = pytest.importorskip("resource")
    model = toy(25, 40, scale=0.1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = rbm.exact_log_z(model.W[:18], model.a[:18], model.b)  # a machine small enough for every test run
    assert torch.isfinite(first)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.slow
def test_exact_log_z_of_25_hidden_units_against_the_other_side():
    resource = pytest.importorskip("resource")
    model = toy(25, 25, scale=0.3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    here = rbm.exact_log_z(*model)
    there = rbm.exact_log_z(model.W.T, model.b, model.a)
    assert torch.isclose(here, there, atol=1e-9, rtol=0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_annealed_weights_are_exact_for_independent_pixels():
    model = rbm.RBM(torch.zeros(6, 3), torch.randn(6), torch.zeros(3))
    result = rbm.ais_log_z(model, rbm.schedule((1.0, 10)), np.random.default_rng(0), chains=200, base=model.a)
    assert torch.allclose(result.log_z, rbm.exact_log_z(*model), atol=1e-4)
    assert result.error < 1e-6


@pytest.mark.parametrize("seed", range(10))
def test_annealed_importance_sampling_covers_the_exact_log_z(seed):
    model = toy(12, 8, seed=seed)
    result = rbm.ais_log_z(model, rbm.schedule((0.5, 50), (1.0, 250)), np.random.default_rng(seed), chains=400)
    error = abs(result.log_z - rbm.exact_log_z(*model))
    assert error < 0.1
    assert error < 6 * result.error
    assert 1 <= result.effective <= 400


def test_ais_of_a_batch_equals_the_exact_values_of_its_rows():
    model = toy(8, 5)
    batch = model._replace(b=torch.randn(4, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    result = rbm.ais_log_z(batch, rbm.schedule((1.0, 300)), np.random.default_rng(0), chains=300)
    assert torch.all((result.log_z - rbm.exact_log_z(*batch)).abs() < 6 * result.error)


def test_log_likelihoods_sum_to_one():
    model = toy()
    total = rbm.log_likelihood(states(5), model, rbm.exact_log_z(*model)).exp().sum()
    assert abs(total - 1) < 1e-12


# ------------------------------------------------------------------------------------------------ restoration


KNOWN = torch.tensor([False, True, False, False, True])


def exact_conditional(model, v):
    """p(v_lost | v_known) over all lost states, from the joint table."""
    w = states(5)
    p = joint(model).sum(1) * (w[:, KNOWN] == v[KNOWN]).all(1)
    return w, p / p.sum()


def test_conditional_log_likelihood_is_that_of_the_joint_table():
    model = toy(seed=2)
    for v in states(5)[::5]:
        w, p = exact_conditional(model, v)
        log_z = rbm.clamped_log_z(v[None], KNOWN, model).log_z
        got = rbm.conditional_log_likelihood(v[None], KNOWN, model, log_z)
        assert torch.isclose(got[0], p[(w == v).all(1)][0].log(), atol=1e-12)


def test_clamped_ais_agrees_with_the_exact_clamped_sum():
    model, v = toy(seed=3), states(5)[::4]
    exact = rbm.clamped_log_z(v, KNOWN, model).log_z
    mean = torch.full((len(v), 3), 0.4, dtype=torch.float64)
    got = rbm.clamped_log_z(v, KNOWN, model, mean=mean, betas=rbm.schedule((1.0, 200)), chains=300,
                            generator=np.random.default_rng(1))  # fmt: skip
    assert torch.all((got.log_z - exact).abs() < 6 * got.error)


@pytest.mark.parametrize("device", DEVICES)
def test_restoration_is_the_exact_posterior_mean_and_keeps_the_known_pixels(device):
    model = toy(seed=4).to(device)
    v = states(5)[[0, 9, 21, 30]].to(device)
    generator = torch.Generator(device).manual_seed(1)
    got = rbm.posterior_mean(v, KNOWN.to(device), model, generator, sweeps=220, burn_in=20, chains=400)
    assert torch.equal(got[:, KNOWN.to(device)], v[:, KNOWN.to(device)])
    for image, digit in zip(got.cpu(), v.cpu(), strict=True):
        w, p = exact_conditional(model.to("cpu"), digit)
        assert torch.allclose(image, p @ w, atol=0.03)


def test_the_lost_pixels_are_never_looked_at():
    model, v = toy(seed=5), states(5)[[0, 9]]
    spoiled = v.clone()
    spoiled[:, ~KNOWN] = 7.0
    assert torch.equal(rbm.restore(v, KNOWN, *model, 20, seed=1), rbm.restore(spoiled, KNOWN, *model, 20, seed=1))


def test_nearest_digit_finds_the_image_itself():
    train = torch.randint(0, 256, (50, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    known = torch.arange(30) >= 15
    found = rbm.nearest_digit(train[:7].float() / 255, known, train)
    assert torch.allclose(found, train[:7, :15].float() / 255)


def test_logistic_regression_learns_copied_pixels():
    top = torch.randint(0, 2, (4000, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)) * 255
    images, known = torch.cat([top, top], 1), torch.arange(12) >= 6
    W, c = rbm.logistic_regression(images, known, np.random.default_rng(0), epochs=20, rate=0.05)
    p = torch.sigmoid(images[:, known].float() / 255 @ W + c)
    assert rbm.independent_log_likelihood(images.float() / 255, known, p).mean() > -1  # six coins are worth -4.2


# ------------------------------------------------------------------------------------------------ devices, bad input


@pytest.mark.skipif(len(DEVICES) == 1, reason="no GPU here")
def test_the_same_numbers_on_a_gpu():
    model, v = toy(), states(5)
    on_gpu = model.to("cuda")
    assert torch.allclose(rbm.free_energy(v, *model), rbm.free_energy(v.cuda(), *on_gpu).cpu(), atol=1e-12)
    assert torch.allclose(rbm.exact_log_z(*model), rbm.exact_log_z(*on_gpu).cpu(), atol=1e-12)


@pytest.mark.parametrize(("call", "says"), [
    (lambda m: rbm.free_energy(torch.ones(4).double(), *m), "visible units must have shape"),
    (lambda m: rbm.free_energy(torch.ones(5).double(), m.W.T, m.a, m.b), "an RBM needs W"),
    (lambda m: rbm.conditionals(torch.ones(5), torch.ones(3), *m, low=2), "low = 2"),
    (lambda m: rbm.create(0, 3, torch.Generator()), "at least one unit"),
    (lambda m: rbm.schedule((0.5, 10)), "end of 1.0"),
    (lambda m: rbm.ais_log_z(m, torch.linspace(0.1, 1, 5), np.random.default_rng()), "from 0 to 1"),
    (lambda m: rbm.exact_log_z(torch.zeros(40, 40), torch.zeros(40), torch.zeros(40)), f"{LIMIT} are the most"),
    (lambda m: rbm.Plan(average=2.0), "share of the run"),
    (lambda m: rbm.Plan(rate=-1.0), "must be positive"),
    (lambda m: rbm.restore(states(5), torch.ones(5, dtype=torch.bool), *m, 5, 1), "nothing to restore"),
    (lambda m: rbm.restore(states(5), torch.ones(5), *m, 5, 1), "known must be bool"),
    (lambda m: rbm.restore(states(5), KNOWN, *m, 0, 1), "0 <= burn_in < sweeps"),
    (lambda m: rbm.cd_gradient(states(4), states(5), m.W, m.b), "data units must have shape"),
])  # fmt: skip
def test_bad_input_gets_one_clear_sentence(call, says):
    with pytest.raises(ValueError, match=says):
        call(toy())


def test_every_named_answer_exists():
    assert all(hasattr(rbm, name.removeprefix("rbm.")) for names in rbm.ANSWERS.values() for name in names)
