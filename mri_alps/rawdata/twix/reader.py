"""Siemens raw data as a scan: lines, noise adjustment, geometry, on the road of ISMRMRD.

Conventions are those of siemens_to_ismrmrd (https://github.com/ismrmrd/siemens_to_ismrmrd), so that
a file and its conversion give the same: flags, counters, the dwell time of noise lines, directions
from quaternions (w, x, y, z) whose rotation has the columns phase, readout, slice.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.choices import note_choice
from mri_alps.rawdata.header import Encoding, Header, Limit
from mri_alps.rawdata.ismrmrd.flags import Flag
from mri_alps.rawdata.ismrmrd.heads import heads_from_records
from mri_alps.rawdata.ismrmrd.reader import make_scan
from mri_alps.rawdata.ismrmrd.shots import NON_CARTESIAN
from mri_alps.rawdata.twix._measurements import Measurement, read_measurements
from mri_alps.rawdata.twix._protocol import Protocol
from mri_alps.rawdata.twix._store import TwixAcquisitions
from mri_alps.rawdata.twix._study import study_of_protocol

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.scan import Selection
    from mri_alps.rawdata.raw import RawKSpace

NOISE_BANDWIDTH = 0.793
"""Effective over nominal bandwidth of noise, as siemens_to_ismrmrd writes it for all scanners."""

FLAGS = {
    "NOISEADJSCAN": Flag.IS_NOISE_MEASUREMENT,
    "REFLECT": Flag.IS_REVERSE,
    "PHASCOR": Flag.IS_PHASECORR_DATA,
    "RTFEEDBACK": Flag.IS_RTFEEDBACK_DATA,
    "HPFEEDBACK": Flag.IS_HPFEEDBACK_DATA,
    "RETRO_DUMMYSCAN": Flag.IS_DUMMYSCAN_DATA,
    "REFPHASESTABSCAN": Flag.IS_PHASE_STABILIZATION_REFERENCE,
    "PHASESTABSCAN": Flag.IS_PHASE_STABILIZATION,
}
_COUNTERS = {
    "kspace_encode_step_1": "Lin",
    "kspace_encode_step_2": "Par",
    "average": "Ave",
    "slice": "Sli",
    "contrast": "Eco",
    "phase": "Phs",
    "repetition": "Rep",
    "set": "Set",
    "segment": "Seg",
}
_TRAJECTORIES = {1: "cartesian", 2: "radial", 4: "spiral", 8: "propeller"}


def read_twix(path: Path, selection: Selection) -> RawKSpace:
    """Open Siemens raw data: headers of lines are read, samples are not.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    selection : Selection
        Which part of it; `dataset` is the number of a measurement, the last if left out.

    Returns
    -------
    RawKSpace
        Noise comes from the measurement itself or, where it has none, from the adjustment that
        stands before it in the file.

    Raises
    ------
    InputFileError
        If the file is damaged, holds no image, or was not measured on a Cartesian grid.
    ConfigurationError
        If the selection asks for what the file does not have.
    MissingDependencyError
        If twixtools is not installed.
    """
    measurements = read_measurements(path)
    with_image = {
        str(number): measurement
        for number, measurement in enumerate(measurements)
        if _is_image(measurement).any()
    }
    if not with_image:
        found = ", ".join(
            f"{m.name or 'a measurement'} of {len(m.heads)} lines" for m in measurements
        )
        raise InputFileError(
            f"{path} holds no lines of an image ({found}): name the file with the image scan"
        )
    told: dict[str, Any] = {"counters": {}, "not_chosen": [], "warnings": [], "processing": []}
    names = list(with_image)[::-1]  # the last is the image that was asked for at the scanner
    chosen = note_choice(told, path, "dataset", names, selection.dataset)
    details = {n: f"{m.name or 'no name'}, {len(m.heads)} lines" for n, m in with_image.items()}
    told["counters"]["dataset"]["details"] = details
    measurement = with_image[chosen]
    protocol = Protocol(measurement.header, path)
    noise = _noise_of(measurements, measurement, protocol, told, path)
    store = _store(path, measurement, noise, protocol, chosen)
    header = _header(measurement, protocol, path, told)
    trajectory = header.encodings[0].trajectory
    if trajectory in NON_CARTESIAN:
        raise InputFileError(
            f"{path}: the trajectory is {trajectory!r}, and Siemens raw data do not say where its "
            "samples lie: convert the scan by siemens_to_ismrmrd, and reconstruct that with "
            "--golden-angle or --trajectory"
        )
    scan = make_scan(store, header, dataclasses.replace(selection, dataset=None))
    scan.warnings[:0] = [*told["warnings"], *measurement.notes]
    scan.processing[:0] = told["processing"]
    scan.not_chosen[:0] = told["not_chosen"]
    scan.counters.update(told["counters"])
    return dataclasses.replace(scan.assemble(), format="twix")


def _is_image(measurement: Measurement) -> np.ndarray:
    if len(measurement.heads) == 0:
        return np.zeros(0, bool)
    left_out = np.any([measurement.has(flag) for flag in FLAGS if flag != "REFLECT"], axis=0)
    reference = measurement.has("PATREFSCAN") & ~measurement.has("PATREFANDIMASCAN")
    return ~(left_out | reference)


def _noise_of(
    measurements: list[Measurement],
    chosen: Measurement,
    protocol: Protocol,
    told: dict[str, Any],
    path: Path,
) -> Measurement | None:
    """Return another measurement whose noise lines hold for the chosen one, if it has none."""
    if len(chosen.heads) and chosen.has("NOISEADJSCAN").any():
        return None
    coils = set(chosen.channels[int(np.flatnonzero(_is_image(chosen))[0])])
    for other in reversed(measurements):
        if other is chosen or not len(other.heads) or not other.has("NOISEADJSCAN").any():
            continue
        first = int(np.flatnonzero(other.has("NOISEADJSCAN"))[0])
        title = f"the noise of the measurement {other.name or 'without a name'}"
        names = [p.coil_names() for p in (protocol, Protocol(other.header, path))]
        if set(other.channels[first]) != coils or (all(names) and names[0] != names[1]):
            told["warnings"].append(f"{title} is of other coils than the image and not used")
            continue
        told["processing"].append(f"{title} is used")
        return other
    return None


def _store(
    path: Path,
    measurement: Measurement,
    noise: Measurement | None,
    protocol: Protocol,
    name: str,
) -> TwixAcquisitions:
    parts = [(measurement, np.ones(len(measurement.heads), bool), protocol)]
    if noise is not None:
        parts.append((noise, noise.has("NOISEADJSCAN"), Protocol(noise.header, path)))
    records = np.concatenate([_records(part, which, p) for part, which, p in parts])
    offsets = np.concatenate([part.offsets[which] for part, which, _ in parts])
    channels = [part.channels[line] for part, which, _ in parts for line in np.flatnonzero(which)]
    order = np.full((len(channels), max(map(len, channels))), -1, np.int32)
    known: dict[tuple[int, ...], np.ndarray] = {}
    for row, identifiers in zip(order, channels, strict=True):
        if identifiers not in known:
            known[identifiers] = np.argsort(identifiers, kind="stable")
        row[: len(identifiers)] = known[identifiers]
    heads = heads_from_records(records, np.arange(len(records)), path)
    header_bytes = 128 if measurement.is_vb else 32
    return TwixAcquisitions(path, heads, offsets, header_bytes, order, name)


def _records(measurement: Measurement, which: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Return headers of lines as those of ISMRMRD."""
    from ismrmrd.hdf5 import acquisition_header_dtype

    heads = measurement.heads[which]
    records = np.zeros(len(heads), acquisition_header_dtype)
    flags = np.zeros(len(heads), np.uint64)
    for name, number in FLAGS.items():
        flags |= measurement.has(name)[which].astype(np.uint64) << np.uint64(number - 1)
    both = measurement.has("PATREFANDIMASCAN")[which]
    apart = measurement.has("PATREFSCAN")[which] & ~both
    for mask, number in (
        (both, Flag.IS_PARALLEL_CALIBRATION_AND_IMAGING),
        (apart, Flag.IS_PARALLEL_CALIBRATION),
    ):
        flags |= mask.astype(np.uint64) << np.uint64(number - 1)
    records["flags"] = flags
    records["number_of_samples"] = heads["SamplesInScan"]
    records["active_channels"] = heads["UsedChannels"]
    records["available_channels"] = heads["UsedChannels"]
    records["center_sample"] = heads["CenterCol"]
    records["discard_pre"], records["discard_post"] = (
        heads["CutOff"]["Pre"],
        heads["CutOff"]["Post"],
    )
    for ours, theirs in _COUNTERS.items():
        records["idx"][ours] = heads["Counter"][theirs]
    slices = heads["SliceData"]
    position = [slices["SlicePos"][axis] for axis in ("Sag", "Cor", "Tra")]
    records["position"] = np.stack(position, axis=-1)
    columns = _rotation(slices["Quaternion"].astype(float))
    for axis, name in enumerate(("phase_dir", "read_dir", "slice_dir")):
        records[name] = columns[:, :, axis]
    records["sample_time_us"] = _dwell_times(measurement, which, heads, protocol)
    return records


