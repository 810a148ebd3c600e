"""Checks of chapter 05, the Monge-Ampère flow: 23 points in seven exercises."""

from __future__ import annotations

import numpy as np
import torch
from scipy import linalg, stats
from scipy.integrate import solve_ivp
from scipy.special import expit, logsumexp

from helpers import monge_ampere as ma
from helpers import oracles
from helpers.checks.boundary import Answer
from helpers.checks.laws import Expect, Rng, exercise, law

Array = np.ndarray
tensor = torch.from_numpy


# ------------------------------------------------------------------------------------------------ Gaussians


@exercise(points=3)
def gaussian_brenier_map(gaussian_brenier_map: Answer, *, rng: Rng) -> None:
    """The matrix A of the optimal map between N(0, S0) and N(0, S1)."""
    d = int(rng.integers(2, 5))
    S0, S1 = _covariance(d, rng), _covariance(d, rng)
    root0, root1 = linalg.sqrtm(S0).real, linalg.sqrtm(S1).real
    carried = "A carries the covariance: A S0 Aᵀ = S1"
    with law(carried, points=1) as ok:
        A = _map(ok, gaussian_brenier_map, S0, S1)
        ok.true(not _same(A, S1), "that is S1 itself: the inner square root is missing")
        ok.true(not _same(A @ S1 @ A.T, S0), "the map runs from S1 to S0: turn it round")
        ok.true(not _same(A, root1 @ root0), "S0 must be undone before S1 is made: one of its roots should be inverse")
        ok.within(A @ S0 @ A.T - S1, 1e-8, "the covariance after the map, A S0 Aᵀ, is not S1")
    with law("A is symmetric and positive: the gradient of a convex function", points=1, after=carried) as ok:
        A = _map(ok, gaussian_brenier_map, S0, S1)
        lower = linalg.cholesky(S1, lower=True) @ linalg.inv(linalg.cholesky(S0, lower=True))
        ok.true(not _same(A, lower), "a triangular map does carry S0 to S1, yet it is no gradient: A must be symmetric")
        ok.true(
            not _same(A, root1 @ linalg.inv(root0)),
            "the product of two roots is symmetric only if S0 and S1 commute: it turns on the way",
        )
        ok.within(A - A.T, 1e-8, "A is not symmetric, so A x is not the gradient of any potential")
        ok.true(linalg.eigvalsh(A)[0] > 0, "A has a negative eigenvalue: its potential is not convex")
    with law("no map moves the mass less: the cost is the Bures distance", points=1, after=carried) as ok:
        A = _map(ok, gaussian_brenier_map, S0, S1)
        shift = A - np.eye(d)
        overlap = linalg.sqrtm(root0 @ S1 @ root0).real
        least = np.trace(S0 + S1 - 2 * overlap)
        ok.within(np.trace(shift @ S0 @ shift.T) - least, 1e-7, "your map carries S0 to S1 and moves the mass too far")


def _covariance(d: int, rng: Rng) -> Array:
    root = rng.normal(size=(d, d))
    return root @ root.T + 0.3 * np.eye(d)


def _map(ok: Expect, answer: Answer, S0: Array, S1: Array) -> Array:
    return ok.array(answer(tensor(S0), tensor(S1)), S0.shape, name="A")


def _same(A: Array, B: Array) -> bool:
    return bool(np.all(np.abs(A - B) < 1e-8))


# ------------------------------------------------------------------------------------------------ potential


