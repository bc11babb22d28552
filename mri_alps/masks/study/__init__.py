"""Comparing undersampling masks on the same truth, noise and coils."""

from mri_alps.masks.study.candidates import Candidate
from mri_alps.masks.study.compare import MaskStudy, compare_masks
from mri_alps.masks.study.measure import MaskResult, pixel_entropy
from mri_alps.masks.study.sampling_pattern import noise_amplification, side_lobe
from mri_alps.masks.study.statistics import Correlation, Difference, Interval, Summary

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
