"""Which public set a file is laid out as: its arrays decide, never its name.

Sources: the data sheet and loaders of SKM-TEA (https://github.com/StanfordMIMI/skm-tea), the loader
for Calgary-Campinas of DIRECT (https://github.com/NKI-AI/direct), and the descriptions of the data
of CMRxRecon 2023 to 2025 (https://github.com/CmrxRecon, https://cmrxrecon.github.io/2025).
M4Raw is laid out as fastMRI is, and mridata.org holds ISMRMRD.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mri_alps.core.hdf5 import Dataset

if TYPE_CHECKING:
    from mri_alps.core.hdf5 import File

SKM_TEA, CALGARY_CAMPINAS, CMRXRECON = "skm-tea", "calgary-campinas", "cmrxrecon"

_CMRXRECON_NAME = re.compile(r"kus|kspace(_single)?_(full|sub\d+)")


def layout_of(file: File) -> str | None:
    """Return the layout of an open file, None if it is none of those known here.

    Parameters
    ----------
    file : File
        HDF5.
    """
    if cmrxrecon_names(file):
        return CMRXRECON
    kspace = file.get("kspace")
    if not isinstance(kspace, Dataset):
        return None
    n_channels = kspace.shape[-1] if kspace.ndim == 4 and kspace.dtype.kind == "f" else 0
    is_bare = "ismrmrd_header" not in file
    if is_bare and n_channels > 2 and n_channels % 2 == 0:  # 2 are the parts of complex numbers
        return CALGARY_CAMPINAS
    if kspace.ndim == 5 and kspace.dtype.kind == "c" and _has_images_of(file, kspace):
        return SKM_TEA
    return None


def cmrxrecon_names(file: File) -> list[str]:
    """Return the datasets that hold k-space as CMRxRecon has it: complex, written by MATLAB.

    Parameters
    ----------
    file : File
        HDF5.
    """
    found = []
    for name in file:
        is_theirs = _CMRXRECON_NAME.fullmatch(name)
        if not is_theirs and name != "kspace":
            continue
        dataset = file.get(name)
        if not isinstance(dataset, Dataset) or dataset.dtype.names != ("real", "imag"):
            continue
        if is_theirs or "MATLAB_class" in dataset.attrs:
            found.append(name)
    return found


def _has_images_of(file: File, kspace: Dataset) -> bool:
    """Whether there are maps (x, ky, kz, coil, map) or images (x, y, z, echo, map) beside it."""
    *space, n_echoes, n_coils = kspace.shape
    for name, count in (("maps", n_coils), ("target", n_echoes)):
        found = file.get(name)
        if isinstance(found, Dataset) and found.ndim == 5 and found.shape[:4] == (*space, count):
            return True
    return False