@exercise(points=3)
def potential_grad_laplacian(potential_grad_laplacian: Answer, *, rng: Rng) -> None:
    """Gradient and Laplacian of phi = sum_j a_j softplus(W_j x + b_j) for a batch."""
    batch, d, hidden = (int(n) for n in rng.permutation(np.arange(3, 8))[:3])
    x, W = rng.normal(size=(batch, d)), rng.normal(size=(hidden, d))
    b, a = rng.normal(size=(2, hidden))
    s = expit(x @ W.T + b)
    slope = "the gradient agrees with differences"
    with law(slope, points=1) as ok:
        truth = oracles.central_difference(lambda x: float(np.logaddexp(0, x @ W.T + b).sum(0) @ a), x)
        mistakes = {
            "the amplitudes a are missing from the gradient": s @ W,
            "the slope of softplus is the logistic function, not softplus itself": (np.logaddexp(0, x @ W.T + b) * a)
            @ W,
            "that is downhill: the flow climbs φ": -truth,
            "the gradient uses σ' where the first derivative σ belongs": (s * (1 - s) * a) @ W,
        }
        got, _ = _pair(ok, potential_grad_laplacian, x, W, b, a)
        ok.close(got, truth, "central differences disagree", tolerance=1e-7, mistakes=mistakes, name="the gradient")
    bend = "the Laplacian is the trace of the Hessian"
    with law(bend, points=1) as ok:
        truth = np.array([np.trace(_hessian(row, W, b, a)) for row in x])
        bent = s * (1 - s)
        mistakes = {
            "the rows enter as W, they should enter as W²: two derivatives, two factors": (bent * a) @ W.sum(1),
            "the Laplacian has σ where σ' belongs: the second derivative of softplus": (s * a) @ (W**2).sum(1),
            "the amplitudes a are missing from the Laplacian": bent @ (W**2).sum(1),
            "the sum over coordinates is squared; square first, then sum": (bent * a) @ W.sum(1) ** 2,
            "the Laplacian is a sum over the coordinates, not a mean": truth / d,
            "the sign is turned round": -truth,
            "σ' is σ(1 - σ): the 1 - σ is missing": (s * s * a) @ (W**2).sum(1),
        }
        _, got = _pair(ok, potential_grad_laplacian, x, W, b, a)
        ok.close(got, truth, "the trace of the Hessian disagrees", mistakes=mistakes, name="the Laplacian")
    with law("finite and right where |W x| is in the thousands", points=0.5, after=slope) as ok:
        grad, lap = _pair(ok, potential_grad_laplacian, 3000 * np.sign(x), W, b, a)
        far = expit(3000 * np.sign(x) @ W.T + b)
        ok.close(grad, (far * a) @ W, "exp overflows far from the origin", name="the gradient")
        ok.close(lap, (far * (1 - far) * a) @ (W**2).sum(1), "exp overflows far from the origin", name="the Laplacian")
    with law("both are linear in a", points=0.5, after=bend) as ok:
        more = rng.normal(size=hidden)
        parts = [_pair(ok, potential_grad_laplacian, x, W, b, amplitude) for amplitude in (a, more, a - 2 * more)]
        for one, two, both in zip(*parts, strict=True):
            ok.close(both, one - 2 * two, "φ is a sum of terms a_j f_j: its derivatives must add up the same way")


def _pair(ok: Expect, answer: Answer, *arrays: Array) -> tuple[Array, Array]:
    grad, lap = ok.many(answer(*map(tensor, arrays)), 2, "the gradient and the Laplacian")
    x = arrays[0]
    return ok.array(grad, x.shape, name="the gradient"), ok.array(lap, x.shape[:1], name="the Laplacian")


def _hessian(x: Array, W: Array, b: Array, a: Array) -> Array:
    W, b, a = tensor(W), tensor(b), tensor(a)
    value = torch.nn.functional.softplus
    return torch.autograd.functional.hessian(lambda y: value(W @ y + b) @ a, tensor(x)).numpy()


# ------------------------------------------------------------------------------------------------ one step


