"""Uncertainty that is calibrated: on samples left out and predicted, or on volumes with truth."""

from mri_alps.uncertainty.comparison import compare_left_out, object_mask
from mri_alps.uncertainty.conformal import (
    COVERAGE,
    Conditions,
    ConformalCalibration,
    combine_scores,
    read_calibration,
    volume_score,
    widen_interval,
)
from mri_alps.uncertainty.factors import (
    LeftOutEnergies,
    UncertaintyFactors,
    fit_factors,
)
from mri_alps.uncertainty.left_out import choose_left_out, choose_left_out_shots
from mri_alps.uncertainty.scaling import scale_deviations

__all__ = [
    "COVERAGE",
    "Conditions",
    "ConformalCalibration",
    "LeftOutEnergies",
    "UncertaintyFactors",
    "choose_left_out",
    "choose_left_out_shots",
    "combine_scores",
    "compare_left_out",
    "fit_factors",
    "read_calibration",
    "scale_deviations",
    "volume_score",
    "widen_interval",
]
