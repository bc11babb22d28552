"""From a raw file to a posterior mean and a posterior standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.pipeline.result import Reconstruction, load_reconstruction
    from mri_alps.pipeline.statistics import SampleStatistics, predictive_interval
    from mri_alps.pipeline.volume import reconstruct, reconstruct_to_file

# Settings are read by the command line, whose --help does not wait for torch.
_HOME_OF = {
    "Reconstruction": "mri_alps.pipeline.result",
    "ReconstructionConfiguration": "mri_alps.pipeline.configuration",
    "SampleStatistics": "mri_alps.pipeline.statistics",
    "load_reconstruction": "mri_alps.pipeline.result",
    "predictive_interval": "mri_alps.pipeline.statistics",
    "reconstruct": "mri_alps.pipeline.volume",
    "reconstruct_to_file": "mri_alps.pipeline.volume",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

__all__ = [
    "Reconstruction",
    "ReconstructionConfiguration",
    "SampleStatistics",
    "load_reconstruction",
    "predictive_interval",
    "reconstruct",
    "reconstruct_to_file",
]
