"""Linear operators between images and measurements, and the checks they have to pass."""

from mri_alps.operators.base import (
    AdjointOperator,
    ComposedOperator,
    IdentityOperator,
    LinearOperator,
    NormalOperator,
    ScaledOperator,
    SumOperator,
)
from mri_alps.operators.elementary import (
    FourierOperator,
    MatrixOperator,
    SensitivityOperator,
    to_dense,
)
from mri_alps.operators.lines.shared import SHARED_LIMIT as SHARED_LIMIT
from mri_alps.operators.noncartesian.operator import NonCartesianSenseOperator
from mri_alps.operators.noncartesian.trajectories import (
    golden_radial,
    kooshball,
    rosette,
    spiral,
    uniform_radial,
)
from mri_alps.operators.restoration.blur import (
    BlurOperator,
    gaussian_kernel,
    motion_kernel,
    random_motion_kernel,
)
from mri_alps.operators.restoration.downsampling import DownsamplingOperator
from mri_alps.operators.restoration.inpainting import (
    InpaintingOperator,
    box_mask,
    random_pixel_mask,
)
from mri_alps.operators.sense import SenseOperator, single_coil_maps
from mri_alps.operators.simulation import simulate
from mri_alps.operators.soft_sense import SoftSenseOperator, sense_operator

__all__ = [
    "AdjointOperator",
    "BlurOperator",
    "ComposedOperator",
    "DownsamplingOperator",
    "FourierOperator",
    "IdentityOperator",
    "InpaintingOperator",
    "LinearOperator",
    "MatrixOperator",
    "NonCartesianSenseOperator",
    "NormalOperator",
    "ScaledOperator",
    "SenseOperator",
    "SensitivityOperator",
    "SoftSenseOperator",
    "SumOperator",
    "box_mask",
    "gaussian_kernel",
    "golden_radial",
    "kooshball",
    "motion_kernel",
    "random_motion_kernel",
    "random_pixel_mask",
    "rosette",
    "sense_operator",
    "simulate",
    "single_coil_maps",
    "spiral",
    "to_dense",
    "uniform_radial",
]