@exercise(points=4)
def rk4_step(rk4_step: Answer, *, rng: Rng) -> None:
    """One classical Runge-Kutta step of dx/dt = grad phi, d ln p/dt = -lap phi."""
    d, batch = int(rng.integers(2, 5)), 4
    A, B = _symmetric(d, rng), _symmetric(d, rng)
    x, log_p = rng.normal(size=(batch, d)), rng.normal(size=batch)
    t, h = rng.uniform(0.2, 0.6), rng.uniform(0.4, 0.6)
    still, moving = ma.Quadratic(tensor(A)), ma.Quadratic(tensor(A), tensor(B))
    series = "x: a quadratic potential gives Σ (hA)ᵏ/k! up to k = 4"
    with law(series, points=1) as ok:
        power = [np.linalg.matrix_power(h * A, k) for k in range(5)]
        partial = [sum(power[k] / np.prod(np.arange(1, k + 1)) for k in range(n + 1)) for n in range(5)]
        even = _runge_kutta(lambda t: A, t, h, weights=(0.25,) * 4)
        mistakes = {
            "that is Euler's step, exact to first order only": x @ partial[1],
            "that is a midpoint step, exact to second order only": x @ partial[2],
            "your step keeps the series to third order only: was the fourth stage taken a full step ahead?": x
            @ partial[3],
            "the four stages count with weights 1, 2, 2, 1 over 6, not equally": x @ even,
            "x runs downhill: the flow climbs, dx/dt = +∇φ": x @ _runge_kutta(lambda t: -A, t, h),
            "that is the exact flow; RK4 is asked for, which cuts its series": x @ linalg.expm(h * A),
            "the weights 1, 2, 2, 1 sum to 6: divide by it": x + 6 * (x @ partial[4] - x),
        }
        got, _ = _step(ok, rk4_step, still, x, log_p, t, h)
        ok.close(
            got, x @ partial[4], "x is not the series of the exponential to fourth order", mistakes=mistakes, name="x"
        )
    volume = "ln p: loses ∫ lap φ dt"
    with law(volume, points=1) as ok:
        lost = h * np.trace(A) + (t * h + h * h / 2) * np.trace(B)
        mistakes = {
            "the sign is turned round: where the flow expands (lap φ > 0) the density falls": log_p + lost,
            "ln p has not changed": log_p,
            "the old ln p is lost: return it plus its change": np.full(batch, -lost),
            "the Laplacian is not multiplied by h": log_p - lost / h,
            "every stage looks at the potential at the time t": log_p - h * np.trace(A + t * B),
        }
        _, got = _step(ok, rk4_step, moving, x, log_p, t, h)
        ok.close(got, log_p - lost, "the integral of the trace disagrees", mistakes=mistakes, name="ln p")
    with law("x: a moving potential is seen at t, t + h/2, t + h/2, t + h", points=1, after=series) as ok:
        at = lambda s: A + s * B  # noqa: E731
        mistakes = {
            "every stage looks at the potential at the time t": x @ _runge_kutta(at, t, h, (0, 0, 0, 0)).T,
            "the last stage should look at t + h": x @ _runge_kutta(at, t, h, (0, 0.5, 0.5, 0.5)).T,
            "the two middle stages should look at t + h/2": x @ _runge_kutta(at, t, h, (0, 1, 1, 1)).T,
            "the two middle stages should look at t + h/2, both of them": x @ _runge_kutta(at, t, h, (0, 0, 0.5, 1)).T,
            "the time t is ignored: the potential is asked at 0, h/2, h": x @ _runge_kutta(at, 0, h).T,
        }
        got, _ = _step(ok, rk4_step, moving, x, log_p, t, h)
        truth = x @ _runge_kutta(at, t, h).T
        ok.close(got, truth, "a stage looks at the potential at a wrong time", mistakes=mistakes, name="x")
    with law("halve h: the error falls by about 16, the round trip's by about 32", points=1, after=series) as ok:
        _judge_order(ok, rk4_step, rng)


def _symmetric(d: int, rng: Rng) -> Array:
    root = rng.normal(size=(d, d))
    return (root + root.T) / 2 + np.diag(rng.uniform(0.5, 1.0, size=d))


def _runge_kutta(at, t: float, h: float, nodes=(0, 0.5, 0.5, 1), weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6)) -> Array:
    """The matrix of one step of dx/dt = A(t) x, its four stages at t + nodes h."""
    one, k, total = np.eye(len(at(0.0))), 0.0, 0.0
    for node, shift, weight in zip(nodes, (0, 0.5, 0.5, 1), weights, strict=True):
        k = at(t + node * h) @ (one + shift * h * k)
        total = total + weight * k
    return one + h * total


def _step(ok: Expect, answer: Answer, phi: object, x: Array, log_p: Array, t: float, h: float) -> tuple[Array, Array]:
    after, log_after = ok.many(answer(phi, tensor(x), tensor(log_p), float(t), float(h)), 2, "x and ln p")
    return ok.array(after, x.shape, name="x"), ok.array(log_after, log_p.shape, name="ln p")


