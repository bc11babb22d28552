"""A reconstruction and its uncertainty as one HTML page."""

from mri_alps.evaluation.report.page import write_report

__all__ = ["write_report"]
