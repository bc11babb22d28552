"""Designing undersampling masks by the information that the posterior expects of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.masks.design.information import (
        Information,
        JointInformation,
        RowInformation,
        choose_greedily,
    )
    from mri_alps.masks.design.loop import Design, DesignPoint, ScanPosterior, design
    from mri_alps.masks.design.masks import DesignSettings, design_mask, make_task, run_task
    from mri_alps.masks.design.output import (
        load_progress,
        output_stem,
        save_progress,
        write_mask_files,
    )
    from mri_alps.masks.design.points import PointInformation

# `__all__` is for users; the rest is for the command line.
_HOME_OF = {
    "Design": "mri_alps.masks.design.loop",
    "DesignPoint": "mri_alps.masks.design.loop",
    "DesignSettings": "mri_alps.masks.design.masks",
    "Information": "mri_alps.masks.design.information",
    "JointInformation": "mri_alps.masks.design.information",
    "PointInformation": "mri_alps.masks.design.points",
    "RowInformation": "mri_alps.masks.design.information",
    "ScanPosterior": "mri_alps.masks.design.loop",
    "choose_greedily": "mri_alps.masks.design.information",
    "design": "mri_alps.masks.design.loop",
    "design_mask": "mri_alps.masks.design.masks",
    "load_progress": "mri_alps.masks.design.output",
    "make_task": "mri_alps.masks.design.masks",
    "output_stem": "mri_alps.masks.design.output",
    "run_task": "mri_alps.masks.design.masks",
    "save_progress": "mri_alps.masks.design.output",
    "write_mask_files": "mri_alps.masks.design.output",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

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
