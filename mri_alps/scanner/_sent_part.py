"""Which part of an ISMRMRD file a client sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import check_readable, is_hdf5, open_hdf5, read_text
from mri_alps.rawdata import keep_encoding
from mri_alps.rawdata.ismrmrd import Hdf5Acquisitions, find_groups

if TYPE_CHECKING:
    from pathlib import Path

    from mri_alps.rawdata.ismrmrd import Heads


@dataclass(frozen=True)
class SentPart:
    """Which part of a file is sent.

    Parameters
    ----------
    dataset : str, optional
        Measurement, the first if left out.
    encoding : int, optional
        Encoding space, which is sent as the only one; all if left out.
    counters : dict
        Values of lines of the image by counter, "contrast" for example. Noise, calibration and
        navigators are sent always.
    """

    dataset: str | None = None
    encoding: int | None = None
    counters: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def lines_of(self, heads: Heads) -> np.ndarray:
        """Return the numbers of the acquisitions that are sent.

        Parameters
        ----------
        heads : Heads
            All of them.
        """
        own = np.ones(len(heads), bool)
        for name, values in self.counters.items():
            own &= np.isin(getattr(heads, name), values)
        own |= heads.is_excluded | heads.is_calibration_only
        if self.encoding is not None:
            own &= heads.encoding_space_ref == self.encoding
        return np.flatnonzero(own | heads.is_noise)


def open_part(file: Path, part: SentPart) -> tuple[bytes, np.ndarray]:
    """Return the header of a part of a file and the numbers of its acquisitions, checked.

    Parameters
    ----------
    file : Path
        An ISMRMRD file.
    part : SentPart
        Of it.

    Raises
    ------
    InputFileError
        If it is none, or has no such lines.
    """
    check_readable(file)
    if not is_hdf5(file):
        raise InputFileError(f"{file} is not HDF5: send an ISMRMRD file")
    with open_hdf5(file) as opened:
        groups = find_groups(opened)
        name = part.dataset or (groups or [""])[0]
        if name not in groups or "xml" not in opened[name] or "data" not in opened[name]:
            raise InputFileError(
                f"{file} is no ISMRMRD file, which has a group with `data` and `xml`: convert the "
                "scan to one"
            )
        group = opened[name]
        text = read_text(group["xml"])
        if text is None:
            raise InputFileError(f"{file}: the dataset `xml` holds no text: export the scan again")
        n_lines = len(group["data"])
    header = text if isinstance(text, bytes) else str(text).encode()
    if part.encoding is None and not part.counters:
        return header, np.arange(n_lines)
    lines = part.lines_of(Hdf5Acquisitions(file, name).heads())
    if part.encoding is not None:
        header = keep_encoding(header, part.encoding, file)
    return header, lines
