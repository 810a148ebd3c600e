"""Chapter 05: flows along the gradient of a scalar potential, their exact densities, and the Ising model they learn."""
from .adaptive import dormand_prince, torchdiffeq_solve
from .flow import MongeAmpereFlow, flow_log_prob, integrate, normal_log_density, rk4_step
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
from .potentials import Convolutional, Deep, Layer, OneHidden, Quadratic, potential_grad_laplacian
from .symmetry import Symmetrised, lattice_group, symmetrise
from .targets import TARGETS, Target
