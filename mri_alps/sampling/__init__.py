"""Samplers of p(image | data): schedules, Langevin kernels, methods, diagnostics."""

from mri_alps.inverse_problem import ChainNoise, Preconditioner, Problem, make_problem
from mri_alps.sampling.diagnostics import effective_sample_size, split_r_hat
from mri_alps.sampling.half_quadratic import plug_and_play, proximal
from mri_alps.sampling.initial import InitialEstimate
from mri_alps.sampling.kernels import euler_maruyama_step, leimkuhler_matthews_step
from mri_alps.sampling.path import AlpsConfiguration
from mri_alps.sampling.posterior import sample_posterior
from mri_alps.sampling.restarts import sample_alps
from mri_alps.sampling.result import PosteriorSamples, StepInfo, join_samples
from mri_alps.sampling.schedules import AdmissibleSchedule, admissible_schedule, karras_ladder
from mri_alps.sampling.score import CountedScore, LocalScore
from mri_alps.sampling.spectrum_estimate import estimate_prior_spectrum
from mri_alps.sampling.statistics import (
    SampleStatistics,
    antithetic_groups,
    decorrelated,
    degrees_of_freedom,
    predictive_interval,
    sample_statistics,
)
from mri_alps.sampling.task import Method, SamplingTask, require_spectrum

__all__ = [
    "AdmissibleSchedule",
    "AlpsConfiguration",
    "ChainNoise",
    "CountedScore",
    "InitialEstimate",
    "LocalScore",
    "PosteriorSamples",
    "Preconditioner",
    "Problem",
    "SampleStatistics",
    "SamplingTask",
    "StepInfo",
    "admissible_schedule",
    "antithetic_groups",
    "decorrelated",
    "degrees_of_freedom",
    "effective_sample_size",
    "estimate_prior_spectrum",
    "euler_maruyama_step",
    "join_samples",
    "karras_ladder",
    "leimkuhler_matthews_step",
    "make_problem",
    "plug_and_play",
    "predictive_interval",
    "proximal",
    "require_spectrum",
    "sample_alps",
    "sample_posterior",
    "sample_statistics",
    "split_r_hat",
]
