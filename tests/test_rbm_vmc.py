"""Laws of helpers.spins and helpers.vmc: exact energies, enumeration, detailed balance, honest error bars."""

import math
import time

import numpy as np
import pytest
import torch

from helpers import spins, vmc
from helpers.figures import rbm_vmc as figures
from helpers.vmc.descent import plain_update
from helpers.vmc.swaps import Walkers, _ratios_by_logs

DERIVED = {  # S = 1/2 operators, J1 = 1, periodic
    (8, 0.0): -3.651093408937, (8, 0.2): -3.35073321971, (8, 0.2411): -3.29303398554, (8, 0.4): -3.09196121184,
    (8, 0.5): -3.0, (8, 0.8): -3.41072543622, (8, 1.0): -4.12841906384, (10, 0.0): -4.515446354492,
    (10, 0.2): -4.15096325510, (10, 0.2411): -4.08133130560, (10, 0.4): -3.84291850317, (10, 0.5): -3.75,
    (10, 0.8): -4.33768079327, (10, 1.0): -5.01054627864, (12, 0.0): -5.387390917445, (12, 0.2): -4.95687816839,
    (12, 0.2411): -4.87487586809, (12, 0.4): -4.59677518684, (12, 0.5): -4.5, (12, 0.8): -5.09091660229,
    (12, 1.0): -5.89616118503, (14, 0.0): -6.26354953355, (14, 0.2): -5.76600362018, (14, 0.8): -5.95183091101,
    (16, 0.0): -7.142296360617, (16, 0.2): -6.57712032399, (16, 0.2411): -6.46978916968, (16, 0.4): -6.10938056491,
    (16, 0.5): -6.0, (16, 0.8): -6.78879425284, (16, 1.0): -7.76662140543,
}  # fmt: skip
LARGE = {(20, 0.0): -8.904386529876, (20, 0.2): -8.20291625218, (20, 0.2411): -8.06988942140, (20, 0.4): -7.62543279883,
         (20, 0.5): -7.5, (20, 0.8): -8.46127240901, (20, 1.0): -9.74467453950, (22, 0.0): -9.786880651766}  # fmt: skip
OPEN = {(8, 0.0): -3.37493259869, (8, 0.2): -3.17153281020, (8, 0.8): -3.27217078957, (12, 0.5): -4.5,
        (12, 0.0): -5.14209063284, (16, 0.2): -6.43180612955, (16, 0.8): -6.64579242916}  # fmt: skip
SQUARE = {0.0: -0.701780200527, 0.4: -0.551147772701, 0.5: -0.528620209462, 0.55: -0.523594567640,
          0.6: -0.525895822015, 1.0: -0.768468138506}  # fmt: skip
KINDS = ("plain", "shared", "projected", "both")


