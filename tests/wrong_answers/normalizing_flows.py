"""Answers to chapter 02: the mistakes that people make, and right answers written in other ways than ours."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats

from helpers import flows
from tests.suite import Suite

suite = Suite("normalizing_flows")
right, wrong = suite.right, suite.wrong
PI = math.pi

# --------------------------------------------------------------------------------------------------------- box_muller


def complex_box_muller(z):
    w = torch.polar(torch.sqrt(-2 * torch.log(z[:, 0])), 2 * PI * z[:, 1])
    return torch.view_as_real(w), math.log(2 * PI) - torch.log(z[:, 0])


def numpy_box_muller(z):
    u, v = np.asarray(z).T
    x = np.sqrt(-2 * np.log(u)) * np.array([np.cos(2 * PI * v), np.sin(2 * PI * v)])
    return x.T, np.log(2 * PI) + 0.5 * (x**2).sum(0)


def bm(change_x=lambda x, z: x, change_log=lambda d, z: d):
    def answer(z):
        x, log_abs_det = flows.box_muller(z)
        return change_x(x, z), change_log(log_abs_det, z)

    return answer


def polar(radius, angle):
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


def bm_shuffled_by_a_memo(z, _memo={}):  # noqa: B006 - a memo is the point
    x, log_abs_det = flows.box_muller(z)
    return x.sort(0).values, log_abs_det


right("box_muller", flows.box_muller)
right("box_muller", complex_box_muller)
right("box_muller", numpy_box_muller)
wrong("box_muller", "inverse determinant", bm(change_log=lambda d, z: -d), name="inverse_determinant")
wrong("box_muller", "2 pi .*missing", bm(change_log=lambda d, z: -torch.log(z[:, 0])), name="no_two_pi")
wrong("box_muller", "without its logarithm", bm(change_log=lambda d, z: d.exp()), name="no_logarithm")
wrong("box_muller", "mean over the batch", bm(change_log=lambda d, z: d.mean()), name="mean_of_log_det")
wrong("box_muller", "sum over the batch", bm(change_log=lambda d, z: d.sum()), name="sum_of_log_det")
wrong("box_muller", "changed places", bm(lambda x, z: x.flip(1)), name="sine_and_cosine")
wrong("box_muller", "one radian", bm(lambda x, z: polar((-2 * z[:, 0].log()).sqrt(), z[:, 1])), name="angle_in_radians")
wrong("box_muller", "factor 2 under the root", bm(lambda x, z: x / 2**0.5), name="no_two_in_the_radius")
wrong("box_muller", "root of the radius", bm(lambda x, z: polar(-2 * z[:, 0].log(), 2 * PI * z[:, 1])), name="no_root")
wrong("box_muller", "changed roles", bm(lambda x, z: flows.box_muller(z.flip(1))[0]), name="roles_exchanged")
wrong("box_muller", "disagrees with Eq. .42.|another order", bm_shuffled_by_a_memo)
wrong("box_muller", "return 2 values", lambda z: flows.box_muller(z)[0], name="no_log_det")

# ----------------------------------------------------------------------------------------------- negative_nll_density


def narrow_box():
    return np.linspace(0, 0.1, 11), np.full(11, 10.0)


def triangle():
    return [np.array([-0.2, 0.0, 0.2]), np.array([0.0, 5.0, 0.0])]


def torch_spike():
    grid = torch.linspace(0, 4, 4001, dtype=torch.float64)
    values = torch.exp(-20 * grid)
    return grid, values / torch.trapezoid(values, grid)


def table(grid, values):
    return lambda: (np.asarray(grid, float), np.asarray(values, float))


LINE = np.linspace(-1, 1, 401)
right("negative_nll_density", flows.negative_nll_density)
right("negative_nll_density", narrow_box)
right("negative_nll_density", triangle)
right("negative_nll_density", torch_spike)
wrong("negative_nll_density", "exactly 0", table([0, 0.5, 1], [1, 1, 1]), name="unit_box")
wide = 5 * LINE
wrong("negative_nll_density", "too spread out", table(wide, stats.norm.pdf(wide)), name="standard_normal")
wrong(
    "negative_nll_density", "integral over the grid", table(LINE, np.exp(-((LINE / 0.05) ** 2))), name="not_normalised"
)
spike = stats.norm.pdf(LINE, scale=0.05)
wrong("negative_nll_density", "probabilities are no density", table(LINE, spike / spike.sum()), name="probabilities")
wrong("negative_nll_density", "its logarithm", table(LINE, np.log(spike + 1e-9)), name="log_density")
wrong("negative_nll_density", "increase", table(LINE[::-1], spike), name="grid_backwards")
wrong("negative_nll_density", "values should have shape", table(LINE, spike[:-1]), name="lengths_differ")
wrong("negative_nll_density", "NaN or infinity", table(LINE, np.where(LINE == 0, np.inf, 0)), name="delta_function")

# ---------------------------------------------------------------------------------------------------- affine_coupling

forward, inverse = flows.affine_coupling_forward, flows.affine_coupling_inverse


def forward_by_where(z, mask, s, t):
    scale, shift = torch.zeros_like(z), torch.zeros_like(z)
    scale[:, ~mask], shift[:, ~mask] = s(z[:, mask]), t(z[:, mask])
    return torch.where(mask, z, z * torch.exp(scale) + shift), scale.sum(1)


def inverse_by_where(x, mask, s, t):
    scale, shift = torch.zeros_like(x), torch.zeros_like(x)
    scale[:, ~mask], shift[:, ~mask] = s(x[:, mask]), t(x[:, mask])
    return torch.where(mask, x, (x - shift) / torch.exp(scale)), -scale.sum(1)


def forward_in_numpy(z, mask, s, t):
    points, keep = z.numpy().copy(), mask.numpy()
    scale = s(z[:, mask]).numpy()
    points[:, ~keep] = points[:, ~keep] * np.exp(scale) + t(z[:, mask]).numpy()
    return points, np.einsum("bi->b", scale)


def inverse_in_numpy(x, mask, s, t):
    points, keep = x.numpy().copy(), mask.numpy()
    scale = s(x[:, mask]).numpy()
    points[:, ~keep] -= t(x[:, mask]).numpy()
    points[:, ~keep] /= np.exp(scale)
    return points, -np.einsum("bi->b", scale)


def going(rule, log=lambda scale: scale.sum(1)):
    """A coupling with its own rule for the moved half: rule(moved, scale, shift)."""

    def answer(z, mask, s, t):
        out, scale, shift = z.clone(), s(z[:, mask]), t(z[:, mask])
        out[:, ~mask] = rule(z[:, ~mask], scale, shift)
        return out, log(scale)

    return answer


def couple(y, a, b):
    return y * a.exp() + b


def undo(y, a, b):
    return (y - b) * torch.exp(-a)


def minus(scale):
    return -scale.sum(1)


def s_of_the_moved_half(z, mask, s, t):
    out = z.clone()
    scale = s(z[:, ~mask])
    out[:, ~mask] = z[:, ~mask] * scale.exp() + t(z[:, ~mask])
    return out, scale.sum(1)


def mask_complement(z, mask, s, t):
    return forward(z, ~mask, s, t)


def halves_glued(z, mask, s, t):
    x, log_abs_det = forward(z, mask, s, t)
    return torch.cat([x[:, mask], x[:, ~mask]], 1), log_abs_det


def halves_exchanged(z, mask, s, t):
    x, log_abs_det = forward(z, mask, s, t)
    out = x.clone()
    if int(mask.sum()) * 2 == len(mask):
        out[:, mask], out[:, ~mask] = x[:, ~mask], x[:, mask]
    return out, log_abs_det


def first_half_always(z, mask, s, t):
    """Reads the mask's size only."""
    kept = int(mask.sum())
    scale = s(z[:, :kept])
    return torch.cat([z[:, :kept], z[:, kept:] * scale.exp() + t(z[:, :kept])], 1), scale.sum(1)


