"""The XML header that fastMRI and ISMRMRD files share, read as untrusted text."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import MAX_HEADER_BYTES
from mri_alps.rawdata._files import check_matrix
from mri_alps.rawdata._study import study_of

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
MAX_HEADER_ELEMENTS = 50_000
"""A header of an ordinary scan has some hundred elements."""

MAX_HEADER_DEPTH = 64
"""The ISMRMRD schema nests elements six deep."""

LARGEST_FRACTION = 0.01
"""By which a count of samples may miss a whole number, as converters write 11.9996 for 12."""

LARGEST_DEVIATION = 0.02
"""Of the recon matrix, by which its pixels may be other than the encoded ones, by rounding."""

LARGEST_INTERPOLATION = 4
"""No scanner interpolates more: fields of view that say so are wrong, and the matrices decide."""


@dataclass(frozen=True)
class Limit:
    """Range of one encoding counter and the value at the centre of k-space."""

    minimum: int
    maximum: int
    center: int


@dataclass(frozen=True)
class Encoding:
    """One `encoding` element: matrices (x, y, z), fields of view in mm, counters' limits."""

    encoded_matrix: tuple[int, int, int]
    recon_matrix: tuple[int, int, int]
    encoded_field_of_view: tuple[float, float, float]
    recon_field_of_view: tuple[float, float, float]
    limits: dict[str, Limit]
    trajectory: str
    acceleration: tuple[float, float] | None = None
    size_is_known: bool = True
    trajectory_parameters: dict[str, float] = field(default_factory=dict)

    def crop_reason(self, axes: tuple[int, int] = (0, 1)) -> str:
        """Return what decides the final image, in words.

        Parameters
        ----------
        axes : tuple of int
            Those of the image: 0 for x, 1 for y, 2 for z.
        """
        if all(self.image_size(axis) == self.recon_matrix[axis] for axis in axes):
            return "recon matrix of the header"
        view = " x ".join(f"{self.recon_field_of_view[axis]:.4g}" for axis in axes)
        matrix = " x ".join(str(self.recon_matrix[axis]) for axis in axes)
        return f"recon field of view of the header, {view} mm; its matrix {matrix} is interpolated"

    def image_size(self, axis: int) -> int:
        """Return how many pixels, as large as the encoded ones, fill the recon field of view.

        That is the recon matrix, unless the scanner interpolates: fields of view then decide.

        Parameters
        ----------
        axis : int
            0 for x, 1 for y, 2 for z.
        """
        recon = self.recon_matrix[axis]
        pixel = self.encoded_field_of_view[axis] / self.encoded_matrix[axis]
        filled = max(1, round(self.recon_field_of_view[axis] / pixel))
        is_same = abs(filled - recon) <= max(1, LARGEST_DEVIATION * recon)
        is_possible = recon <= LARGEST_INTERPOLATION * filled <= LARGEST_INTERPOLATION**2 * recon
        return recon if is_same or not is_possible or not self.size_is_known else filled


@dataclass(frozen=True)
class Header:
    """What the package uses of an ISMRMRD header; `parameters` is json-able."""

    encodings: tuple[Encoding, ...]
    relative_receiver_noise_bandwidth: float | None
    parameters: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    n_channels: int | None = None
    settled: tuple[str, ...] = ()
    study: dict[str, Any] = field(default_factory=dict)


def parse_header(text: bytes | str, path: Path) -> Header:
    """Parse an ISMRMRD XML header.

    Parameters
    ----------
    text : bytes or str
        The XML document.
    path : Path
        Named in errors.

    Raises
    ------
    InputFileError
        If it is not XML, declares a document type or entities, lacks the encoded matrix, or
        claims a matrix that cannot be.
    """
    root = _parse_safely(text, path)
    found = root.findall("{*}encoding")
    if not found:
        raise InputFileError(
            f"{path}: the XML header has no `encoding` element, which holds the matrix sizes: "
            "export the scan again with its complete header"
        )
    warnings: list[str] = []
    encodings = tuple(_parse_encoding(element, path, warnings) for element in found)
    bandwidth = _number(root, "acquisitionSystemInformation/relativeReceiverNoiseBandwidth", path)
    channels = _number(root, "acquisitionSystemInformation/receiverChannels", path)
    n_channels = None if channels is None else int(channels)
    return Header(
        encodings,
        bandwidth,
        _parameters(root),
        tuple(warnings),
        n_channels,
        study=study_of(root),
    )


