"""Laws of helpers.flows: autograd Jacobians, finite differences, quadrature and exact entropies are the oracles."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy import stats

from helpers import data, flows, oracles
from helpers.checks import wire
from helpers.figures import normalizing_flows as figures

MASK = torch.tensor([True, False, True, True, False])
DIM = len(MASK)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(torch.seed() % 2**40)


def shaken(module, generator):
    """The module with every weight moved at random, so that no law holds by a lucky start."""
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return module


def masked(generator, depth=2):
    return flows.MaskedPerceptron(DIM, 9, depth, generator=generator)


BIJECTORS = {
    "affine coupling": lambda g: flows.Coupling(MASK, (7, 6), generator=g),
    "affine coupling, tanh": lambda g: flows.Coupling(~MASK, (7,), activation="tanh", generator=g),
    "affine coupling, halves": lambda g: flows.Coupling(torch.arange(DIM) < 2, (7, 6), generator=g),
    "affine coupling, checkered": lambda g: flows.Coupling(torch.arange(DIM) % 2 == 0, (7, 6), generator=g),
    "additive coupling": lambda g: flows.Coupling(MASK, (7, 6), additive=True, generator=g),
    "masked autoregressive": lambda g: flows.Autoregressive(masked(g)),
    "inverse autoregressive": lambda g: flows.Inverse(flows.Autoregressive(masked(g, depth=1))),
    "permutation": lambda g: flows.Permutation(torch.randperm(DIM, generator=g)),
    "scale": lambda g: flows.Scale(DIM),
    "linear": lambda g: flows.Linear(torch.randn(DIM, DIM, generator=g, dtype=torch.float64)),
    "sigmoid": lambda g: flows.Sigmoid(DIM, 0.05),
    "logit": lambda g: flows.Inverse(flows.Sigmoid(DIM)),
    "box_muller": lambda g: flows.BoxMuller(),
    "histogram": lambda g: flows.Histogram(torch.randint(0, 256, (400, DIM), generator=g, dtype=torch.uint8)),
    "NICE": lambda g: flows.nice(DIM, 3, (6,), generator=g).bijector,
    "Real NVP": lambda g: flows.real_nvp(DIM, 3, (6, 5), generator=g).bijector,
    "MAF": lambda g: flows.maf(DIM, 2, 8, generator=g).bijector,
    "a chain of everything": lambda g: flows.Chain(
        [
            flows.Linear(torch.eye(DIM, dtype=torch.float64) + 0.1),
            flows.Coupling(MASK, (5,), generator=g),
            flows.Permutation([3, 1, 0, 4, 2]),
            flows.Inverse(flows.Autoregressive(masked(g))),
            flows.Scale(DIM),
            flows.Sigmoid(DIM, 0.01),
        ]
    ),
}
IN_THE_UNIT_CUBE = ("logit", "box_muller")


def latent(name, bijector, generator, count=12):
    z = torch.randn(count, bijector.dim, generator=generator, dtype=torch.float64)
    return torch.special.ndtr(z) if name in IN_THE_UNIT_CUBE else z


def jacobians(bijector, z):
    return torch.stack([torch.autograd.functional.jacobian(lambda v: bijector(v[None])[0][0], point) for point in z])


@pytest.mark.parametrize("name", BIJECTORS)
def test_a_bijector_has_an_inverse_and_the_log_det_of_its_jacobian(name, generator):
    bijector = shaken(BIJECTORS[name](generator), generator)
    z = latent(name, bijector, generator)
    x, log_abs_det = bijector(z)
    back, log_abs_det_back = bijector.inverse(x)
    assert x.dtype == log_abs_det.dtype == torch.float64
    assert log_abs_det.shape == log_abs_det_back.shape == (len(z),)
    torch.testing.assert_close(back, z, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_abs_det_back, -log_abs_det, rtol=1e-10, atol=1e-10)
    exact = torch.linalg.slogdet(jacobians(bijector, z))[1]
    torch.testing.assert_close(log_abs_det, exact, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(bijector.log_abs_det(z), log_abs_det, rtol=0, atol=0)


@pytest.mark.parametrize("name", BIJECTORS)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU here"))])  # fmt: skip
def test_dtype_and_device_come_from_the_input(name, device, generator):
    bijector = BIJECTORS[name](generator)
    z = latent(name, bijector, generator)
    double = bijector(z)
    bijector.to(device, torch.float32)
    for direction in (bijector.forward, bijector.inverse):
        x, log_abs_det = direction(bijector(z.to(device, torch.float32))[0] if direction == bijector.inverse else
                                   z.to(device, torch.float32))  # fmt: skip
        assert x.dtype == log_abs_det.dtype == torch.float32
        assert x.device.type == log_abs_det.device.type == device
    single = bijector(z.to(device, torch.float32))
    for a, b in zip(single, double, strict=True):
        torch.testing.assert_close(a.cpu().double(), b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["affine coupling", "affine coupling, tanh", "affine coupling, halves", "additive coupling"]
)
def test_the_jacobian_of_a_coupling_is_triangular_with_the_kept_half_first(name, generator):
    layer = shaken(BIJECTORS[name](generator), generator)
    z = latent(name, layer, generator)
    order = torch.cat([layer.mask.nonzero().flatten(), (~layer.mask).nonzero().flatten()])
    kept = int(layer.mask.sum())
    for jacobian in jacobians(layer, z):
        ordered = jacobian[order][:, order]
        assert torch.equal(ordered[:kept], torch.eye(DIM, dtype=torch.float64)[:kept])
        moved = ordered[kept:, kept:]
        assert torch.equal(moved, torch.diag(moved.diagonal()))
        assert not layer.additive or torch.equal(moved, torch.eye(len(moved), dtype=torch.float64))


def test_autoregressive_maps_are_triangular(generator):
    for layer in (flows.Autoregressive(masked(generator)), flows.Inverse(flows.Autoregressive(masked(generator)))):
        for jacobian in jacobians(layer, latent("", layer, generator)):
            assert torch.equal(jacobian, jacobian.tril())
            assert (jacobian.diagonal() > 0).all()


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_written_out_gradient_of_a_coupling_is_that_of_differences(additive, activation, generator):
    layer = flows.Coupling(MASK, (6, 5), additive=additive, activation=activation, generator=generator)
    x = torch.randn(7, DIM, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, theta: layer.inverse(x), (x, layer.net.theta))


def test_the_layer_is_the_formula(generator):
    layer = flows.Coupling(MASK, (6,), generator=generator)
    kept, z = int(MASK.sum()), torch.randn(8, DIM, generator=generator, dtype=torch.float64)

    def s(x):
        return torch.tanh(layer.net(x)[:, : DIM - kept])

    def t(x):
        return layer.net(x)[:, DIM - kept :]

    for mine, formula in ((layer, flows.affine_coupling_forward), (layer.inverse, flows.affine_coupling_inverse)):
        for a, b in zip(mine(z), formula(z, MASK, s, t), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


# ---------------------------------------------------------------------------------------------------------- densities


def test_box_muller_makes_normal_numbers(generator):
    x, _ = flows.box_muller(torch.rand(20_000, 2, generator=generator, dtype=torch.float64).clamp_min(1e-12))
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-9


@pytest.mark.parametrize("make", [flows.nice, flows.real_nvp, flows.maf])
def test_a_flow_integrates_to_one(make, generator):
    flow = shaken(
        make(2, 2, generator=generator) if make is flows.maf else make(2, 3, (8,), generator=generator), generator
    )
    with torch.no_grad():
        reach = 1.2 * flow.sample(20_000, generator).abs().max(0).values + 1
        axes = [torch.linspace(-float(r), float(r), 600, dtype=torch.float64) for r in reach]
        grid = torch.cartesian_prod(*axes)
        cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
        total = sum(float(flow.log_prob(part).exp().sum()) for part in grid.split(100_000)) * float(cell)
    assert abs(total - 1) < 0.02


def test_a_linear_flow_is_the_gaussian_it_should_be(generator):
    matrix, shift = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((3, 3), (3,)))
    x = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(shift, matrix @ matrix.t()).log_prob(x)
    layers = [flows.Linear(matrix, shift)]
    torch.testing.assert_close(flows.flow_log_prob(x, layers), exact, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flows.Flow(layers[0]).log_prob(x), exact, rtol=1e-9, atol=1e-9)


def test_log_prob_of_samples_agrees_with_the_forward_log_det(generator):
    flow = shaken(flows.real_nvp(3, 3, (6,), generator=generator), generator)
    z = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    x, log_abs_det = flow.bijector(z)
    torch.testing.assert_close(flow.log_prob(x), flows.normal_log_prob(z) - log_abs_det)
    torch.testing.assert_close(flows.flow_log_prob(x, list(flow.bijector.steps)), flow.log_prob(x))


def test_autoregressive_scores_agree_with_the_change_of_variables(generator):
    net = masked(generator)
    noise = torch.randn(20, DIM, generator=generator, dtype=torch.float64)
    x = flows.ar_sample(noise, net)
    changed = flows.normal_log_prob(noise) - flows.Autoregressive(net).log_abs_det(noise)  # Eq. (39)
    torch.testing.assert_close(flows.ar_log_prob(x, net), changed, rtol=1e-10, atol=1e-10)
    mean, log_sigma = net(x)
    normal = torch.distributions.Normal(mean, log_sigma.exp()).log_prob(x).sum(1)
    torch.testing.assert_close(flows.ar_log_prob(x, net), normal, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dim", "hidden"), [(1, 3), (2, 1), (4, 3), (5, 11)])
def test_masks_let_an_output_see_all_earlier_inputs_and_no_others(dim, hidden):
    enter, leave = flows.ar_masks(dim, hidden)
    paths = leave.long() @ enter.long()
    assert torch.equal(paths.triu(), torch.zeros(dim, dim, dtype=torch.int64))
    if hidden >= dim - 1:
        assert (paths[torch.tril_indices(dim, dim, -1).unbind()] > 0).all()


def test_nll_step_gives_the_gradient_of_differences(generator):
    flow = flows.real_nvp(2, 2, (4,), activation="tanh", generator=generator)
    batch = data.ring(30, generator)
    loss, gradients = flows.nll_step(flow, batch)
    assert abs(float((loss + flow.log_prob(batch).mean()).detach())) < 1e-12
    for parameter, gradient in zip(flow.parameters(), gradients, strict=True):

        def at(values, parameter=parameter):
            with torch.no_grad():
                old = parameter.clone()
                parameter.copy_(torch.from_numpy(values))
                nll = -float(flow.log_prob(batch).mean())
                parameter.copy_(old)
            return nll

        np.testing.assert_allclose(gradient, oracles.central_difference(at, parameter.detach().numpy()), atol=1e-7)


def test_a_density_can_have_a_negative_nll():
    total, nll = flows.density_nll(*flows.negative_nll_density())
    assert abs(total - 1) < 1e-9
    assert abs(nll - (0.5 * math.log(2 * math.pi * math.e) + math.log(0.05))) < 1e-6


# ------------------------------------------------------------------------------------------------------------ targets


@pytest.mark.parametrize("target", flows.TARGETS, ids=lambda target: target.name)
def test_a_target_is_normalised_and_has_its_entropy(target, generator):
    line = torch.linspace(-8, 8, 2401, dtype=torch.float64)
    log_p = torch.cat([target.log_density(part) for part in torch.cartesian_prod(line, line).split(500_000)])
    cell = float(line[1] - line[0]) ** 2
    p = log_p.exp()
    assert abs(float(p.sum()) * cell - 1) < 2e-5
    assert abs(float(-(p * log_p).sum()) * cell - target.entropy) < 2e-4
    x = target.draw(50_000, generator)
    nll = -target.log_density(x)
    assert x.dtype == torch.float64
    assert abs(float(nll.mean()) - target.entropy) < 6 * float(nll.std()) / math.sqrt(len(nll))


def test_no_volume_preserving_flow_comes_closer_to_the_ring_than_its_rearrangement(generator):
    gap = flows.volume_preserving_bound(data.ring(200_000, generator), data.ring_log_density) - data.RING_ENTROPY
    assert abs(gap - 0.0479) < 0.01
    normal = torch.randn(200_000, 2, generator=generator, dtype=torch.float64)
    entropy = 1 + math.log(2 * math.pi)  # a Gaussian is its own rearrangement: the bound is its entropy
    assert abs(flows.volume_preserving_bound(normal, flows.normal_log_prob) - entropy) < 0.02


def test_training_lowers_the_nll_and_never_beats_the_entropy(generator):
    recipe = flows.Recipe(steps=60, batch=256, rate=3e-3, couplings=4, hidden=(32,))
    run = flows.learn_plane(flows.RING, "real_nvp", recipe, generator, held_out=20_000)
    assert run.gap < 3.6443529 - data.RING_ENTROPY  # the best isotropic Gaussian
    assert run.gap > -3 * run.error


# ------------------------------------------------------------------------------------------------------------- images


def test_dequantised_pixels_stay_in_their_bin_and_survive_logit_space(generator):
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 128)
    y = flows.dequantise(pixels, generator)
    np.testing.assert_array_equal((y * 256).floor().numpy(), pixels)
    x, log_abs_det = flows.to_logit(y)
    torch.testing.assert_close(flows.from_logit(x), y, rtol=1e-10, atol=1e-10)
    inside = 1e-6 + (1 - 2e-6) * y
    torch.testing.assert_close(x, torch.log(inside / (1 - inside)))
    torch.testing.assert_close(log_abs_det, ((1 - 2e-6) / (inside * (1 - inside))).log().sum(1))


def test_bits_per_dim_counts_the_bits_of_a_uniform_image_right(generator):
    y = torch.rand(5, 784, generator=generator, dtype=torch.float64)
    _, log_abs_det = flows.to_logit(y)
    uniform = log_abs_det  # -ln p(x) of x = logit(y) with y uniform is +ln|det dx/dy|
    torch.testing.assert_close(
        flows.bits_per_dim(uniform, log_abs_det, 784), torch.full((5,), 8.0, dtype=torch.float64)
    )
    assert abs(flows.bits_per_dim(784 * math.log(2), 0.0, 784) - 9) < 1e-12


def test_the_histogram_flow_is_the_model_of_independent_pixels(generator):
    pixels = torch.randint(0, 3, (500, 2), generator=generator, dtype=torch.uint8)
    layer = flows.Histogram(pixels, prior=0.0)
    y = flows.dequantise(pixels, generator)
    nll = -flows.Flow(layer).log_prob(y).mean() + 2 * math.log(256)
    shares = [np.bincount(column, minlength=3) / 500 for column in pixels.numpy().T]
    assert abs(float(nll) - sum(stats.entropy(share) for share in shares)) < 1e-9


def test_whitened_data_have_unit_covariance(generator):
    x = torch.randn(5000, 3, generator=generator, dtype=torch.float64) @ torch.tensor(
        [[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.3]], dtype=torch.float64
    )
    z = flows.whitening(x + 3, floor=0.0).inverse(x + 3)[0]
    torch.testing.assert_close(z.t() @ z / len(z), torch.eye(3, dtype=torch.float64))


def test_a_digit_flow_starts_as_the_copula_learns_and_returns_its_digits(generator):
    recipe = flows.DigitRecipe(4, 20, 1e-3, couplings=2, hidden=(8,), images=2000, tested=100)
    run = flows.learn_digits(recipe, generator)
    counted = flows.digit_baselines(recipe, generator)
    assert counted["independent pixels"][0] < 1323.2  # the published Real NVP
    assert abs(run.history.nll[-1] - counted["independent pixels + one Gaussian"][0]) < 40
    x = flows.to_logit(flows.dequantise(data.mnist().test_images[:2], generator))[0]
    film = flows.interpolate(run.flow, x[:1].float(), x[1:].float(), steps=3)
    assert film.shape == (1, 3, 28, 28)
    torch.testing.assert_close(film[0, 0].flatten().double(), flows.from_logit(x[:1])[0], atol=0.02, rtol=0)


# --------------------------------------------------------------------------------------------------- boundary, errors


@pytest.mark.parametrize(
    "name", ["affine coupling", "additive coupling", "masked autoregressive", "Real NVP", "linear"]
)
def test_a_flow_survives_the_boundary(name, generator):
    flow = flows.Flow(shaken(BIJECTORS[name](generator), generator))
    copy = wire.decode(wire.encode(flow))
    x = torch.randn(4, DIM, generator=generator, dtype=torch.float64)
    assert torch.equal(copy.log_prob(x), flow.log_prob(x))
    assert [p.requires_grad for p in copy.parameters()] == [p.requires_grad for p in flow.parameters()]


@pytest.mark.parametrize(
    ("kind", "tree"),
    [
        (flows.Perceptron, None),
        (flows.Perceptron, {"sizes": [2, 0], "activation": "relu", "theta": torch.ones(2), "train": True}),
        (flows.Perceptron, {"sizes": [2, 1], "activation": "relu", "theta": torch.ones(2), "train": True}),
        (flows.Perceptron, {"sizes": [2, 1], "activation": "exec", "theta": torch.ones(3), "train": True}),
        (flows.Coupling, {"mask": torch.ones(2), "additive": False, "net": flows.Perceptron([1, 3])}),
        (flows.Coupling, {"mask": MASK, "additive": False, "net": "net"}),
        (flows.MaskedPerceptron, {"masks": [MASK[None]] * 2, "weights": [], "biases": [], "train": True}),
        (flows.Chain, {"steps": ["os.system"]}),
        (flows.Linear, {"matrix": torch.ones(2, 3), "shift": torch.ones(2)}),
        (flows.Linear, {"matrix": torch.zeros(2, 2), "shift": torch.ones(2)}),
        (flows.Scale, {"log_scale": torch.ones(2), "shift": torch.ones(3), "train": False}),
        (flows.Flow, {"bijector": 3}),
    ],
)
def test_a_malformed_flow_is_refused(kind, tree):
    with pytest.raises((ValueError, TypeError)):
        kind.from_plain(tree)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: flows.Coupling([True, True], (3,)), "keeps some"),
        (lambda: flows.Coupling(MASK, (3,))(torch.ones(3, 4)), r"\(batch, 5\)"),
        (lambda: flows.Perceptron([3]), "two sizes"),
        (lambda: flows.Perceptron([3, 1], activation="step"), "unknown"),
        (lambda: flows.Perceptron([3, 1])(torch.ones(3)), r"\(batch, 3\)"),
        (lambda: flows.MaskedPerceptron(3, 4, 0), "hidden layer"),
        (lambda: flows.ar_masks(0, 3), "at least one"),
        (lambda: flows.Permutation([0, 0, 1]), "once"),
        (lambda: flows.Linear(torch.zeros(2, 2)), "invertible"),
        (lambda: flows.Chain([flows.Scale(2), flows.Scale(3)]), "one dimension"),
        (lambda: flows.Sigmoid(2, 0.7), "margin"),
        (lambda: flows.box_muller(torch.ones(3)), "pairs"),
        (lambda: flows.box_muller(torch.ones(3, 2)), "between 0 and 1"),
        (lambda: flows.real_nvp(1), "two coordinates"),
        (lambda: flows.plane_recipe("quick", "glow"), "kinds of flow"),
        (lambda: flows.dequantise(np.ones((2, 3))), "uint8"),
        (lambda: flows.Histogram(torch.ones(2, 3)), "uint8"),
        (lambda: flows.density_nll(np.ones(3), np.ones(3)), "increasing"),
        (lambda: flows.density_nll(np.ones(3), np.ones(4)), "one length"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(mistake, message):
    with pytest.raises((ValueError, TypeError), match=message):
        mistake()


def test_every_name_to_mask_exists():
    for names in flows.ANSWERS.values():
        for name in names:
            place = flows
            for part in name.split(".")[1:]:
                place = getattr(place, part)


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: figures.clouds([x, 2 * x], ["before", "after"]),
        lambda x: figures.layer_by_layer([x, x + 1, x * 2]),
        lambda x: figures.densities({"exact": lambda p: data.ring_log_density(torch.from_numpy(p)).numpy()}),
        lambda x: figures.nll_curves({"a": ([1, 2], [4.0, 3.5], [0.1, 0.1])}, {"entropy": 3.0}),
        lambda x: figures.interpolation(np.zeros((2, 3, 28, 28))),
    ],
)
def test_figures_draw_with_labelled_axes(draw):
    shown = draw(np.random.default_rng(0).normal(size=(50, 2)))
    assert shown is not None
    plt.close("all")


def test_the_film_needs_no_other_program():
    page = figures.flowing([np.zeros((5, 2)), np.ones((5, 2))], between=2)
    assert "data:image/png;base64" in page.data
    plt.close("all")
