"""Undersampling masks: their kinds and files, and which of them serves a scan best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.masks.design import design_mask
    from mri_alps.masks.files import load_mask
    from mri_alps.masks.kinds import MASK_KINDS, achieved_acceleration, make_mask
    from mri_alps.masks.study import compare_masks

# Kinds and files are used from below; studies and design use all that is below them.
_HOME_OF = {
    "MASK_KINDS": "mri_alps.masks.kinds",
    "achieved_acceleration": "mri_alps.masks.kinds",
    "compare_masks": "mri_alps.masks.study",
    "design_mask": "mri_alps.masks.design",
    "load_mask": "mri_alps.masks.files",
    "make_mask": "mri_alps.masks.kinds",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

__all__ = [
    "MASK_KINDS",
    "achieved_acceleration",
    "compare_masks",
    "design_mask",
    "load_mask",
    "make_mask",
]
