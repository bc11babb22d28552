"""A reconstruction and its uncertainty as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.evaluation.report.page import DEFAULT_MEGABYTES, template_text, write_report
    from mri_alps.evaluation.report.tables import html_table

_HOME_OF = {
    "DEFAULT_MEGABYTES": "mri_alps.evaluation.report.page",
    "html_table": "mri_alps.evaluation.report.tables",
    "template_text": "mri_alps.evaluation.report.page",
    "write_report": "mri_alps.evaluation.report.page",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

__all__ = [
    "write_report",
]