def generator(seed=0, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


def ansatz(kind, sites=8, scale=0.3, seed=1):
    rbm = vmc.random_rbm(sites, 3 if kind in ("shared", "both") else sites, generator(seed), scale=scale)
    group = spins.chain_group(sites)
    if kind == "plain":
        return vmc.Ansatz(rbm)
    if kind == "shared":
        return vmc.symmetric(rbm, group)
    if kind == "projected":
        return vmc.symmetric(rbm, None, group, (-1.0) ** torch.arange(sites))
    return vmc.symmetric(rbm, group[::2], group[:2], torch.tensor([1.0, -1.0]), spins.stripe_sublattice(sites))


def dense(bonds):
    return torch.from_numpy(spins.hamiltonian(bonds).toarray()).to(torch.complex128)


def table(model, sites=8):
    return vmc.amplitudes(lambda x: vmc.log_amplitude(x, model), spins.sector(sites))


def counts(configurations, basis):
    code = (basis > 0).double() @ (2.0 ** torch.arange(basis.shape[1])).double()
    seen = (configurations > 0).double() @ (2.0 ** torch.arange(basis.shape[1])).double()
    return (seen[:, None] == code[None, :]).sum(dim=0).to(torch.float64)


def chi_square_sigma(observed, probability):
    """How many standard deviations chi-square lies above its mean, for probabilities up to a factor."""
    expected = probability / probability.sum() * observed.sum()
    keep = expected > 5
    freedom = int(keep.sum()) - 1
    return float((((observed - expected) ** 2 / expected)[keep].sum() - freedom) / math.sqrt(2 * freedom))


# exact diagonalisation


@pytest.mark.parametrize(("size", "energy"), DERIVED.items())
def test_ground_energy_of_the_ring_is_the_derived_one(size, energy):
    assert abs(spins.ground_state(spins.chain(*size)).energies[0] - energy) < 1e-9


@pytest.mark.parametrize(("size", "energy"), OPEN.items())
def test_ground_energy_of_the_open_chain_is_the_derived_one(size, energy):
    assert abs(spins.ground_state(spins.chain(*size, periodic=False)).energies[0] - energy) < 1e-9


@pytest.mark.parametrize(("J2", "energy"), SQUARE.items())
def test_ground_energy_of_the_square_is_the_derived_one(J2, energy):
    assert abs(spins.ground_state(spins.square(4, J2)).energies[0] / 16 - energy) < 1e-9


@pytest.mark.parametrize("sites", [6, 8, 10, 14])
def test_the_bethe_equations_give_the_energy_of_the_ring(sites):
    assert abs(spins.bethe_energy(sites) - spins.ground_state(spins.chain(sites)).energies[0]) < 1e-10


def test_the_bethe_energy_of_a_hundred_sites_is_the_derived_one():
    assert abs(spins.bethe_energy(100) + 44.322957075092) < 1e-9
    with pytest.raises(ValueError, match="even ring"):
        spins.bethe_energy(7)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "energy"), LARGE.items())
def test_twenty_sites_agree_and_take_under_ten_seconds(size, energy):
    start = time.process_time()
    assert abs(spins.ground_state(spins.chain(*size)).energies[0] - energy) < 1e-9
    assert size[0] > 20 or time.process_time() - start < 10


def test_majumdar_ghosh_point_is_doubly_degenerate():
    levels = spins.ground_state(spins.chain(10, 0.5), 3).energies
    assert abs(levels[1] - levels[0]) < 1e-10
    assert levels[2] - levels[0] > 0.1


def test_hamiltonian_is_the_sum_of_spin_products():
    plus = np.array([[0, 1], [0, 0]])
    sz, sx, sy = np.diag([-0.5, 0.5]), (plus + plus.T) / 2, (plus - plus.T) / 2j
    bonds, dimension = spins.chain(6, 0.3), 64
    full = np.zeros((dimension, dimension), dtype=complex)
    for (i, j), J in zip(bonds.pairs.tolist(), bonds.ising.tolist(), strict=True):
        for s in (sx, sy, sz):
            parts = [s if k in (i, j) else np.eye(2) for k in range(6)]
            product = parts[0]
            for part in parts[1:]:
                product = np.kron(product, part)
            full += J * product
    keep = [k for k in range(dimension) if k.bit_count() == 3]
    assert np.abs(full[np.ix_(keep, keep)] - dense(bonds).numpy()).max() < 1e-14


# signs, symmetries, correlations


@pytest.mark.parametrize("lattice", ["ring", "open", "square"])
def test_marshall_rotation_makes_the_ground_state_positive(lattice):
    bonds = {"ring": spins.chain(10), "open": spins.chain(10, periodic=False), "square": spins.square(4)}[lattice]
    mask = spins.square_sublattice(4) if lattice == "square" else spins.chain_sublattice(10)
    turned = spins.hamiltonian(spins.rotated(bonds, mask))
    off_diagonal = turned.copy()
    off_diagonal.setdiag(0)
    assert off_diagonal.max() <= 0
    state = spins.ground_state(bonds)
    signed = spins.marshall_sign(state.spins, mask) * state.vectors[:, 0]
    assert signed.min() * signed.max() > 0 or signed.abs().min() < 1e-9
    assert abs(spins.ground_state(spins.rotated(bonds, mask)).energies[0] - state.energies[0]) < 1e-10


