"""Training of network priors by denoising score matching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.training.config import CropPlan, TrainingConfig
    from mri_alps.training.session import run_session
    from mri_alps.training.settings import RECIPE, RecipeSettings, SessionOptions

_HOME_OF = {
    "CropPlan": "mri_alps.training.config",
    "RECIPE": "mri_alps.training.settings",
    "RecipeSettings": "mri_alps.training.settings",
    "SessionOptions": "mri_alps.training.settings",
    "TrainingConfig": "mri_alps.training.config",
    "run_session": "mri_alps.training.session",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
