"""What is known of a scan, as DICOM's patient, study, series and machine.

From the header of the raw data, and from an image of the scanner's own where one is given. Nothing
is made up but identifiers, which have to be there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.interop.dicom import _values as values

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mri_alps.pipeline import Reconstruction

# keyword: the header's name for it, and how it is read
_PATIENT_AND_STUDY: dict[str, tuple[str, Callable[[str], str]]] = {
    "PatientName": ("patient_name", values.text),
    "PatientID": ("patient_id", values.text),
    "PatientBirthDate": ("patient_birth_date", values.date),
    "PatientSex": ("patient_sex", values.code_string),
    "StudyInstanceUID": ("study_instance_uid", values.text),
    "StudyDate": ("study_date", values.date),
    "StudyTime": ("study_time", values.time),
    "StudyID": ("study_id", lambda found: values.text(found, 16)),
    "AccessionNumber": ("accession_number", lambda found: values.text(found, 16)),
    "ReferringPhysicianName": ("referring_physician", values.text),
    "StudyDescription": ("study_description", values.text),
    "FrameOfReferenceUID": ("frame_of_reference_uid", values.text),
    "BodyPartExamined": ("body_part", values.code_string),
    "InstitutionName": ("institution", values.text),
    "StationName": ("station", lambda found: values.text(found, 16)),
    "DeviceSerialNumber": ("device_serial_number", values.text),
}
_SAME = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
_FROM_SCANNER = (
    *_PATIENT_AND_STUDY,
    *("PatientSize", "PatientWeight", "PositionReferenceIndicator"),
    *("Manufacturer", "ManufacturerModelName", "MagneticFieldStrength", "PatientPosition"),
)
# Parts of the body of which there is one: of others the side would have to be known.
_BODY_PARTS = {
    "BRAIN": ("12738006", "Brain"),
    "HEAD": ("69536005", "Head"),
    "NECK": ("45048000", "Neck"),
    "CSPINE": ("122494005", "Cervical spine"),
    "TSPINE": ("122495006", "Thoracic spine"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "SPINE": ("421060004", "Spine"),
    "CHEST": ("51185008", "Chest"),
    "HEART": ("80891009", "Heart"),
    "LIVER": ("10200004", "Liver"),
    "PROSTATE": ("41216001", "Prostate"),
}
_WHOLE_BODY = ("38266002", "Entire body")


@dataclass(frozen=True)
class Facts:
    """What is known of a scan.

    Parameters
    ----------
    elements : dict
        Of patient, study, frame of reference and machine, by DICOM's keyword; what is not known
        is not there.
    header : dict
        What the raw data's header says of series and sequence, texts.
    contrast : int
        Which of the header's echoes was reconstructed.
    source : str
        Name of the raw file.
    """

    elements: dict[str, Any]
    header: dict[str, Any]
    contrast: int
    source: str

    @classmethod
    def of(cls, reconstruction: Reconstruction, study: Path | None) -> Facts:
        """Take them from a result, and from an image of the scanner's.

        Parameters
        ----------
        reconstruction : Reconstruction
            A result.
        study : pathlib.Path or None
            A DICOM image of the same examination, whose patient and study are taken.

        Raises
        ------
        InputFileError
            If the image is no DICOM image, or of another patient, study or frame of reference.
        """
        provenance = reconstruction.attributes.get("provenance", {})
        header = {**_part(provenance, "header"), **_part(provenance, "study")}
        chosen = _part(_part(provenance, "counters"), "contrast").get("chosen", 0)
        found = _from_header(header)
        if study is not None:
            found = _joined(_from_image(study), found, study)
        contrast = chosen if isinstance(chosen, int) else 0
        source = str(reconstruction.attributes.get("source", ""))
        # Archives sort by it; where nobody says who it was, scans must not be thrown together.
        found.setdefault("PatientID", values.text(Path(source).stem))
        return cls(found, header, contrast, source)

    def text(self, name: str, length: int = 64) -> str:
        """Return what the header says, as a text that may be empty.

        Parameters
        ----------
        name : str
            As in the provenance of a result.
        length : int
            How many characters there may be.
        """
        return values.text(self.header.get(name, ""), length)

    def number(self, name: str) -> float | None:
        """Return a number that the header says; of several, that of the echo.

        Parameters
        ----------
        name : str
            As in the provenance of a result.
        """
        found = self.header.get(name)
        if isinstance(found, list):
            place = self.contrast if len(found) > 1 else 0
            found = found[place] if place < len(found) else None
        return None if found is None else values.number(found)

    @property
    def study_uid(self) -> str:
        """Of the scanner where it is known; else one that measurements of an examination share."""
        known = self.elements.get("StudyInstanceUID", "")
        if known:
            return known
        names = ("PatientName", "PatientID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
        same = [str(self.elements.get(name, "")) for name in names]
        told = bool(same[2] and same[3]) or bool(same[4]) or bool(same[5])
        return values.uid("study", *(same if told else (self.source, self._measurement)))

    @property
    def frame_of_reference_uid(self) -> str:
        """Of the scanner where it is known, else one of this measurement's own."""
        own = values.uid("frame of reference", self.source, self._measurement)
        return self.elements.get("FrameOfReferenceUID") or own

    @property
    def _measurement(self) -> str:
        return self.text("measurement_id")

    @property
    def scanning_sequence(self) -> list[str]:
        """DICOM's word for the sequence; RM, research mode, where the header has no known one."""
        told = f"{self.text('sequence')} {self.text('sequence_name')}".lower()
        kinds = {
            "EP": ("epi", "echo planar"),
            "SE": ("tse", "fse", "spin", "haste", "space"),
            "GR": ("gre", "flash", "gradient", "fisp", "ffe", "mprage", "bssfp", "spgr"),
        }
        found = [kind for kind, words in kinds.items() if any(word in told for word in words)]
        # Not by the inversion time, which scanners write into headers of sequences without one.
        words = ("mprage", "inversion", "flair", "stir", "tirm")
        inverted = ["IR"] if any(word in told for word in words) else []
        return [*found[:1], *inverted] or ["RM"]

    @property
    def is_unpaired(self) -> bool:
        """Whether the part of the body is known, and one that there is once."""
        return self.elements.get("BodyPartExamined") in _BODY_PARTS

    @property
    def body_part(self) -> tuple[str, str]:
        """Code and name of SNOMED CT; the entire body where the header does not say."""
        return _BODY_PARTS.get(str(self.elements.get("BodyPartExamined", "")), _WHOLE_BODY)


