"""From raw k-space to a whitened, scaled slice with sensitivity maps.

Noise covariance and whitening, coil compression, sensitivity maps, the image scale, and
`prepare_slice`, which puts them together.
"""

from mri_alps.calibration.acquisition import Acquisition, InverseProblem
from mri_alps.calibration.compression import compression_matrix
from mri_alps.calibration.explanation import NOTHING_TO_EXPLAIN, Explanation, explain, judge
from mri_alps.calibration.line_weights import LARGEST_ERROR, MAPS_ERROR, sampling_weights
from mri_alps.calibration.maps_deviation import DEVIATION_BLUR
from mri_alps.calibration.maps_error import MapsError, fit_maps_error
from mri_alps.calibration.noise import apply_to_coils, noise_covariance, whitening_matrix
from mri_alps.calibration.noise_estimate import (
    NoiseEstimate,
    estimate_noise,
    estimate_noise_covariance,
)
from mri_alps.calibration.noncartesian.delays import GradientDelays, measure_delays
from mri_alps.calibration.noncartesian.prepare import SMALLEST_SINGLE, read_shots
from mri_alps.calibration.portrait import CalibrationPortrait, portray_calibration
from mri_alps.calibration.prepare import prepare_slice
from mri_alps.calibration.refinement import (
    PointEstimate,
    RefinedMaps,
    complete_low_rank,
    refine_sensitivity_maps,
)
from mri_alps.calibration.region import MINIMUM_LINES, CalibrationRegion, find_calibration_region
from mri_alps.calibration.row_compression import compress_rows, row_compression_matrices
from mri_alps.calibration.scale import calibration_scale, image_scale
from mri_alps.calibration.scan_noise import combined_mask
from mri_alps.calibration.sensitivity import estimate_sensitivity_maps
from mri_alps.calibration.volume import VolumeCalibration, calibrate_volume

__all__ = [
    "DEVIATION_BLUR",
    "LARGEST_ERROR",
    "MAPS_ERROR",
    "NOTHING_TO_EXPLAIN",
    "SMALLEST_SINGLE",
    "Acquisition",
    "CalibrationPortrait",
    "CalibrationRegion",
    "Explanation",
    "GradientDelays",
    "InverseProblem",
    "MapsError",
    "NoiseEstimate",
    "PointEstimate",
    "RefinedMaps",
    "VolumeCalibration",
    "apply_to_coils",
    "calibrate_volume",
    "calibration_scale",
    "combined_mask",
    "complete_low_rank",
    "compress_rows",
    "compression_matrix",
    "estimate_noise",
    "estimate_noise_covariance",
    "estimate_sensitivity_maps",
    "explain",
    "find_calibration_region",
    "fit_maps_error",
    "image_scale",
    "judge",
    "measure_delays",
    "noise_covariance",
    "portray_calibration",
    "prepare_slice",
    "read_shots",
    "refine_sensitivity_maps",
    "row_compression_matrices",
    "sampling_weights",
    "whitening_matrix",
]
