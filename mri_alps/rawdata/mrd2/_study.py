"""What an MRD 2 header says of the examination, by the names of ISMRMRD headers here."""

from __future__ import annotations

from typing import Any

_LONGEST, _MOST = 1024, 64

_PLACES = {
    "subject_information": {
        "patient_name": "patient_name",
        "patient_id": "patient_id",
        "patient_birthdate": "patient_birth_date",
        "patient_gender": "patient_sex",
        "patient_weight_kg": "patient_weight_kg",
        "patient_height_m": "patient_height_m",
    },
    "study_information": {
        "study_date": "study_date",
        "study_time": "study_time",
        "study_id": "study_id",
        "accession_number": "accession_number",
        "referring_physician_name": "referring_physician",
        "study_description": "study_description",
        "study_instance_uid": "study_instance_uid",
        "body_part_examined": "body_part",
    },
    "measurement_information": {
        "measurement_id": "measurement_id",
        "series_date": "series_date",
        "series_time": "series_time",
        "initial_series_number": "series_number",
        "sequence_name": "sequence_name",
        "series_description": "series_description",
        "frame_of_reference_uid": "frame_of_reference_uid",
    },
    "acquisition_system_information": {
        "institution_name": "institution",
        "station_name": "station",
        "device_id": "device_id",
        "device_serial_number": "device_serial_number",
    },
    "experimental_conditions": {"h1resonance_frequency_hz": "proton_frequency_hz"},
}
_LISTS = {
    "t_r": "repetition_times_ms",
    "t_e": "echo_times_ms",
    "t_i": "inversion_times_ms",
    "flip_angle_deg": "flip_angles_degree",
}


def study_of_mrd(header: Any) -> dict[str, Any]:
    """Return what is there, as `mri_alps.rawdata._study.study_of` does of an XML header.

    Parameters
    ----------
    header : mrd.Header
        As mrd-python reads it.
    """
    found: dict[str, Any] = {}
    for section, names in _PLACES.items():
        part = getattr(header, section, None)
        for place, name in names.items():
            text = _text(getattr(part, place, None))
            if text:
                found[name] = text
    position = getattr(header.measurement_information, "patient_position", None)
    if position is not None:
        found["patient_position"] = position.name.replace("_", "")  # H_FS there, HFS elsewhere
    for place, name in _LISTS.items():
        values = getattr(header.sequence_parameters, place, None) or []
        if len(values):
            found[name] = [_text(value) for value in values[:_MOST]]
    return found


def _text(value: object) -> str:
    """Of a word from a list its name, of a number what single precision holds of it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.7g}"
    return str(getattr(value, "name", value))[:_LONGEST].strip()