def keep_encoding(text: bytes | str, index: int, path: Path) -> bytes:
    """Return a header with one of its encoding spaces alone.

    Parameters
    ----------
    text : bytes or str
        The XML document.
    index : int
        Which one, from 0.
    path : Path
        Named in errors.

    Raises
    ------
    InputFileError
        If the header cannot be parsed, or has no such encoding space.
    """
    root = _parse_safely(text, path)
    found = root.findall("{*}encoding")
    if not 0 <= index < len(found):
        raise InputFileError(
            f"{path}: the XML header has {len(found)} encoding spaces and lines of number {index}: "
            "export the scan again"
        )
    for number, element in enumerate(found):
        if number != index:
            root.remove(element)
    ElementTree.register_namespace("", NAMESPACE)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _parse_safely(text: bytes | str, path: Path) -> ElementTree.Element:
    if len(text) > MAX_HEADER_BYTES:
        raise InputFileError(
            f"{path}: the XML header is {len(text) / 2**20:.0f} MiB long, at most "
            f"{MAX_HEADER_BYTES // 2**20} are read: export the scan again"
        )
    if isinstance(text, bytes):
        text = _decode(text)
    # Entities can only be declared in a document type; without one there is none to expand,
    # and the builder counts elements and depth.
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise InputFileError(
            f"{path}: the XML header declares a document type or entities, which no ISMRMRD "
            "header needs and which can be an attack: remove the declaration from the header"
        )
    try:
        parser = ElementTree.XMLParser(target=_BoundedBuilder(path))  # noqa: S314 - see above
        return ElementTree.fromstring(text.strip("\0 \t\r\n"), parser)  # noqa: S314 - see above
    except (ElementTree.ParseError, ValueError) as error:
        raise InputFileError(
            f"{path}: the XML header is not well-formed ({error}): export the scan again"
        ) from error


class _BoundedBuilder(ElementTree.TreeBuilder):
    """Builds a tree no larger than that of a header, whatever the text."""

    def __init__(self, path: Path):
        super().__init__()
        self._path, self._count, self._depth = path, 0, 0

    def start(self, tag: str, attributes: dict[str, str]) -> ElementTree.Element:
        """Open an element."""
        self._count += 1
        self._depth += 1
        if self._count > MAX_HEADER_ELEMENTS or self._depth > MAX_HEADER_DEPTH:
            raise InputFileError(
                f"{self._path}: the XML header has more than {MAX_HEADER_ELEMENTS} elements, or "
                f"nests them more than {MAX_HEADER_DEPTH} deep: export the scan again"
            )
        return super().start(tag, attributes)

    def end(self, tag: str) -> ElementTree.Element:
        """Close an element."""
        self._depth -= 1
        return super().end(tag)


def _decode(text: bytes) -> str:
    encoding = "utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return text.decode(encoding)
    except UnicodeDecodeError:
        return text.decode("latin-1")  # institution names written by older converters


def _parse_encoding(element: ElementTree.Element, path: Path, warnings: list[str]) -> Encoding:
    encoded = _matrix(element, "encodedSpace", path)
    if encoded is None:
        raise InputFileError(
            f"{path}: the XML header lacks encodedSpace/matrixSize: export the scan again with "
            "its complete header"
        )
    recon = _matrix(element, "reconSpace", path)
    if recon is None:
        warnings.append("the header has no recon matrix; the encoded matrix is used for it")
        recon = encoded
    view = _field_of_view(element, "encodedSpace", path)
    size_is_known = view is not None
    if view is None:
        warnings.append("the header has no field of view; pixels of 1 mm are assumed")
        view = (float(encoded[0]), float(encoded[1]), float(encoded[2]))
    recon_view = _field_of_view(element, "reconSpace", path)
    if recon_view is None:
        scaled = [v * r / e for v, r, e in zip(view, recon, encoded, strict=True)]
        recon_view = (scaled[0], scaled[1], scaled[2])
    acceleration = [
        _number(element, f"parallelImaging/accelerationFactor/kspace_encoding_step_{axis}", path)
        for axis in (1, 2)
    ]
    return Encoding(
        encoded,
        recon,
        view,
        recon_view,
        _limits(element, path),
        (_text(element, "trajectory") or "").lower(),
        None if acceleration[0] is None else (acceleration[0], acceleration[1] or 1.0),
        size_is_known,
        _trajectory_parameters(element, path),
    )


def _trajectory_parameters(element: ElementTree.Element, path: Path) -> dict[str, float]:
    """Numbers of the trajectory's description, such as times of EPI's gradients."""
    numbers = {}
    for kind in ("userParameterLong", "userParameterDouble"):
        for found in element.findall(f"{{*}}trajectoryDescription/{{*}}{kind}"):
            name, value = _text(found, "name"), _number(found, "value", path)
            if name and value is not None:
                numbers[name] = value
    return numbers


def _matrix(element: ElementTree.Element, space: str, path: Path) -> tuple[int, int, int] | None:
    x, y, z = (_number(element, f"{space}/matrixSize/{axis}", path) for axis in "xyz")
    if x is None or y is None:
        return None
    place = f"{space}/matrixSize"
    sizes = (
        _whole(x, f"{place}/x", path),
        _whole(y, f"{place}/y", path),
        _whole(z or 1, f"{place}/z", path),
    )
    check_matrix(path, f"{space} matrix of the header", *sizes)
    return sizes


