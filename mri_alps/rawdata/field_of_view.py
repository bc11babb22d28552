"""The size of pixels where the file does not say it, or is known to say it wrongly."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import RawKSpace

NO_HEADER = (
    "it has no `ismrmrd_header`: it is taken on its own matrix, and the size of its pixels is "
    "unknown and stored as 1 mm, which --fov (field_of_view) corrects"
)
"""What is said of a file in fastMRI's layout that holds k-space alone."""

NO_SIZE = (
    "the file does not say how large its pixels are, they are stored as 1 mm, which --fov "
    "(field_of_view) corrects"
)
"""What is said of other files that hold arrays alone."""


def with_field_of_view(raw: RawKSpace, field_of_view: Sequence[float] | None) -> RawKSpace:
    """Return a scan whose final image has the size that the user gives.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    field_of_view : sequence of float or None
        In mm, of the final image along its two axes and, where it has a third entry, the thickness
        of a slice; the scan's own if None.
    """
    if field_of_view is None:
        return raw
    names = ("readout", "phase_encode", "partition")
    axes = [names.index(axis) for axis in raw.axes]
    across = next(axis for axis in range(3) if axis not in axes)
    geometry = raw.geometry
    encoded, recon = list(geometry.encoded_field_of_view), list(geometry.recon_field_of_view)
    for place, axis in enumerate(axes):
        pixel = field_of_view[place] / raw.crop[place]
        n_encoded = raw.shape[place] if raw.format == "fastmri" else geometry.encoded_matrix[axis]
        encoded[axis], recon[axis] = pixel * n_encoded, pixel * geometry.recon_matrix[axis]
    if len(field_of_view) > 2:
        encoded[across] = field_of_view[2] * geometry.encoded_matrix[across]
        recon[across] = field_of_view[2] * geometry.recon_matrix[across]
    provenance = dict(raw.provenance)
    for name in ("warnings", "settled"):
        if name in provenance:
            provenance[name] = [
                text for text in provenance[name] if text not in (NO_HEADER, NO_SIZE)
            ]
    size = " x ".join(f"{length:g}" for length in field_of_view[:2])
    provenance["processing"] = [
        *provenance.get("processing", []),
        f"the final image is taken to be {size} mm large, as was given",
    ]
    geometry = dataclasses.replace(
        geometry,
        encoded_field_of_view=(encoded[0], encoded[1], encoded[2]),
        recon_field_of_view=(recon[0], recon[1], recon[2]),
    )
    return dataclasses.replace(raw, geometry=geometry, size_is_known=True, provenance=provenance)