@pytest.mark.parametrize(
    ("group", "bonds"),
    [
        (spins.chain_group(8, reflections=True), spins.chain(8, 0.3)),
        (spins.square_group(4, point_group=True), spins.square(4, 0.5)),
    ],
    ids=["ring", "square"],
)
def test_every_group_element_maps_bonds_to_bonds(group, bonds):
    assert len(torch.unique(group, dim=0)) >= len(group) // (1 if len(group) < 20 else 2)
    have = {frozenset(p): j for p, j in zip(bonds.pairs.tolist(), bonds.ising.tolist(), strict=True)}
    for element in group:
        moved = element[bonds.pairs].tolist()
        assert {frozenset(p): j for p, j in zip(moved, bonds.ising.tolist(), strict=True)} == have


def test_correlations_add_up_to_the_energy_and_to_zero():
    state = spins.ground_state(spins.chain(10, 0.2))
    c = spins.correlations(state.spins, state.vectors[:, 0] ** 2)
    assert abs(c[0] - 0.25) < 1e-14
    assert abs(c.sum()) < 1e-12
    assert abs(30 * (c[1] + 0.2 * c[2]) - state.energies[0]) < 1e-9


# the wavefunction


def test_log_psi_is_the_product_formula():
    rbm, x = vmc.random_rbm(6, 9, generator(), scale=0.5), spins.sector(6)
    theta = rbm.hidden + x.to(torch.complex128) @ rbm.weights.T
    product = torch.exp(x.to(torch.complex128) @ rbm.visible) * (2 * torch.cosh(theta)).prod(dim=1)
    assert (torch.exp(vmc.log_psi(x, rbm)) / product - 1).abs().max() < 1e-12


def test_log_2cosh_is_finite_and_even_where_cosh_overflows():
    theta = torch.tensor([1e3 + 2j, -1e3 - 2j, 0.3j, 366.7553 - 2324.0174j], dtype=torch.complex128)
    value = vmc.log_2cosh(theta)
    assert value.isfinite().all()
    assert abs(value[0].real - 1e3) < 1e-9
    assert (vmc.log_2cosh(-theta) - value).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_finite_differences(kind):
    model, x, h = ansatz(kind), spins.sector(8)[::5], 1e-6
    vector = vmc.flatten(model.rbm)
    moves = h * torch.eye(len(vector), dtype=vector.dtype)

    def at(v):
        return vmc.log_amplitude(x, model._replace(rbm=vmc.unflatten(v, model.rbm)))

    numeric = torch.stack([torch.exp(at(vector + m) - at(vector - m)).log() / (2 * h) for m in moves], dim=1)
    trained = slice(0 if kind == "plain" else 8, None)  # a symmetric RBM keeps its visible layer frozen
    assert (vmc.amplitude_derivatives(x, model) - numeric)[:, trained].abs().max() < 1e-7


@pytest.mark.parametrize("kind", ["shared", "projected", "both"])
def test_symmetric_wavefunctions_have_their_momentum(kind):
    model, x = ansatz(kind), spins.sector(8)
    psi = torch.exp(vmc.log_amplitude(x, model))
    moved = torch.exp(vmc.log_amplitude(x.roll(1, 1), model))
    character = 1 if kind == "shared" else -1
    assert (moved - character * psi).abs().max() < 1e-10 * psi.abs().max()


@pytest.mark.parametrize(("stride", "mirror"), [(1, False), (1, True), (2, False), (2, True), (0, False)])
def test_a_recipe_has_the_symmetries_that_it_sums_over(stride, mirror):
    made = vmc.ring_ansatz(12, vmc.Recipe(filters=2, stride=stride, mirror=mirror, scale=0.4), generator(3))
    x = vmc.random_spins(20, 12, generator(4))
    for kept, group in (
        (True, spins.chain_group(12)),
        (mirror or stride == 0, spins.chain_group(12, reflections=True)),
    ):
        moved = torch.stack([vmc.log_amplitude(x[:, image], made).exp() for image in group])
        spread = (moved - moved.mean(0)).abs().max() / moved.abs().max()
        assert (spread < 1e-12) == kept


@pytest.mark.parametrize("kind", KINDS)
def test_tabulated_ratios_are_differences_of_log_psi(kind):
    model, x, pairs = ansatz(kind), spins.sector(8), spins.chain(8, 0.3).pairs
    fast = vmc.swap_ratios(vmc.walkers(x, model), vmc.swap_table(model, pairs))
    differ = x[:, pairs[:, 0]] != x[:, pairs[:, 1]]
    assert ((fast - _ratios_by_logs(x, model, pairs)) / fast)[differ].abs().max() < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bonds", [spins.chain(8, 0.3), spins.chain(8, 0.7, periodic=False)], ids=["ring", "open"])