_SEEN: dict[bytes, torch.Tensor] = {}


def memo_forward(z, mask, s, t):
    x, log_abs_det = forward(z, mask, s, t)
    _SEEN[x.numpy().tobytes()] = z
    return x, log_abs_det


def memo_inverse(x, mask, s, t):
    return _SEEN.get(x.numpy().tobytes(), x), -s(x[:, mask]).sum(1)


FORWARD, INVERSE = ("affine_coupling", forward), ("affine_coupling", inverse)
right("affine_coupling", forward, inverse)
right("affine_coupling", forward_by_where, inverse_by_where)
right("affine_coupling", forward_in_numpy, inverse_in_numpy)


def wrong_forward(says, answer, name=""):
    wrong("affine_coupling", says, answer, inverse, name=name or answer.__name__)


def wrong_inverse(says, answer, name=""):
    wrong("affine_coupling", says, forward, answer, name=name or answer.__name__)


wrong_forward("look at the moved half", s_of_the_moved_half)
wrong_forward("mask is turned round", mask_complement)
wrong_forward("glued together|for the mask", halves_glued)
wrong_forward("changed places|wrong order", halves_exchanged)
wrong_forward("for the mask|disagrees with Eq|glued", first_half_always)
wrong_forward("first scale, then shift", going(lambda y, a, b: (y + b) * a.exp()), "shift_then_scale")
wrong_forward("its exponential should", going(lambda y, a, b: y * a + b), "no_exponential")
wrong_forward("way back", going(lambda y, a, b: y * torch.exp(-a) + b), "minus_s")
wrong_forward("shift is missing", going(lambda y, a, b: y * a.exp()), "no_shift")
wrong_forward("sign is turned round", going(couple, minus), "log_det_sign")
wrong_forward("sum over the moved coordinates is missing|shape", going(couple, lambda a: a), "log_det_not_summed")
wrong_forward("mean over the moved", going(couple, lambda a: a.mean(1)), "log_det_mean")
wrong_forward("batch is summed", going(couple, lambda a: a.sum()), "log_det_of_the_batch")
wrong_forward("NICE only", going(couple, lambda a: 0 * a.sum(1)), "log_det_zero")
wrong_forward("exp.s. added up", going(couple, lambda a: a.exp().sum(1)), "log_det_of_exponentials")
wrong_inverse("undone before the shift", going(lambda y, a, b: y * torch.exp(-a) - b, minus), "undone_in_order")
wrong_inverse("applied again", going(lambda y, a, b: (y - b) * a.exp(), minus), "scaled_again")
wrong_inverse("applied twice", going(lambda y, a, b: (y - b) * torch.exp(-2 * a), minus), "scaled_twice")
wrong_inverse("added again", going(lambda y, a, b: (y + b) * torch.exp(-a), minus), "shifted_again")
wrong_inverse("forward map", going(couple, minus), "inverse_is_forward")
wrong_inverse("sign of the forward map", going(undo), "inverse_log_det_sign")
wrong("affine_coupling", "unchanged|never saw", memo_forward, memo_inverse, name="memo")
wrong("affine_coupling", "NICE only|disagrees", going(lambda y, a, b: y + b, lambda a: 0 * a.sum(1)),
      going(lambda y, a, b: y - b, lambda a: 0 * a.sum(1)), name="additive_only")  # fmt: skip