def _part(attributes: dict[str, Any], name: str) -> dict[str, Any]:
    found = attributes.get(name)
    return found if isinstance(found, dict) else {}


def _from_header(header: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keyword, (name, read) in _PATIENT_AND_STUDY.items():
        value = read(header.get(name, ""))
        if value and (not keyword.endswith("UID") or values.is_uid(value)):
            found[keyword] = value
    if found.get("PatientSex") not in ("M", "F", "O"):
        found.pop("PatientSex", None)
    sizes = {"PatientWeight": "patient_weight_kg", "PatientSize": "patient_height_m"}
    for keyword, name in sizes.items():
        size = values.number(header.get(name))
        if size:
            found[keyword] = values.decimal(size)
    for keyword, name in (("Manufacturer", "vendor"), ("ManufacturerModelName", "model")):
        if header.get(name):
            found[keyword] = values.text(header[name])
    strength = values.number(header.get("field_strength_tesla"))
    if strength:
        found["MagneticFieldStrength"] = strength
    position = values.code_string(header.get("patient_position", ""))
    if position:
        found["PatientPosition"] = position
    return found


def _from_image(path: Path) -> dict[str, Any]:
    import pydicom

    try:
        image: Dataset = pydicom.dcmread(path, stop_before_pixels=True)
        found = {k: image[k].value for k in _FROM_SCANNER if k in image and image[k].value}
    except (OSError, pydicom.errors.InvalidDicomError, ValueError, KeyError, TypeError) as error:
        raise InputFileError(
            f"{path} cannot be read as DICOM ({error}): name an image of the scanner's of the same "
            "examination"
        ) from error
    if "StudyInstanceUID" not in found:
        raise InputFileError(
            f"{path} has no StudyInstanceUID: name an image of the scanner's of the same "
            "examination"
        )
    return found


def _joined(image: dict[str, Any], header: dict[str, Any], path: Path) -> dict[str, Any]:
    """The image's word holds; where the header contradicts it, they are not of one examination."""
    for keyword in _SAME:
        if keyword in image and keyword in header and str(image[keyword]) != str(header[keyword]):
            raise ConfigurationError(
                f"{path} has the {keyword} {str(image[keyword])!r} and the raw data's header "
                f"{str(header[keyword])!r}: name an image of the same examination"
            )
    return {**header, **image}
