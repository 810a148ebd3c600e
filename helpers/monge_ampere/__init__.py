"""Chapter 05: flows along the gradient of a scalar potential, their exact densities, and the Ising model they learn."""

from .adaptive import dormand_prince, torchdiffeq_solve
from .digits import from_logits, gaussianisation, rearrangement, to_logits, whitening
from .experiments import (
    digit_recipe,
    gradient_error,
    ising_recipe,
    learn_digits,
    learn_ising,
    learn_target,
    plane_recipe,
)
from .flow import ComposedFlow, MongeAmpereFlow, flow_log_prob, integrate, normal_log_density, rk4_step
from .free_energy import free_energy_gradients, importance, variational_free_energy
from .gaussian import gaussian_brenier_map, symmetric_sqrt, transport_cost
from .ising import (
    CRITICAL_TEMPERATURE,
    adjacency,
    dual_constant,
    dual_coupling,
    dual_free_energy,
    dual_from_precision,
    ising_dual_log_prob,
    log_partition,
    order_parameter,
    sample_spins,
)
from .learn import forward_loss, reverse_loss, samples, train, weighted_loss
from .potentials import Convolutional, Deep, Layer, OneHidden, Quadratic, Spectral, potential_grad_laplacian
from .symmetry import Drawn, Symmetrised, lattice_group, symmetrise
from .targets import TARGETS, Quartic, Target

# Exercise -> where its answer, or what computes the same, is defined or imported in this package.
_PLACES = {
    "gaussian_brenier_map": "gaussian.gaussian_brenier_map",
    "potential_grad_laplacian": "potentials.potential_grad_laplacian potentials._layer_gradient "
    "potentials.OneHidden.gradient_laplacian potentials.Deep.gradient_laplacian",
    "rk4_step": "flow.rk4_step flow.integrate flow._steps fused.fused_flow flow.fused_flow adaptive.dormand_prince "
    "flow.dormand_prince adaptive.torchdiffeq_solve flow.MongeAmpereFlow.forward flow.MongeAmpereFlow.log_prob "
    "flow.MongeAmpereFlow.latent flow.MongeAmpereFlow.path flow.MongeAmpereFlow.carry flow.flow_log_prob",
    "flow_log_prob": "flow.flow_log_prob flow.MongeAmpereFlow.log_prob flow.MongeAmpereFlow.latent "
    "flow.MongeAmpereFlow.carry flow.MongeAmpereFlow.forward flow.ComposedFlow.forward flow.ComposedFlow.log_prob",
    "variational_free_energy": "free_energy.variational_free_energy free_energy.free_energy_gradients "
    "learn.reverse_loss",
    "symmetrise": "symmetry.symmetrise symmetry.Symmetrised potentials.Convolutional.layer",
    "ising_dual": "ising.ising_dual_log_prob ising.dual_from_precision ising.sample_spins",
}
# Exercise -> the helpers names that the grader hides while it grades that exercise.
ANSWERS: dict[str, tuple[str, ...]] = {
    exercise: tuple(f"monge_ampere.{place}" for place in places.split())
    + tuple(f"monge_ampere.{name}" for place in places.split() if (name := place.rpartition(".")[2]) in globals())
    for exercise, places in _PLACES.items()
}