# ------------------------------------------------------------------------------------------------------ flow_log_prob


def score_by_recursion(x, layers):
    if not layers:
        return -0.5 * (x**2).sum(1) - 0.5 * x.shape[1] * math.log(2 * PI)
    z, log_abs_det = layers[-1].inverse(x)
    return score_by_recursion(z, layers[:-1]) + log_abs_det


def score_with_forward_dets(x, layers):
    z = x
    for layer in layers[::-1]:
        z = layer.inverse(z)[0]
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    for layer in layers:
        z, log_abs_det = layer(z)
        log_p = log_p - log_abs_det
    return log_p


def scored(combine, layers_of=reversed, step=lambda layer, x: layer.inverse(x)):
    """combine(ln N(z), list of log-dets in the order of the walk, x)."""

    def answer(x, layers):
        z, dets = x, []
        for layer in layers_of(layers):
            z, log_abs_det = step(layer, z)
            dets.append(log_abs_det)
        return combine(flows.normal_log_prob(z), dets, x)

    return answer


def half_log_two_pi(x):
    return 0.5 * x.shape[1] * math.log(2 * PI)


right("flow_log_prob", flows.flow_log_prob)
right("flow_log_prob", score_by_recursion)
right("flow_log_prob", score_with_forward_dets)
for says, name, answer in (
    ("2 pi .* is missing", "no_two_pi", scored(lambda n, d, x: n + sum(d) + half_log_two_pi(x))),
    ("with its half", "two_pi_twice", scored(lambda n, d, x: n + sum(d) - half_log_two_pi(x))),
    ("wrong sign", "log_det_sign", scored(lambda n, d, x: n - sum(d))),
    ("only the last layer", "last_layer_only", scored(lambda n, d, x: n + d[0])),
    ("only the first layer", "first_layer_only", scored(lambda n, d, x: n + d[-1])),
    ("no log-determinant", "no_log_det", scored(lambda n, d, x: n)),
    ("wrong order", "layers_in_order", scored(lambda n, d, x: n + sum(d), layers_of=list)),
    ("scored as if", "x_scored", scored(lambda n, d, x: flows.normal_log_prob(x) + sum(d))),
    ("walked forward", "walked_forward", scored(lambda n, d, x: n - sum(d), list, lambda layer, x: layer(x))),
    ("sign is turned round", "negative", scored(lambda n, d, x: -(n + sum(d)))),
    ("mean over the batch", "mean", scored(lambda n, d, x: (n + sum(d)).mean())),
    ("without its logarithm", "density", scored(lambda n, d, x: (n + sum(d)).exp())),
):
    wrong("flow_log_prob", says, answer, name=name)

