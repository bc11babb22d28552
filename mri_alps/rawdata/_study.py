"""What an ISMRMRD header says of the examination: patient, study, series, machine, sequence.

Images that leave for an archive need it (DICOM's patient, study and series); nothing else does.
Names and order follow the ISMRMRD schema.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

_LONGEST = 1024  # of a text of DICOM that is not a report
_MOST = 64  # echoes, flip angles, ...

_TEXTS = {
    "subjectInformation": {
        "patientName": "patient_name",
        "patientID": "patient_id",
        "patientBirthdate": "patient_birth_date",
        "patientGender": "patient_sex",
        "patientWeight_kg": "patient_weight_kg",
        "patientHeight_m": "patient_height_m",
    },
    "studyInformation": {
        "studyDate": "study_date",
        "studyTime": "study_time",
        "studyID": "study_id",
        "accessionNumber": "accession_number",
        "referringPhysicianName": "referring_physician",
        "studyDescription": "study_description",
        "studyInstanceUID": "study_instance_uid",
        "bodyPartExamined": "body_part",
    },
    "measurementInformation": {
        "measurementID": "measurement_id",
        "seriesDate": "series_date",
        "seriesTime": "series_time",
        "initialSeriesNumber": "series_number",
        "sequenceName": "sequence_name",
        "seriesDescription": "series_description",
        "frameOfReferenceUID": "frame_of_reference_uid",
    },
    "acquisitionSystemInformation": {
        "institutionName": "institution",
        "stationName": "station",
        "deviceID": "device_id",
        "deviceSerialNumber": "device_serial_number",
    },
    "experimentalConditions": {"H1resonanceFrequency_Hz": "proton_frequency_hz"},
    "encoding": {"echoTrainLength": "echo_train_length"},
}
_LISTS = {
    "TR": "repetition_times_ms",
    "TE": "echo_times_ms",
    "TI": "inversion_times_ms",
    "flipAngle_deg": "flip_angles_degree",
}


def study_of(root: ElementTree.Element) -> dict[str, Any]:
    """Return what is there, texts as they stand, by name.

    Parameters
    ----------
    root : xml.etree.ElementTree.Element
        ``ismrmrdHeader``.

    Returns
    -------
    dict
        Texts, and lists of texts for times and flip angles (one per echo, as scanners have it).
    """
    found: dict[str, Any] = {}
    for section, names in _TEXTS.items():
        for place, name in names.items():
            texts = _texts(root, f"{{*}}{section}/{{*}}{place}")
            if texts:
                found[name] = texts[0]
    for place, name in _LISTS.items():
        texts = _texts(root, f"{{*}}sequenceParameters/{{*}}{place}")
        if texts:
            found[name] = texts[:_MOST]
    return found


def _texts(root: ElementTree.Element, place: str) -> list[str]:
    texts = [(element.text or "").strip() for element in root.findall(place)]
    return [text[:_LONGEST] for text in texts if text]
