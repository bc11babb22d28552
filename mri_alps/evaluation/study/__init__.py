"""Comparing undersampling masks on the same truth, noise and coils."""

from mri_alps.evaluation.study.candidates import Candidate
from mri_alps.evaluation.study.compare import MaskStudy, compare_masks
from mri_alps.evaluation.study.measure import MaskResult, pixel_entropy
from mri_alps.evaluation.study.sampling_pattern import noise_amplification, side_lobe
from mri_alps.evaluation.study.statistics import Correlation, Difference, Interval, Summary

__all__ = [
    "Candidate",
    "Correlation",
    "Difference",
    "Interval",
    "MaskResult",
    "MaskStudy",
    "Summary",
    "compare_masks",
    "noise_amplification",
    "pixel_entropy",
    "side_lobe",
]
