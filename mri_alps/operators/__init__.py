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
from mri_alps.operators.sense import SenseOperator, single_coil_maps

__all__ = [
    "AdjointOperator",
    "ComposedOperator",
    "IdentityOperator",
    "LinearOperator",
    "NormalOperator",
    "ScaledOperator",
    "SenseOperator",
    "SumOperator",
    "single_coil_maps",
]
