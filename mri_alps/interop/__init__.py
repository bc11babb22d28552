"""Adapters to what laboratories use: sigpy, deepinv, mrpro, BART, NIfTI, DICOM, BIDS.

Names are imported on first use, so that none of the optional packages is needed until one of
its adapters is; an adapter whose package is missing says which pip command installs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.interop.bids import write_bids
    from mri_alps.interop.conversion import RAW_FORMATS, Conversion, convert, refuse_existing
    from mri_alps.interop.deepinv_models import DeepinvDenoiser, DeepinvReconstructor
    from mri_alps.interop.deepinv_operator import from_deepinv_denoiser, from_deepinv_physics
    from mri_alps.interop.deepinv_physics import DeepinvPhysics, as_deepinv_physics
    from mri_alps.interop.dicom import write_dicom
    from mri_alps.interop.image_geometry import ImageGeometry
    from mri_alps.interop.mrpro_data import MrproImages, images_as_idata, raw_from_kdata
    from mri_alps.interop.mrpro_operator import as_mrpro_operator, from_mrpro_operator
    from mri_alps.interop.nifti import write_nifti
    from mri_alps.interop.sigpy_linop import as_sigpy_linop, from_sigpy_linop

# `__all__` is for users; the rest is for the command line.
_HOME_OF = {
    "Conversion": "mri_alps.interop.conversion",
    "DeepinvDenoiser": "mri_alps.interop.deepinv_models",
    "DeepinvPhysics": "mri_alps.interop.deepinv_physics",
    "DeepinvReconstructor": "mri_alps.interop.deepinv_models",
    "ImageGeometry": "mri_alps.interop.image_geometry",
    "MrproImages": "mri_alps.interop.mrpro_data",
    "RAW_FORMATS": "mri_alps.interop.conversion",
    "as_deepinv_physics": "mri_alps.interop.deepinv_physics",
    "as_mrpro_operator": "mri_alps.interop.mrpro_operator",
    "as_sigpy_linop": "mri_alps.interop.sigpy_linop",
    "convert": "mri_alps.interop.conversion",
    "from_deepinv_denoiser": "mri_alps.interop.deepinv_operator",
    "from_deepinv_physics": "mri_alps.interop.deepinv_operator",
    "from_mrpro_operator": "mri_alps.interop.mrpro_operator",
    "from_sigpy_linop": "mri_alps.interop.sigpy_linop",
    "images_as_idata": "mri_alps.interop.mrpro_data",
    "raw_from_kdata": "mri_alps.interop.mrpro_data",
    "refuse_existing": "mri_alps.interop.conversion",
    "write_bids": "mri_alps.interop.bids",
    "write_dicom": "mri_alps.interop.dicom",
    "write_nifti": "mri_alps.interop.nifti",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

__all__ = [
    "Conversion",
    "DeepinvDenoiser",
    "DeepinvPhysics",
    "DeepinvReconstructor",
    "MrproImages",
    "as_deepinv_physics",
    "as_mrpro_operator",
    "as_sigpy_linop",
    "convert",
    "from_deepinv_denoiser",
    "from_deepinv_physics",
    "from_mrpro_operator",
    "from_sigpy_linop",
    "images_as_idata",
    "raw_from_kdata",
    "write_bids",
    "write_dicom",
    "write_nifti",
]