def _judge_order(ok: Expect, answer: Answer, rng: Rng) -> None:
    """Errors after 6 and 12 steps over one unit of time, there against a high-order solver, and there and back."""
    phi, x = _moving_potential(2, rng), rng.normal(size=(8, 2))
    truth = _solve(phi, x, 1.0)[0]
    error, back = [], []
    for n in (6, 12):
        y, log_p = x, np.zeros(len(x))
        for k in range(n):
            y, log_p = _step(ok, answer, phi, y, log_p, k / n, 1 / n)
        error.append(np.linalg.norm(y - truth))
        for k in range(n, 0, -1):
            y, log_p = _step(ok, answer, phi, y, log_p, k / n, -1 / n)
        back.append(np.linalg.norm(y - x) + np.linalg.norm(log_p))
    ok.true(error[1] < error[0] / 7, f"twice the steps reduce the error only {error[0] / error[1]:.1f} times")
    ok.true(back[1] < back[0] / 12, f"twice the steps reduce the round trip's error only {back[0] / back[1]:.1f} times")


def _moving_potential(d: int, rng: Rng, hidden: int = 6) -> ma.OneHidden:
    shape = {"W": (hidden, d), "b": (hidden,), "c": (hidden,), "a": (hidden,)}
    fields = {name: tensor(rng.normal(size=size)) for name, size in shape.items()}
    fields["a"] = fields["a"] / fields["a"].abs().sum() * 3
    fields["c"] = torch.sign(fields["c"]) * (0.5 + fields["c"].abs())
    return ma.OneHidden.from_plain({**fields, "activation": "softplus"})


def _solve(phi: ma.OneHidden, x: Array, T: float) -> tuple[Array, Array]:
    """x(T) and the change of ln p from 0 to T by an eighth-order solver."""
    W, b, c, a = (p.numpy() for p in (phi.W, phi.b, phi.c, phi.a))
    width = a * (W**2).sum(1)

    def rate(t: float, y: Array) -> Array:
        s = expit(y.reshape(len(x), -1)[:, :-1] @ W.T + b + c * t)
        return np.concatenate([(s * a) @ W, -(s * (1 - s)) @ width[:, None]], 1).ravel()

    start = np.concatenate([x, np.zeros((len(x), 1))], 1).ravel()
    y = solve_ivp(rate, (0, T), start, method="DOP853", rtol=1e-10, atol=1e-10).y[:, -1].reshape(len(x), -1)
    return y[:, :-1], y[:, -1]


# ------------------------------------------------------------------------------------------------ density


@exercise(points=3)
def flow_log_prob(flow_log_prob: Answer, *, rng: Rng) -> None:
    """ln q(x) of a flow that carried a normal z from 0 to T, by running x backwards."""
    d, T = int(rng.integers(2, 4)), rng.uniform(0.5, 0.8)
    A = _symmetric(d, rng)
    spread = linalg.expm(T * A)
    x = rng.normal(size=(6, d)) @ spread
    with law("a quadratic potential makes a Gaussian of covariance exp(2TA)", points=1) as ok:
        truth = stats.multivariate_normal(np.zeros(d), spread @ spread.T).logpdf(x)
        there = linalg.inv(spread)
        z = x @ there
        normal = -0.5 * (z**2).sum(1) - 0.5 * d * np.log(2 * np.pi)
        forward = -0.5 * ((x @ spread) ** 2).sum(1) - 0.5 * d * np.log(2 * np.pi)
        lost = T * np.trace(A)
        mistakes = {
            "the change of ln p has the wrong sign: it was lost on the way there": normal + lost,
            "the change of ln p along the way is missing": normal,
            "the density of z is missing: start from ln N(z; 0, 1)": np.full(6, -lost),
            "the (d/2) ln 2π of the normal density is missing": normal - lost + 0.5 * d * np.log(2 * np.pi),
            "x ran forwards: a sample sits at time T, its z lies back at 0": forward - lost,
            "x ran forwards: a sample sits at time T, its z lies back at 0 ": forward + lost,
            "the normal density is taken at x: it belongs to z": normal - lost + 0.5 * ((z**2).sum(1) - (x**2).sum(1)),
        }
        got = ok.array(flow_log_prob(ma.Quadratic(tensor(A)), tensor(x), T, 40), (6,), name="ln q")
        ok.close(got, truth, "ln q is not that of the Gaussian", tolerance=1e-4, mistakes=mistakes, name="ln q")
    phi = _moving_potential(2, rng)
    phi = ma.OneHidden.from_plain({**phi.to_plain(), "a": phi.a / 2})  # gentle: the grid must hold it
    with law("the density integrates to one", points=1) as ok:
        side = np.linspace(-9, 9, 61)
        grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
        log_q = ok.array(flow_log_prob(phi, tensor(grid), 1.0, 12), (len(grid),), name="ln q")
        total = np.exp(np.minimum(log_q, 50)).sum() * (side[1] - side[0]) ** 2
        ok.within(total - 1, 0.01, f"on a grid your density adds up to {total:.3g}")
    with law("a sample's density, carried forwards, is found again backwards", points=1) as ok:
        z = rng.normal(size=(6, 2))
        x, change = _solve(phi, z, 1.0)
        truth = stats.norm.logpdf(z).sum(1) + change
        still = ma.OneHidden.from_plain({**phi.to_plain(), "c": 0 * phi.c})
        mirrored = ma.OneHidden.from_plain({**phi.to_plain(), "b": phi.b + phi.c, "c": -phi.c})
        mistakes = {
            "the potential does not move in your flow: pass the time on": ma.flow_log_prob(
                still, tensor(x), 1.0, 40
            ).numpy(),
            "time runs the wrong way: the way back starts at T": ma.flow_log_prob(mirrored, tensor(x), 1.0, 40).numpy(),
        }
        got = ok.array(flow_log_prob(phi, tensor(x), 1.0, 40), (6,), name="ln q")
        ok.close(got, truth, "forwards and backwards disagree", tolerance=2e-4, mistakes=mistakes, name="ln q")