def test_local_energy_is_H_psi_over_psi(kind, bonds):
    model = ansatz(kind)
    psi = table(model)
    expected = dense(bonds) @ psi / psi
    assert (vmc.local_energies(spins.sector(8), model, bonds) - expected).abs().max() < 1e-10
    plain = vmc.local_energy(spins.sector(8), vmc.TableLogPsi(spins.sector(8), psi), bonds)
    assert (plain - expected).abs().max() < 1e-10


def test_a_dimer_product_is_an_rbm_and_an_exact_eigenstate():
    sites = 12
    weights = torch.zeros(sites // 2, sites, dtype=torch.complex128)
    for unit in range(sites // 2):
        weights[unit, 2 * unit : 2 * unit + 2] = 0.25j * math.pi
    model = vmc.Ansatz(vmc.RBM(torch.zeros(sites, dtype=torch.complex128), 0 * weights[:, 0], weights))
    bonds = spins.rotated(spins.chain(sites, 0.5), spins.chain_sublattice(sites))
    start = spins.sector(sites)
    start = start[(start[:, ::2] * start[:, 1::2] < 0).all(dim=1)]
    energies = vmc.local_energies(start, model, bonds)
    assert (energies + 0.375 * sites).abs().max() < 1e-12


# sampling


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("power", [2.0, 1.0])
def test_fast_sampler_reaches_the_power_of_psi_from_anywhere(kind, power):
    model, basis = ansatz(kind, scale=0.15), spins.sector(8)
    state, acceptance = vmc.sweep(
        vmc.random_spins(2000, 8, generator(3)), model, spins.chain(8, 0.3).pairs, generator(4), 25, power
    )
    assert chi_square_sigma(counts(state.spins, basis), table(model).abs() ** power) < 6
    assert 0.05 < acceptance < 1
    assert (state.tanh - vmc.walkers(state.spins, model).tanh).abs().max() < 1e-10
    assert (state.share - vmc.walkers(state.spins, model).share).abs().max() < 1e-10


def test_the_sampler_without_tables_reaches_the_same_power_of_psi(monkeypatch):
    monkeypatch.setattr("helpers.vmc.swaps.LARGEST_EXPONENT", 0.0)
    model, basis, pairs = ansatz("plain", scale=0.15), spins.sector(8), spins.chain(8, 0.3).pairs
    assert not vmc.swap_table(model, pairs).safe
    state, _ = vmc.sweep(vmc.random_spins(2000, 8, generator(3)), model, pairs, generator(4), 25, 1.0)
    assert chi_square_sigma(counts(state.spins, basis), table(model).abs()) < 6
    assert chi_square_sigma(counts(state.spins, basis), table(model).abs() ** 2) > 6, "powers 1 and 2 look alike here"


def test_plain_sampler_keeps_exact_samples_distributed_and_in_the_sector():
    model, basis = ansatz("plain"), spins.sector(8)
    probability = table(model).abs() ** 2
    start = basis[torch.multinomial(probability, 20000, True, generator=generator(5))]
    result = vmc.metropolis(lambda x: vmc.log_amplitude(x, model), start, seed=6, steps=12)
    assert bool((result.spins.sum(dim=2) == 0).all())
    assert chi_square_sigma(counts(result.spins[-1], basis), probability) < 6
    assert 0 < result.acceptance < 1


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_wavefunctions_neither_overflow_nor_hang(kind):
    model = ansatz(kind, scale=1e3)
    begin = time.process_time()
    state, acceptance = vmc.sweep(
        vmc.random_spins(50, 8, generator(7)), model, spins.chain(8, 0.3).pairs, generator(8), 4
    )
    energies = vmc.local_energies(state.spins, model, spins.chain(8, 0.3))
    assert energies.isfinite().all()
    assert 0 <= acceptance <= 1
    assert time.process_time() - begin < 10


def test_devices_agree_in_law():
    if not torch.cuda.is_available():
        pytest.skip("no second device here")
    basis, bonds = spins.sector(8), spins.chain(8, 0.3)
    for kind in KINDS:
        model = ansatz(kind, scale=0.15)
        there = model._replace(rbm=vmc.RBM(*(p.cuda() for p in model.rbm)))
        if kind != "plain":
            there = vmc.Ansatz(there.rbm, *(None if g is None else g.cuda() for g in model[1:]))
        state, _ = vmc.sweep(
            vmc.random_spins(20000, 8, generator(3, "cuda")), there, bonds.to("cuda").pairs, generator(4, "cuda"), 25
        )
        assert chi_square_sigma(counts(state.spins.cpu(), basis), table(model).abs() ** 2) < 6
        here = vmc.local_energies(state.spins.cpu(), model, bonds)
        assert (vmc.local_energies(state.spins, there, bonds.to("cuda")).cpu() - here).abs().max() < 1e-9


# gradient and stochastic reconfiguration


def phase_family(seed=0, parameters=4):
    """log psi = i phi + sum_k p_k f_k on the 20 states of six sites: |psi|^2 is uniform at p = 0."""
    g = generator(seed)
    phase = torch.rand(20, generator=g, dtype=torch.float64) * 6
    features = torch.randn(20, parameters, generator=g, dtype=torch.complex128)
    H = dense(spins.chain(6, 0.3))

    def energy(p):
        psi = torch.exp(1j * phase + features @ p.to(torch.complex128))
        return float((psi.conj() @ H @ psi).real / (psi.conj() @ psi).real)

    psi = torch.exp(1j * phase)
    return features, (H @ psi) / psi, energy


@pytest.mark.parametrize("real", [True, False])
def test_energy_gradient_is_that_of_finite_differences(real):
    features, energies, energy = phase_family()
    got = vmc.energy_gradient(features, energies, real=real)
    for k in range(4):
        for direction in (1.0, 1j):
            step = torch.zeros(4, dtype=torch.complex128)
            step[k] = 1e-5 * direction
            slope = (energy(step) - energy(-step)) / 2e-5
            if direction == 1.0:
                assert abs(slope - (got[k] if real else 2 * got[k].real)) < 1e-8
            elif not real:
                assert abs(slope - 2 * got[k].imag) < 1e-8


def test_gradient_and_update_vanish_on_an_eigenstate():
    features, _, _ = phase_family()
    constant = torch.full((20,), -2.5, dtype=torch.complex128)
    assert vmc.energy_gradient(features, constant).abs().max() < 1e-14
    assert vmc.sr_update(features, constant, 0.01).abs().max() < 1e-12


@pytest.mark.parametrize(("samples", "parameters"), [(40, 7), (7, 40), (12, 12)])
def test_sr_and_minsr_solve_the_normal_equations(samples, parameters):
    g, eps = generator(2), 0.03
    O = torch.randn(samples, parameters, generator=g, dtype=torch.complex128)
    E = torch.randn(samples, generator=g, dtype=torch.complex128)
    centred = O - O.mean(dim=0)
    S = centred.mH @ centred / samples + eps * torch.eye(parameters, dtype=torch.float64)
    for update in (vmc.sr_update, vmc.minsr_update):
        assert (S @ update(O, E, eps) - vmc.energy_gradient(O, E)).abs().max() < 1e-11


@pytest.mark.parametrize("parameters", [7, 60])
def test_a_weight_counts_as_so_many_equal_samples(parameters):
    g = generator(2)
    O = torch.randn(12, parameters, generator=g, dtype=torch.complex128)
    E = torch.randn(12, generator=g, dtype=torch.complex128)
    often = torch.arange(12) % 4
    repeated = O.repeat_interleave(often, dim=0), E.repeat_interleave(often)
    for update in (vmc.sr_update, vmc.minsr_update):
        assert (update(O, E, 0.03, weights=often.double() / 7) - update(*repeated, 0.03)).abs().max() < 1e-12
    by_weight, by_number = vmc.energy_gradient(O, E, weights=often * 1.0), vmc.energy_gradient(*repeated)
    assert (by_weight - by_number).abs().max() < 1e-12
    with pytest.raises(ValueError, match="weights"):
        vmc.sr_update(O, E, 0.03, weights=often[:5])


def test_update_of_the_function_does_not_depend_on_the_scale_of_a_parameter():
    g = generator(2)
    O = torch.randn(40, 7, generator=g, dtype=torch.complex128)
    E = torch.randn(40, generator=g, dtype=torch.complex128)
    scale = torch.tensor([1.0, 10.0, 0.1, 3.0, 1.0, 1.0, 7.0])
    assert (O @ vmc.sr_update(O, E, 0.0) - (O * scale) @ vmc.sr_update(O * scale, E, 0.0)).abs().max() < 1e-10


@pytest.mark.parametrize("units", [4, 16])
def test_the_rbm_shortcut_gives_the_same_update(units):
    model = vmc.Ansatz(vmc.random_rbm(8, units, generator(1), scale=0.2))
    x = spins.sector(8)[::2]
    E = torch.randn(len(x), generator=generator(3), dtype=torch.complex128)
    direct = vmc.sr_update(vmc.log_derivatives(x, model.rbm), E, 0.01)
    state = vmc.walkers(x, model)
    assert isinstance(state, Walkers)
    assert (plain_update(state, E, 0.01) - direct).abs().max() < 1e-9


def test_a_full_rank_ansatz_follows_imaginary_time():
    _, energies, _ = phase_family()
    update = vmc.sr_update(torch.eye(20, dtype=torch.complex128), energies, 1e-10)
    step = update - update.mean()
    assert (step - (energies - energies.mean())).abs().max() < 1e-7


def test_optimisation_estimates_agree_with_enumeration():
    bonds = spins.rotated(spins.chain(12, 0.2), spins.chain_sublattice(12))
    rbm = vmc.random_rbm(12, 12, generator(11), scale=0.05)
    *_, last = vmc.optimise(bonds, vmc.Ansatz(rbm), generator(12), steps=25, chains=400)
    true = vmc.exact_energy(lambda x: vmc.log_amplitude(x, last.ansatz), bonds)
    for start in (None, last.spins):
        estimate = vmc.measure(bonds, last.ansatz, generator(13), chains=400, sweeps=60, start=start)
        assert abs(estimate.energy - true) < 5 * estimate.error
    assert true > spins.ground_state(bonds).energies[0]


def test_an_energy_from_chains_of_psi_to_another_power_is_weighted_back():
    model, bonds = ansatz("plain", scale=0.15), spins.chain(8, 0.3)
    true = vmc.exact_energy(lambda x: vmc.log_amplitude(x, model), bonds)
    step = next(vmc.optimise(bonds, model, generator(5), steps=1, chains=20000, sweeps=20, rate=0.0, power=1.0))
    assert abs(step.energy - true) < 5 * step.error
    unweighted = vmc.local_energies(step.spins, model, bonds).mean().real
    assert abs(unweighted - true) > 5 * step.error, "this wavefunction does not show a missing weight"


def test_random_starts_in_a_corner_of_tiny_psi_are_left_before_anything_is_recorded():
    """Two filters that like neighbours equal: most random configurations are as good as impossible."""
    bonds = spins.chain(12, 0.0)
    rbm = vmc.random_rbm(12, 12, generator(1), scale=0.1)
    rbm = rbm._replace(weights=rbm.weights + 0.6 * (torch.eye(12) + torch.eye(12).roll(1, 1)))
    true = vmc.exact_energy(lambda x: vmc.log_amplitude(x, vmc.Ansatz(rbm)), bonds)
    settings = {"chains": 400, "sweeps": 20}
    estimate = vmc.measure(bonds, vmc.Ansatz(rbm), generator(2), **settings)
    hasty = vmc.measure(bonds, vmc.Ansatz(rbm), generator(2), burn=0, **settings)
    assert abs(estimate.energy - true) < 5 * estimate.error
    assert abs(hasty.energy - true) > 5 * hasty.error, "this wavefunction would not show too short a start"


# error bars


def test_error_bars_cover_sixty_eight_percent_of_independent_runs():
    runs, chains, steps = 2000, 4, 32
    model, bonds, basis = ansatz("plain", scale=0.1), spins.chain(8, 0.3), spins.sector(8)
    psi = table(model)
    local, weight = vmc.exact_local_energies(psi, bonds).real, psi.abs() ** 2
    true = float((weight * local).sum())
    start = basis[torch.multinomial(weight, runs * chains, True, generator=generator(1))]
    state, series = start, []
    for step in range(steps):
        state = vmc.sweep(state, model, bonds.pairs, generator(100 + step))[0].spins
        series.append(vmc.TableLogPsi(basis, local)(state).exp().real)
    series = torch.stack(series).T.reshape(runs, chains, steps)
    covered = 0
    for run in series:
        covered += abs(float(run.mean()) - true) < vmc.binned_error(run, 8)
    assert abs(covered / runs - 0.6827) < 0.04


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_binned_error_of_autoregressive_data(rho):
    g, chains, steps = generator(4), 64, 4096
    noise = torch.randn(steps, chains, generator=g, dtype=torch.float64) * math.sqrt(1 - rho**2)
    x = [torch.randn(chains, generator=g, dtype=torch.float64)]
    for row in noise[1:]:
        x.append(rho * x[-1] + row)
    series = torch.stack(x, dim=1)
    tau = 0.5 * (1 + rho) / (1 - rho)
    exact = math.sqrt(2 * tau / series.numel())
    assert abs(vmc.binned_error(series, 128) / exact - 1) < 0.12
    assert abs(vmc.autocorrelation_time(series) / tau - 1) < 0.1
    sizes, errors = vmc.binning_curve(series)
    assert len(sizes) == len(errors)
    assert rho > 0 or abs(vmc.binned_error(series, 1) / exact - 1) < 0.02


def test_v_score_is_zero_for_an_eigenstate_and_has_no_units():
    assert vmc.v_score(-8.2, 0.0, 20) == 0
    assert math.isclose(vmc.v_score(-8.2, 0.4, 20), vmc.v_score(-82.0, 40.0, 20))


@pytest.mark.parametrize(
    "call",
    [
        lambda: spins.chain(7),
        lambda: spins.square(3),
        lambda: spins.sector(30),
        lambda: spins.marshall_sign(torch.zeros(3, 4)),
        lambda: vmc.log_psi(spins.sector(6), vmc.random_rbm(8, 8, generator())),
        lambda: vmc.random_spins(4, 5, generator()),
        lambda: vmc.sr_update(torch.ones(4, 2), torch.ones(3), 0.1),
        lambda: vmc.sr_update(torch.ones(4, 2), torch.ones(4), -0.1),
        lambda: vmc.binned_error(torch.ones(3), 1),
        lambda: vmc.binned_error(torch.ones(8), 8),
        lambda: vmc.v_score(0.0, 1.0, 20),
        lambda: vmc.TableLogPsi(spins.sector(6), torch.ones(20))(torch.ones(1, 6)),
        lambda: vmc.recipe(0.3, "fast"),
        lambda: vmc.measure(spins.chain(8), ansatz("plain"), generator(), start=torch.ones(4, 6)),
    ],
)
def test_bad_input_is_answered_in_one_sentence(call):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert 20 < len(str(error.value)) < 200
    assert "\n" not in str(error.value)


def test_figures_draw_what_they_are_given():
    bonds = spins.chain(8, 0.3)
    state = spins.ground_state(bonds)
    psi = table(ansatz("plain"))
    (*_,) = steps = list(vmc.optimise(bonds, ansatz("plain"), generator(), steps=4, chains=50))
    figures.energy_trace(steps, sites=8, exact=float(state.energies[0]))
    figures.variance_against_error([s.energy for s in steps], [s.variance for s in steps], float(state.energies[0]), 8)
    figures.binning_plateau(*vmc.binning_curve(torch.randn(64, 64, generator=generator())))
    figures.sign_structure(state.vectors[:, 0], psi, spins.marshall_sign(state.spins))
    figures.energy_over_coupling([0.0, 0.2], [-0.45, -0.4], [0.0, 0.2], [-0.44, -0.39], [0.01, 0.01])
    figures.correlation_function(spins.correlations(state.spins, state.vectors[:, 0] ** 2))
    figures.autocorrelation_function(vmc.autocorrelation(torch.randn(4, 64, generator=generator()), 10))
