"""From a raw file to a posterior mean and a posterior standard deviation."""

from mri_alps.reconstruction.configuration import ReconstructionConfiguration
from mri_alps.reconstruction.result import Reconstruction, load_reconstruction
from mri_alps.reconstruction.statistics import SampleStatistics, predictive_interval
from mri_alps.reconstruction.volume import reconstruct, reconstruct_to_file

__all__ = [
    "Reconstruction",
    "ReconstructionConfiguration",
    "SampleStatistics",
    "load_reconstruction",
    "predictive_interval",
    "reconstruct",
    "reconstruct_to_file",
]