# ------------------------------------------------------------------------------------------------ free energy


@exercise(points=4)
def variational_free_energy(variational_free_energy: Answer, free_energy_gradients: Answer, *, rng: Rng) -> None:
    """Note Eqs. (45), (46), (54), (55): the loss with its error, and its gradient in two ways."""
    table = "a table: the loss is Σ q (E + ln q)"
    with law(table, points=1) as ok:
        counts = rng.integers(1, 9, size=7)
        q, energy = counts / counts.sum(), rng.normal(size=7)
        truth = q @ (energy + np.log(q))
        each = np.repeat(energy + np.log(q), counts)
        mistakes = {
            "the entropy enters with the wrong sign: L = ⟨E⟩ - S, and S = -⟨ln q⟩": q @ (energy - np.log(q)),
            "the entropy is missing: that is the mean energy": q @ energy,
            "the samples are already drawn from q: weighing them with q counts it twice": np.mean(
                np.repeat(q, counts) * each
            ),
            "that is the sum over the samples, not their mean": each.sum(),
            "the sign is turned round": -truth,
        }
        log_q, E = np.repeat(np.log(q), counts), np.repeat(energy, counts)
        mean, error = ok.many(variational_free_energy(tensor(log_q), tensor(E)), 2, "the loss and its standard error")
        ok.close(mean, truth, "the enumerated value disagrees", mistakes=mistakes, name="the loss")
        n, width = len(each), each.std()
        error = ok.number(error, "the standard error")
        ok.true(
            abs(error - width) > 0.1 * width, "that is the spread of one sample: the error of the mean is √n smaller"
        )
        ok.true(
            width / (n + 1) ** 0.5 <= error <= width / max(n - 1.5, 1) ** 0.5,
            "the error of a mean is the spread over √n",
        )
    with law("q = p: no variance, and the loss is -ln Z", points=0.5, after=table) as ok:
        energy = rng.normal(size=9)
        log_Z = logsumexp(-energy)
        mean, error = ok.many(
            variational_free_energy(tensor(-energy - log_Z), tensor(energy)), 2, "the loss and its error"
        )
        ok.close(mean, -log_Z, "where q is p every sample costs -ln Z", name="the loss")
        ok.within(ok.number(error, "the error"), 1e-9, "where q is p there is nothing to fluctuate")
    _judge_gradients(free_energy_gradients, rng)


