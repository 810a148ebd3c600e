"""Answers to chapter 03: the mistakes that people make, and right answers written in other ways than ours."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from helpers import oracles, rbm
from tests.suite import Suite

suite = Suite("rbm_restoration")
right, wrong = suite.right, suite.wrong
sigmoid = torch.sigmoid


def all_bits(n):
    return torch.from_numpy(oracles.bit_strings(n)).double()


def draw(p, generator):
    return torch.bernoulli(p, generator=generator)


def from_seed(seed):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------------- free_energy


def free_by_logaddexp(v, W, a, b):
    x = v.numpy() @ W.numpy() + b.numpy()
    return -v.numpy() @ a.numpy() - np.logaddexp(0, x).sum(axis=1)


def free_by_enumeration(v, W, a, b):
    h = all_bits(len(b))
    return -torch.logsumexp((v @ a)[:, None] + (v @ W + b) @ h.T, dim=1)


def free_unguarded(v, W, a, b):
    return -(v @ a) - torch.log(1 + torch.exp(v @ W + b)).sum(1)


def free_clipped(v, W, a, b):
    return -(v @ a) - torch.log1p(torch.exp((v @ W + b).clamp(max=50))).sum(1)


def free_sign(v, W, a, b):
    return v @ a + functional.softplus(v @ W + b).sum(1)


def free_no_visible_bias(v, W, a, b):
    return -functional.softplus(v @ W + b).sum(1)


def free_no_hidden_bias(v, W, a, b):
    return -(v @ a) - functional.softplus(v @ W).sum(1)


def free_transposed(v, W, a, b):
    return -(v @ a) - functional.softplus(v @ W.T + b).sum(1)


def free_without_the_one(v, W, a, b):
    return -(v @ a) - (v @ W + b).sum(1)


def free_per_unit(v, W, a, b):
    return -(v @ a)[:, None] - functional.softplus(v @ W + b)


def free_without_entropy(v, W, a, b):
    x = v @ W + b
    return -(v @ a) - (sigmoid(x) * x).sum(1)


def free_bias_added(v, W, a, b):
    return v @ a - functional.softplus(v @ W + b).sum(1)


right("free_energy", rbm.free_energy)
right("free_energy", free_by_logaddexp)
right("free_energy", free_by_enumeration)
wrong("free_energy", "exp overflows", free_unguarded)
wrong("free_energy", "cut off", free_clipped)
wrong("free_energy", "sign is turned round", free_sign)
wrong("free_energy", "visible bias is missing", free_no_visible_bias)
wrong("free_energy", "hidden bias is missing", free_no_hidden_bias)
wrong("free_energy", "transpose", free_transposed)
wrong("free_energy", "all h off", free_without_the_one)
wrong("free_energy", "one number per hidden unit|shape", free_per_unit)
wrong("free_energy", "entropy of h", free_without_entropy)
wrong("free_energy", "visible bias enters with the wrong sign", free_bias_added)

# ------------------------------------------------------------------------------------------------------ conditionals


def conditionals_by_softmax_of_two(v, h, W, a, b, low=0):
    def on(field):
        return torch.softmax(torch.stack([low * field, field], -1), -1)[..., 1]

    return on(v @ W + b), on(h @ W.T + a)


def conditionals_in_numpy(v, h, W, a, b, low=0):
    v, h, W, a, b = (t.numpy() for t in (v, h, W, a, b))
    return 1 / (1 + np.exp((low - 1) * (v @ W + b))), 1 / (1 + np.exp((low - 1) * (h @ W.T + a)))


def conditionals_transposed(v, h, W, a, b, low=0):
    return sigmoid((1 - low) * (v @ W.T + b)), sigmoid((1 - low) * (h @ W + a))


def conditionals_without_factor(v, h, W, a, b, low=0):
    return sigmoid(v @ W + b), sigmoid(h @ W.T + a)


def conditionals_without_bias(v, h, W, a, b, low=0):
    return sigmoid((1 - low) * (v @ W)), sigmoid((1 - low) * (h @ W.T))


def conditionals_of_zero(v, h, W, a, b, low=0):
    return sigmoid((low - 1) * (v @ W + b)), sigmoid((low - 1) * (h @ W.T + a))


def conditionals_softmax(v, h, W, a, b, low=0):
    return torch.softmax(v @ W + b, 1), torch.softmax(h @ W.T + a, 1)


def conditionals_thresholded(v, h, W, a, b, low=0):
    return (v @ W + b > 0).double(), (h @ W.T + a > 0).double()


def conditionals_swapped(v, h, W, a, b, low=0):
    return tuple(reversed(rbm.conditionals(v, h, W, a, b, low)))


def conditionals_factor_without_bias(v, h, W, a, b, low=0):
    return sigmoid((1 - low) * (v @ W) + b), sigmoid((1 - low) * (h @ W.T) + a)


def conditionals_mean_spin(v, h, W, a, b, low=0):
    ph, pv = rbm.conditionals(v, h, W, a, b, low)
    return (ph, pv) if low == 0 else (2 * ph - 1, 2 * pv - 1)


right("conditionals", rbm.conditionals)
right("conditionals", conditionals_by_softmax_of_two)
right("conditionals", conditionals_in_numpy)
wrong("conditionals", "transpose", conditionals_transposed)
wrong("conditionals", "spins differ by 2", conditionals_without_factor)
wrong("conditionals", "bias is missing", conditionals_without_bias)
wrong("conditionals", "other value", conditionals_of_zero)
wrong("conditionals", "no softmax", conditionals_softmax)
wrong("conditionals", "threshold", conditionals_thresholded)
wrong("conditionals", "disagrees with the joint", conditionals_swapped)
wrong("conditionals", "factor belongs to the bias too", conditionals_factor_without_bias)
wrong("conditionals", "mean of the spin", conditionals_mean_spin)

# ------------------------------------------------------------------------------------------------------- cd_gradient


def phases(data, model, W, b):
    return sigmoid(data @ W + b), sigmoid(model @ W + b)


def cd_by_einsum(data, model, W, b):
    p, q = phases(data, model, W, b)
    dW = torch.einsum("ni,nj->ij", model, q) / len(model) - torch.einsum("ni,nj->ij", data, p) / len(data)
    return dW, model.mean(0) - data.mean(0), q.mean(0) - p.mean(0)


def cd_by_autograd(data, model, W, b):
    W, a, b = W.clone().requires_grad_(), torch.zeros(W.shape[0]).double().requires_grad_(), b.clone().requires_grad_()
    loss = rbm.free_energy(data, W, a, b).mean() - rbm.free_energy(model, W, a, b).mean()
    return torch.autograd.grad(loss, (W, a, b))


def cd_uphill(data, model, W, b):
    return tuple(-g for g in cd_by_einsum(data, model, W, b))


def cd_sum(data, model, W, b):
    p, q = phases(data, model, W, b)
    return model.T @ q - data.T @ p, model.sum(0) - data.sum(0), q.sum(0) - p.sum(0)


def cd_sampled_hidden(data, model, W, b):
    p, q = (torch.bernoulli(x) for x in phases(data, model, W, b))
    dW = model.T @ q / len(model) - data.T @ p / len(data)
    return dW, model.mean(0) - data.mean(0), q.mean(0) - p.mean(0)


def cd_thresholded_hidden(data, model, W, b):
    p, q = ((x > 0.5).double() for x in phases(data, model, W, b))
    dW = model.T @ q / len(model) - data.T @ p / len(data)
    return dW, model.mean(0) - data.mean(0), q.mean(0) - p.mean(0)


def cd_transposed(data, model, W, b):
    dW, da, db = cd_by_einsum(data, model, W, b)
    return dW.T, da, db


def cd_without_negative_phase(data, model, W, b):
    p, _ = phases(data, model, W, b)
    return -data.T @ p / len(data), -data.mean(0), -p.mean(0)


def cd_product_of_means(data, model, W, b):
    p, q = phases(data, model, W, b)
    dW = torch.outer(model.mean(0), q.mean(0)) - torch.outer(data.mean(0), p.mean(0))
    return dW, model.mean(0) - data.mean(0), q.mean(0) - p.mean(0)


def cd_one_batch_size(data, model, W, b):
    p, q = phases(data, model, W, b)
    n = len(data)
    return (model.T @ q - data.T @ p) / n, (model.sum(0) - data.sum(0)) / n, (q.sum(0) - p.sum(0)) / n


def cd_bias_at_the_mean_digit(data, model, W, b):
    dW, da, _ = cd_by_einsum(data, model, W, b)
    return dW, da, sigmoid(model.mean(0) @ W + b) - sigmoid(data.mean(0) @ W + b)


def cd_biases_in_the_wrong_order(data, model, W, b):
    dW, da, db = cd_by_einsum(data, model, W, b)
    return dW, db, da


right("cd_gradient", rbm.cd_gradient)
right("cd_gradient", cd_by_einsum)
right("cd_gradient", cd_by_autograd)
wrong("cd_gradient", "sign is turned round", cd_uphill)
wrong("cd_gradient", "sum over the batch|summed over the batch", cd_sum)
wrong("cd_gradient", "two calls differ|keeps something", cd_sampled_hidden)
wrong("cd_gradient", "hidden units enter as 0 or 1", cd_thresholded_hidden)
wrong("cd_gradient", "dW is transposed", cd_transposed)
wrong("cd_gradient", "negative phase is missing", cd_without_negative_phase)
wrong("cd_gradient", "product of the means", cd_product_of_means)
wrong("cd_gradient", "disagrees with central differences", cd_one_batch_size)
wrong("cd_gradient", "mean digit", cd_bias_at_the_mean_digit)
wrong("cd_gradient", "da should have shape", cd_biases_in_the_wrong_order)

# ---------------------------------------------------------------------------------------------------- delta_gradient


def delta_in_numpy(E, dE, data, held):
    E, dE, data = E.numpy(), dE.numpy(), data.numpy()
    p = np.exp(E.min() - E)
    p /= p.sum()
    gradient = data @ dE - p @ dE
    return gradient if held else gradient + np.einsum("s,s,sk->k", p, E, dE) - (p @ E) * (p @ dE)


def delta_by_dp(E, dE, data, held):
    p = torch.softmax(-E, 0)
    dp = -p[:, None] * (dE - p @ dE)
    return data @ dE - p @ dE - (0 if held else E @ dp)


def delta_with(extra):
    """Eq. (24) plus extra(p, E, dE, data) where the samples move."""

    def answer(E, dE, data, held):
        p = torch.softmax(-E, 0)
        fixed = data @ dE - p @ dE
        return fixed if held else fixed + extra(p, E, dE, data)

    return answer


def covariance(p, E, dE):
    return (p * (E - p @ E)) @ dE


def delta_always_moving(E, dE, data, held):
    return rbm.delta_gradient(E, dE, data, False)


def delta_sign(E, dE, data, held):
    return -rbm.delta_gradient(E, dE, data, held)


def delta_positive_exponent(E, dE, data, held):
    p = torch.softmax(E, 0)
    return data @ dE - p @ dE + (0 if held else covariance(p, E, dE))


def delta_unnormalised(E, dE, data, held):
    p = torch.exp(-E)
    return data @ dE - p @ dE + (0 if held else covariance(p, E, dE))


right("delta_gradient", rbm.delta_gradient)
right("delta_gradient", delta_in_numpy)
right("delta_gradient", delta_by_dp)
wrong("delta_gradient", "Eq. .24. again", delta_with(lambda p, E, dE, data: 0), name="delta_forgets")
wrong("delta_gradient", "doubled", delta_with(lambda p, E, dE, data: 2 * covariance(p, E, dE)), name="delta_doubles")
wrong("delta_gradient", "wrong sign", delta_with(lambda p, E, dE, data: -covariance(p, E, dE)), name="delta_subtracts")
wrong("delta_gradient", "not centred", delta_with(lambda p, E, dE, data: (p * E) @ dE), name="delta_uncentred")
wrong("delta_gradient", "over the data", delta_with(lambda p, E, dE, data: covariance(data, E, dE)), name="delta_data")
wrong("delta_gradient", "samples are held here", delta_always_moving)
wrong("delta_gradient", "sign is turned round", delta_sign)
wrong("delta_gradient", "low energies should be likely", delta_positive_exponent)
wrong("delta_gradient", "not normalised", delta_unnormalised)

# -------------------------------------------------------------------------------------------------------- estimators

raw, blackwell = rbm.raw_estimator, rbm.rao_blackwell_estimator


def raw_by_comparison(v, W, b, seed):
    p = sigmoid(v @ W + b)
    h = torch.rand(p.shape, generator=from_seed(seed), dtype=p.dtype) < p
    return torch.einsum("ni,nj->ij", v, h.double()) / len(v)


def blackwell_by_enumeration(v, W, b):
    h = all_bits(len(b))
    p = torch.softmax((v @ W + b) @ h.T, 1)
    return (v.T @ p @ h) / len(v)


def raw_in_numpy(v, W, b, seed):
    v, W, b = v.numpy(), W.numpy(), b.numpy()
    p = 1 / (1 + np.exp(-(v @ W + b)))
    return v.T @ (np.random.default_rng(seed).random(p.shape) < p) / len(v)


def blackwell_in_numpy(v, W, b):
    return v.numpy().T @ (1 / (1 + np.exp(-(v @ W + b).numpy()))) / len(v)


def raw_with_probabilities(v, W, b, seed):
    return blackwell(v, W, b)


def raw_thresholded(v, W, b, seed):
    return v.T @ (v @ W + b > 0).double() / len(v)


def raw_summed(v, W, b, seed):
    return raw(v, W, b, seed) * len(v)


def raw_one_h_for_all(v, W, b, seed):
    p = sigmoid(v @ W + b)
    return v.T @ (torch.rand(len(b), generator=from_seed(seed)) < p).double() / len(v)


def raw_one_number_a_digit(v, W, b, seed):
    p = sigmoid(v @ W + b)
    return v.T @ (torch.rand(len(v), 1, generator=from_seed(seed)) < p).double() / len(v)


def raw_flipped(v, W, b, seed):
    p = sigmoid(v @ W + b)
    return v.T @ (torch.rand(p.shape, generator=from_seed(seed)) > p).double() / len(v)


def raw_ignores_the_seed(v, W, b, seed):
    return raw(v, W, b, 0)


def raw_without_generator(v, W, b, seed):
    return v.T @ torch.bernoulli(sigmoid(v @ W + b)) / len(v)


def blackwell_thresholded(v, W, b):
    return v.T @ (v @ W + b > 0).double() / len(v)


def blackwell_product_of_means(v, W, b):
    return torch.outer(v.mean(0), sigmoid(v @ W + b).mean(0))


def blackwell_summed(v, W, b):
    return v.T @ sigmoid(v @ W + b)


def blackwell_without_bias(v, W, b):
    return v.T @ sigmoid(v @ W) / len(v)


right("estimators", raw, blackwell)
right("estimators", raw_by_comparison, blackwell_by_enumeration)
right("estimators", raw_in_numpy, blackwell_in_numpy)
wrong("estimators", "nothing was drawn", raw_with_probabilities, blackwell)
wrong("estimators", "thresholded at 1/2", raw_thresholded, blackwell)
wrong("estimators", "sum over the digits", raw_summed, blackwell)
wrong("estimators", "all digits share one draw", raw_one_h_for_all, blackwell)
wrong("estimators", "same random number", raw_one_number_a_digit, blackwell)
wrong("estimators", "on where it should be off", raw_flipped, blackwell)
wrong("estimators", "seed goes unused", raw_ignores_the_seed, blackwell)
wrong("estimators", "two results|keeps something", raw_without_generator, blackwell)
wrong("estimators", "probability belongs there", raw, blackwell_thresholded, name="blackwell_thresholded")
wrong("estimators", "product of the two means", raw, blackwell_product_of_means, name="blackwell_product_of_means")
wrong("estimators", "take their mean", raw, blackwell_summed, name="blackwell_summed")
wrong("estimators", "hidden bias is missing", raw, blackwell_without_bias, name="blackwell_without_bias")

# ------------------------------------------------------------------------------------------------------- gibbs_sweep


def sweep_by_comparison(v, h, W, a, b, seed):
    generator = from_seed(seed)
    h = (torch.rand(h.shape, generator=generator, dtype=v.dtype) < sigmoid(v @ W + b)).to(v.dtype)
    v = (torch.rand(v.shape, generator=generator, dtype=v.dtype) < sigmoid(h @ W.T + a)).to(v.dtype)
    return v, h


def sweep_in_numpy(v, h, W, a, b, seed):
    rng = np.random.default_rng(seed)
    v, W, a, b = (t.numpy() for t in (v, W, a, b))
    h = rng.binomial(1, 1 / (1 + np.exp(-(v @ W + b))))
    return rng.binomial(1, 1 / (1 + np.exp(-(h @ W.T + a)))), h


def sweep_reuses_h(v, h, W, a, b, seed):
    return draw(sigmoid(h @ W.T + a), from_seed(seed)), h


def sweep_both_from_old(v, h, W, a, b, seed):
    generator = from_seed(seed)
    return draw(sigmoid(h @ W.T + a), generator), draw(sigmoid(v @ W + b), generator)


def sweep_thresholds(v, h, W, a, b, seed):
    h = (v @ W + b > 0).double()
    return (h @ W.T + a > 0).double(), h


def sweep_mean_field(v, h, W, a, b, seed):
    h = sigmoid(v @ W + b)
    return sigmoid(h @ W.T + a), h


def sweep_half_mean_field(v, h, W, a, b, seed):
    generator = from_seed(seed)
    p = sigmoid(v @ W + b)
    return draw(sigmoid(p @ W.T + a), generator), draw(p, generator)


def sweep_v_first(v, h, W, a, b, seed):
    generator = from_seed(seed)
    v = draw(sigmoid(h @ W.T + a), generator)
    return v, draw(sigmoid(v @ W + b), generator)


def sweep_flipped(v, h, W, a, b, seed):
    generator = from_seed(seed)
    h = (torch.rand(h.shape, generator=generator) > sigmoid(v @ W + b)).double()
    return (torch.rand(v.shape, generator=generator) > sigmoid(h @ W.T + a)).double(), h


def sweep_keeps_v(v, h, W, a, b, seed):
    return v.clone(), draw(sigmoid(v @ W + b), from_seed(seed))


def sweep_shared_numbers(v, h, W, a, b, seed):
    generator = from_seed(seed)
    h = (torch.rand(h.shape[1], generator=generator) < sigmoid(v @ W + b)).double()
    return (torch.rand(v.shape[1], generator=generator) < sigmoid(h @ W.T + a)).double(), h


def sweep_without_seed(v, h, W, a, b, seed):
    h = torch.bernoulli(sigmoid(v @ W + b))
    return torch.bernoulli(sigmoid(h @ W.T + a)), h


def sweep_in_place(v, h, W, a, b, seed):
    generator = from_seed(seed)
    h.copy_(draw(sigmoid(v @ W + b), generator))
    return v.copy_(draw(sigmoid(h @ W.T + a), generator)), h


def sweep_without_biases(v, h, W, a, b, seed):
    generator = from_seed(seed)
    h = draw(sigmoid(v @ W), generator)
    return draw(sigmoid(h @ W.T), generator), h


right("gibbs_sweep", rbm.gibbs_sweep)
right("gibbs_sweep", sweep_by_comparison)
right("gibbs_sweep", sweep_in_numpy)
wrong("gibbs_sweep", "h is reused", sweep_reuses_h)
wrong("gibbs_sweep", "both sides are drawn from the old state", sweep_both_from_old)
wrong("gibbs_sweep", "thresholded", sweep_thresholds)
wrong("gibbs_sweep", "mean field", sweep_mean_field)
wrong("gibbs_sweep", "probabilities of h|does not follow|left p", sweep_half_mean_field)
wrong("gibbs_sweep", "v is drawn first", sweep_v_first)
wrong("gibbs_sweep", "on where they should be off", sweep_flipped)
wrong("gibbs_sweep", "still the old one", sweep_keeps_v)
wrong("gibbs_sweep", "share their random numbers|drawn once for all", sweep_shared_numbers)
wrong("gibbs_sweep", "two results", sweep_without_seed)
wrong("gibbs_sweep", "changed in place|writes into its argument", sweep_in_place)
wrong("gibbs_sweep", "biases are missing|does not follow|left p", sweep_without_biases)

# ----------------------------------------------------------------------------------------------------------- restore


def clamped(images, known, W, a, b, sweeps, seed, burn_in=5, keep=True, feed=draw, hold=True, held=None):
    """The textbook loop on whole images, with switches for its mistakes; returns the mean of p(v | h)."""
    generator = from_seed(seed)
    held = known if held is None else held
    v, total = images.clone(), torch.zeros_like(images)
    for step in range(sweeps):
        h = feed(sigmoid(v @ W + b), generator)
        p = sigmoid(h @ W.T + a)
        v = feed(p, generator)
        if hold:
            v[:, held] = images[:, held]
        total += p if step >= min(burn_in, sweeps - 1) else 0
    mean = total / max(sweeps - burn_in, 1)
    if keep:
        mean[:, held] = images[:, held]
    return mean


def restore_textbook(images, known, W, a, b, sweeps, seed):
    return clamped(images, known, W, a, b, sweeps, seed)


def restore_mean_of_samples(images, known, W, a, b, sweeps, seed):
    generator = from_seed(seed)
    v, total = torch.where(known, images, 0.5), 0
    for _ in range(sweeps):
        h = draw(sigmoid(v @ W + b), generator)
        v = torch.where(known, images, draw(sigmoid(h @ W.T + a), generator))
        total = total + v
    return total / sweeps


def restore_clamps_at_the_start(images, known, W, a, b, sweeps, seed):
    got = clamped(images, known, W, a, b, sweeps, seed, hold=False)
    return torch.where(known, images, got)


def restore_clamps_the_lost(images, known, W, a, b, sweeps, seed):
    return clamped(images, known, W, a, b, sweeps, seed, held=~known)


def restore_one_sample(images, known, W, a, b, sweeps, seed):
    generator = from_seed(seed)
    v = images
    for _ in range(sweeps):
        h = draw(sigmoid(v @ W + b), generator)
        v = torch.where(known, images, draw(sigmoid(h @ W.T + a), generator))
    return v


def restore_mean_field(images, known, W, a, b, sweeps, seed):
    return clamped(torch.where(known, images, 0.5), known, W, a, b, sweeps, seed, feed=lambda p, generator: p)


def restore_forgets_the_known(images, known, W, a, b, sweeps, seed):
    return clamped(images, known, W, a, b, sweeps, seed, keep=False)


def restore_without_dividing(images, known, W, a, b, sweeps, seed):
    return torch.where(known, images, clamped(images, known, W, a, b, sweeps, seed) * sweeps)


def restore_thresholded_mean(images, known, W, a, b, sweeps, seed):
    return restore_textbook(images, known, W, a, b, sweeps, seed).round()


def restore_in_place(images, known, W, a, b, sweeps, seed):
    images[:, ~known] = restore_textbook(images, known, W, a, b, sweeps, seed)[:, ~known]
    return images


def restore_leaves_it(images, known, W, a, b, sweeps, seed):
    return images.clone()


def restore_one_chain_for_all(images, known, W, a, b, sweeps, seed):
    return torch.where(known, images, restore_one_sample(images[:1], known, W, a, b, sweeps, seed))


right("restore", rbm.restore)
right("restore", restore_textbook)
right("restore", restore_mean_of_samples)
wrong("restore", "act at the start only", restore_clamps_at_the_start)
wrong("restore", "lost pixels are held", restore_clamps_the_lost)
wrong("restore", "one noisy sample", restore_one_sample)
wrong("restore", "mean field", restore_mean_field)
wrong("restore", "known pixels have changed", restore_forgets_the_known)
wrong("restore", "divide by the sweeps", restore_without_dividing)
wrong("restore", "grey|0 or 1|average", restore_thresholded_mean)
wrong("restore", "changed in place|writes into its argument", restore_in_place)
wrong("restore", "lost pixels are held", restore_leaves_it)
wrong(
    "restore",
    "hold the known pixels|0 or 1|squared error|threshold|act at|mean field|inverted",
    restore_one_chain_for_all,
)