def _dwell_times(
    measurement: Measurement, which: np.ndarray, heads: np.ndarray, protocol: Protocol
) -> np.ndarray:
    """Return dwell times in microseconds; those of noise lines as siemens_to_ismrmrd has them."""
    samples = heads["SamplesInScan"].astype(float)
    adjustment = (protocol.text("tProtocolName") or measurement.name).strip()
    if adjustment == "AdjCoilSens":
        noise = np.full(len(samples), 5.0)
    elif adjustment == "AdjQuietCoilSens":
        noise = np.full(len(samples), 4.0)
    elif measurement.is_vb:
        noise = 1e6 / samples / 130.0
    else:
        noise = np.floor(76800.0 / samples) / 10.0
    image = (protocol.number("sRXSPEC.alDwellTime[0]") or 0.0) / 1000.0
    return np.where(measurement.has("NOISEADJSCAN")[which], noise, image)


def _rotation(quaternions: np.ndarray) -> np.ndarray:
    """Return (lines, 3, 3) of (w, x, y, z); zero where there is no unit quaternion."""
    w, x, y, z = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrices = np.moveaxis(np.array(rows), -1, 0)
    is_unit = np.abs((quaternions**2).sum(axis=1) - 1) < 0.01
    return np.where(is_unit[:, np.newaxis, np.newaxis], matrices, 0.0)