def _judge_gradients(answer: Answer, rng: Rng) -> None:
    z, (m, s) = rng.normal(size=(5, 2)), rng.uniform(-0.5, 0.5, size=(2, 2))
    well = ma.Quartic(rng.uniform(0.5, 1.5), rng.uniform(0.5, 1.5))
    force = well.gradient(tensor(m + np.exp(s) * z)).numpy()
    energy = well.energy(tensor(m + np.exp(s) * z)).numpy()
    pull = force * np.exp(s) * z
    path = "Eq. (54): each sample's slope at fixed z"
    with law(path, points=1) as ok:
        truth = np.concatenate([force, pull - 1], 1)
        mistakes = {
            "the sample is detached: E must be followed through x": np.concatenate([0 * force, 0 * pull - 1], 1),
            "the entropy's share is missing: ln q falls by 1 for every unit of ln width": np.concatenate(
                [force, pull], 1
            ),
            "the entropy's share has the wrong sign": np.concatenate([force, pull + 1], 1),
            "x moves by e^s z when s grows: the e^s is missing": np.concatenate([force, force * z - 1], 1),
            "the sign is turned round": -truth,
        }
        got, _ = _gradients(ok, answer, z, m, s, well)
        ok.close(got, truth, "differences of E + ln q disagree", mistakes=mistakes, name="the Eq. (54) gradient")
    scored = "Eq. (55): each sample's E + ln q times its score"
    with law(scored, points=1) as ok:
        prior = -0.5 * (z**2).sum(1) - np.log(2 * np.pi)
        score = np.concatenate([z / np.exp(s), z**2 - 1], 1)
        weight = energy + prior - s.sum()
        truth = weight[:, None] * score
        mistakes = {
            "the prior term is missing: ln q = ln N(z) - ln width": (energy - s.sum())[:, None] * score,
            "the width is missing from ln q: ln q = ln N(z) - ln width": (energy + prior)[:, None] * score,
            "the width enters ln q with the wrong sign": (energy + prior + s.sum())[:, None] * score,
            "ln q is missing: the score weighs E + ln q": energy[:, None] * score,
            "the score of the mean is (x - m) / width², that is z / width": weight[:, None]
            * np.concatenate([z, z**2 - 1], 1),
            "the score of ln width is z² - 1": weight[:, None] * np.concatenate([z / np.exp(s), z**2], 1),
            "the entropy enters with the wrong sign": (energy - prior + s.sum())[:, None] * score,
        }
        _, got = _gradients(ok, answer, z, m, s, well)
        if not _same(got, truth + score):  # d ln q of the bracket itself: zero in the mean, so as right
            ok.close(got, truth, "Eq. (55) disagrees", mistakes=mistakes, name="the Eq. (55) gradient")
    with law("both have one mean: that of the exact free energy", points=0.5, after=path) as ok:
        node, weight = np.polynomial.hermite_e.hermegauss(12)
        nodes = np.stack(np.meshgrid(node, node), -1).reshape(-1, 2)
        weights = np.outer(weight, weight).ravel() / weight.sum() ** 2
        v, k, g = np.exp(2 * s), well.stiffness, well.quartic
        exact = np.concatenate([k * m + g * (m**3 + 3 * m * v), k * v + 3 * g * (m**2 * v + v**2) - 1])
        for name, each in zip(("(54)", "(55)"), _gradients(ok, answer, nodes, m, s, well), strict=True):
            ok.within(
                weights @ each - exact, 1e-8, f"integrated over z, Eq. {name} is not the slope of the free energy"
            )


def _gradients(ok: Expect, answer: Answer, z: Array, m: Array, s: Array, well: ma.Quartic) -> list[Array]:
    both = ok.many(answer(tensor(z), tensor(m), tensor(s), well), 2, "the gradients of Eqs. (54) and (55)")
    shape = (len(z), 2 * z.shape[1])
    return [ok.array(g, shape, name=f"the Eq. {n} gradient") for g, n in zip(both, ("(54)", "(55)"), strict=True)]


# ------------------------------------------------------------------------------------------------ symmetry


