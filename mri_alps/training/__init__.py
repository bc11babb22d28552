"""Training of network priors by denoising score matching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.training.cli import train

_HOME_OF = {
    "train": "mri_alps.training.cli",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
