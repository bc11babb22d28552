"""What a format has no place for, as JSON: geometry, noise, masks, provenance."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mri_alps.rawdata import RawKSpace


def describe_rest(raw: RawKSpace, kspace: np.ndarray, to: str) -> tuple[dict[str, Any], list[str]]:
    """Return all facts about a scan but its samples, and which of them a format does not hold.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    kspace : np.ndarray
        Its samples, (slice, coil, readout, phase_encode).
    to : str
        "fastmri", "ismrmrd", "mrd2" or "bart".

    Returns
    -------
    details : dict
        As JSON can hold it.
    not_held : list of str
        In words.
    """
    geometry = raw.geometry
    details: dict[str, Any] = {
        "source_format": raw.format,
        "axes": list(raw.axes),
        "shape": list(raw.shape),
        "crop": list(raw.crop),
        "acquired_range": list(raw.acquired_range),
        "n_averages": raw.n_averages,
        "acquisition": raw.acquisition,
        "attributes": raw.attributes,
        "mask": pack_mask(raw.mask),
        "geometry": {
            "encoded_matrix": list(geometry.encoded_matrix),
            "recon_matrix": list(geometry.recon_matrix),
            "encoded_field_of_view": list(geometry.encoded_field_of_view),
            "recon_field_of_view": list(geometry.recon_field_of_view),
            "pixel_spacing": list(raw.pixel_spacing),
            "slice_thickness": raw.slice_thickness,
            "slice_positions": geometry.slice_positions.tolist(),
            "readout_direction": geometry.readout_direction.tolist(),
            "phase_direction": geometry.phase_direction.tolist(),
            "slice_direction": geometry.slice_direction.tolist(),
            "is_nominal": bool(geometry.is_nominal),
        },
        "provenance": raw.provenance,
    }
    if raw.noise_covariance is not None:
        details["noise_covariance"] = {
            "convention": "per real component, of the converted samples",
            "real": raw.noise_covariance.real.tolist(),
            "imag": raw.noise_covariance.imag.tolist(),
        }
    return details, _not_held(raw, kspace, to)


def _not_held(raw: RawKSpace, kspace: np.ndarray, to: str) -> list[str]:
    named = []
    if not raw.geometry.is_nominal and to not in ("ismrmrd", "mrd2"):
        named.append("positions and directions of the slices")
    if not raw.size_is_known and to != "bart":
        named.append("that the size of pixels is unknown: 1 mm is written")
    if raw.noise_covariance is not None:
        named.append("the noise measurement: its covariance")
    if raw.n_averages > 1:
        named.append(f"the {raw.n_averages} averages, which are averaged")
    if raw.axes[1] == "partition" and raw.n_slices > 1:
        named.append("the 3-D encoding: readout positions are slices, in image space")
    has_reference = raw.read_reference(0) is not None
    if has_reference and to != "fastmri":
        named.append("the reference images of the source file, which stay there")
    if raw.read_ground_truth(0) is not None and to != "fastmri":
        named.append("the ground truth of the source file, which stays there")
    if to == "fastmri" and len(raw.mask) > 1:
        named.append(
            "a mask that differs between slices: `mask` is 3-D, which fastMRI's own tools do not "
            "read"
        )
    elif to == "fastmri" and not (raw.mask == raw.mask[:, :1]).all():
        named.append(
            "a mask of points as one of whole lines: `mask` is 2-D, which fastMRI's own transforms "
            "do not read"
        )
    if to == "bart":
        named += _not_held_by_bart(raw, kspace)
    if raw.attributes and to != "fastmri":
        named.append("the attributes of the source file")
    details = raw.provenance.get("header")
    if details:
        named.append("facts of the header: " + ", ".join(sorted(details)))
    return named


def _not_held_by_bart(raw: RawKSpace, kspace: np.ndarray) -> list[str]:
    named = [f"size of a pixel and of the final image ({raw.crop[0]} x {raw.crop[1]})"]
    zero = sum(
        int((~kspace[index].any(axis=0) & raw.slice_mask(index)).sum())
        for index in range(raw.n_slices)
    )
    if zero:
        named.append(
            f"that {zero} measured points are zero in all coils: BART takes them as left out"
        )
    return named


def pack_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return a boolean array as JSON can hold it.

    Parameters
    ----------
    mask : np.ndarray
        bool.
    """
    bits = np.packbits(np.asarray(mask, bool).ravel())
    return {
        "shape": list(mask.shape),
        "encoding": "numpy.packbits, base64",
        "data": base64.b64encode(bits.tobytes()).decode(),
    }


def unpack_mask(packed: dict[str, Any]) -> np.ndarray:
    """Return what `pack_mask` packed.

    Parameters
    ----------
    packed : dict
        From the JSON.
    """
    bits = np.frombuffer(base64.b64decode(packed["data"]), np.uint8)
    n_points = int(np.prod(packed["shape"]))
    return np.unpackbits(bits, count=n_points).astype(bool).reshape(packed["shape"])
