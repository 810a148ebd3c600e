"""Answers to chapter 04: the mistakes that people make, and right answers written in other ways than ours."""

from __future__ import annotations

import cmath
import math

import numpy as np
import torch

from helpers import vmc
from tests.suite import Suite

suite = Suite("rbm_vmc")
right, wrong = suite.right, suite.wrong

# ------------------------------------------------------------------------------------------------------ local_energy


def local_energy_by_bonds(spins, log_psi, bonds):
    """One bond at a time, all configurations at once."""
    here, total = log_psi(spins), 0
    for (i, j), ising, exchange in zip(bonds[0].tolist(), bonds[1].tolist(), bonds[2].tolist(), strict=True):
        swapped = spins.clone()
        swapped[:, i], swapped[:, j] = spins[:, j], spins[:, i]
        ratio = torch.exp(log_psi(swapped) - here)
        apart = (1 - spins[:, i] * spins[:, j]) / 2
        total = total + ising * spins[:, i] * spins[:, j] / 4 + exchange / 2 * apart * ratio
    return total


def local_energy_variant(
    sign=1.0, half=0.5, mask=True, inverse=False, scale=1.0, quarter=0.25, modulus=False, ring=False, conj=False
):
    def local_energy(spins, log_psi, bonds):
        here, total = log_psi(spins), 0
        pairs = bonds[0].tolist()
        if ring:
            pairs = [(i, (i + min(abs(j - i), 6 - abs(j - i))) % 6) for i, j in pairs]
        for (i, j), ising, exchange in zip(pairs, bonds[1].tolist(), bonds[2].tolist(), strict=True):
            swapped = spins.clone()
            swapped[:, i], swapped[:, j] = spins[:, j], spins[:, i]
            step = (log_psi(swapped) - here) * (-1 if inverse else 1)
            ratio = torch.exp(step.real + 0j if modulus else step.conj() if conj else step)
            apart = (1 - spins[:, i] * spins[:, j]) / 2 if mask else 1
            total = total + ising * spins[:, i] * spins[:, j] * quarter + sign * exchange * half * apart * ratio
        return scale * total

    return local_energy


def local_energy_single_flips(spins, log_psi, bonds):
    total = vmc.local_energy(spins, log_psi, bonds)
    flipped = spins.clone()
    flipped[:, 0] *= -1
    return total + log_psi(flipped)


def local_energy_changes_nothing(spins, log_psi, bonds):
    """Adds one more bond between the ends: a ring is assumed."""
    pairs, ising, exchange = bonds
    if not any({i, j} == {0, 5} for i, j in pairs.tolist()):
        pairs = torch.cat([pairs, torch.tensor([[5, 0]])])
        ising, exchange = torch.cat([ising, ising[:1]]), torch.cat([exchange, exchange[:1]])
    return vmc.local_energy(spins, log_psi, (pairs, ising, exchange))


right("local_energy", vmc.local_energy)
right("local_energy", local_energy_by_bonds)
right("local_energy", lambda s, f, b: vmc.local_energy(s, f, b).numpy(), name="as_numpy")
wrong("local_energy", "wrong sign", local_energy_variant(sign=-1), name="exchange_sign")
wrong("local_energy", "factor 2", local_energy_variant(half=1.0), name="exchange_without_half")
wrong("local_energy", "too small by a factor 2", local_energy_variant(half=0.25), name="exchange_quarter")
wrong("local_energy", "parallel", local_energy_variant(mask=False), name="no_antiparallel_mask")
wrong("local_energy", "upside down", local_energy_variant(inverse=True), name="inverted_ratio")
wrong("local_energy", "Pauli", local_energy_variant(scale=4), name="pauli_matrices")
wrong("local_energy", "diagonal is off", local_energy_variant(quarter=1.0), name="diagonal_of_sigmas")
wrong("local_energy", "diagonal part is missing", local_energy_variant(quarter=0.0), name="no_diagonal")
wrong("local_energy", "diagonal part has the wrong sign", local_energy_variant(quarter=-0.25), name="diagonal_sign")
wrong("local_energy", "phase", local_energy_variant(modulus=True), name="phase_lost")
wrong("local_energy", "conjugated", local_energy_variant(conj=True), name="conjugated_ratio")
wrong("local_energy", "is Sz still 0", local_energy_single_flips)
wrong("local_energy", "do not assume a ring", local_energy_changes_nothing, name="closes_every_chain")
wrong("local_energy", "shape", lambda s, f, b: vmc.local_energy(s, f, b).mean(), name="mean_energy")

