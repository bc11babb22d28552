"""Comparing undersampling masks on the same truth, noise and coils."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.masks.study.candidates import Candidate
    from mri_alps.masks.study.compare import MaskStudy, compare_masks, make_study, run_study
    from mri_alps.masks.study.measure import MaskResult, pixel_entropy
    from mri_alps.masks.study.output import correlation_sentence, shown_interval, write_study
    from mri_alps.masks.study.sampling_pattern import noise_amplification, side_lobe
    from mri_alps.masks.study.statistics import Correlation, Difference, Interval, Summary

# `__all__` is for users; the rest is for the command line.
_HOME_OF = {
    "Candidate": "mri_alps.masks.study.candidates",
    "Correlation": "mri_alps.masks.study.statistics",
    "Difference": "mri_alps.masks.study.statistics",
    "Interval": "mri_alps.masks.study.statistics",
    "MaskResult": "mri_alps.masks.study.measure",
    "MaskStudy": "mri_alps.masks.study.compare",
    "Summary": "mri_alps.masks.study.statistics",
    "compare_masks": "mri_alps.masks.study.compare",
    "correlation_sentence": "mri_alps.masks.study.output",
    "make_study": "mri_alps.masks.study.compare",
    "noise_amplification": "mri_alps.masks.study.sampling_pattern",
    "pixel_entropy": "mri_alps.masks.study.measure",
    "run_study": "mri_alps.masks.study.compare",
    "shown_interval": "mri_alps.masks.study.output",
    "side_lobe": "mri_alps.masks.study.sampling_pattern",
    "write_study": "mri_alps.masks.study.output",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

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