@exercise(points=3)
def symmetrise(symmetrise: Answer, *, rng: Rng) -> None:
    """A potential made invariant under translations of a 3 x 3 lattice and under x -> -x, with its gradient."""
    group = ma.lattice_group(3).numpy()[rng.permutation(9)]
    phi = _moving_potential(9, rng, hidden=4)
    phi = ma.OneHidden.from_plain({**phi.to_plain(), "c": 0 * phi.c})
    x = rng.normal(size=(3, 9))
    orbit = np.stack([sign * x[:, g] for sign in (1, -1) for g in group])  # (18, batch, sites)
    value = np.stack([phi.value(tensor(y)).numpy() for y in orbit])
    grad = np.stack([phi.gradient_laplacian(tensor(y))[0].numpy() for y in orbit])
    mean = "the value is the mean over the whole group"
    with law(mean, points=1) as ok:
        first, again = (_symmetrised(ok, symmetrise, phi, x, group)[0] for _ in range(2))
        ok.true(_same(first, again), "two calls on the same x differ: average over the group, do not draw from it")
        mistakes = {
            "φ is unchanged: where is the group?": phi.value(tensor(x)).numpy(),
            "the flip x → -x is missing": value[:9].mean(0),
            "only the flip is there: the translations are missing": _flipped(phi, x),
            "that is the sum: divide by the number of elements, or an invariant φ would change": value.sum(0),
            "that is φ at the mean of the orbit: average φ, not x": phi.value(tensor(orbit.mean(0))).numpy(),
            "divide by the number of elements, flips counted: that is twice the mean": 2 * value.mean(0),
        }
        ok.close(first, value.mean(0), "it is not the mean of φ(gx) over all g", mistakes=mistakes, name="the value")
    with law("the value is invariant, and an invariant φ stays as it is", points=1, after=mean) as ok:
        g, sign = group[rng.integers(9)], rng.choice([-1, 1])
        first, _ = _symmetrised(ok, symmetrise, phi, x, group)
        moved, _ = _symmetrised(ok, symmetrise, phi, sign * x[:, g], group)
        ok.close(moved, first, "the potential changes when the lattice is shifted or the spins are flipped")
        even = ma.Quadratic(ma.adjacency(3)).requires_grad_(False)
        kept, _ = _symmetrised(ok, symmetrise, even, x, group)
        ok.close(kept, even.value(tensor(x)).numpy(), "a potential that was invariant has changed")
    with law("the gradient is the slope of the value, and turns with x", points=1) as ok:
        signs = np.repeat([1.0, -1.0], 9)[:, None, None]
        back = np.concatenate([np.argsort(group, axis=1)] * 2)
        truth = (signs * _carried(grad, back)).mean(0)
        again = _carried(grad, np.concatenate([group] * 2))
        mistakes = {
            "the slopes at g x are averaged as they are: each must be carried back by g": (signs * grad).mean(0),
            "the slopes are carried on by g: they must be carried back": (signs * again).mean(0),
            "the flip is forgotten on the way back: the slope at -x changes sign": _carried(grad, back).mean(0),
            "that is the gradient of the unsymmetrised φ": phi.gradient_laplacian(tensor(x))[0].numpy(),
            "the gradient is a sum, the value a mean": 18 * truth,
        }
        _, got = _symmetrised(ok, symmetrise, phi, x, group)
        ok.close(got, truth, "it is not the slope of the symmetrised value", mistakes=mistakes, name="the gradient")


def _flipped(phi: ma.OneHidden, x: Array) -> Array:
    """phi averaged over x and -x only."""
    return 0.5 * (phi.value(tensor(x)) + phi.value(tensor(-x))).numpy()


def _carried(grad: Array, back: Array) -> Array:
    """Each slope carried back by its permutation, signs left out."""
    return np.stack([v[:, i] for v, i in zip(grad, back, strict=True)])


def _symmetrised(ok: Expect, answer: Answer, phi: object, x: Array, group: Array) -> tuple[Array, Array]:
    value, grad = ok.many(answer(phi, tensor(x), tensor(group)), 2, "the value and the gradient")
    return ok.array(value, (len(x),), name="the value"), ok.array(grad, x.shape, name="the gradient")


# ------------------------------------------------------------------------------------------------ Ising


