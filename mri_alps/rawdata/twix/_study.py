"""What a Siemens protocol says of the examination, by the names that ISMRMRD headers have.

Where siemens_to_ismrmrd finds it (its parameter map `IsmrmrdParameterMap_Siemens.xsl`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mri_alps.rawdata.twix._protocol import Protocol

_TEXTS = {
    "patient_name": "tPatientName",
    "patient_id": "PatientID",
    "patient_weight_kg": "flUsedPatientWeight",
    "body_part": "tBodyPartExamined",
    "measurement_id": "MeasUID",
    "frame_of_reference_uid": "tFrameOfReference",
    "institution": "InstitutionName",
    "device_serial_number": "DeviceSerialNumber",
    "proton_frequency_hz": "sTXSPEC.asNucleusInfo[0].lFrequency",
}
# of each echo, and by what the protocol's number has to be divided
_LISTS = {
    "repetition_times_ms": ("alTR", 1000),
    "echo_times_ms": ("alTE", 1000),
    "inversion_times_ms": ("alTI", 1000),
    "flip_angles_degree": ("adFlipAngleDegree", 1),
}
_SEX = {"1": "F", "2": "M"}
_MOST_ECHOES = 64


def study_of_protocol(protocol: Protocol) -> dict[str, Any]:
    """Return what is there, as `mri_alps.rawdata._study.study_of` does of an XML header.

    Parameters
    ----------
    protocol : Protocol
        Of the measurement.
    """
    found: dict[str, Any] = {}
    for name, place in _TEXTS.items():
        text = protocol.text(place)
        if text:
            found[name] = text
    sex = _SEX.get(protocol.text("lPatientSex") or "")
    if sex:
        found["patient_sex"] = sex
    contrasts = _number(protocol, "lContrasts") or 1.0
    for name, (place, divisor) in _LISTS.items():
        values = []
        for echo in range(int(min(max(contrasts, 1), _MOST_ECHOES))):
            value = _number(protocol, f"{place}[{echo}]")
            if value is None:
                break
            values.append(f"{value / divisor:.10g}")
        if values:
            found[name] = values
    return found


def _number(protocol: Protocol, name: str) -> float | None:
    """A number that is only told, so that nonsense is no reason to refuse the scan."""
    try:
        value = float((protocol.text(name) or "").partition("#")[0])
    except ValueError:
        return None
    return value if math.isfinite(value) else None
