"""Checks of chapter 03, the restricted Boltzmann machine: 22 points in seven exercises."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from scipy import stats
from scipy.special import expit, logsumexp, softmax

from helpers import data, oracles, rbm
from helpers.checks.boundary import Answer
from helpers.checks.laws import Expect, Rng, exercise, law

Array = np.ndarray
CHAINS = 4000


def _machine(rng: Rng, visible: int, hidden: int, scale: float = 1.0) -> tuple[Array, Array, Array]:
    """Random W, a, b of a small machine, float64."""
    return tuple(scale * rng.normal(size=size) for size in ((visible, hidden), visible, hidden))


def _tensors(*arrays: Array) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.array(a)) for a in arrays)


def _bits(n: int) -> Array:
    return oracles.bit_strings(n).astype(float)


def _minus_energy(v: Array, h: Array, W: Array, a: Array, b: Array) -> Array:
    """-E(v, h) of Eq. (29) for every row of v with every row of h."""
    return (v @ a)[:, None] + (h @ b)[None] + v @ W @ h.T


def _free(v: Array, W: Array, a: Array, b: Array) -> Array:
    return -logsumexp(_minus_energy(v, _bits(len(b)), W, a, b), axis=1)


@exercise(points=2)
def free_energy(free_energy: Answer, *, rng: Rng) -> None:
    """Eq. (32): the energy of a visible state once the hidden units are summed out."""
    W, a, b = _machine(rng, 5, 5)
    v = _bits(5)[rng.choice(32, size=9, replace=False)]
    field, truth = v @ W + b, _free(v, W, a, b)
    summed = "F(v) = -ln of the sum over all h of exp(-E(v, h))"
    with law(summed, points=1.25) as ok:
        mistakes = {
            "the sign is turned round: F is minus a logarithm": -truth,
            "the visible bias is missing": truth + v @ a,
            "the visible bias enters with the wrong sign": truth + 2 * (v @ a),
            "the hidden bias is missing inside the logarithm": -(v @ a) - np.logaddexp(0, v @ W).sum(1),
            "W and its transpose are exchanged: v meets the rows of W": -(v @ a) - np.logaddexp(0, v @ W.T + b).sum(1),
            "the state with all h off is missing: it is the 1 in ln(1 + e^x)": -(v @ a) - field.sum(1),
            "that is one number per hidden unit: they add up": -np.logaddexp(0, field),
            "that is the energy at the mean of h; a free energy also holds the entropy of h": (
                -(v @ a) - (expit(field) * field).sum(1)
            ),
            "that is Z e^-F, not F: take minus the logarithm": np.exp(-truth),
        }
        ok.close(free_energy(*_tensors(v, W, a, b)), truth, "the sum over all 32 h disagrees", mistakes=mistakes)
    with law("finite and right at weights of a thousand", points=0.75, after=summed) as ok:
        loud = b + 1.5 - (v @ W + b).max()  # the largest field is 1,500: exp(710) is the end of float64
        big = tuple(1e3 * x for x in (W, a, loud))
        got = free_energy(*_tensors(v, *big))
        got = got.numpy() if isinstance(got, torch.Tensor) else np.asarray(got, dtype=float)
        ok.true(
            np.all(np.isfinite(got)), "exp overflows before the logarithm sees it: ln(1 + e^x) is about x for large x"
        )
        ok.close(got, _free(v, *big), "large fields are cut off: for large x, ln(1 + e^x) is x", tolerance=1e-12)


@exercise(points=2)
def conditionals(conditionals: Answer, *, rng: Rng) -> None:
    """Eqs. (30), (31): every unit of one side given the other side, for bits and for spins."""
    W, a, b = _machine(rng, 4, 4)
    bits = "units 0 and 1: as counted from the joint distribution"
    with law(bits, points=1) as ok:
        _judge_conditionals(ok, conditionals, (W, a, b), 0, rng)
    with law("units -1 and 1: as counted from the joint distribution", points=1, after=bits) as ok:
        _judge_conditionals(ok, conditionals, (W, a, b), -1, rng)


def _judge_conditionals(ok: Expect, conditionals: Answer, machine: tuple, low: int, rng: Rng) -> None:
    W, a, b = machine
    states = _bits(4) if low == 0 else 2 * _bits(4) - 1
    p = np.exp(_minus_energy(states, states, W, a, b))
    v, h = states[rng.choice(16, 6)], states[rng.choice(16, 6)]
    on = states == 1
    up, down = p @ on / p.sum(1, keepdims=True), p.T @ on / p.sum(0)[:, None]
    index = {tuple(s): i for i, s in enumerate(states)}
    truth_h, truth_v = up[[index[tuple(s)] for s in v]], down[[index[tuple(s)] for s in h]]
    got = ok.many(conditionals(*_tensors(v, h, W, a, b), low), 2, "p(h = 1 | v) and p(v = 1 | h)")
    x, y, s = v @ W + b, h @ W.T + a, 1 - low
    half = {"spins differ by 2 and bits by 1: the two energies of a spin lie twice as far apart": 1} if low else {}
    for name, value, truth, field, swapped, bias in (
        ("p(h = 1 | v)", got[0], truth_h, x, v @ W.T + b, b),
        ("p(v = 1 | h)", got[1], truth_v, y, h @ W + a, a),
    ):
        mistakes = {
            f"{name}: that is the probability of the other value": 1 - truth,
            f"{name}: W and its transpose are exchanged": expit(s * swapped),
            f"{name}: the bias is missing": expit(s * (field - bias)),
            f"{name}: the units of a side are independent given the other: no softmax over them": softmax(
                field, axis=1
            ),
            f"{name}: that is a threshold, not a probability": (field > 0).astype(float),
            f"{name}: the factor belongs to the bias too": expit(s * (field - bias) + bias),
            f"{name}: that is the mean of the spin, not the probability of +1": np.tanh(field),
        }
        mistakes |= {sentence: expit(field) for sentence in half}
        mistakes = {k: m for k, m in mistakes.items() if low or "factor" not in k}
        ok.close(value, truth, f"{name} disagrees with the joint distribution", mistakes=mistakes, name=name)


@exercise(points=4)
def cd_gradient(cd_gradient: Answer, *, rng: Rng) -> None:
    """Eqs. (33)-(35) with the sign of a loss: dW, da, db from data and from samples of the model."""
    W, a, b = _machine(rng, 4, 3)
    v, w = _bits(4)[rng.choice(16, 7)], _bits(4)[rng.choice(16, 11)]
    phases = "the gradient of <F(data)> - <F(model)> at fixed samples"
    with law(phases, points=2) as ok:
        _judge_gradient(ok, cd_gradient, v, w, (W, a, b))
    with law("with an exact negative phase, the gradient of -ln p(data)", points=1) as ok:
        _judge_likelihood(ok, cd_gradient, rng)
    with law("zero where data and model agree", points=0.5, after=phases) as ok:
        for got in ok.many(cd_gradient(*_tensors(v, np.roll(v, 3, axis=0), W, b)), 3, "dW, da and db"):
            ok.within(
                np.asarray(got), 1e-12, "data and model hold the same digits in another order, yet you would move"
            )
    with law("nothing is drawn: two calls agree to the last digit", points=0.5, after=phases) as ok:
        first, second = (ok.many(cd_gradient(*_tensors(v, w, W, b)), 3, "dW, da and db") for _ in range(2))
        ok.close(first[0], np.asarray(second[0]), "two calls differ: h was drawn", tolerance=0)


def _judge_gradient(ok: Expect, cd_gradient: Answer, v: Array, w: Array, machine: tuple) -> None:
    W, _, b = machine

    def gap(W: Array, a: Array, b: Array) -> float:
        return float(_free(v, W, a, b).mean() - _free(w, W, a, b).mean())

    got = ok.many(cd_gradient(*_tensors(v, w, W, b)), 3, "dW, da and db")
    truth = [oracles.central_difference(lambda x, k=k: gap(*_replaced(machine, k, x)), machine[k]) for k in range(3)]
    again = cd_gradient(*_tensors(v, w, W, b))
    if isinstance(again, (tuple, list)) and len(again) == 3:
        same = all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(got, again, strict=True))
        ok.true(same, "two calls differ: where h could be summed out by its probabilities it was drawn")
    p, q = expit(v @ W + b), expit(w @ W + b)
    hard = v.T @ (p > 0.5) / len(v), w.T @ (q > 0.5) / len(w)
    wrong = {
        "hidden units enter as 0 or 1: their probabilities belong there": (hard[1] - hard[0], None, None),
        "dW is the sum over the batch: Eq. (35) has means": (w.T @ q - v.T @ p, None, None),
        "the positive phase is missing": (w.T @ q / len(w), w.mean(0), q.mean(0)),
        "the negative phase is missing": (-v.T @ p / len(v), -v.mean(0), -p.mean(0)),
        "dW is the product of the means: it is the mean of the product": (
            np.outer(w.mean(0), q.mean(0)) - np.outer(v.mean(0), p.mean(0)), None, None),
        "db takes p(h) at the mean digit: it is the mean of p(h) over the digits": (
            None, None, expit(w.mean(0) @ W + b) - expit(v.mean(0) @ W + b)),
        "the negative phase takes h from the data: it has its own": (w[:7].T @ p / 7 - v.T @ p / 7, None, None),
    }  # fmt: skip
    for k, name in enumerate(("dW", "da", "db")):
        mistakes = {
            "the sign is turned round: this is the gradient of a loss, one descends along minus it": -truth[k],
            f"{name} is summed over the batch: Eqs. (33)-(35) have means": _sum_of(k, v, w, p, q),
            f"{name} is transposed": truth[k].T,
        } | {sentence: values[k] for sentence, values in wrong.items() if values[k] is not None}
        if k:
            mistakes = {s: m for s, m in mistakes.items() if "transposed" not in s}
        ok.close(
            got[k], truth[k], f"{name} disagrees with central differences", tolerance=1e-7, mistakes=mistakes, name=name
        )


def _replaced(machine: tuple, k: int, x: Array) -> tuple:
    return tuple(x if i == k else part for i, part in enumerate(machine))


def _sum_of(k: int, v: Array, w: Array, p: Array, q: Array) -> Array:
    return (w.T @ q - v.T @ p, w.sum(0) - v.sum(0), q.sum(0) - p.sum(0))[k]


def _judge_likelihood(ok: Expect, cd_gradient: Answer, rng: Rng) -> None:
    """A machine whose distribution a batch can hold exactly: W = 0 and odds of 1 or 3 for every pixel."""
    odds = rng.permutation([1, 3, 3])
    machine = np.zeros((3, 2)), np.log(odds), rng.normal(size=2)
    model = np.array([v for v in product((0.0, 1.0), repeat=3) for _ in range(int(np.prod(odds**v)))])
    v = _bits(3)[rng.choice(8, 5)]

    def loss(*machine: Array) -> float:
        return float(_free(v, *machine).mean() + logsumexp(-_free(_bits(3), *machine)))

    got = ok.many(cd_gradient(*_tensors(v, model, machine[0], machine[2])), 3, "dW, da and db")
    for k, name in enumerate(("dW", "da", "db")):
        truth = oracles.central_difference(lambda x, k=k: loss(*_replaced(machine, k, x)), machine[k])
        hint = f"{name} is not the slope of the negative log-likelihood of Eq. (22)"
        ok.close(got[k], truth, hint, tolerance=1e-7, mistakes={f"{name} points uphill in the loss": -truth}, name=name)


@exercise(points=3)
def delta_gradient(delta_gradient: Answer, *, rng: Rng) -> None:
    """Note Exercise 5: the gradient of <E>_data - <E>_model, samples held fixed or moving along."""
    features, theta, p_data = rng.normal(size=(12, 4)), rng.normal(size=4), rng.dirichlet(np.ones(12))

    def energies(t: Array) -> Array:
        return features @ t + 0.5 * np.sin(features @ t)

    def delta(t: Array, held: bool) -> float:
        return float(p_data @ energies(t) - softmax(-energies(theta if held else t)) @ energies(t))

    E, dE = energies(theta), features * (1 + 0.5 * np.cos(features @ theta))[:, None]
    p = softmax(-E)
    truth = {held: oracles.central_difference(lambda t, h=held: delta(t, h), theta) for held in (True, False)}
    cov = (p * (E - p @ E)) @ dE
    common = {
        "the sign is turned round: data enter with plus, the model with minus": lambda t: -t,
        "p is e^{+E}: low energies should be likely": lambda _: p_data @ dE - softmax(E) @ dE,
        "p is not normalised": lambda _: p_data @ dE - np.exp(-E) @ dE,
        "the model's term is missing": lambda _: p_data @ dE,
        "p is uniform in yours: weigh the states with e^{-E}": lambda _: p_data @ dE - dE.mean(0),
    }
    eq24 = "samples held fixed: Eq. (24)"
    with law(eq24, points=1) as ok:
        mistakes = {s: f(truth[True]) for s, f in common.items()}
        mistakes["the samples are held here: p must not be differentiated"] = truth[False]
        got = delta_gradient(*_tensors(E, dE, p_data), True)
        ok.close(got, truth[True], "differences at fixed p disagree", tolerance=1e-7, mistakes=mistakes)
    with law("samples that move with the parameters: one term more", points=1.5) as ok:
        mistakes = {
            "that is Eq. (24) again: p moves with the parameters too": truth[True],
            "the extra term has the wrong sign: dp = -p (dE - <dE>)": truth[True] - cov,
            "the extra term is doubled": truth[True] + 2 * cov,
            "the extra term is not centred: a covariance subtracts the product of the means": truth[True]
            + (p * E) @ dE,
            "the extra term alone": cov,
            "the covariance is taken over the data: it is the model that moves": (
                truth[True] + (p_data * (E - p_data @ E)) @ dE
            ),
        } | {s: f(truth[False]) for s, f in common.items()}
        got = delta_gradient(*_tensors(E, dE, p_data), False)
        ok.close(got, truth[False], "differences of Delta disagree", tolerance=1e-7, mistakes=mistakes)
    with law("where all energies are equal the two agree", points=0.5, after=eq24) as ok:
        flat = _tensors(np.full(12, rng.normal()), dE, p_data)
        ok.close(delta_gradient(*flat, False), p_data @ dE - dE.mean(0), "a flat E has no covariance with anything")


@exercise(points=3)
def estimators(raw_estimator: Answer, rao_blackwell_estimator: Answer, *, rng: Rng) -> None:
    """Note Exercise 6: the mean of v_i h_j with h drawn, and with h summed out."""
    W, _, b = _machine(rng, 4, 4)
    v = _bits(4)[rng.choice(np.arange(1, 16), 6)]
    p = expit(v @ W + b)
    summed = "Rao-Blackwell: the mean over all hidden states, by enumeration"
    with law(summed, points=1) as ok:
        h = _bits(4)
        weights = softmax(_minus_energy(v, h, W, np.zeros(4), b), axis=1)
        truth = np.einsum("ni,nk,kj->ij", v, weights, h) / len(v)
        mistakes = {
            "that is the sum over the digits: take their mean": truth * len(v),
            "that is transposed: rows belong to the visible units": truth.T,
            "that is the product of the two means: it is the mean of the product": np.outer(v.mean(0), p.mean(0)),
            "h is thresholded: its probability belongs there": v.T @ (p > 0.5) / len(v),
            "the hidden bias is missing": v.T @ expit(v @ W) / len(v),
            "W and its transpose are exchanged": v.T @ expit(v @ W.T + b) / len(v),
            "one matrix per digit: take their mean": v[:, :, None] * p[:, None, :],
        }
        got = rao_blackwell_estimator(*_tensors(v, W, b))
        ok.close(got, truth, "the sum over all h disagrees", mistakes=mistakes)
    drawn = "raw: one h drawn for every digit, from p(h | v)"
    with law(drawn, points=1.5) as ok:
        _judge_draws(ok, raw_estimator, rng)
    with law("raw: the seed decides", points=0.5, after=drawn) as ok:
        one, same, other = (np.asarray(raw_estimator(*_tensors(v, W, b), s)) for s in (3, 3, 4))
        ok.true(np.array_equal(one, same), "the same seed gives two results: draw from a generator made from the seed")
        many = [np.asarray(raw_estimator(*_tensors(v, W, b), s)) for s in range(5, 15)]
        differs = any(not np.array_equal(one, x) for x in [other, *many])
        ok.true(differs, "every seed gives the same result: the seed goes unused")


def _judge_draws(ok: Expect, raw_estimator: Answer, rng: Rng) -> None:
    """Digits with a single pixel on lay the drawn h open: row i of n <v_i h_j> is the h of digit i."""
    row, b = rng.uniform(0.3, 1, size=3) * rng.choice([-1, 1], size=3), rng.uniform(-0.2, 0.2, size=3)
    W = np.tile(row, (CHAINS // 4, 1))
    n, p = len(W), expit(row + b)
    got = ok.array(raw_estimator(*_tensors(np.eye(n), W, b), int(rng.integers(2**31))), (n, 3))
    h = got * n
    ok.true(
        not np.allclose(h, p, atol=1e-6),
        "those are the probabilities, so nothing was drawn: that is the other estimator",
    )
    ok.true(not np.allclose(got, np.round(got)) or not got.any(), "that is the sum over the digits: take their mean")
    ok.true(
        np.allclose(h, np.round(h), atol=1e-6) and h.max() <= 1 + 1e-6,
        "with one h per digit, n <v_i h_j> would be 0 or 1",
    )
    h = np.round(h)
    if np.all(h == h[0]):
        few = [np.asarray(raw_estimator(*_tensors(np.eye(9), W[:9], b), seed)) for seed in range(16)]
        moves = any(not np.array_equal(few[0], x) for x in few)
        ok.fail("all digits share one draw: each has its own h" if moves else "h is thresholded at 1/2 and not drawn")
    patterns = _bits(3)
    expected = n * np.prod(np.where(patterns == 1, p, 1 - p), axis=1)
    counts = np.bincount((h @ [4, 2, 1]).astype(int), minlength=8)
    off = n * np.prod(np.where(patterns == 1, 1 - p, p), axis=1)
    shared = abs(np.corrcoef(h.T)[np.triu_indices(3, 1)]).min() > 0.2
    ok.true(not shared, "the hidden units of a digit are drawn with the same random number: each needs its own")
    ok.true(not _fits(counts, off), "h is on where it should be off: u < p switches it on")
    ok.chi_square(counts, expected, "the drawn h do not follow p(h | v)")


def _fits(counts: Array, expected: Array) -> bool:
    """Whether the counts could well have come from these expectations (p above 1e-6, empty cells allowed for)."""
    if np.any(counts[expected < 1e-9] > 0):
        return False
    use = expected >= 5
    statistic = np.sum((counts[use] - expected[use]) ** 2 / expected[use])
    return bool(stats.chi2.sf(statistic, max(use.sum() - 1, 1)) > 1e-6)


@exercise(points=4, steady=0.5)
def gibbs_sweep(gibbs_sweep: Answer, *, rng: Rng) -> None:
    """Block Gibbs sampling: new h from v, then new v from the new h, for many chains at once."""
    one = "one sweep from a fixed start: p(h' | v) p(v' | h')"
    with law(one, points=1.5) as ok:
        _judge_sweep(ok, gibbs_sweep, rng)
    W, a, b = _machine(rng, 3, 3)
    weights = softmax(_minus_energy(_bits(3), _bits(3), W, a, b))
    with law("chains that start in the exact distribution stay there", points=1, after=one) as ok:
        cell = rng.choice(64, size=CHAINS, p=weights.ravel())
        v, h = _bits(3)[cell // 8], _bits(3)[cell % 8]
        for _ in range(2):
            v, h = _sweep_once(ok, gibbs_sweep, v, h, (W, a, b), rng)
        counts = np.bincount((np.hstack([v, h]) @ 2.0 ** np.arange(5, -1, -1)).astype(int), minlength=64)
        v_only = counts.reshape(8, 8).sum(1)
        ok.chi_square(v_only, CHAINS * weights.sum(1), "after two sweeps the visible states have left p(v)")
        ok.chi_square(counts, CHAINS * weights.ravel(), "after two sweeps the pairs (v, h) have left p(v, h)")
    v, h = _bits(3)[rng.choice(8, 40)], _bits(3)[rng.choice(8, 40)]
    seed = int(rng.integers(2**31))
    with law("the old h is forgotten, the seed decides", points=1, after=one) as ok:
        first, second = (ok.many(gibbs_sweep(*_tensors(v, x, W, a, b), seed), 2, "v and h") for x in (h, 1 - h))
        third = ok.many(gibbs_sweep(*_tensors(v, h, W, a, b), seed), 2, "v and h")
        ok.close(third[0], np.asarray(first[0]), "the same seed gives two results: make the generator from the seed")
        ok.close(
            second[0], np.asarray(first[0]), "another old h gives another result, though a sweep starts by drawing h"
        )
        other = [gibbs_sweep(*_tensors(v, h, W, a, b), s)[0] for s in range(3)]
        ok.true(
            any(not np.array_equal(first[0], o) for o in other),
            "every seed gives the same result: the seed goes unused",
        )


def _sweep_once(ok: Expect, answer: Answer, v: Array, h: Array, machine: tuple, rng: Rng) -> tuple[Array, Array]:
    got = ok.many(answer(*_tensors(v, h, *machine), int(rng.integers(2**31))), 2, "v and h")
    return ok.array(got[0], v.shape, name="v"), ok.array(got[1], h.shape, name="h")


def _judge_sweep(ok: Expect, answer: Answer, rng: Rng) -> None:
    """Compare (h', v') of chains from one start with its law, and with the laws of typical wrong sweeps."""
    W, a, b = _machine(rng, 3, 2, 1.5)
    v0, h0 = _bits(3)[rng.integers(1, 7)], _bits(2)[rng.integers(4)]
    h0 = np.where(expit(v0 @ W + b) > 0.5, 0.0, 1.0) if rng.random() < 0.5 else h0
    v, h = _sweep_once(ok, answer, np.tile(v0, (CHAINS, 1)), np.tile(h0, (CHAINS, 1)), (W, a, b), rng)
    binary = np.isin(v, (0, 1)).all() and np.isin(h, (0, 1)).all()
    ok.true(binary, "units should be 0 or 1: those are probabilities, a mean field and no sample")
    still = np.all(v == v[0]) and np.all(h == h[0])
    ok.true(not still, "all chains end in one state: units are thresholded, or all chains share their random numbers")
    ok.true(not np.all(h == h0), "h is reused: a sweep begins by drawing a new one")
    ok.true(not np.all(h == h[0]), "all chains share one h: it is thresholded, or drawn once for all")
    ok.true(not np.all(v == v0), "v is still the old one: the second half of the sweep draws it anew")
    counts = np.bincount((np.hstack([h, v]) @ 2.0 ** np.arange(4, -1, -1)).astype(int), minlength=32)
    for sentence, law_of in _wrong_sweeps(v0, h0, (W, a, b)).items():
        ok.true(not _fits(counts, CHAINS * law_of) or _fits(counts, CHAINS * _sweep_law(v0, (W, a, b))), sentence)
    ok.chi_square(counts, CHAINS * _sweep_law(v0, (W, a, b)), "(h', v') does not follow p(h' | v) p(v' | h')")


def _given(states: Array, field: Array) -> Array:
    """Probability of every row of `states` (n, units) if unit j is on with sigma(field_j)."""
    return np.prod(np.where(states == 1, expit(field), expit(-field)), axis=1)


def _sweep_law(v0: Array, machine: tuple) -> Array:
    W, a, b = machine
    v, h = _bits(len(a)), _bits(len(b))
    return np.concatenate([p * _given(v, W @ x + a) for p, x in zip(_given(h, v0 @ W + b), h, strict=True)])


def _wrong_sweeps(v0: Array, h0: Array, machine: tuple) -> dict[str, Array]:
    """The joint law of (h', v') under sweeps that people write, by the sentence that they deserve."""
    W, a, b = machine
    v, h = _bits(len(a)), _bits(len(b))
    first = _given(v, W @ h0 + a)
    return {
        "both sides are drawn from the old state: v' listens to the h that was just drawn": np.outer(
            _given(h, v0 @ W + b), first
        ).ravel(),
        "v is drawn first: the sweep starts with h": np.stack(
            [p * _given(h, x @ W + b) for p, x in zip(first, v, strict=True)], axis=1
        ).ravel(),
        "units are on where they should be off: u < p switches a unit on": np.concatenate(
            [p * _given(v, -(W @ x + a)) for p, x in zip(_given(h, -(v0 @ W + b)), h, strict=True)]
        ),
        "the biases are missing": np.concatenate(
            [p * _given(v, W @ x) for p, x in zip(_given(h, v0 @ W), h, strict=True)]
        ),
        "v' is drawn from the probabilities of h: draw h first": np.outer(
            _given(h, v0 @ W + b), _given(v, W @ expit(v0 @ W + b) + a)
        ).ravel(),
    }


@exercise(points=4)
def restore(restore: Answer, *, rng: Rng) -> None:
    """Note Exercise 9: the posterior mean of the lost pixels by Gibbs sampling with the known ones held."""
    machine, known, v = _bistable(rng)
    copies = np.tile(v, (400, 1))
    copies[:, ~known] = rng.integers(2, size=(400, 3))
    given, seed = (*_tensors(copies, known), *_tensors(*machine)), int(rng.integers(2**31))
    mean = "the exact conditional mean on a machine of six pixels"
    with law(mean, points=1.5) as ok:
        got = ok.array(restore(*given, 60, seed), copies.shape)
        _judge_mean(ok, got, copies, known, machine)
    with law("every single image is a mean over sweeps, not one sample", points=1, after=mean) as ok:
        lost = ok.array(restore(*given, 60, seed), copies.shape)[:, ~known]
        ok.true(
            not np.isin(lost, (0, 1)).all(), "lost pixels are all 0 or 1: one noisy sample is no restoration, average"
        )
        spread = np.sqrt(np.mean((lost - _posterior(v, known, machine)) ** 2))
        ok.true(spread < 0.25, "single images scatter as widely as samples do: average over the sweeps")
    with law("the known pixels come back untouched", points=0.5, after=mean) as ok:
        got = ok.array(restore(*given, 5, seed, twice=True), copies.shape)
        ok.close(got[:, known], copies[:, known], "known pixels have changed: they were measured, so they stay")
    with law(
        "on real digits nearer to the truth than the mean image and the nearest digit", points=1, after=mean
    ) as ok:
        _judge_digits(ok, restore, rng)


def _bistable(rng: Rng) -> tuple[tuple[Array, Array, Array], Array, Array]:
    """Six pixels, three lost, and a machine that a mean field gets wrong while Gibbs sampling mixes fast."""
    while True:
        known = np.isin(np.arange(6), rng.choice(6, 3, replace=False))
        machine, v = _machine(rng, 6, 3, 2.0), _bits(6)[rng.integers(64)]
        exact = _posterior(v, known, machine)
        far = [np.abs(other - exact).max() for other in (_mean_field(v, known, machine), _free_mean(known, machine))]
        if min(far) > 0.15 and _memory(v, known, machine) < 0.6:
            return machine, known, v


def _posterior(v: Array, known: Array, machine: tuple) -> Array:
    """<v_lost | v_known> by enumeration, (lost,)."""
    states = _bits(6)
    states = states[(states[:, known] == v[known]).all(axis=1)]
    return softmax(-_free(states, *machine)) @ states[:, ~known]


def _free_mean(known: Array, machine: tuple) -> Array:
    """<v_lost> when nothing is held, (lost,)."""
    return softmax(-_free(_bits(6), *machine)) @ _bits(6)[:, ~known]


def _mean_field(v: Array, known: Array, machine: tuple) -> Array:
    """Where probabilities end that are fed back instead of samples, (lost,)."""
    W, a, b = machine
    m = np.where(known, v, 0.5)
    for _ in range(60):
        m = np.where(known, v, expit(W @ expit(m @ W + b) + a))
    return m[~known]


def _memory(v: Array, known: Array, machine: tuple) -> float:
    """Second eigenvalue of one clamped sweep: how much of a state is left after it."""
    W, a, b = machine
    lost = _bits(3)
    fields = lost @ W[~known] + v[known] @ W[known] + b
    up = np.stack([_given(_bits(3), f) for f in fields])
    down = np.stack([_given(lost, W[~known] @ h + a[~known]) for h in _bits(3)])
    return float(np.sort(np.abs(np.linalg.eigvals(up @ down)))[-2])


def _judge_mean(ok: Expect, got: Array, copies: Array, known: Array, machine: tuple) -> None:
    """The average over 400 restorations: statistical error below 0.007, at most 0.02 for a start left in the mean."""
    exact, lost = _posterior(copies[0], known, machine), got[:, ~known]
    ok.true(
        not np.array_equal(lost, copies[:, ~known]),
        "the lost pixels are held and stay as they came: hold the known ones",
    )
    ok.true(
        got.min() >= -1e-9 and got.max() <= 1 + 1e-9,
        "means of pixels lie between 0 and 1: divide by the sweeps you add",
    )
    average = lost.mean(axis=0)
    wrong = {
        "the known pixels act at the start only: put them back in every sweep": _free_mean(known, machine),
        "probabilities are fed back instead of samples: that is a mean field": _mean_field(copies[0], known, machine),
        "the lost pixels come back inverted": 1 - exact,
        "ink and paper are decided by a threshold: a posterior mean is grey": np.round(exact),
        "the mean starts too early or counts a sweep too many or too few": exact * 59 / 60,
    }
    if np.all(np.abs(average - exact) <= 0.06):
        return
    drawn = not np.allclose(lost, lost[0]) or np.isin(lost, (0, 1)).all()
    ok.true(drawn, "all copies come back equal: nothing is drawn, and probabilities that are fed back are a mean field")
    sentence, value = min(wrong.items(), key=lambda item: np.abs(average - item[1]).max())
    ok.true(np.any(np.abs(average - value) > 0.06), sentence)
    ok.fail("the average over 400 images is not <v_lost | v_known>: hold the known pixels, draw the lost ones, average")


def _judge_digits(ok: Expect, restore: Answer, rng: Rng) -> None:
    """60 fixed test digits, so that only the chains are random: their error is eight times smaller than the margin."""
    digits, machine, known = data.mnist(), rbm.pocket_machine(), rbm.top_half_lost()
    ink = np.random.default_rng(3).random((60, 784)) * 255 < digits.test_images[:60].reshape(60, 784)
    truth = torch.from_numpy(ink.astype(float))
    train = torch.tensor(digits.train_images[:4000].reshape(-1, 784))
    damaged = rbm.fill(truth, known, torch.from_numpy(rng.integers(2, size=(60, 392)).astype(float)))
    got = ok.array(restore(damaged, known, *machine, 100, int(rng.integers(2**31))), (60, 784))
    error = rbm.pixel_error(torch.from_numpy(got), truth, known).mean()
    mean = rbm.pixel_error(rbm.pixel_means(train).expand(60, -1), truth, known).mean()
    nearest = rbm.pixel_error(rbm.fill(truth, known, rbm.nearest_digit(truth, known, train)), truth, known).mean()
    for name, rival in (("the mean image", mean), ("the nearest of 4,000 training digits", nearest)):
        ok.true(error < rival, f"your squared error a pixel is {error:.3f}, that of {name} {rival:.3f}")
