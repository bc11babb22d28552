"""Priors: what is known about images, as denoisers and scores at every noise level."""

from mri_alps.priors._hub import HUB
from mri_alps.priors._packaged import PackagedWeights, packaged_weights
from mri_alps.priors.adapters import TwoChannelPrior, from_deepinv, from_diffusers
from mri_alps.priors.checkpoint import load_prior_file, load_tensors, save_prior, save_tensors
from mri_alps.priors.complex_layers import ComplexConv2d, MagnitudeGate, RealGate
from mri_alps.priors.curvature import largest_curvature
from mri_alps.priors.exact import ExactPosterior, exact_posterior
from mri_alps.priors.gaussian import GaussianPrior, apply_filter
from mri_alps.priors.growth import take_weights
from mri_alps.priors.mixture import GaussianMixturePrior
from mri_alps.priors.network import NetworkPrior, in_float32
from mri_alps.priors.novelty import (
    NOVELTY_KEY,
    NOVELTY_LIMIT,
    measure_novelty,
    reference_errors,
)
from mri_alps.priors.protocol import ScoreModel
from mri_alps.priors.registry import DEFAULT_PRIOR, GAUSSIAN, available_priors, load_prior
from mri_alps.priors.sets import PriorOfSets
from mri_alps.priors.spectrum import PriorSpectrum, frequency_radius
from mri_alps.priors.unet import UNetConfig

__all__ = [
    "DEFAULT_PRIOR",
    "ComplexConv2d",
    "ExactPosterior",
    "GaussianMixturePrior",
    "GaussianPrior",
    "NetworkPrior",
    "PackagedWeights",
    "PriorOfSets",
    "PriorSpectrum",
    "ScoreModel",
    "TwoChannelPrior",
    "UNetConfig",
    "available_priors",
    "exact_posterior",
    "from_deepinv",
    "from_diffusers",
    "in_float32",
    "load_prior",
    "load_prior_file",
    "packaged_weights",
    "save_prior",
]
