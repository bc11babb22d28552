"""Designing undersampling masks by the error, or the information, that the posterior expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.masks.design.exchange import Exchangeable, choose_by_exchange, choose_nested
    from mri_alps.masks.design.expected_error import LineErrors
    from mri_alps.masks.design.information import (
        Information,
        JointInformation,
        RowInformation,
        choose_greedily,
    )
    from mri_alps.masks.design.loop import Design, DesignPoint, ScanPosterior, design
    from mri_alps.masks.design.masks import design_mask, make_task, run_task
    from mri_alps.masks.design.output import (
        check_accelerations,
        load_progress,
        output_stem,
        save_progress,
        write_mask_files,
    )
    from mri_alps.masks.design.points import PointInformation
    from mri_alps.masks.design.sentences import forecast_sentence, spread_sentence
    from mri_alps.masks.design.settings import DesignSettings

# `__all__` is for users; the rest is for the command line.
_HOME_OF = {
    "Design": "mri_alps.masks.design.loop",
    "DesignPoint": "mri_alps.masks.design.loop",
    "DesignSettings": "mri_alps.masks.design.settings",
    "Exchangeable": "mri_alps.masks.design.exchange",
    "Information": "mri_alps.masks.design.information",
    "JointInformation": "mri_alps.masks.design.information",
    "LineErrors": "mri_alps.masks.design.expected_error",
    "PointInformation": "mri_alps.masks.design.points",
    "RowInformation": "mri_alps.masks.design.information",
    "ScanPosterior": "mri_alps.masks.design.loop",
    "check_accelerations": "mri_alps.masks.design.output",
    "choose_by_exchange": "mri_alps.masks.design.exchange",
    "choose_nested": "mri_alps.masks.design.exchange",
    "choose_greedily": "mri_alps.masks.design.information",
    "design": "mri_alps.masks.design.loop",
    "design_mask": "mri_alps.masks.design.masks",
    "forecast_sentence": "mri_alps.masks.design.sentences",
    "load_progress": "mri_alps.masks.design.output",
    "make_task": "mri_alps.masks.design.masks",
    "output_stem": "mri_alps.masks.design.output",
    "run_task": "mri_alps.masks.design.masks",
    "save_progress": "mri_alps.masks.design.output",
    "spread_sentence": "mri_alps.masks.design.sentences",
    "write_mask_files": "mri_alps.masks.design.output",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

__all__ = [
    "Design",
    "DesignPoint",
    "DesignSettings",
    "Exchangeable",
    "Information",
    "JointInformation",
    "LineErrors",
    "PointInformation",
    "RowInformation",
    "ScanPosterior",
    "choose_by_exchange",
    "choose_greedily",
    "choose_nested",
    "design",
    "design_mask",
]
