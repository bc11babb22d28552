"""MRI Annealed Langevin Posterior Sampling.

From a raw k-space file to a reconstruction with its uncertainty: the posterior mean and the
posterior standard deviation of the image given what the scanner measured.

The names listed in `__all__` are imported on first use, so that ``import mri_alps`` is quick
and does not load torch.
"""

from __future__ import annotations

from mri_alps.core.lazy import lazy_names

__version__ = "0.1.0"

_HOME_OF = {
    "Acquisition": "mri_alps.calibration",
    "BlurOperator": "mri_alps.operators",
    "DownsamplingOperator": "mri_alps.operators",
    "GaussianMixturePrior": "mri_alps.priors",
    "GaussianPrior": "mri_alps.priors",
    "InpaintingOperator": "mri_alps.operators",
    "LinearOperator": "mri_alps.operators",
    "MriAlpsError": "mri_alps.core.errors",
    "MriAlpsWarning": "mri_alps.core.errors",
    "PosteriorSamples": "mri_alps.sampling",
    "PriorSpectrum": "mri_alps.priors",
    "RawKSpace": "mri_alps.rawdata",
    "Reconstruction": "mri_alps.pipeline",
    "ReconstructionConfiguration": "mri_alps.pipeline",
    "ScoreModel": "mri_alps.priors",
    "SenseOperator": "mri_alps.operators",
    "compare_masks": "mri_alps.masks.study",
    "design_mask": "mri_alps.masks.design",
    "estimate_prior_spectrum": "mri_alps.sampling",
    "evaluate_folder": "mri_alps.evaluation",
    "load_prior": "mri_alps.priors",
    "load_reconstruction": "mri_alps.pipeline",
    "make_mask": "mri_alps.masks.kinds",
    "prepare_slice": "mri_alps.calibration",
    "process": "mri_alps.scanner.ismrmrd_server",
    "read_raw": "mri_alps.rawdata",
    "reconstruct": "mri_alps.pipeline",
    "reconstruct_to_file": "mri_alps.pipeline",
    "sample_posterior": "mri_alps.sampling",
    "write_report": "mri_alps.evaluation",
}

__all__ = [*_HOME_OF, "__version__"]

__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
