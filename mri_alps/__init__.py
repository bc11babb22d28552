"""MRI Annealed Langevin Posterior Sampling.

From a raw k-space file to a reconstruction with its uncertainty: the posterior mean and the
posterior standard deviation of the image given what the scanner measured.

The names that a scan's way needs are here; everything else is one level down, in the package of
its kind (`mri_alps.priors.GaussianPrior`, `mri_alps.masks.design_mask`). All of it is imported on
first use, so that ``import mri_alps`` is quick and does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps import calibration as calibration
    from mri_alps import evaluation as evaluation
    from mri_alps import interop as interop
    from mri_alps import masks as masks
    from mri_alps import operators as operators
    from mri_alps import pipeline as pipeline
    from mri_alps import priors as priors
    from mri_alps import rawdata as rawdata
    from mri_alps import sampling as sampling
    from mri_alps.calibration import prepare_slice
    from mri_alps.core.errors import MriAlpsError, MriAlpsWarning
    from mri_alps.masks import make_mask
    from mri_alps.operators import LinearOperator, SenseOperator
    from mri_alps.pipeline import Reconstruction, load_reconstruction, reconstruct
    from mri_alps.priors import ScoreModel, load_prior
    from mri_alps.rawdata import read_raw
    from mri_alps.sampling import sample_posterior

__version__ = "0.1.0"

_HOME_OF = {
    "LinearOperator": "mri_alps.operators",
    "MriAlpsError": "mri_alps.core.errors",
    "MriAlpsWarning": "mri_alps.core.errors",
    "Reconstruction": "mri_alps.pipeline",
    "ScoreModel": "mri_alps.priors",
    "SenseOperator": "mri_alps.operators",
    "load_prior": "mri_alps.priors",
    "load_reconstruction": "mri_alps.pipeline",
    "make_mask": "mri_alps.masks",
    "prepare_slice": "mri_alps.calibration",
    "read_raw": "mri_alps.rawdata",
    "reconstruct": "mri_alps.pipeline",
    "sample_posterior": "mri_alps.sampling",
}

_PACKAGES = (
    "calibration",
    "evaluation",
    "interop",
    "masks",
    "operators",
    "pipeline",
    "priors",
    "rawdata",
    "sampling",
)

__all__ = [
    "LinearOperator",
    "MriAlpsError",
    "MriAlpsWarning",
    "Reconstruction",
    "ScoreModel",
    "SenseOperator",
    "__version__",
    "load_prior",
    "load_reconstruction",
    "make_mask",
    "prepare_slice",
    "read_raw",
    "reconstruct",
    "sample_posterior",
]

__getattr__, __dir__ = lazy_names(
    __name__, _HOME_OF | {name: f"{__name__}.{name}" for name in _PACKAGES}
)
