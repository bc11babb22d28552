"""Adapters to the toolboxes that laboratories already use: sigpy, deepinv, BART, NIfTI, DICOM.

Names are imported on first use, so that none of the optional packages is needed until one of
its adapters is; an adapter whose package is missing says which pip command installs it.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME_OF = {
    "Conversion": "mri_alps.interop.convert",
    "DeepinvDenoiser": "mri_alps.interop.deepinv_models",
    "DeepinvPhysics": "mri_alps.interop.deepinv_physics",
    "DeepinvReconstructor": "mri_alps.interop.deepinv_models",
    "as_deepinv_physics": "mri_alps.interop.deepinv_physics",
    "as_sigpy_linop": "mri_alps.interop.sigpy_linop",
    "convert": "mri_alps.interop.convert",
    "from_deepinv_denoiser": "mri_alps.interop.deepinv_operator",
    "from_deepinv_physics": "mri_alps.interop.deepinv_operator",
    "from_sigpy_linop": "mri_alps.interop.sigpy_linop",
    "write_dicom": "mri_alps.interop.dicom",
    "write_nifti": "mri_alps.interop.nifti",
}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'mri_alps.interop' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
