"""Priors trained from undersampled scans alone, by expectation maximisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.expectation_maximisation.rounds import train_from_undersampled
    from mri_alps.expectation_maximisation.settings import UNDERSAMPLED, RoundSettings

_HOME_OF = {
    "UNDERSAMPLED": "mri_alps.expectation_maximisation.settings",
    "RoundSettings": "mri_alps.expectation_maximisation.settings",
    "train_from_undersampled": "mri_alps.expectation_maximisation.rounds",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
