"""Training of network priors by denoising score matching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.training.config import CropPlan, TrainingConfig
    from mri_alps.training.raw_images import are_kept, keep_images, patient_of
    from mri_alps.training.session import choose_recipe, held_out_groups, run_session
    from mri_alps.training.settings import RECIPE, RecipeSettings, SessionOptions

_HOME_OF = {
    "CropPlan": "mri_alps.training.config",
    "RECIPE": "mri_alps.training.settings",
    "RecipeSettings": "mri_alps.training.settings",
    "SessionOptions": "mri_alps.training.settings",
    "TrainingConfig": "mri_alps.training.config",
    "are_kept": "mri_alps.training.raw_images",
    "choose_recipe": "mri_alps.training.session",
    "held_out_groups": "mri_alps.training.session",
    "keep_images": "mri_alps.training.raw_images",
    "patient_of": "mri_alps.training.raw_images",
    "run_session": "mri_alps.training.session",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
