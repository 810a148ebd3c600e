"""Checks of chapter 02, normalizing flows: 22 points in six exercises (two more are given by hand)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats

from helpers import flows, oracles
from helpers.checks.boundary import Answer
from helpers.checks.expect import FALSE_ALARM
from helpers.checks.laws import Expect, Rng, exercise, law

Array = np.ndarray
Tensor = torch.Tensor
LOG_2PI = math.log(2 * math.pi)


def _normal(rng: Rng, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape))


def _generator(rng: Rng) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**40)))


def _log_normal(z: Array) -> Array:
    return stats.norm.logpdf(z).sum(axis=1)


# ---------------------------------------------------------------------------------------------------- box_muller


def _box_muller(z: Array) -> Array:
    """Eq. (42) in numpy; z: (2,) or (count, 2)."""
    radius, angle = np.sqrt(-2 * np.log(z[..., 0])), 2 * np.pi * z[..., 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


@exercise(points=3)
def box_muller(box_muller: Answer, *, rng: Rng) -> None:
    """Note Eq. (42): two uniform numbers become two normal ones; and the log-determinant of that map."""
    z = rng.uniform(0.02, 0.98, size=(40, 2))
    formula = "x is Eq. (42)"
    with law(formula, points=1) as ok:
        x, _ = ok.many(box_muller(torch.from_numpy(z)), 2, "x and log|det|")
        truth = _box_muller(z)
        narrow = np.sqrt(-np.log(z[:, :1]))
        mistakes = {
            "cosine and sine have changed places": truth[:, ::-1],
            "the angle runs over one radian only: z_2 is a share of the full turn": _one_radian(z),
            "the two uniform numbers have changed roles": _box_muller(z[:, ::-1]),
            "the radius lacks its factor 2 under the root": truth / np.sqrt(2),
            "the root of the radius is missing": truth * np.sqrt(2) * narrow,
        }
        ok.close(x, truth, "x disagrees with Eq. (42)", mistakes=mistakes, name="x")
    with law("log|det| is that of the Jacobian", points=1) as ok:
        log_abs_det = ok.many(box_muller(torch.from_numpy(z)), 2, "x and log|det|")[1]
        truth = np.array([np.linalg.slogdet(oracles.jacobian(_box_muller, point, 1e-6))[1] for point in z])
        mistakes = {
            "that is the log of the inverse determinant: x is differentiated with respect to z": -truth,
            "the 2 pi of the angle is missing from the determinant": truth - LOG_2PI,
            "that is the determinant itself, without its logarithm": np.exp(truth),
            "that is the mean over the batch: one number per point is wanted": truth.mean(),
            "that is the sum over the batch: one number per point is wanted": truth.sum(),
        }
        hint = "log|det| disagrees with the determinant of measured slopes"
        ok.close(log_abs_det, truth, hint, tolerance=1e-6, mistakes=mistakes, name="log|det|")
    with law("uniform numbers become independent normal ones", points=1) as ok:
        x = ok.many(box_muller(torch.from_numpy(rng.uniform(1e-12, 1, size=(20_000, 2)))), 2, "x and log|det|")[0]
        x = ok.array(x, (20_000, 2), name="x")
        for values in (x[:, 0], x[:, 1], (x[:, 0] + x[:, 1]) / np.sqrt(2)):
            hint = "20,000 values do not look normal (Kolmogorov-Smirnov)"
            ok.true(stats.kstest(values, "norm").pvalue >= FALSE_ALARM, hint)


def _one_radian(z: Array) -> Array:
    radius = np.sqrt(-2 * np.log(z[:, 0]))
    return np.stack([radius * np.cos(z[:, 1]), radius * np.sin(z[:, 1])], axis=1)


# ----------------------------------------------------------------------------------------- negative_nll_density


@exercise(points=2)
def negative_nll_density(negative_nll_density: Answer, *, rng: Rng) -> None:
    """Note Exercise 4: a density on a grid whose negative log-likelihood is negative."""
    density = "values are a density: not negative, integral one"
    with law(density, points=1) as ok:
        grid, values = _tabulated(ok, negative_nll_density())
        ok.true(np.all(values >= 0), "a density is never negative; is this its logarithm?")
        total = np.trapezoid(values, grid)
        sums_to_one = abs(values.sum() - 1) < 1e-3 and abs(total - 1) > 1e-3
        ok.true(not sums_to_one, "the values sum to one, but their integral does not: probabilities are no density")
        ok.within(total - 1, 1e-3, f"the integral over the grid is {total:.4g}, not 1")
    with law("its negative log-likelihood is negative", points=1, after=density) as ok:
        grid, values = _tabulated(ok, negative_nll_density())
        ok.true(np.all(values >= 0), "a density is never negative")
        _, nll = flows.density_nll(grid, values)
        ok.true(abs(nll) > 1e-9, "its NLL is exactly 0: p = 1 wherever it is not 0; how could ln p get larger?")
        ok.true(nll < 0, f"its NLL is {nll:+.3f} nats: too spread out, p has to exceed 1 where the probability sits")


def _tabulated(ok: Expect, answer: object) -> tuple[Array, Array]:
    grid, values = (v.numpy() if isinstance(v, Tensor) else v for v in ok.many(answer, 2, "grid and values"))
    count = np.size(grid)
    ok.true(2 <= count <= 10**6, f"the grid should hold 2 to a million points, yours holds {count}")
    grid, values = ok.array(grid, (count,), name="grid"), ok.array(values, (count,), name="values")
    ok.true(np.all(np.diff(grid) > 0), "the grid should increase from point to point")
    return grid.astype(float), values.astype(float)


# ---------------------------------------------------------------------------------------------- affine_coupling


def _steering(rng: Rng, kept: int, moved: int, scale: float = 1.0) -> flows.Perceptron:
    """A frozen smooth network from the kept to the moved coordinates; scale 0 gives the zero function."""
    net = flows.Perceptron([kept, 5, moved], activation="tanh", last=2 * scale, generator=_generator(rng))
    return net.requires_grad_(False)


def _couple(z: Array, mask: Array, s: Array, t: Array) -> Array:
    """Eq. (43) in numpy; s, t: (count, moved)."""
    x = z.copy()
    x[:, ~mask] = z[:, ~mask] * np.exp(s) + t
    return x


@exercise(points=5)
def affine_coupling(affine_coupling_forward: Answer, affine_coupling_inverse: Answer, *, rng: Rng) -> None:
    """Note Eqs. (43), (65): a coupling layer and its way back, for any mask and dimension."""
    formula, kept_law = "forward is Eq. (43) for given s and t", "the kept half is unchanged, whatever the mask"
    with law(formula, points=1.5) as ok:
        mask = _mask(rng, 2, 4)
        z, s, t = _normal(rng, 6, 4), _steering(rng, 2, 2), _steering(rng, 2, 2)
        x, _ = ok.many(affine_coupling_forward(z, torch.from_numpy(mask), s, t), 2, "x and log|det|")
        truth, mistakes = _forward_truth(z, mask, s, t)
        ok.close(x, truth, "x disagrees with Eq. (43)", mistakes=mistakes, name="x")
        for _ in range(2):
            z, mask, s, t = _random_layer(rng)
            x, _ = ok.many(affine_coupling_forward(z, torch.from_numpy(mask), s, t), 2, "x and log|det|")
            hint = f"x disagrees with Eq. (43) for the mask {mask.astype(int).tolist()}"
            ok.close(x, _forward_truth(z, mask, s, t)[0], hint, name="x")
    with law("log|det| is that of the Jacobian", points=1) as ok:
        z, mask, s, t = _random_layer(rng)
        got = ok.many(affine_coupling_forward(z, torch.from_numpy(mask), s, t), 2, "x and log|det|")[1]
        ok.close(
            got, *_log_det_truth(z, mask, s, t), tolerance=1e-6, mistakes=_log_det_mistakes(z, mask, s), name="log|det|"
        )
    with law(kept_law, points=0.5, after=formula) as ok:
        z, mask, s, t = _random_layer(rng)
        x, _ = ok.many(affine_coupling_forward(z, torch.from_numpy(mask), s, t), 2, "x and log|det|")
        x = ok.array(x, z.shape, name="x")
        ok.within(x[:, mask] - z.numpy()[:, mask], 0.0, "a coordinate that the mask keeps has changed")
    with law("inverse(x) solves Eq. (43) for z at new points, and its log|det| is the negative", points=1.5) as ok:
        for _ in range(2):
            _judge_inverse(ok, affine_coupling_inverse, *_random_layer(rng))
    with law("with s = 0 (NICE, Eq. 65) both ways only shift, and log|det| = 0", points=0.5, after=formula) as ok:
        z, mask, s, t = _random_layer(rng)
        s = _steering(rng, int(mask.sum()), int((~mask).sum()), scale=0.0)
        shift = np.zeros(z.shape)
        shift[:, ~mask] = t(z[:, mask]).numpy()
        for answer, sign in ((affine_coupling_forward, 1), (affine_coupling_inverse, -1)):
            moved, log_abs_det = ok.many(answer(z, torch.from_numpy(mask), s, t), 2, "the points and log|det|")
            ok.close(
                moved, z.numpy() + sign * shift, "with s = 0 the moved half should be shifted by t", name="the result"
            )
            ok.close(log_abs_det, np.zeros(len(z)), "a shift keeps every volume: log|det| = 0", name="log|det|")


def _mask(rng: Rng, kept: int, dim: int) -> Array:
    """A mask whose two kinds are mixed, so that no cut at one place parts them."""
    mask = np.arange(dim) < kept
    while np.diff(mask).sum() < 2:
        mask = rng.permutation(mask)
    return mask


def _random_layer(rng: Rng) -> tuple[Tensor, Array, flows.Perceptron, flows.Perceptron]:
    dim = int(rng.integers(4, 8))
    kept = int(rng.choice([k for k in range(1, dim - 1) if 2 * k != dim]))
    mask = _mask(rng, kept, dim)
    return _normal(rng, 7, dim), mask, _steering(rng, kept, dim - kept), _steering(rng, kept, dim - kept)


def _forward_truth(z: Tensor, mask: Array, s: flows.Perceptron, t: flows.Perceptron) -> tuple[Array, dict]:
    points, scale, shift = z.numpy(), s(z[:, mask]).numpy(), t(z[:, mask]).numpy()
    truth = _couple(points, mask, scale, shift)
    if 2 * mask.sum() != len(mask):
        return truth, {}
    other, slide = s(z[:, ~mask]).numpy(), t(z[:, ~mask]).numpy()  # steered by the wrong half
    halves = truth.copy()
    halves[:, mask], halves[:, ~mask] = truth[:, ~mask], truth[:, mask]
    plain = points.copy()
    plain[:, ~mask] = points[:, ~mask] * scale + shift
    return truth, {
        "s and t look at the moved half: they may see only what stays": _couple(points, mask, other, slide),
        "the mask is turned round: True marks a coordinate that is kept": _couple(points, ~mask, other, slide),
        "s looks at the moved half: it may see only what stays": _couple(points, mask, other, shift),
        "the shift is scaled too: first scale, then shift": _couple(points, mask, scale, shift * np.exp(scale)),
        "s multiplies as it is: its exponential should": plain,
        "the scale is exp(-s): that is the way back": _couple(points, mask, -scale, shift),
        "the halves are glued together in the wrong order": np.concatenate([truth[:, mask], truth[:, ~mask]], axis=1),
        "the halves have changed places": halves,
        "the shift is missing": _couple(points, mask, scale, 0 * shift),
    }


def _log_det_truth(z: Tensor, mask: Array, s: flows.Perceptron, t: flows.Perceptron) -> tuple[Array, str]:
    def forward(point: Array) -> Array:
        kept = torch.from_numpy(point[None, mask])
        return _couple(point[None], mask, s(kept).numpy(), t(kept).numpy())[0]

    slopes = np.stack([oracles.jacobian(forward, point) for point in z.numpy()])
    return np.linalg.slogdet(slopes)[1], "log|det| disagrees with the determinant of measured slopes"


def _log_det_mistakes(z: Tensor, mask: Array, s: flows.Perceptron) -> dict[str, Array]:
    each = s(z[:, mask]).numpy()
    mistakes = {
        "that is the log-determinant of the way back: its sign is turned round": -each.sum(1),
        "that is exp(s) added up: the logarithm of the scale is s": np.exp(each).sum(1),
        "that is the determinant itself, without its logarithm": np.exp(each.sum(1)),
        "the batch is summed as well: one number per point is wanted": each.sum(),
        "log|det| is always 0: that holds for NICE only": np.zeros(len(z)),
    }
    if each.shape[1] > 1:
        mistakes["the sum over the moved coordinates is missing"] = each
        mistakes["that is a mean over the moved coordinates: their logarithms add up"] = each.mean(1)
    return mistakes


def _judge_inverse(
    ok: Expect, inverse: Answer, x: Tensor, mask: Array, s: flows.Perceptron, t: flows.Perceptron
) -> None:
    got, log_abs_det = ok.many(inverse(x, torch.from_numpy(mask), s, t), 2, "z and log|det|")
    points, scale, shift = x.numpy(), s(x[:, mask]).numpy(), t(x[:, mask]).numpy()
    y, shrink = points[:, ~mask], np.exp(-scale)
    ways = {
        "truth": (y - shift) * shrink,
        "the scale is undone before the shift: what was done last is undone first": y * shrink - shift,
        "the shift is taken away, but the scale is applied again instead of undone": (y - shift) / shrink,
        "exp(-s) is applied twice": (y - shift) * shrink**2,
        "the shift is added again instead of taken away": (y + shift) * shrink,
        "that is the forward map": y / shrink + shift,
        "x came back unchanged": y,
    }
    for name, moved in ways.items():
        ways[name] = points.copy()
        ways[name][:, ~mask] = moved
    truth = ways.pop("truth")
    hint = "z does not solve Eq. (43); points that forward never saw must have their z too"
    ok.close(got, truth, hint, tolerance=1e-12, mistakes=ways, name="z")
    same = {"its log|det| has the sign of the forward map": scale.sum(1)}
    ok.close(log_abs_det, -scale.sum(1), "log|det| of the way back is wrong", mistakes=same, name="log|det| of inverse")


# ------------------------------------------------------------------------------------------------ flow_log_prob


@exercise(points=4)
def flow_log_prob(flow_log_prob: Answer, *, rng: Rng) -> None:
    """Note Eqs. (41), (44): ln p(x) of a chain of bijectors, given in the order in which z passes them."""
    linear = "two linear layers give the Gaussian that they should"
    with law(linear, points=1.5) as ok:
        layers = [flows.Linear(_well_conditioned(rng), _normal(rng, 3)) for _ in range(2)]
        x = _normal(rng, 9, 3)
        (A, a), (B, b) = ((layer.matrix.numpy(), layer.shift.numpy()) for layer in layers)
        truth = stats.multivariate_normal(B @ a + b, B @ A @ A.T @ B.T).logpdf(x.numpy())
        got = flow_log_prob(x, layers)
        ok.close(got, truth, "scipy's Gaussian disagrees", mistakes=_score_mistakes(x, layers, truth), name="ln p(x)")
    with law("couplings obey ln p(x) = ln p(z) - ln|det dx/dz|", points=1.5) as ok:
        layers = _coupling_layers(rng)
        z = _normal(rng, 9, 2)
        chain = flows.Chain(layers)
        x = chain(z)[0]

        def forward(point: Array) -> Array:
            return chain(torch.from_numpy(point[None]))[0][0].numpy()

        slopes = np.stack([oracles.jacobian(forward, point) for point in z.numpy()])
        truth = _log_normal(z.numpy()) - np.linalg.slogdet(slopes)[1]
        mistakes = _score_mistakes(x, layers, truth)
        hint = "the determinant of measured slopes disagrees"
        ok.close(flow_log_prob(x, layers), truth, hint, tolerance=1e-6, mistakes=mistakes, name="ln p(x)")
    with law("p integrates to one over the plane", points=1, after=linear) as ok:
        layers = _coupling_layers(rng)
        line = torch.linspace(-12, 12, 201, dtype=torch.float64)
        grid = torch.cartesian_prod(line, line)
        log_p = ok.array(flow_log_prob(grid, layers), (len(grid),), name="ln p(x)")
        total = float(np.exp(np.minimum(log_p, 100)).sum() * (line[1] - line[0]) ** 2)
        ok.within(total - 1, 5e-3, f"the density adds up to {total:.3g}, not to 1")


def _well_conditioned(rng: Rng) -> Tensor:
    q = stats.ortho_group.rvs(3, random_state=rng)
    return torch.from_numpy(q @ np.diag(rng.uniform(0.5, 2.0, 3)) @ stats.ortho_group.rvs(3, random_state=rng))


def _coupling_layers(rng: Rng) -> list[flows.Bijector]:
    """Three gentle couplings of the plane and a scale, frozen: the density stays within |x| < 12."""
    generator, layers = _generator(rng), []
    for k in range(3):
        mask = torch.tensor([k % 2 == 0, k % 2 == 1])
        layers.append(flows.Coupling(mask, (5,), activation="tanh", last=0.25, generator=generator))
    scale = flows.Scale(2)
    scale.log_scale.data, scale.shift.data = (torch.from_numpy(rng.uniform(-0.4, 0.4, 2)) for _ in range(2))
    return [layer.requires_grad_(False) for layer in (*layers, scale)]


def _score_mistakes(x: Tensor, layers: list[flows.Bijector], truth: Array) -> dict[str, Array]:
    z, dets = x, []
    for layer in reversed(layers):
        z, log_abs_det = layer.inverse(z)
        dets.append(log_abs_det.numpy())
    total, base = sum(dets), _log_normal(z.numpy())
    wrong_way, onward = x, x
    for layer in layers:
        wrong_way = layer.inverse(wrong_way)[0]
        onward = layer(onward)[0]
    constant = 0.5 * x.shape[1] * LOG_2PI
    return {
        "the (d/2) ln 2 pi of the normal density is missing": truth + constant,
        "ln 2 pi enters once for every coordinate with its half: (d/2) ln 2 pi": truth - constant,
        "the log-determinants enter with the wrong sign": base - total,
        "only the last layer's log-determinant is counted: those of all layers add up": base + dets[0],
        "only the first layer's log-determinant is counted: those of all layers add up": base + dets[-1],
        "no log-determinant is counted": base,
        "the layers are undone in the wrong order: the last one first": _along(x, layers),
        "x is scored as if it were z: first walk back to the latent point": _log_normal(x.numpy()) + total,
        "the layers are walked forward: from x back to z it is their inverse": _onward(x, layers),
        "the sign is turned round: that is the negative log-likelihood": -truth,
        "that is the mean over the batch: one number per point is wanted": truth.mean(),
        "that is the density itself, without its logarithm": np.exp(truth),
    }


def _along(x: Tensor, layers: list[flows.Bijector]) -> Array:
    total = 0.0
    for layer in layers:
        x, log_abs_det = layer.inverse(x)
        total = total + log_abs_det.numpy()
    return _log_normal(x.numpy()) + total


def _onward(x: Tensor, layers: list[flows.Bijector]) -> Array:
    total = 0.0
    for layer in layers:
        x, log_abs_det = layer(x)
        total = total + log_abs_det.numpy()
    return _log_normal(x.numpy()) - total


# ------------------------------------------------------------------------------------------------------ nll_step


@exercise(points=3)
def nll_step(nll_step: Answer, *, rng: Rng) -> None:
    """Note Eq. (22) for a flow: the mean negative log-likelihood of a batch and its gradients."""
    flow, batch = (
        flows.Flow(flows.Chain([layer.requires_grad_(True) for layer in _coupling_layers(rng)])),
        _normal(rng, 11, 2),
    )
    count = len(list(flow.parameters()))
    names = "the loss and a list of gradients"
    with law("the loss is the mean of -ln p over the batch", points=0.75) as ok:
        with torch.no_grad():
            each = -flow.log_prob(batch).numpy()
        mistakes = {
            "that is the sum over the batch: the mean is wanted, or the step would grow with the batch": each.sum(),
            "the sign is turned round: likelihood goes up, so its negative is what descends": -each.mean(),
            "that is one number per point: the loss is their mean": each,
            "that is in bits: these are nats here": each.mean() / math.log(2),
        }
        loss = ok.many(nll_step(flow, batch), 2, names)[0]
        ok.close(loss, each.mean(), "the loss is not the mean of -ln p", mistakes=mistakes, name="the loss")
    slope = "the gradients agree with central differences"
    with law(slope, points=1.25) as ok:
        got = ok.many(ok.many(nll_step(flow, batch), 2, names)[1], count, "one gradient for each of flow.parameters()")
        for k, (gradient, truth) in enumerate(zip(got, _measured_slopes(flow, batch), strict=True)):
            mistakes = {
                "the gradients are those of the sum over the batch": truth * len(batch),
                "the gradients point uphill: they are those of ln p, not of -ln p": -truth,
                "the 1/batch of the mean is in the gradients twice": truth / len(batch),
                "these are the parameters, not the gradients": list(flow.parameters())[k].detach().numpy(),
            }
            hint = f"gradient {k} of {count} disagrees with measured slopes"
            ok.close(gradient, truth, hint, tolerance=1e-6, mistakes=mistakes, name=f"gradient {k}")
    with law("a small step against the gradients lowers the loss, and every layer moves", points=1, after=slope) as ok:
        loss, got = ok.many(nll_step(flow, batch), 2, names)
        loss, got = ok.number(loss, "the loss"), ok.many(got, count, "one gradient for each of flow.parameters()")
        for k, (parameter, gradient) in enumerate(zip(flow.parameters(), got, strict=True)):
            gradient = ok.array(gradient, tuple(parameter.shape), name=f"gradient {k}")
            ok.true(np.abs(gradient).max() > 0, f"gradient {k} is zero throughout: that layer would never learn")
            parameter.data -= 1e-4 * torch.from_numpy(np.array(gradient, dtype=float))
        lower = ok.number(ok.many(nll_step(flow, batch), 2, names)[0], "the loss")
        ok.true(lower < loss, "after a small step against the gradients the loss is no lower")


def _measured_slopes(flow: flows.Flow, batch: Tensor) -> list[Array]:
    slopes = []
    for parameter in flow.parameters():
        start = parameter.detach().clone()

        def nll(values: Array, parameter: Tensor = parameter) -> float:
            parameter.data = torch.from_numpy(values)
            return -float(flow.log_prob(batch).mean())

        with torch.no_grad():
            slopes.append(oracles.central_difference(nll, start.numpy()))
        parameter.data = start
    return slopes


# ------------------------------------------------------------------------------------------------ autoregressive


@exercise(points=5, unsteady={"ar_masks": "an order drawn at random is as good as any"})
def autoregressive(ar_masks: Answer, ar_log_prob: Answer, ar_sample: Answer, *, rng: Rng) -> None:
    """Note Eqs. (36) to (39): masks that keep the order, the score of a point, and the way to draw one."""
    with law("output i sees every input before i, and no other", points=1.5) as ok:
        for _ in range(4):
            dim = int(rng.integers(2, 8))
            _judge_masks(ok, ar_masks, dim, int(rng.integers(dim + 1, 20)))
    dim = int(rng.integers(3, 6))
    net = flows.MaskedPerceptron(dim, 12, generator=_generator(rng)).requires_grad_(False)
    net.weights[-1].data *= 2
    scored = "ln p(x) is the sum of normal log-densities (Eq. 37, mended)"
    with law(scored, points=1.5) as ok:
        x = 2 * _normal(rng, 8, dim)
        mean, log_sigma = (part.numpy() for part in net(x))
        each, logs = stats.norm.logpdf(x.numpy(), mean, np.exp(log_sigma)), log_sigma.sum(1)
        truth = each.sum(1)
        as_printed = "that is Eq. (37) as the note prints it, ln(2 pi sigma): does that density integrate to one?"
        mistakes = {
            as_printed: truth + 0.5 * logs,
            "the ln 2 pi is missing": truth + 0.5 * dim * LOG_2PI,
            "ln sigma is missing: a narrow bell must be higher": truth + logs,
            "ln sigma enters with the wrong sign: a narrow bell must be higher": truth + 2 * logs,
            "the net's second output is ln sigma, not sigma": _with_sigma(x, mean, np.abs(log_sigma)),
            "the factor 1/2 is missing": 2 * truth,
            "the sum over the coordinates is missing": each,
            "that is the mean over the coordinates: their logarithms add up": each.mean(1),
            "the sign is turned round: that is the negative log-likelihood": -truth,
        }
        ok.close(ar_log_prob(x, net), truth, "scipy's normal densities disagree", mistakes=mistakes, name="ln p(x)")
    noise = _normal(rng, 8, dim)
    drawn = "x_i = sigma_i(x_<i) noise_i + mu_i(x_<i) (Eq. 38)"
    with law(drawn, points=1) as ok:
        truth = _draw(noise, net)
        (mean, log_sigma), (first, log_first) = net(noise), net(torch.zeros_like(noise))
        hasty = "x_i is drawn before the x that it depends on: it must wait until all x before it are known"
        iaf = "the net looks at the noise: that is Eq. (40), the inverse autoregressive flow"
        mistakes = {
            iaf: noise * log_sigma.exp() + mean,
            hasty: noise * log_first.exp() + first,
            "that is the way back, from x to the noise": (noise - mean) * torch.exp(-log_sigma),
            "the net's second output is ln sigma, not sigma": _draw(noise, net, lambda log_sigma: log_sigma),
            "the noise is multiplied by the variance": _draw(noise, net, lambda log_sigma: torch.exp(2 * log_sigma)),
        }
        ok.close(ar_sample(noise, net), truth, "Eq. (38) term by term disagrees", mistakes=mistakes, name="x")
    with law(
        "sampled and scored, they obey Eq. (39): ln p(x) = ln N(noise) - ln|det dx/dnoise|", points=1, after=scored
    ) as ok:
        shape = (len(noise), dim)
        x = torch.from_numpy(np.array(ok.array(ar_sample(noise, net), shape, name="x"), dtype=float))
        moves = torch.cat([noise[:1] + sign * 1e-6 * torch.eye(dim, dtype=torch.float64) for sign in (1, -1)])
        ends = ok.array(ar_sample(moves, net), (2 * dim, dim), name="x")
        slopes = (ends[:dim] - ends[dim:]).T / 2e-6
        hint = "the Jacobian is not triangular: some x_i reacts to noise that comes after it"
        ok.within(np.triu(slopes, 1), 1e-6, hint)
        left = float(ok.array(ar_log_prob(x, net), shape[:1], name="ln p(x)")[0])
        right = _log_normal(noise.numpy())[0] - np.linalg.slogdet(slopes)[1]
        ok.within(left - right, 1e-5, "score and sample do not belong to one density: Eq. (39) fails")


def _judge_masks(ok: Expect, ar_masks: Answer, dim: int, hidden: int) -> None:
    enter, leave = ok.many(ar_masks(dim, hidden), 2, "the masks (hidden, dim) and (dim, hidden)")
    enter, leave = (
        ok.array(enter, (hidden, dim), name="the first mask"),
        ok.array(leave, (dim, hidden), name="the second mask"),
    )
    for mask in (enter, leave):
        ok.true(np.all((mask == 0) | (mask == 1)), "a mask holds zeros and ones only")
    paths = leave.astype(int) @ enter.astype(int)
    case = f"with {dim} inputs and {hidden} hidden units"
    ok.true(paths.any(), f"no output sees any input {case}")
    own = np.diag(paths).any() and not np.triu(paths, 1).any()
    ok.true(not own, f"some output sees its own input {case}: one comparison should be strict")
    ok.true(not np.triu(paths).any(), f"some output sees an input that comes after it {case}")
    blind = [(int(i), int(j)) for i, j in zip(*np.tril_indices(dim, -1), strict=True) if not paths[i, j]]
    ok.true(not blind, f"{case} output {blind[0][0]} cannot see input {blind[0][1]}" if blind else "")


def _with_sigma(x: Tensor, mean: Array, sigma: Array) -> Array:
    return stats.norm.logpdf(x.numpy(), mean, sigma).sum(1)


def _draw(noise: Tensor, net: flows.MaskedPerceptron, sigma: Callable[[Tensor], Tensor] = torch.exp) -> Tensor:
    """Eq. (38), coordinate by coordinate."""
    x = torch.zeros_like(noise)
    for i in range(noise.shape[1]):
        mean, log_sigma = net(x)
        x[:, i] = sigma(log_sigma)[:, i] * noise[:, i] + mean[:, i]
    return x
