"""Variational Monte Carlo with complex RBM wavefunctions (note 4.4 and 5.5)."""

from helpers.vmc.exact import TableLogPsi, amplitudes, exact_energy, exact_local_energies
from helpers.vmc.optimise import Adam, Estimate, Step, energy_gradient, measure, minsr_update, optimise, sr_update
from helpers.vmc.rbm import (
    RBM,
    Ansatz,
    amplitude_derivatives,
    flatten,
    log_2cosh,
    log_amplitude,
    log_derivatives,
    log_psi,
    random_rbm,
    symmetric,
    unflatten,
)
from helpers.vmc.sampling import Samples, metropolis, random_spins, sweep
from helpers.vmc.statistics import autocorrelation, autocorrelation_time, binned_error, binning_curve, v_score
from helpers.vmc.swaps import local_energies, local_energy, swap_ratios, swap_table, walkers
