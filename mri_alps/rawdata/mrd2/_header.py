"""The header of MRD 2 from and to what the package uses of a header."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata._files import check_matrix
from mri_alps.rawdata.header import Encoding, Header, Limit
from mri_alps.rawdata.mrd2._study import study_of_mrd

MAX_ENCODINGS = 64
COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)


def header_of(found: Any, path: Path) -> Header:
    """Return the header of a stream.

    Parameters
    ----------
    found : mrd.Header or None
        As mrd-python reads it.
    path : Path
        The file, for messages.

    Raises
    ------
    InputFileError
        If there is none, or it has no matrix that can be.
    """
    if found is None or not 1 <= len(found.encoding) <= MAX_ENCODINGS:
        count = 0 if found is None else len(found.encoding)
        raise InputFileError(
            f"{path} is an MRD 2 stream whose header has {count} encodings, 1 to {MAX_ENCODINGS} "
            "are expected: export the scan again with its complete header"
        )
    warnings: list[str] = []
    encodings = tuple(_encoding(e, path, warnings) for e in found.encoding)
    system = found.acquisition_system_information
    measurement = found.measurement_information
    parameters = {
        "protocol": None if measurement is None else measurement.protocol_name,
        "vendor": None if system is None else system.system_vendor,
        "model": None if system is None else system.system_model,
        "field_strength_tesla": None if system is None else system.system_field_strength_t,
    }
    return Header(
        encodings,
        None if system is None else system.relative_receiver_noise_bandwidth,
        {name: str(value) for name, value in parameters.items() if value},
        tuple(warnings),
        None if system is None else system.receiver_channels,
        study=study_of_mrd(found),
    )


def _encoding(found: Any, path: Path, warnings: list[str]) -> Encoding:
    matrices: list[tuple[int, int, int]] = []
    views: list[list[float] | None] = []
    for name, space in (("encoded", found.encoded_space), ("recon", found.recon_space)):
        sizes = [int(getattr(space.matrix_size, axis)) for axis in "xyz"]
        if name == "recon" and sizes[:2] == [0, 0]:
            warnings.append("the header has no recon matrix; the encoded matrix is used for it")
            sizes = list(matrices[0])
        sizes[2] = sizes[2] or 1
        check_matrix(path, f"{name} matrix of the header", *sizes)
        view = [float(getattr(space.field_of_view_mm, axis)) for axis in "xyz"]
        matrices.append((sizes[0], sizes[1], sizes[2]))
        views.append(view if all(math.isfinite(v) and v > 0 for v in view[:2]) else None)
    size_is_known = views[0] is not None
    if not size_is_known:
        warnings.append("the header has no field of view; pixels of 1 mm are assumed")
    encoded = views[0] or [float(size) for size in matrices[0]]
    recon = views[1] or [
        v * r / e for v, r, e in zip(encoded, matrices[1], matrices[0], strict=True)
    ]
    thick = [v[2] if math.isfinite(v[2]) and v[2] > 0 else 1.0 for v in (encoded, recon)]
    limits = {}
    for name in ("kspace_encoding_step_1", "kspace_encoding_step_2"):
        limit = getattr(found.encoding_limits, name)
        if limit is not None:
            limits[name] = Limit(int(limit.minimum), int(limit.maximum), int(limit.center))
    trajectory = getattr(found.trajectory, "name", str(found.trajectory)).lower()
    return Encoding(
        matrices[0],
        matrices[1],
        (encoded[0], encoded[1], thick[0]),
        (recon[0], recon[1], thick[1]),
        limits,
        trajectory,
        size_is_known=size_is_known,
    )


def mrd_header(mrd: Any, header: Header) -> Any:
    """Return a header of MRD 2.

    Parameters
    ----------
    mrd : module
        mrd-python.
    header : Header
        What it holds.
    """
    encodings = []
    for encoding in header.encodings:
        spaces = [
            mrd.EncodingSpaceType(
                matrix_size=mrd.MatrixSizeType(x=matrix[0], y=matrix[1], z=matrix[2]),
                field_of_view_mm=mrd.FieldOfViewMm(x=view[0], y=view[1], z=view[2]),
            )
            for matrix, view in (
                (encoding.encoded_matrix, encoding.encoded_field_of_view),
                (encoding.recon_matrix, encoding.recon_field_of_view),
            )
        ]
        limits = mrd.EncodingLimitsType()
        for name, limit in encoding.limits.items():
            bounds = {part: getattr(limit, part) for part in ("minimum", "maximum", "center")}
            setattr(limits, name, mrd.LimitType(**bounds))
        encodings.append(
            mrd.EncodingType(
                encoded_space=spaces[0],
                recon_space=spaces[1],
                encoding_limits=limits,
                trajectory=mrd.Trajectory[(encoding.trajectory or "cartesian").upper()],
            )
        )
    measurement = None
    if protocol := header.parameters.get("protocol"):
        measurement = mrd.MeasurementInformationType(protocol_name=str(protocol))
    return mrd.Header(
        measurement_information=measurement,
        acquisition_system_information=mrd.AcquisitionSystemInformationType(
            receiver_channels=header.n_channels,
            relative_receiver_noise_bandwidth=header.relative_receiver_noise_bandwidth,
        ),
        experimental_conditions=mrd.ExperimentalConditionsType(h1resonance_frequency_hz=123000000),
        encoding=encodings,
    )
