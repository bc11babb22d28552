"""How good a reconstruction is, and how honest its uncertainty."""

from mri_alps.evaluation.coverage import head_mask, interval_coverage
from mri_alps.evaluation.folder import EvaluationReport, VolumeScore, evaluate_folder
from mri_alps.evaluation.metrics import image_metrics
from mri_alps.evaluation.pictures import write_panel
from mri_alps.evaluation.report.page import write_report

__all__ = [
    "EvaluationReport",
    "VolumeScore",
    "evaluate_folder",
    "head_mask",
    "image_metrics",
    "interval_coverage",
    "write_panel",
    "write_report",
]