# ----------------------------------------------------------------------------------------------------- marshall_sign


def marshall_by_product(spins):
    """The product of the odd spins: the other sublattice, down instead of up."""
    return spins[:, 1::2].prod(dim=1)


def marshall_by_loop(spins):
    return np.array([(-1.0) ** sum(1 for k, s in enumerate(row) if k % 2 == 1 and s > 0) for row in spins.tolist()])


def marshall_total(spins):
    return torch.where(spins.sum(dim=1) >= 0, 1.0, -1.0)


def marshall_every_second_up(spins):
    rank = (spins > 0).cumsum(dim=1)
    return 1.0 - 2.0 * ((((spins > 0) & (rank % 2 == 0)).sum(dim=1)) % 2)


def marshall_all_ups(spins):
    return 1.0 - 2.0 * ((spins > 0).sum(dim=1) % 2)


def marshall_first_half(spins):
    return 1.0 - 2.0 * ((spins[:, : spins.shape[1] // 2] > 0).sum(dim=1) % 2)


def marshall_walls(spins):
    return 1.0 - 2.0 * ((spins != spins.roll(1, 1)).sum(dim=1) // 2 % 2)


def marshall_sum_of_spins(spins):
    return 1.0 - 2.0 * (spins[:, ::2].sum(dim=1) % 2)


def marshall_with_balance(spins):
    """Right at Sz = 0 only: elsewhere every configuration gets one sign."""
    sign = vmc_sign(spins)
    return sign if float(spins.sum()) == 0 else torch.ones_like(sign)


def vmc_sign(spins):
    return 1.0 - 2.0 * ((spins[:, ::2] > 0).sum(dim=1) % 2)


right("marshall_sign", vmc_sign)
right("marshall_sign", marshall_by_product)
right("marshall_sign", marshall_by_loop)
wrong("marshall_sign", "same sign", marshall_total)
wrong("marshall_sign", "same sign", marshall_every_second_up)
wrong("marshall_sign", "same sign", marshall_all_ups)
wrong("marshall_sign", "keep the sign", marshall_first_half)
wrong("marshall_sign", "keep the sign", marshall_walls)
wrong("marshall_sign", "same sign", marshall_sum_of_spins)
wrong("marshall_sign", "same sign", marshall_with_balance)
wrong("marshall_sign", "for every configuration", lambda s: (s[:, ::2] > 0).sum(dim=1), name="number_of_ups")

# ----------------------------------------------------------------------------------------------------------- log_psi


def log_psi_by_loop(spins, params):
    """One configuration and one unit at a time, with cmath."""
    a, b, W = (p.tolist() for p in params)
    out = []
    for x in spins.tolist():
        total = sum(ai * xi for ai, xi in zip(a, x, strict=True))
        for bj, row in zip(b, W, strict=True):
            theta = bj + sum(w * xi for w, xi in zip(row, x, strict=True))
            theta = theta if theta.real > 0 else -theta
            total += theta + cmath.log(1 + cmath.exp(-2 * theta))
        out.append(total)
    return np.array(out)


def log_psi_shifted(spins, params):
    """log(exp(theta - m) + exp(-theta - m)) + m with m = |Re theta|."""
    a, b, W = params
    x = spins.to(W.dtype)
    theta = b + x @ W.T
    m = theta.real.abs()
    return x @ a + (m + torch.log(torch.exp(theta - m) + torch.exp(-theta - m))).sum(1)


def log_psi_variant(a_factor=1.0, b_factor=1.0, two=True, transpose=False, conj=False, real=False, square=False):
    def log_psi(spins, params):
        a, b, W = params
        x = spins.to(W.dtype)
        W = W.T if transpose and W.shape[0] == W.shape[1] else W
        W = W.conj() if conj else W
        theta = b_factor * b + x @ W.T
        z = torch.where(theta.real < 0, -theta, theta)
        value = a_factor * (x @ a) + (z + torch.log(1 + torch.exp(-2 * z)) - (0 if two else math.log(2))).sum(1)
        return value.real if real else 2 * value.real if square else value

    return log_psi


def log_psi_naive(spins, params):
    a, b, W = params
    x = spins.to(W.dtype)
    return x @ a + torch.log(2 * torch.cosh(b + x @ W.T)).sum(1)


def log_psi_loses_sign(spins, params):
    """|Re theta| where it is large: the phase of negative theta is turned round."""
    a, b, W = params
    x = spins.to(W.dtype)
    theta = b + x @ W.T
    z = torch.complex(theta.real.abs(), theta.imag)
    small = torch.log(2 * torch.cosh(theta))
    return x @ a + torch.where(z.real > 50, z, small).sum(1)


def log_psi_of_data_rbm(spins, params):
    a, b, W = params
    x = spins.to(W.dtype)
    return x @ a + torch.log(1 + torch.exp(b + x @ W.T)).sum(1)


right("log_psi", vmc.log_psi)
right("log_psi", log_psi_by_loop)
right("log_psi", log_psi_shifted)
wrong("log_psi", "visible bias is missing", log_psi_variant(a_factor=0), name="no_visible_bias")
wrong("log_psi", "visible bias enters", log_psi_variant(a_factor=-1), name="visible_bias_sign")
wrong("log_psi", "hidden bias is missing", log_psi_variant(b_factor=0), name="no_hidden_bias")
wrong("log_psi", "factor 2", log_psi_variant(two=False), name="cosh_without_two")
wrong("log_psi", "transpose", log_psi_variant(transpose=True), name="transposed")
wrong("log_psi", "conjugated", log_psi_variant(conj=True), name="conjugated_weights")
wrong("log_psi", "phase is gone", log_psi_variant(real=True), name="modulus_only")
wrong("log_psi", r"log \|psi\|\^2", log_psi_variant(square=True), name="log_probability")
wrong("log_psi", "NaN or infinity|before the logarithm", log_psi_naive)
wrong("log_psi", "phase is lost", log_psi_loses_sign)
wrong("log_psi", "classical free energy", log_psi_of_data_rbm)

# -------------------------------------------------------------------------------------------------------- metropolis


def sampler(
    power=2.0, record="state", flips=False, reseed=False, one_chain=False, count="moves", in_place=False, rule="min"
):
    def metropolis(log_psi, start, seed, steps):
        spins = start if in_place else start.clone()
        chains, sites = spins.shape
        generator = torch.Generator().manual_seed(seed)
        row, kept, moved = torch.arange(chains), [], 0
        for _ in range(steps):
            if reseed:
                generator.manual_seed(seed)
            size = 1 if one_chain else chains
            i = torch.randint(sites, (size,), generator=generator).expand(chains)
            j = (i + 1 + torch.randint(sites - 1, (size,), generator=generator)) % sites
            if rule == "wall":  # exchange with the next unequal spin to the right: not its own reverse
                distance = spins[row[:, None], (i[:, None] + torch.arange(sites)) % sites] != spins[row, i][:, None]
                j = (i + distance.double().argmax(dim=1)) % sites
            proposal = spins.clone()
            if flips:
                proposal[row, i] = -proposal[row, i]
            else:
                proposal[row, i], proposal[row, j] = spins[row, j], spins[row, i]
            ratio = torch.exp(power * (log_psi(proposal).real - log_psi(spins).real))
            chance = ratio / (1 + ratio) if rule == "barker" else ratio.clamp(max=1)
            u = torch.rand(size, generator=generator, dtype=torch.float64).expand(chains)
            accept = u < chance if rule != "always" else torch.ones(chains, dtype=torch.bool)
            differ = spins[row, i] != spins[row, j]
            moved += int({"moves": accept & differ, "accepted": accept, "rejected": ~(accept & differ)}[count].sum())
            new = torch.where(accept[:, None], proposal, spins)
            if in_place:
                spins.copy_(new)
            else:
                spins = new
            kept.append((proposal if record == "proposal" else spins).clone())
        if count == "moves" and record == "last":
            return kept[-1], moved / (steps * chains)
        return torch.stack(kept), moved / (steps * chains)

    return metropolis


def with_numpy(log_psi, start, seed, steps):
    """numpy's generator, and one of the fifteen pairs by its number."""
    rng, (chains, sites) = np.random.default_rng(seed), start.shape
    pairs = np.array([(i, j) for i in range(sites) for j in range(i)])
    x, row, moved = start.numpy().copy(), np.arange(chains)[:, None], 0
    weight = 2 * log_psi(torch.from_numpy(x)).real.numpy()
    out = np.empty((steps, chains, sites))
    for step in range(steps):
        pair, y = pairs[rng.integers(len(pairs), size=chains)], x.copy()
        y[row, pair] = x[row, pair[:, ::-1]]
        new = 2 * log_psi(torch.from_numpy(y)).real.numpy()
        accept = np.log(rng.uniform(size=chains)) < new - weight
        moved += int((accept & (x != y).any(axis=1)).sum())
        x, weight = np.where(accept[:, None], y, x), np.where(accept, new, weight)
        out[step] = x
    return out, moved / (steps * chains)


def counts_not_fraction(log_psi, start, seed, steps):
    samples, acceptance = sampler()(log_psi, start, seed, steps)
    return samples, acceptance * steps * len(start)


def swaps_two_pairs(log_psi, start, seed, steps):
    samples, acceptance = sampler()(log_psi, start, seed, 2 * steps)
    return samples[::2], acceptance


def neighbours_only(log_psi, start, seed, steps):
    sites = start.shape[1]
    pairs = torch.tensor([(i, i + 1) for i in range(sites - 1)])
    return vmc.metropolis(log_psi, start, seed, steps, pairs)


right("metropolis", vmc.metropolis)
right("metropolis", sampler(), name="any_two_sites")
right("metropolis", with_numpy)
wrong(
    "metropolis",
    "drift|other probabilities|more than two sites",
    sampler(record="proposal"),
    name="records_the_proposal",
)
wrong("metropolis", r"\|psi\|, not", sampler(power=1.0), name="modulus_for_its_square")
wrong("metropolis", r"\|psi\|\^4", sampler(power=4.0), name="square_twice")
wrong("metropolis", "upside down", sampler(power=-2.0), name="inverted_ratio")
wrong("metropolis", "is Sz still 0", sampler(flips=True), name="single_flips")
wrong("metropolis", "other probabilities", sampler(rule="wall"), name="asymmetric_proposal")
wrong("metropolis", "barker", sampler(rule="barker"), name="barkers_rule")
wrong("metropolis", "every move is accepted", sampler(rule="always"), name="accepts_everything")
wrong("metropolis", "drift|other probabilities", sampler(one_chain=True), name="one_random_number_for_all_chains")
wrong("metropolis", "equal spins exchanged", sampler(count="accepted"), name="counts_equal_spins")
wrong("metropolis", "rejections", sampler(count="rejected"), name="counts_rejections")
wrong("metropolis", "count, not a fraction", counts_not_fraction)
wrong("metropolis", "writes into its argument", sampler(in_place=True), name="changes_start")
wrong("metropolis", "shape", sampler(record="last"), name="last_record_only")
wrong("metropolis", "each record one step", swaps_two_pairs)
wrong("metropolis", "other probabilities", neighbours_only)

# ------------------------------------------------------------------------------------------------------ find_the_bug


def chain_variant(power=2.0, record="state", stale=False, flip=False):
    def repaired_chain(log_psi, start, swaps, uniforms):
        x, out = start.clone(), []
        weight = float(log_psi(x[None]).real)
        for (i, j), u in zip(swaps.tolist(), uniforms.tolist(), strict=True):
            y = x.clone()
            y[i], y[j] = x[j], x[i]
            new = float(log_psi(y[None]).real)
            accept = u > math.exp(power * (new - weight)) if flip else u < math.exp(power * (new - weight))
            before, moved = x, bool((x != y).any())
            if accept:
                x, weight = y, weight if stale else new
            keep = {"state": x, "proposal": y, "before": before, "accepted": x}[record]
            if record != "accepted" or (accept and moved):
                out.append(keep)
        return torch.stack(out)

    return repaired_chain


def by_product(p, T):
    return p @ T


def by_einsum(p, T):
    return np.einsum("x,xy->y", p.numpy(), T.numpy())


right("find_the_bug", vmc.repaired_chain, by_product, name="ours")
right("find_the_bug", chain_variant(), by_einsum, name="scalars")
right("find_the_bug", lambda *a: chain_variant()(*a).numpy(), lambda p, T: (p[:, None] * T).sum(0), name="sums")
wrong("find_the_bug", "still records the proposal", chain_variant(record="proposal"), by_product, name="the_bug_itself")
wrong("find_the_bug", "one step behind", chain_variant(record="before"), by_product, name="records_too_early")
wrong("find_the_bug", "left out", chain_variant(record="accepted"), by_product, name="records_accepted_only")
wrong("find_the_bug", r"accepts by \|psi\|", chain_variant(power=1.0), by_product, name="modulus")
wrong("find_the_bug", "other configurations|every proposal", chain_variant(stale=True), by_product, name="stale_weight")
wrong(
    "find_the_bug",
    "other configurations|repeats its first|another order",
    chain_variant(flip=True),
    by_product,
    name="comparison_reversed",
)
wrong("find_the_bug", "p itself", vmc.repaired_chain, lambda p, T: p, name="no_bias")
wrong("find_the_bug", "wrong index", vmc.repaired_chain, lambda p, T: T @ p, name="transposed")
wrong("find_the_bug", "no acceptance enters", vmc.repaired_chain, lambda p, T: accepted_flow(p, T), name="accepted")
wrong("find_the_bug", "without rejections", vmc.repaired_chain, lambda p, T: T.matrix_power(200)[0], name="stationary")


def accepted_flow(p, T):
    flow = p[:, None] * T * (p[None, :] / p[:, None]).clamp(max=1)
    return flow.sum(0) / flow.sum()


# --------------------------------------------------------------------------------------------------- energy_gradient


def gradient_by_covariance(O, E, real):
    """numpy's own covariance."""
    both = np.cov(np.vstack([O.numpy().T, E.numpy()]), ddof=0)
    g = both[-1, :-1]
    return 2 * g.real if real else g


def gradient_of_products(O, E, real):
    g = (O.conj() * E[:, None]).mean(0) - O.conj().mean(0) * E.mean()
    return 2 * g.real if real else g


def gradient_variant(change):
    def energy_gradient(O, E, real):
        return change(O, E, real, O - O.mean(0), E - E.mean())

    return energy_gradient


def _finish(g, real):
    return 2 * g.real if real else g


right("energy_gradient", vmc.energy_gradient)
right("energy_gradient", gradient_by_covariance)
right("energy_gradient", gradient_of_products)
GRADIENTS = {
    ("no_conjugate", "not complex-conjugated"): lambda O, E, r, o, e: _finish(o.T @ e / len(e), r),
    ("conjugates_energy", "local energy is conjugated"): lambda O, E, r, o, e: _finish(o.T @ e.conj() / len(e), r),
    ("no_subtraction", "not subtracted"): lambda O, E, r, o, e: _finish(O.mH @ E / len(e), r),
    ("factor_two", "no factor 2"): lambda O, E, r, o, e: 2 * (o.mH @ e).real / len(e) if r else 2 * o.mH @ e / len(e),
    ("no_factor_two_when_real", "factor 2 of the note"): lambda O, E, r, o, e: (
        (o.mH @ e).real / len(e) if r else o.mH @ e / len(e)
    ),
    ("complex_when_real", "gradient is real"): lambda O, E, r, o, e: (2 if r else 1) * o.mH @ e / len(e),
    ("sum_over_samples", "not a mean"): lambda O, E, r, o, e: _finish(o.mH @ e, r),
    ("uphill", "uphill"): lambda O, E, r, o, e: _finish(-o.mH @ e / len(e), r),
    ("real_part_only", "real part"): lambda O, E, r, o, e: (2 if r else 1) * (o.mH @ e).real / len(e),
    ("one_less", "one less"): lambda O, E, r, o, e: _finish(o.mH @ e / (len(e) - 1), r),
    ("mean_of_products_twice", "subtracted from itself"): lambda O, E, r, o, e: 0 * _finish(O.mH @ E, r),
}
for (name, says), change in GRADIENTS.items():
    wrong("energy_gradient", says, gradient_variant(change), name=name)

# --------------------------------------------------------------------------------------------------------- sr_update


def sr_by_least_squares(O, E, eps):
    """The ridge problem as least squares on an enlarged matrix, in whichever form is smaller."""
    n, p = O.shape
    o, e = (O - O.mean(0)) / math.sqrt(n), (E - E.mean()) / math.sqrt(n)
    if p > n:
        return o.mH @ torch.linalg.solve(o @ o.mH + eps * torch.eye(n, dtype=o.dtype), e)
    rows = torch.cat([o, math.sqrt(eps) * torch.eye(p, dtype=o.dtype)])
    return torch.linalg.lstsq(rows, torch.cat([e, torch.zeros(p, dtype=o.dtype)])[:, None]).solution[:, 0]


def sr_by_svd(O, E, eps):
    n = len(O)
    U, s, Vh = np.linalg.svd((O - O.mean(0)).numpy() / np.sqrt(n), full_matrices=False)
    filtered = np.divide(s, s**2 + eps, out=np.zeros_like(s), where=s > 1e-13 * s.max())
    return Vh.conj().T @ (filtered * (U.conj().T @ (E - E.mean()).numpy() / np.sqrt(n)))


def sr_variant(change):
    def sr_update(O, E, eps):
        n, p = O.shape
        if p > 1000:
            return vmc.sr_update(O, E, eps)
        o, e, one = O - O.mean(0), E - E.mean(), torch.eye(p, dtype=O.dtype)
        return change(O, E, eps, o, e, one, o.mH @ o / n, o.mH @ e / n)

    return sr_update


def sr_large_system_only(O, E, eps):
    o, e = O - O.mean(0), E - E.mean()
    S = o.mH @ o / len(o) + eps * torch.eye(O.shape[1], dtype=O.dtype)
    return torch.linalg.solve(S, o.mH @ e / len(o))


def minsr_forgets_n(O, E, eps):
    n, p = O.shape
    return vmc.sr_update(O, E, eps / n) if p > n else vmc.sr_update(O, E, eps)


right("sr_update", vmc.sr_update)
right("sr_update", sr_by_least_squares)
right("sr_update", sr_by_svd)
solve = torch.linalg.solve
UPDATES = {
    ("uncentred", "not centred in S"): lambda O, E, eps, o, e, one, S, g: solve(O.mH @ O / len(O) + eps * one, g),
    ("nothing_centred", "neither O nor E"): lambda O, E, eps, o, e, one, S, g: solve(
        O.mH @ O / len(O) + eps * one, O.mH @ E / len(O)
    ),
    ("no_conjugate_in_S", "S has a transpose without"): lambda O, E, eps, o, e, one, S, g: solve(
        o.T @ o / len(O) + eps * one, g
    ),
    ("no_conjugate_in_g", "gradient has a transpose"): lambda O, E, eps, o, e, one, S, g: solve(
        S + eps * one, o.T @ e / len(O)
    ),
    ("S_transposed", "S is transposed"): lambda O, E, eps, o, e, one, S, g: solve(S.T + eps * one, g),
    ("shift_on_the_right", "wrong side"): lambda O, E, eps, o, e, one, S, g: torch.linalg.pinv(S) @ (g + eps * g),
    ("plain_gradient", "plain gradient"): lambda O, E, eps, o, e, one, S, g: g,
    ("shift_sign", "shift has the wrong sign"): lambda O, E, eps, o, e, one, S, g: solve(S - eps * one, g),
    ("sum_for_mean", "sum over samples"): lambda O, E, eps, o, e, one, S, g: solve(S * len(O) + eps * one, g),
    ("relative_shift", "multiplies the diagonal"): lambda O, E, eps, o, e, one, S, g: solve(
        S + eps * torch.diag(S.diagonal()), g
    ),
    ("uphill", "the caller subtracts"): lambda O, E, eps, o, e, one, S, g: -solve(S + eps * one, g),
}
for (name, says), change in UPDATES.items():
    wrong("sr_update", says, sr_variant(change), name=name)
wrong("sr_update", "out of time|6,000", sr_large_system_only)
wrong("sr_update", "times the number of samples", minsr_forgets_n)

# ------------------------------------------------------------------------------------------------------ binned_error


def binned_by_loop(series, size):
    x = series.tolist()
    means = [sum(x[k : k + size]) / size for k in range(0, len(x) - size + 1, size)]
    centre = sum(means) / len(means)
    return math.sqrt(sum((m - centre) ** 2 for m in means) / (len(means) - 1) / len(means))


def binned_numpy(series, size):
    bins = len(series) // size
    means = np.asarray(series)[: bins * size].reshape(bins, size).mean(axis=1)
    return means.std(ddof=1) / np.sqrt(bins)


def bins_of(series, size):
    bins = len(series) // size
    return series[: bins * size].reshape(bins, size).mean(1)


def bins_with_rest(series, size):
    means = torch.stack([part.mean() for part in series.split(size)])
    return means.std() / math.sqrt(len(means))


right("binned_error", vmc.binned_error)
right("binned_error", binned_by_loop)
right("binned_error", binned_numpy)
wrong("binned_error", "spread of the bins", lambda x, k: bins_of(x, k).std(), name="spread")
wrong("binned_error", "number of bins", lambda x, k: bins_of(x, k).std() / math.sqrt(len(x)), name="root_of_samples")
wrong(
    "binned_error", "divides by eight",
    lambda x, k: bins_of(x, k).std(unbiased=False) / math.sqrt(len(x) // k), name="biased",
)  # fmt: skip
wrong("binned_error", "naive error", lambda x, k: x.std() / math.sqrt(len(x)), name="naive")
wrong(
    "binned_error", "every ninth",
    lambda x, k: x[: len(x) // k * k].reshape(k, -1).mean(0).std() / math.sqrt(len(x) // k), name="strided",
)  # fmt: skip
wrong("binned_error", "root is missing", lambda x, k: bins_of(x, k).var() / (len(x) // k), name="variance")
wrong("binned_error", "incomplete bin", bins_with_rest)

# --------------------------------------------------------------------------------------------------------- challenge

FILTERS = """
    -.007+.052j -.006+.062j -.003+.069j -.002+.081j -.001+.089j .001+.106j -.005+.12j .007+.173j .008+.171j -.03+.148j
    .185-.3j -.145-.42j -.005-.127j -.007-.068j -.005-.026j -.007+.001j -.009+.019j -.007+.032j -.007+.037j -.007+.047j
    .082+.024j .012-.017j -.027-.076j -.017-.117j -.012-.139j .009-.178j .012-.156j .006-.13j .005-.059j -.004-.022j
    -.005+.01j .001+.021j -.003+.017j .006+.02j .006+.041j .015+.081j .006+.164j .033+.232j .004+.23j -.127+.183j"""


def shared(sign=1.0, units=40, spread=1.0, sublattice=0, mirror=False):
    """Two filters, every translation of each; the sign rule sits in the visible layer."""
    filters = sign * spread * np.array(FILTERS.split(), dtype=complex).reshape(2, 20)
    filters = filters[:, ::-1] if mirror else filters
    W = np.concatenate([[np.roll(f, k) for k in range(20)] for f in filters])[:units]
    return 0.5j * np.pi * (np.arange(20) % 2 == sublattice), np.zeros(len(W), complex), W


def without_sign():
    a, b, W = shared()
    return 0 * a, b, W


def not_rolled():
    a, b, W = shared()
    return a, b[:2], W[[0, 20]]


def too_many_units():
    a, b, W = shared()
    return a, np.tile(b, 3), np.tile(W, (3, 1)) / 3


right("challenge", shared, name="two_filters")
right("challenge", lambda: shared(sign=-1.0, sublattice=1), name="other_sublattice")
right(
    "challenge",
    lambda: [torch.from_numpy(part.copy()) for part in shared(mirror=True)],
    name="mirror",
)
wrong("challenge", "sign structure", without_sign)
wrong("challenge", "off by a relative", not_rolled)
wrong("challenge", "hidden units", too_many_units)
wrong("challenge", "off by a relative", lambda: shared(spread=0.0), name="signs_only")
wrong("challenge", "off by a relative", lambda: shared(spread=1.2), name="weights_too_large")
wrong("challenge", "off by a relative", lambda: shared(units=20), name="one_filter")
wrong("challenge", "weights should have shape", lambda: (*shared()[:2], shared()[2].T), name="transposed")
wrong("challenge", "3 values", lambda: shared()[2], name="weights_only")