@exercise(points=3)
def ising_dual(ising_dual_log_prob: Answer, sample_spins: Answer, *, rng: Rng) -> None:
    """The Hubbard-Stratonovich density of the Ising model, and the spins that its field leaves."""
    summed = "the density is the sum over all spins, L = 2 and 3"
    with law(summed, points=1) as ok:
        for L in (2, 3):
            _judge_dual(ok, ising_dual_log_prob, L, rng)
    with law("finite at fields in the thousands", points=0.5, after=summed) as ok:
        K = ma.dual_coupling(2)[0].numpy()
        x = 2000 * rng.choice([-1.0, 1.0], size=(3, 4))
        truth = (np.abs(x) - np.log(2)).sum(1) - 0.5 * np.einsum("bi,ij,bj->b", x, linalg.inv(K), x)
        got = ising_dual_log_prob(tensor(x), tensor(K))
        ok.close(got, truth, "cosh overflows: for large |x| its logarithm is |x| - ln 2", tolerance=1e-12, name="ln π")
    fields, count = rng.uniform(0.2, 1.2, size=6) * rng.choice([-1, 1], size=6), 20_000
    uniforms = rng.random((count, 6))
    odds = "a spin is up with probability 1 / (1 + exp(-2x))"
    with law(odds, points=1) as ok:
        up = _spins(ok, sample_spins, fields, uniforms).mean(0) / 2 + 0.5
        p = expit(2 * fields)
        ok.true(
            not np.array_equal(up, fields > 0), "every spin follows its field without chance: compare with the uniforms"
        )
        for wrong, hint in (
            (expit(fields), "the odds are e^x to e^-x: the 2 is missing"),
            (expit(-2 * fields), "up and down are exchanged"),
        ):
            off = np.abs(up - wrong) < 6 * np.sqrt(wrong * (1 - wrong) / count)
            ok.true(not np.all(off), hint)
        ok.true(not np.all(np.abs(up - 0.5) < 0.03), "the field is ignored: the spins are up half of the time")
        ok.true(not np.all(np.abs(up - p) >= 0.5 - 1e-9), "up and down are exchanged")
        ok.within((up - p) / np.sqrt(p * (1 - p) / count), 6, "the fraction of up spins disagrees with the field")
    with law("given the field, the spins are independent", points=0.5, after=odds) as ok:
        spins = _spins(ok, sample_spins, fields, uniforms)
        pair = np.cov(spins.T)[np.triu_indices(6, 1)]
        width = 2 * np.sqrt(p * (1 - p))
        bound = 6 * np.outer(width, width)[np.triu_indices(6, 1)] / count**0.5
        ok.true(np.all(np.abs(pair) < bound), "two spins are correlated: every spin needs a uniform number of its own")


def _judge_dual(ok: Expect, answer: Answer, L: int, rng: Rng) -> None:
    N = L * L
    K = ma.dual_coupling(L, T=rng.uniform(1.5, 3.0))[0].numpy()
    x, spins = rng.normal(size=(5, N)), 2.0 * oracles.bit_strings(N) - 1
    gauss = -0.5 * np.einsum("bi,ij,bj->b", x, linalg.inv(K), x)
    truth = logsumexp(x @ spins.T, axis=1) - N * np.log(2) + gauss
    ln_cosh = truth - gauss
    mistakes = {
        "the 2^N of the sum over spins is left out here: ln cosh, not ln 2cosh": truth + N * np.log(2),
        "the Gaussian has K where its inverse belongs": ln_cosh - 0.5 * np.einsum("bi,ij,bj->b", x, K, x),
        "the 1/2 of the Gaussian is missing": ln_cosh + 2 * gauss,
        "the spins are missing: they leave ln cosh x at every site": gauss,
        "the Gaussian is missing": ln_cosh,
        "the Gaussian must fall off: its sign is turned round": ln_cosh - gauss,
        "one ln cosh per site: the sum runs over the sites, not inside": np.log(np.cosh(x.sum(1))) + gauss,
        "that is cosh, without its logarithm": np.cosh(x).sum(1) + gauss,
    }
    got = answer(tensor(x), tensor(K))
    ok.close(got, truth, f"the sum over 2^{N} spins disagrees", mistakes=mistakes, name="ln π")


def _spins(ok: Expect, answer: Answer, fields: Array, uniforms: Array) -> Array:
    x = np.tile(fields, (len(uniforms), 1))
    spins = ok.array(answer(tensor(x), tensor(uniforms)), x.shape, name="the spins")
    ok.true(not np.any(spins == 0), "spins are +1 and -1 here, not 1 and 0")
    ok.true(np.all(np.abs(spins) == 1), "spins are +1 or -1")
    return spins