def _header(
    measurement: Measurement, protocol: Protocol, path: Path, told: dict[str, Any]
) -> Header:
    """Return matrices, fields of view and the centre of k-space from protocol and lines."""
    lines = measurement.heads[_is_image(measurement)]
    is_3d = int(protocol.number("sKSpace.ucDimension") or 2) == 4 or np.ptp(lines["Counter"]["Par"])
    place = "sSliceArray.asSlice[0]"
    view = [protocol.number(f"{place}.{n}") for n in ("dReadoutFOV", "dPhaseFOV", "dThickness")]
    oversampling = [
        1 + (protocol.number(f"sKSpace.d{name}OversamplingForDialog") or 0.0)
        for name in ("Phase", "Slice")
    ]
    base = protocol.number("sKSpace.lBaseResolution")
    n_readout, factor = _readout(lines, base, protocol, path)
    matrix = [n_readout, 0, 1]
    limits = {}
    for axis, (counter, center, names) in enumerate(
        (
            ("Lin", "CenterLin", ("iPEFTLength", "sKSpace.lPhaseEncodingLines")),
            ("Par", "CenterPar", ("i3DFTLength", "sKSpace.lPartitions")),
        ),
        start=1,
    ):
        if axis == 2 and not is_3d:
            continue
        matrix[axis], limits[f"kspace_encoding_step_{axis}"] = _phase(
            lines["Counter"][counter], lines[center], protocol, names, told
        )
    size_is_known = view[0] is not None and view[1] is not None
    sizes = [v if v and v > 0 else 1.0 * m for v, m in zip(view, matrix, strict=True)]
    stretch = (factor, oversampling[0], oversampling[1] if is_3d else 1.0)
    encoded_view = [size * s for size, s in zip(sizes, stretch, strict=True)]
    recon = [max(1, round(m / s)) for m, s in zip(matrix, stretch, strict=True)]
    mode = int(protocol.number("sKSpace.ucTrajectory") or 1)
    trajectory = _TRAJECTORIES.get(mode, f"number {mode}")
    if int(protocol.number("sRXSPEC.alRegridMode[0]", "alRegridMode") or 1) > 1:
        trajectory = "epi with ramp sampling"
    encoding = Encoding(
        (matrix[0], matrix[1], matrix[2]),
        (recon[0], recon[1], recon[2]),
        (encoded_view[0], encoded_view[1], encoded_view[2]),
        (sizes[0], sizes[1], sizes[2]),
        limits,
        trajectory,
        size_is_known=size_is_known,
    )
    parameters = {
        "protocol": protocol.text("tProtocolName") or measurement.name,
        "patient_position": protocol.text("tPatientPosition", "sPatPosition"),
        "vendor": "SIEMENS",
        "model": protocol.text("ManufacturersModelName"),
        "field_strength_tesla": protocol.text(
            "sProtConsistencyInfo.flNominalB0", "flMagneticFieldStrength"
        ),
        "sequence": protocol.text("tSequenceFileName"),
    }
    found = {name: text for name, text in parameters.items() if text}
    return Header((encoding,), NOISE_BANDWIDTH, found, study=study_of_protocol(protocol))


def _readout(
    lines: np.ndarray, base: float | None, protocol: Protocol, path: Path
) -> tuple[int, float]:
    """Return samples of a whole readout, and by how much it is oversampled."""
    longest = int(lines["SamplesInScan"].max())
    stated = protocol.number("flReadoutOSFactor")
    if not base or base < 1:
        return longest, float(stated or 2.0)
    factor = stated if stated and stated >= 1 else max(1.0, round(longest / base))
    whole = round(base * factor)
    if longest > whole:
        raise InputFileError(
            f"{path}: lines have {longest} samples, the protocol's base resolution {base:g} with "
            f"an oversampling of {factor:g} has {whole}: export the scan again"
        )
    return whole, float(factor)


def _phase(
    counters: np.ndarray,
    centers: np.ndarray,
    protocol: Protocol,
    names: tuple[str, str],
    told: dict[str, Any],
) -> tuple[int, Limit]:
    """Return the size of a phase-encoded axis and its limits; lines decide where k-space begins."""
    values, counts = np.unique(centers, return_counts=True)
    center = int(values[np.argmax(counts)])
    if len(values) > 1:
        told["warnings"].append(
            f"lines name {len(values)} centres of k-space, {center} is taken: {values[:6].tolist()}"
        )
    first, last = int(counters.min()), int(counters.max())
    size = int(protocol.number(*names) or 0)
    needed = 2 * max(center - first, last - center + 1)
    fits = size // 2 - center + first >= 0 and size // 2 - center + last < size
    return (size if fits else needed), Limit(first, last, center)
