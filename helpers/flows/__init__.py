"""Chapter 02: normalizing flows (note 3.2.3, 5.3), NICE, Real NVP and autoregressive, from modular bijectors.

    bijectors        forward, inverse, log|det|: Chain, Inverse, Permutation, Scale, Linear, BoxMuller, Sigmoid
    coupling         affine and additive coupling layers; the inverse is one graph node with its gradient written out
    autoregressive   masked autoregressive flow; Inverse of it is the inverse autoregressive flow
    networks         the perceptrons that steer them
    model            Flow, nice, real_nvp, maf, and their training
    targets          five densities of the plane with exact entropies, and a bound for volume-preserving flows
    images           dequantisation, logit space, histograms, bits per dimension
    experiments      what the chapter trains: the plane targets and MNIST

>>> import torch
>>> from helpers import flows
>>> flow = flows.real_nvp(2, 4, (16,), generator=torch.Generator().manual_seed(0))
>>> tuple(flow.log_prob(flow.sample(3)).shape)
(3,)
"""

from helpers.flows.autoregressive import Autoregressive, ar_log_prob, ar_sample
from helpers.flows.bijectors import (
    Bijector,
    BoxMuller,
    Chain,
    Inverse,
    Linear,
    Permutation,
    Scale,
    Sigmoid,
    box_muller,
)
from helpers.flows.coupling import Coupling, affine_coupling_forward, affine_coupling_inverse
from helpers.flows.experiments import (
    DigitFlow,
    DigitRecipe,
    PlaneFlow,
    Recipe,
    digit_baselines,
    digit_flow,
    digit_recipe,
    interpolate,
    learn_digits,
    learn_plane,
    plane_recipe,
    whitening,
)
from helpers.flows.images import Histogram, bits_per_dim, dequantise, from_logit, to_logit
from helpers.flows.model import (
    Flow,
    History,
    density_nll,
    fit,
    flow_log_prob,
    half_masks,
    held_out_nll,
    maf,
    negative_nll_density,
    nice,
    nll_step,
    normal_log_prob,
    real_nvp,
    walk,
)
from helpers.flows.networks import MaskedPerceptron, Perceptron, ar_masks
from helpers.flows.targets import RING, TARGETS, Target, volume_preserving_bound

ANSWERS: dict[str, tuple[str, ...]] = {
    "box_muller": ("flows.box_muller", "flows.bijectors.box_muller", "flows.bijectors.BoxMuller.forward"),
    "negative_nll_density": ("flows.negative_nll_density", "flows.model.negative_nll_density"),
    "affine_coupling": (
        *("flows.affine_coupling_forward", "flows.coupling.affine_coupling_forward", "flows.coupling.Coupling.forward"),
        *("flows.affine_coupling_inverse", "flows.coupling.affine_coupling_inverse", "flows.coupling.Coupling.inverse"),
    ),
    "flow_log_prob": (
        *("flows.flow_log_prob", "flows.model.flow_log_prob", "flows.model.Flow.log_prob", "flows.model.nll_step"),
        *("flows.nll_step", "flows.held_out_nll", "flows.model.held_out_nll"),
    ),
    "nll_step": ("flows.nll_step", "flows.model.nll_step", "flows.fit", "flows.model.fit"),
    "autoregressive": (
        *("flows.ar_masks", "flows.networks.ar_masks", "flows.ar_log_prob", "flows.autoregressive.ar_log_prob"),
        *("flows.ar_sample", "flows.autoregressive.ar_sample", "flows.autoregressive.Autoregressive.forward"),
        "flows.autoregressive.Autoregressive.inverse",
    ),
}
