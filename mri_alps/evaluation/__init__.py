"""How good a reconstruction is, and how honest its uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.evaluation.calibration_figure import draw_calibration
    from mri_alps.evaluation.conformal import CalibrationReport, calibrate_folder
    from mri_alps.evaluation.coverage import head_mask, interval_coverage, reliability
    from mri_alps.evaluation.figures import figure_format, new_figure, save_figure, window_top
    from mri_alps.evaluation.files import (
        number_text,
        stored_content,
        write_csv,
        write_json,
        write_text,
    )
    from mri_alps.evaluation.folder import (
        INTERVAL_SCORES,
        METRICS,
        EvaluationReport,
        VolumeScore,
        evaluate_folder,
    )
    from mri_alps.evaluation.metrics import expected_nmse, image_metrics
    from mri_alps.evaluation.pictures import (
        MAX_ROWS,
        evenly_chosen,
        write_panel,
        write_reliability,
    )
    from mri_alps.evaluation.planes import write_planes
    from mri_alps.evaluation.preview_picture import write_preview
    from mri_alps.evaluation.report.page import write_report
    from mri_alps.evaluation.score_files import draw_scores, write_scores

# `__all__` is for users; the rest is for the packages above.
_HOME_OF = {
    "CalibrationReport": "mri_alps.evaluation.conformal",
    "EvaluationReport": "mri_alps.evaluation.folder",
    "INTERVAL_SCORES": "mri_alps.evaluation.folder",
    "MAX_ROWS": "mri_alps.evaluation.pictures",
    "METRICS": "mri_alps.evaluation.folder",
    "VolumeScore": "mri_alps.evaluation.folder",
    "calibrate_folder": "mri_alps.evaluation.conformal",
    "draw_calibration": "mri_alps.evaluation.calibration_figure",
    "draw_scores": "mri_alps.evaluation.score_files",
    "evaluate_folder": "mri_alps.evaluation.folder",
    "evenly_chosen": "mri_alps.evaluation.pictures",
    "expected_nmse": "mri_alps.evaluation.metrics",
    "figure_format": "mri_alps.evaluation.figures",
    "head_mask": "mri_alps.evaluation.coverage",
    "image_metrics": "mri_alps.evaluation.metrics",
    "interval_coverage": "mri_alps.evaluation.coverage",
    "new_figure": "mri_alps.evaluation.figures",
    "number_text": "mri_alps.evaluation.files",
    "reliability": "mri_alps.evaluation.coverage",
    "save_figure": "mri_alps.evaluation.figures",
    "stored_content": "mri_alps.evaluation.files",
    "window_top": "mri_alps.evaluation.figures",
    "write_csv": "mri_alps.evaluation.files",
    "write_json": "mri_alps.evaluation.files",
    "write_panel": "mri_alps.evaluation.pictures",
    "write_planes": "mri_alps.evaluation.planes",
    "write_preview": "mri_alps.evaluation.preview_picture",
    "write_reliability": "mri_alps.evaluation.pictures",
    "write_report": "mri_alps.evaluation.report.page",
    "write_scores": "mri_alps.evaluation.score_files",
    "write_text": "mri_alps.evaluation.files",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

__all__ = [
    "CalibrationReport",
    "EvaluationReport",
    "VolumeScore",
    "calibrate_folder",
    "draw_calibration",
    "evaluate_folder",
    "head_mask",
    "image_metrics",
    "interval_coverage",
    "reliability",
    "write_panel",
    "write_planes",
    "write_report",
]