# ----------------------------------------------------------------------------------------------------------- nll_step


def nll_by_backward(flow, batch):
    flow.zero_grad()
    loss = -flow.log_prob(batch).mean()
    loss.backward()
    return loss, [p.grad for p in flow.parameters()]


def nll_by_sums(flow, batch):
    total = -flow.log_prob(batch).sum()
    gradients = torch.autograd.grad(total, tuple(flow.parameters()))
    return float(total) / len(batch), tuple(np.asarray(g) / len(batch) for g in gradients)


def stepped(loss_of, scale=lambda n: 1.0, pick=lambda gradients, flow: gradients):
    def answer(flow, batch):
        mean = -flow.log_prob(batch).mean()
        gradients = [scale(len(batch)) * g for g in torch.autograd.grad(mean, list(flow.parameters()))]
        return loss_of(-flow.log_prob(batch).detach()), pick(gradients, flow)

    return answer


def mean(each):
    return each.mean()


right("nll_step", flows.nll_step)
right("nll_step", nll_by_backward)
right("nll_step", nll_by_sums)
for says, name, answer in (
    ("sum over the batch", "sum", stepped(lambda each: each.sum(), lambda n: n)),
    ("sign is turned round", "likelihood", stepped(lambda each: -each.mean(), lambda n: -1)),
    ("uphill", "uphill", stepped(mean, lambda n: -1.0)),
    ("one number per point", "per_point", stepped(lambda each: each)),
    ("in bits", "bits", stepped(lambda each: each.mean() / math.log(2))),
    ("1/batch .* twice", "mean_twice", stepped(mean, lambda n: 1 / n)),
    ("not the gradients", "parameters", stepped(mean, pick=lambda g, flow: [p.detach() for p in flow.parameters()])),
    ("one gradient for each", "last_layer_missing", stepped(mean, pick=lambda g, flow: g[:-1])),
    ("disagrees with measured slopes|should have shape", "reversed", stepped(mean, pick=lambda g, flow: g[::-1])),
    ("measured slopes|zero everywhere", "first_layer_frozen", stepped(mean, pick=lambda g, flow: [0 * g[0], *g[1:]])),
    ("disagrees with measured slopes", "signs_only", stepped(mean, pick=lambda g, flow: [x.sign() for x in g])),
    ("return 2 values", "loss_alone", lambda flow, batch: -flow.log_prob(batch).mean()),
):
    wrong("nll_step", says, answer, name=name)

# ----------------------------------------------------------------------------------------------------- autoregressive

masks, score, draw = flows.ar_masks, flows.ar_log_prob, flows.ar_sample


def masks_at_random(dim, hidden):
    """One unit of every degree, the others drawn; as numbers."""
    rest = torch.randint(1, dim, (hidden - dim + 1,))
    degree = torch.cat([torch.arange(1, dim), rest])
    inputs = torch.arange(1, dim + 1)
    return (degree[:, None] >= inputs).double(), (inputs[:, None] > degree).double()


def masks_by_loops(dim, hidden):
    enter, leave = np.zeros((hidden, dim), dtype=int), np.zeros((dim, hidden), dtype=int)
    for k in range(hidden):
        m = k % (dim - 1)
        enter[k, : m + 1], leave[m + 1 :, k] = 1, 1
    return enter, leave


def score_by_torch(x, net):
    mu, log_sigma = net(x)
    return torch.distributions.Normal(mu, log_sigma.exp()).log_prob(x).sum(-1)


def score_by_eq_39(x, net):
    mu, log_sigma = net(x)
    noise = (x - mu) / log_sigma.exp()
    return flows.normal_log_prob(noise) - log_sigma.sum(1)


def draw_by_repetition(noise, net):
    """Apply the whole map dim times: the first i coordinates are right after i rounds."""
    x = noise
    for _ in range(noise.shape[1]):
        mu, log_sigma = net(x)
        x = mu + log_sigma.exp() * noise
    return x


def draw_in_place(noise, net):
    x = torch.zeros_like(noise)
    for i in range(noise.shape[1]):
        mu, log_sigma = (part[:, i] for part in net(x))
        x[:, i] = mu + torch.exp(log_sigma) * noise[:, i]
    return x


