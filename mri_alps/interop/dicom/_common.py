"""What all images have: patient, study, series, machine, and how they were derived."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import mri_alps
from mri_alps.interop.dicom import _values as values
from mri_alps.interop.dicom._values import code, item

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mri_alps.interop.dicom._facts import Facts
    from mri_alps.interop.dicom._series import DicomSeries
    from mri_alps.interop.image_geometry import ImageGeometry
    from mri_alps.pipeline import Reconstruction

NOT_FOR_DIAGNOSIS = "research software, not for diagnostic use"
UNKNOWN = "UNKNOWN"
_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName", "Manufacturer"),
)


def common(
    reconstruction: Reconstruction,
    facts: Facts,
    series: DicomSeries,
    geometry: ImageGeometry,
    identity: str,
) -> Dataset:
    """Return the elements of a series that all its images share.

    Parameters
    ----------
    reconstruction : Reconstruction
        For how it was made.
    facts : Facts
        What is known of the scan.
    series : DicomSeries
        Mean or deviation.
    geometry : ImageGeometry
        Of the images; one that is made up is in no frame of reference of a scanner's.
    identity : str
        Digest of the content.
    """
    data = item(SpecificCharacterSet="ISO_IR 192", Modality="MR")
    for keyword in _EMPTY:
        setattr(data, keyword, "")
    for keyword, value in facts.elements.items():
        setattr(data, keyword, value)
    data.StudyInstanceUID = facts.study_uid
    data.SeriesInstanceUID = values.uid(identity, series.name)
    first = facts.number("series_number")
    data.SeriesNumber = series.number + (100 * int(first) if first and 0 < first < 10**6 else 0)
    protocol = facts.text("series_description") or facts.text("protocol")
    data.SeriesDescription = values.text(f"{protocol} ALPS {series.description}")
    data.ProtocolName = protocol or "unknown"
    for keyword, name, read in (
        ("SeriesDate", "series_date", values.date),
        ("SeriesTime", "series_time", values.time),
    ):
        value = read(facts.text(name))
        if value:
            setattr(data, keyword, value)
    if geometry.is_nominal:
        data.FrameOfReferenceUID = values.uid(identity, "frame of reference")
    else:
        data.FrameOfReferenceUID = facts.frame_of_reference_uid
    if "PositionReferenceIndicator" not in data:
        data.PositionReferenceIndicator = ""
    if "PatientPosition" not in data:
        data.PatientPosition = "HFS"  # what the ISMRMRD schema takes where nothing is said
    made = _made(reconstruction)
    data.ContentDate, data.ContentTime = f"{made:%Y%m%d}", f"{made:%H%M%S}"
    _describe(data, reconstruction, series)
    data.BurnedInAnnotation, data.LossyImageCompression = "NO", "00"
    data.Rows, data.Columns = series.values.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    return data


def _made(reconstruction: Reconstruction) -> datetime.datetime:
    """When the reconstruction was written; now, where it is in no file."""
    path = reconstruction.path
    if path is not None and path.exists():
        return datetime.datetime.fromtimestamp(path.stat().st_mtime)
    return datetime.datetime.now()


def _describe(data: Dataset, reconstruction: Reconstruction, series: DicomSeries) -> None:
    attributes = reconstruction.attributes
    settings = attributes.get("configuration", {})
    parameters = (
        f"prior {attributes.get('prior', 'unknown')}, "
        f"{attributes.get('n_samples', '?')} posterior samples per slice, "
        f"{attributes.get('n_evaluations', '?')} evaluations of the prior each, "
        f"seed {attributes.get('seed', '?')}"
    )
    method = settings.get("method", "alps") if isinstance(settings, dict) else "alps"
    scale = f"values are those of the root sum of squares of the coils times 1e{series.exponent}"
    data.DerivationDescription = values.text(
        f"{series.description} of the magnitude, from raw k-space: {parameters}; {scale}; "
        f"{NOT_FOR_DIAGNOSIS}",
        1024,
    )
    data.ImageComments = f"mri_alps: {NOT_FOR_DIAGNOSIS}"
    data.SoftwareVersions = f"mri_alps {mri_alps.__version__}"
    data.DerivationAlgorithmSequence = [
        item(
            AlgorithmFamilyCodeSequence=[code("123110", "DCM", "Artificial Intelligence")],
            AlgorithmName=f"annealed Langevin posterior sampling ({method})",
            AlgorithmVersion=mri_alps.__version__,
            AlgorithmParameters=values.text(parameters, 1024),
            AlgorithmSource="mri_alps",
        )
    ]
    data.ContributingEquipmentSequence = [
        item(
            PurposeOfReferenceCodeSequence=[code("109102", "DCM", "Processing Equipment")],
            Manufacturer="mri_alps",
            # Not model and version: readers that do not nest would take them for the scanner's.
            ContributionDescription=f"image reconstruction, {NOT_FOR_DIAGNOSIS}",
        )
    ]
