"""Restricted Boltzmann machines (chapter 03): model, training, partition functions, restoration and its contest.

A machine is a plain tuple `RBM(W, a, b)`, so functions take it as `f(v, *model)` or `f(v, W, a, b)`.
"""

from .contest import Entry, machine, print_table, rivals, table
from .model import (
    RBM,
    bernoulli,
    conditionals,
    create,
    energy,
    free_energy,
    gibbs,
    gibbs_sweep,
    hidden_given_visible,
    log_odds,
    uniform,
    visible_given_hidden,
)
from .partition import (
    Annealed,
    ais_log_z,
    clamp,
    conditional_log_likelihood,
    exact_log_z,
    log_likelihood,
    schedule,
)
from .recipes import Journal, Recipe, held_out, long_schedule, mean_image_log_likelihood, recipe, train
from .restoration import (
    clamped_chains,
    clamped_log_z,
    fill,
    independent_log_likelihood,
    logistic_regression,
    lost_error,
    mean_and_error,
    nearest_digit,
    pixel_error,
    pocket_machine,
    posterior_mean,
    read_rate,
    restore,
    top_half_lost,
    train_reader,
)
from .training import (
    Plan,
    Trainer,
    binarise,
    cd_gradient,
    cd_loss,
    delta_gradient,
    fit,
    pixel_means,
    rao_blackwell_estimator,
    raw_estimator,
)

ANSWERS: dict[str, tuple[str, ...]] = {
    "free_energy": ("rbm.free_energy", "rbm.log_likelihood", "rbm.cd_loss", "rbm.conditional_log_likelihood"),
    "conditionals": ("rbm.conditionals", "rbm.hidden_given_visible", "rbm.visible_given_hidden"),
    "cd_gradient": ("rbm.cd_gradient", "rbm.Trainer", "rbm.fit"),
    "delta_gradient": ("rbm.delta_gradient",),
    "estimators": ("rbm.raw_estimator", "rbm.rao_blackwell_estimator"),
    "gibbs_sweep": ("rbm.gibbs_sweep", "rbm.gibbs", "rbm.clamped_chains"),
    "restore": ("rbm.restore", "rbm.posterior_mean", "rbm.clamped_chains", "rbm.machine"),
}
