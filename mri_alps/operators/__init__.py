"""Linear operators between images and measurements, masks, and the checks they have to pass."""

from mri_alps.operators.base import (
    AdjointOperator,
    ComposedOperator,
    IdentityOperator,
    LinearOperator,
    NormalOperator,
    ScaledOperator,
    SumOperator,
)
from mri_alps.operators.restoration.blur import (
    BlurOperator,
    gaussian_kernel,
    motion_kernel,
    random_motion_kernel,
)
from mri_alps.operators.restoration.downsampling import DownsamplingOperator
from mri_alps.operators.elementary import (
    FourierOperator,
    MatrixOperator,
    SensitivityOperator,
    to_dense,
)
from mri_alps.operators.restoration.inpainting import InpaintingOperator, box_mask, random_pixel_mask
from mri_alps.masks.files import load_mask
from mri_alps.masks.kinds import MASK_KINDS, achieved_acceleration, make_mask
from mri_alps.operators.sense import SenseOperator, single_coil_maps
from mri_alps.operators.simulate import simulate

__all__ = [
    "MASK_KINDS",
    "AdjointOperator",
    "BlurOperator",
    "ComposedOperator",
    "DownsamplingOperator",
    "FourierOperator",
    "IdentityOperator",
    "InpaintingOperator",
    "LinearOperator",
    "MatrixOperator",
    "NormalOperator",
    "ScaledOperator",
    "SenseOperator",
    "SensitivityOperator",
    "SumOperator",
    "achieved_acceleration",
    "box_mask",
    "gaussian_kernel",
    "load_mask",
    "make_mask",
    "motion_kernel",
    "random_motion_kernel",
    "random_pixel_mask",
    "simulate",
    "single_coil_maps",
    "to_dense",
]
