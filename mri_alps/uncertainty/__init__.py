"""Uncertainty that a scan calibrates itself: samples left out, predicted and compared."""

from mri_alps.uncertainty.comparison import compare_left_out, object_mask
from mri_alps.uncertainty.factors import (
    LeftOutEnergies,
    UncertaintyFactors,
    fit_factors,
)
from mri_alps.uncertainty.left_out import choose_left_out
from mri_alps.uncertainty.scaling import scale_deviations

__all__ = [
    "LeftOutEnergies",
    "UncertaintyFactors",
    "choose_left_out",
    "compare_left_out",
    "fit_factors",
    "scale_deviations",
]