def _field_of_view(
    element: ElementTree.Element, space: str, path: Path
) -> tuple[float, float, float] | None:
    x, y, z = (_number(element, f"{space}/fieldOfView_mm/{axis}", path) for axis in "xyz")
    if not x or not y or x < 0 or y < 0:
        return None
    return (x, y, z if z and z > 0 else 1.0)


def _limits(element: ElementTree.Element, path: Path) -> dict[str, Limit]:
    limits = {}
    container = element.find("{*}encodingLimits")
    for child in [] if container is None else container:
        values = [_number(child, part, path) for part in ("minimum", "maximum", "center")]
        name = child.tag.rpartition("}")[2]
        minimum, maximum, center = (None if v is None else _whole(v, name, path) for v in values)
        if maximum is not None and center is not None:
            limits[name] = Limit(minimum or 0, maximum, center)
    return limits


def _parameters(root: ElementTree.Element) -> dict[str, Any]:
    wanted = {
        "protocol": "measurementInformation/protocolName",
        "patient_position": "measurementInformation/patientPosition",
        "vendor": "acquisitionSystemInformation/systemVendor",
        "model": "acquisitionSystemInformation/systemModel",
        "field_strength_tesla": "acquisitionSystemInformation/systemFieldStrength_T",
        "sequence": "sequenceParameters/sequence_type",
        "echo_time_ms": "sequenceParameters/TE",
        "repetition_time_ms": "sequenceParameters/TR",
        "calibration_mode": "encoding/parallelImaging/calibrationMode",
    }
    found = {name: _text(root, place) for name, place in wanted.items()}
    return {name: text for name, text in found.items() if text}


def _text(element: ElementTree.Element, place: str) -> str | None:
    found = element.find("/".join("{*}" + part for part in place.split("/")))
    return None if found is None or not found.text else found.text.strip()


def _number(element: ElementTree.Element, place: str, path: Path) -> float | None:
    text = _text(element, place)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputFileError(
            f"{path}: the XML header says {place} = {text[:40]!r}, which is no number: correct "
            "the header or export the scan again"
        )
    return number


def _whole(number: float, place: str, path: Path) -> int:
    """Return the whole number that is meant: converters divide millimetres by millimetres."""
    nearest = round(number)
    if abs(number - nearest) > LARGEST_FRACTION:
        raise InputFileError(
            f"{path}: the XML header says {place} = {number:.6g}, which must be a whole number to "
            f"within {LARGEST_FRACTION:g}: correct the header or export the scan again"
        )
    return nearest


def make_header(
    encoded_matrix: tuple[int, int, int],
    recon_matrix: tuple[int, int, int],
    encoded_field_of_view: tuple[float, float, float],
    recon_field_of_view: tuple[float, float, float],
    *,
    limits: dict[str, Limit] | None = None,
    n_coils: int | None = None,
    trajectory: str = "cartesian",
    relative_receiver_noise_bandwidth: float | None = None,
    protocol: str | None = None,
) -> bytes:
    """Write an ISMRMRD XML header.

    Parameters
    ----------
    encoded_matrix, recon_matrix : tuple of int
        (x, y, z).
    encoded_field_of_view, recon_field_of_view : tuple of float
        (x, y, z) in mm.
    limits : dict of Limit, optional
        By counter, for example "kspace_encoding_step_1"; left out entirely if None.
    n_coils, trajectory, relative_receiver_noise_bandwidth, protocol
        As in the ISMRMRD schema; left out where None.

    Returns
    -------
    bytes
        UTF-8, elements in the order of the ISMRMRD schema.
    """
    root = ElementTree.Element("ismrmrdHeader", {"xmlns": NAMESPACE})
    if protocol:
        measurement = _add(root, "measurementInformation")
        _add(measurement, "patientPosition", "HFS")  # the schema requires one
        _add(measurement, "protocolName", protocol)
    system = _add(root, "acquisitionSystemInformation")
    if relative_receiver_noise_bandwidth is not None:
        _add(system, "relativeReceiverNoiseBandwidth", f"{relative_receiver_noise_bandwidth:f}")
    if n_coils is not None:
        _add(system, "receiverChannels", n_coils)
    _add(_add(root, "experimentalConditions"), "H1resonanceFrequency_Hz", 123000000)
    encoding = _add(root, "encoding")
    for name, matrix, view in (
        ("encodedSpace", encoded_matrix, encoded_field_of_view),
        ("reconSpace", recon_matrix, recon_field_of_view),
    ):
        space = _add(encoding, name)
        for part, values in (("matrixSize", matrix), ("fieldOfView_mm", view)):
            element = _add(space, part)
            for axis, value in zip("xyz", values, strict=True):
                _add(element, axis, value)
    element = _add(encoding, "encodingLimits")
    for name, limit in (limits or {}).items():
        counter = _add(element, name)
        for part in ("minimum", "maximum", "center"):
            _add(counter, part, getattr(limit, part))
    _add(encoding, "trajectory", trajectory)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _add(parent: ElementTree.Element, name: str, text: object = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, name)
    element.text = None if text is None else str(text)
    return element
