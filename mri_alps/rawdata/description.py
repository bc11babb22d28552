"""What is in a scan and what will be done with it, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mri_alps.rawdata.noncartesian import RawTrajectoryData, acceleration, covered_radius
from mri_alps.rawdata.sampling_pattern import center_block, net_acceleration, smallest_mask

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import RawKSpace

NAMES = {
    "fastmri": "fastMRI HDF5",
    "ismrmrd": "ISMRMRD",
    "bart": "BART cfl",
    "skm-tea": "SKM-TEA (HDF5)",
    "calgary-campinas": "Calgary-Campinas (HDF5)",
    "cmrxrecon": "CMRxRecon (MATLAB HDF5)",
    "twix": "Siemens raw data (twix)",
    "mrd2": "MRD 2",
    "array": "array",
}


def describe(raw: RawKSpace) -> list[tuple[str, str]]:
    """Describe an opened scan; no sample is read.

    Parameters
    ----------
    raw : RawKSpace
        From `read_raw`.

    Returns
    -------
    list of (label, text)
        In the order in which `mri-alps inspect` prints them.
    """
    geometry = raw.geometry
    entries = [
        ("file", str(raw.path)),
        ("format", NAMES.get(raw.format, raw.format)),
        ("acquisition", raw.acquisition or "unknown"),
        ("encoded matrix", _space(geometry.encoded_matrix, geometry.encoded_field_of_view)),
        ("recon matrix", _space(geometry.recon_matrix, geometry.recon_field_of_view)),
        ("slices", _slices(raw)),
        ("coils", str(raw.n_coils)),
        *(_along_shots(raw) if isinstance(raw, RawTrajectoryData) else _on_grid(raw)),
        ("noise", _noise(raw)),
        ("final image", f"{raw.crop[0]} x {raw.crop[1]}"),
        ("pixels", _pixels(raw)),
    ]
    entries += _choices(raw)
    for name, text in raw.provenance.get("header", {}).items():
        entries.append((name.replace("_", " "), str(text)))
    entries += [("what will be done", text) for text in raw.provenance.get("processing", [])]
    for text in raw.provenance.get("warnings", []):
        entries.append(("problem" if text == raw.defect else "note", text))
    return entries


def _on_grid(raw: RawKSpace) -> list[tuple[str, str]]:
    return [
        ("k-space", f"{raw.shape[0]} x {raw.shape[1]} ({raw.axes[0]} x {raw.axes[1]})"),
        ("mask", _mask(raw)),
        ("acceleration", _acceleration(raw)),
        ("partial Fourier", _partial_fourier(raw)),
        ("calibration region", _calibration(raw)),
        ("averages", str(raw.n_averages)),
    ]


def _along_shots(raw: RawTrajectoryData) -> list[tuple[str, str]]:
    path = raw.trajectory(raw.n_slices // 2)
    n_shots, n_samples = path.shape[:2]
    used = "" if n_shots == raw.n_shots else f", of {raw.n_shots} in the file"
    factor = acceleration(path, raw.shape, raw.kind)
    full = ""
    if raw.kind == "radial":
        full = f" (about {round(factor * n_shots)} spokes sample {max(raw.shape)} pixels fully)"
        full = full if factor > 1 else ""
    return [
        ("trajectory", f"{raw.kind}, {n_shots} shots x {n_samples} samples{used}"),
        ("unit of k-space", raw.units),
        ("image grid", f"{raw.shape[0]} x {raw.shape[1]} ({raw.axes[0]} x {raw.axes[1]})"),
        ("undersampling", f"{factor:.3g}{full}"),
        ("covered radius", f"{covered_radius(path):g} cycles per field of view"),
    ]


def _pixels(raw: RawKSpace) -> str:
    if not raw.size_is_known:
        return "of unknown size, stored as 1 mm: --fov (field_of_view) gives it"
    return f"{raw.pixel_spacing[0]:.4g} x {raw.pixel_spacing[1]:.4g} mm"


def _choices(raw: RawKSpace) -> list[tuple[str, str]]:
    """Of what the file has several of: all of them, and which is read."""
    entries = []
    for name, choice in raw.provenance.get("counters", {}).items():
        available, details = choice["available"], choice.get("details", {})
        if len(available) < 2:
            continue
        texts = [f"{v} ({details[v]})" if v in details else str(v) for v in available]
        entries.append((f"{name}s", f"{', '.join(texts)}; {name} {choice['chosen']} is read"))
    return entries


def notes_of(raw: RawKSpace, *, with_warnings: bool = True) -> list[str]:
    """Return what the reader left out, cropped, reordered or guessed, a sentence each.

    Parameters
    ----------
    raw : RawKSpace
        From `read_raw`.
    with_warnings : bool
        Whether what calibration warns of is among them.
    """
    told = raw.provenance
    notes = list(dict.fromkeys([*told.get("processing", []), *told.get("warnings", [])]))
    warned = set() if with_warnings else {*told.get("settled", []), *told.get("not_chosen", [])}
    return [note for note in notes if note not in warned]


def _space(matrix: tuple[int, int, int], view: tuple[float, float, float]) -> str:
    sizes = " x ".join(str(size) for size in matrix)
    return f"{sizes}, {' x '.join(f'{length:.4g}' for length in view)} mm"


def _slices(raw: RawKSpace) -> str:
    order = raw.provenance.get("slice_order", [])
    if raw.axes[1] == "partition" and raw.n_slices > 1:
        return f"{raw.n_slices} (readout positions of a 3-D scan)"
    if order != sorted(order):
        return f"{raw.n_slices} (file order {', '.join(str(index) for index in order)})"
    return str(raw.n_slices)


def _mask(raw: RawKSpace) -> str:
    source = raw.provenance.get("mask_source", "given")
    differ = ", differs between slices" if len(raw.mask) > 1 else ""
    mask = raw.slice_mask(raw.n_slices // 2)
    if mask.all():
        return f"full ({source})"
    lines = smallest_mask(mask)
    if lines.ndim == 1:
        return f"lines, {int(lines.sum())} of {mask.shape[1]} ({source}{differ})"
    return f"2-D, {int(mask.sum())} of {mask.size} points ({source}{differ})"


def _acceleration(raw: RawKSpace) -> str:
    net = f"{net_acceleration(raw.mask):.3g} net"
    first, stop = raw.acquired_range
    if (first, stop) == (0, raw.shape[1]):
        return net
    inside = net_acceleration(raw.mask, first, stop)
    return (
        f"{net}, {inside:.3g} within the acquired {raw.axes[1].replace('_', ' ')}s {first} to "
        f"{stop - 1}"
    )


def _partial_fourier(raw: RawKSpace) -> str:
    """Symmetric gaps at both edges are zero padding, a one-sided gap is partial Fourier."""
    texts = []
    mask = raw.slice_mask(raw.n_slices // 2)
    first, stop = raw.acquired_range
    readout = np.flatnonzero(mask.any(axis=1))
    spans = [(raw.axes[1], first, stop, raw.shape[1])]
    if readout.size:
        spans.append((raw.axes[0], int(readout[0]), int(readout[-1]) + 1, raw.shape[0]))
    for axis, start, end, size in spans:
        below, above = start, size - end
        # one line is the asymmetry of an even matrix, whose centre is not in the middle
        if abs(below - above) > max(1, 0.02 * size):
            texts.append(
                f"{(size - abs(below - above)) / size:.0%} of the {axis.replace('_', ' ')}"
            )
    return ", ".join(texts) or "none"


def _calibration(raw: RawKSpace) -> str:
    index = raw.n_slices // 2
    if raw.has_calibration:
        found = raw.provenance.get("n_calibration_lines", "")
        return f"separate calibration lines ({found})"
    block = center_block(raw.slice_mask(index))
    return f"fully sampled centre, {block[0]} x {block[1]} ({raw.axes[0]} x {raw.axes[1]})"


def _noise(raw: RawKSpace) -> str:
    noise = raw.provenance.get("noise", {})
    if raw.noise_covariance is None:
        return f"not measured ({noise.get('source', 'the format has none')}), will be estimated"
    std = np.sqrt(np.diag(raw.noise_covariance).real)
    text = f"standard deviation {std.min():.3g} to {std.max():.3g} per real component"
    if "factor" in noise:
        text += (
            f"; {noise['source']}, {noise['n_samples']} samples, scaled by {noise['factor']:.3g} "
            f"(dwell {noise['dwell_noise_us']:.3g} / {noise['dwell_image_us']:.3g} us, bandwidth "
            f"{noise['relative_receiver_noise_bandwidth']:.3g})"
        )
    return text
