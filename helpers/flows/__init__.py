"""Normalizing flows (note 3.2.3, 5.3): NICE, Real NVP and autoregressive flows from modular bijectors."""

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
from helpers.flows.images import bits_per_dim, dequantise, from_logit, to_logit
from helpers.flows.model import (
    Flow,
    History,
    fit,
    flow_log_prob,
    half_masks,
    held_out_nll,
    maf,
    nice,
    nll_step,
    normal_log_prob,
    real_nvp,
)
from helpers.flows.networks import MaskedPerceptron, Perceptron, ar_masks
from helpers.flows.targets import RING, TARGETS, Target, volume_preserving_bound
