"""Designing undersampling masks by the information that the posterior expects of them."""

from mri_alps.masks.design.information import (
    Information,
    JointInformation,
    RowInformation,
    choose_greedily,
)
from mri_alps.masks.design.loop import Design, DesignPoint, ScanPosterior, design
from mri_alps.masks.design.masks import DesignSettings, design_mask
from mri_alps.masks.design.points import PointInformation

__all__ = [
    "Design",
    "DesignPoint",
    "DesignSettings",
    "Information",
    "JointInformation",
    "PointInformation",
    "RowInformation",
    "ScanPosterior",
    "choose_greedily",
    "design",
    "design_mask",
]