right("autoregressive", masks, score, draw)
right("autoregressive", masks_at_random, score_by_torch, draw_by_repetition, name="by_torch")
right("autoregressive", masks_by_loops, score_by_eq_39, draw_in_place, name="by_loops")


def masks_from(enters, leaves):
    def answer(dim, hidden):
        m, i = torch.arange(hidden) % max(dim - 1, 1), torch.arange(dim)
        return enters(m[:, None], i[None, :]), leaves(m[None, :], i[:, None])

    return answer


def scores(rule):
    return lambda x, net: rule(x, *net(x))


def bell(x, mu, log_sigma):
    return ((x - mu) * torch.exp(-log_sigma)) ** 2 + math.log(2 * PI) + 2 * log_sigma


def draws(sigma):
    def answer(noise, net):
        x = torch.zeros_like(noise)
        for i in range(noise.shape[1]):
            mu, log_sigma = net(x)
            x[:, i] = mu[:, i] + sigma(log_sigma)[:, i] * noise[:, i]
        return x

    return answer


def draw_like_iaf(noise, net):
    mu, log_sigma = net(noise)
    return mu + log_sigma.exp() * noise


def draw_in_one_pass(noise, net):
    mu, log_sigma = net(torch.zeros_like(noise))
    return mu + log_sigma.exp() * noise


def draw_backwards(noise, net):
    x = torch.zeros_like(noise)
    for i in reversed(range(noise.shape[1])):
        mu, log_sigma = net(x)
        x[:, i] = mu[:, i] + log_sigma.exp()[:, i] * noise[:, i]
    return x


def draw_the_way_back(noise, net):
    mu, log_sigma = net(noise)
    return (noise - mu) * torch.exp(-log_sigma)


for says, name, answer in (
    ("own input", "one_step_look_ahead", masks_from(lambda m, j: j <= m, lambda m, i: i >= m)),
    ("comes after it|own input|no output", "order_reversed", masks_from(lambda m, j: j >= m, lambda m, i: i < m)),
    ("comes after it", "no_masks", masks_from(lambda m, j: (j + m) >= 0, lambda m, i: (i + m) >= 0)),
    ("no output sees", "all_blocked", masks_from(lambda m, j: (j + m) < 0, lambda m, i: (i + m) < 0)),
    ("cannot see|no output", "too_strict", masks_from(lambda m, j: j < m, lambda m, i: i > m)),
    ("should have shape", "masks_transposed", lambda dim, hidden: tuple(mask.t() for mask in masks(dim, hidden))),
):
    wrong("autoregressive", says, answer, score, draw, name=name)
for says, name, answer in (
    ("as the note prints it", "ln_two_pi_sigma", scores(lambda x, m, a: -0.5 * (bell(x, m, a) - a).sum(1))),
    ("ln 2 pi is missing", "no_two_pi", scores(lambda x, m, a: -0.5 * (bell(x, m, a) - math.log(2 * PI)).sum(1))),
    ("ln sigma is missing", "no_log_sigma", scores(lambda x, m, a: -0.5 * (bell(x, m, a) - 2 * a).sum(1))),
    ("wrong sign", "log_sigma_sign", scores(lambda x, m, a: -0.5 * (bell(x, m, a) - 4 * a).sum(1))),
    ("1/2 is missing", "no_half", scores(lambda x, m, a: -bell(x, m, a).sum(1))),
    ("sum over the coordinates is missing", "not_summed", scores(lambda x, m, a: -0.5 * bell(x, m, a))),
    ("mean over the coordinates", "averaged", scores(lambda x, m, a: -0.5 * bell(x, m, a).mean(1))),
    ("sign is turned round", "negative", scores(lambda x, m, a: 0.5 * bell(x, m, a).sum(1))),
    ("not sigma", "sigma_for_log_sigma", scores(lambda x, m, a: -0.5 * bell(x, m, a.abs().log()).sum(1))),
):
    wrong("autoregressive", says, masks, answer, draw, name=f"score_{name}")
wrong("autoregressive", "Eq. .40.", masks, score, draw_like_iaf, name="draw_like_iaf")
wrong("autoregressive", "must wait", masks, score, draw_in_one_pass, name="draw_in_one_pass")
wrong("autoregressive", "must wait", masks, score, draw_backwards, name="draw_backwards")
wrong("autoregressive", "way back", masks, score, draw_the_way_back, name="draw_the_way_back")
wrong("autoregressive", "variance", masks, score, draws(lambda a: torch.exp(2 * a)), name="draw_with_variance")
wrong("autoregressive", "not sigma", masks, score, draws(lambda a: a), name="draw_with_log_sigma")
