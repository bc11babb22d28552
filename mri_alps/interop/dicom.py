"""Reconstructions as DICOM, by pydicom: enhanced multi-frame or classic single-frame.

Rows run along the readout and columns along the phase encode, as in the arrays. Mean and
standard deviation are two series of one study. Pixels are 16 bit; the rescale slope gives back
the units of the reconstruction to within half a step, 1 / 131070 of the series' largest value.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mri_alps
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.optional import require
from mri_alps.interop.image_geometry import ImageGeometry
from mri_alps.rawdata import atomic_path

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mri_alps.pipeline import Reconstruction

_CLASSIC = "1.2.840.10008.5.1.4.1.1.4"
_ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"


@dataclass(frozen=True)
class _DicomSeries:
    number: int
    name: str
    description: str
    pixels: np.ndarray
    slope: float


def write_dicom(
    reconstruction: Reconstruction, folder: Path | str, classic: bool = False
) -> list[Path]:
    """Write mean and standard deviation as two DICOM series.

    Parameters
    ----------
    reconstruction : Reconstruction
        From `load_reconstruction`.
    folder : Path or str
        Gets mean.dcm and std.dcm (Enhanced MR Image, a frame a slice), or with `classic`
        mean/0001.dcm, ... and std/0001.dcm, ... (MR Image).
    classic : bool
        A file for each slice, for programs that do not read the enhanced form.

    Returns
    -------
    list of Path
        The files. Identifiers follow from the content: the same reconstruction gives the same
        ones.

    Raises
    ------
    MissingDependencyError
        If pydicom is missing.
    ConfigurationError
        If the reconstruction holds values that are not finite, or no geometry.
    """
    require("pydicom", "writing DICOM", "dicom")
    geometry = ImageGeometry.of(reconstruction)
    folder = Path(folder)
    series = [
        _quantise(1, "mean", "posterior mean", reconstruction.reconstruction),
        _quantise(2, "std", "posterior standard deviation", reconstruction.reconstruction_std),
    ]
    identity = hashlib.sha256(str(reconstruction.attributes.get("source")).encode())
    for one in series:
        identity.update(one.pixels.tobytes())
    written = []
    for one in series:
        data = _common(reconstruction, one, identity.hexdigest())
        if classic:
            (folder / one.name).mkdir(parents=True, exist_ok=True)
            for index in range(len(one.pixels)):
                target = folder / one.name / f"{index + 1:04d}.dcm"
                _save(_classic(data, one, index, geometry), target)
                written.append(target)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{one.name}.dcm"
            _save(_enhanced(data, one, geometry, reconstruction), target)
            written.append(target)
    return written


def _quantise(number: int, name: str, description: str, images: np.ndarray) -> _DicomSeries:
    if not np.isfinite(images).all():
        raise ConfigurationError(
            f"the {description} holds NaN or Inf, which DICOM cannot: reconstruct the scan again"
        )
    slope = float(f"{float(images.max()) / 65535 or 1.0:.9e}")  # DS holds 16 characters
    pixels = np.clip(np.rint(images / slope), 0, 65535).astype(np.uint16)
    return _DicomSeries(number, name, description, pixels, slope)


def _uid(*parts: object) -> str:
    """An identifier under 2.25, whose one component is a number of 128 bits."""
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()
    return f"2.25.{int(digest[:32], 16)}"


def _common(reconstruction: Reconstruction, series: _DicomSeries, identity: str) -> Dataset:
    from pydicom.dataset import Dataset

    attributes = reconstruction.attributes
    header = attributes.get("provenance", {}).get("header", {})
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.Modality = "MR"
    data.Manufacturer = str(header.get("vendor", ""))[:64]
    data.ManufacturerModelName = str(header.get("model", ""))[:64]
    data.SoftwareVersions = f"mri_alps {mri_alps.__version__}"
    data.PatientName = ""
    data.PatientID = Path(str(attributes.get("source", ""))).stem[:64]
    data.PatientBirthDate = data.PatientSex = ""
    data.StudyInstanceUID = _uid(identity, "study")
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.StudyID = ""
    data.ReferringPhysicianName = ""
    data.SeriesInstanceUID = _uid(identity, series.name)
    data.SeriesNumber = series.number
    data.SeriesDescription = f"mri_alps {series.description}"
    data.ProtocolName = str(attributes.get("acquisition", ""))[:64]
    data.FrameOfReferenceUID = _uid(identity, "frame of reference")
    data.PositionReferenceIndicator = ""
    data.PatientPosition = str(header.get("patient_position", "HFS"))[:16]
    data.DerivationDescription = (
        f"{series.description} of {attributes.get('n_samples')} posterior samples per slice"
    )
    data.BurnedInAnnotation = "NO"
    data.LossyImageCompression = "00"
    data.Rows, data.Columns = series.pixels.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.StudyDescription = "mri_alps: research software, no medical device"
    return data


def _window(series: _DicomSeries) -> tuple[str, str]:
    """Centre and width in the units of the reconstruction, as 16 characters hold them."""
    top = max(float(np.percentile(series.pixels, 99.5)) * series.slope, series.slope)
    return f"{top / 2:.6g}", f"{top:.6g}"


def _numbers(values: Any) -> list[str]:
    return [f"{float(value):.10g}" for value in values]


def _orientation(geometry: ImageGeometry, index: int) -> list[str]:
    # first the direction along a row (of increasing column), then along a column
    return _numbers([*geometry.column_direction[index], *geometry.row_direction[index]])


def _measures(target: Dataset, geometry: ImageGeometry) -> None:
    target.PixelSpacing = _numbers(geometry.spacing)  # between rows, then between columns
    target.SliceThickness = f"{geometry.thickness:.10g}"


def _classic(common: Dataset, series: _DicomSeries, index: int, geometry: ImageGeometry) -> Dataset:
    from copy import deepcopy

    data = deepcopy(common)
    data.SOPClassUID = _CLASSIC
    data.SOPInstanceUID = _uid(data.SeriesInstanceUID, index)
    data.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    data.InstanceNumber = index + 1
    data.ScanningSequence, data.SequenceVariant = "RM", "NONE"  # research mode
    data.ScanOptions, data.MRAcquisitionType = "", "2D"
    data.RepetitionTime = data.EchoTime = data.EchoTrainLength = None
    _measures(data, geometry)
    data.ImageOrientationPatient = _orientation(geometry, index)
    data.ImagePositionPatient = _numbers(geometry.corner(index, series.pixels.shape[1:]))
    if len(geometry.centers) > 1:
        distance = np.linalg.norm(np.diff(geometry.centers, axis=0), axis=1).mean()
        data.SpacingBetweenSlices = f"{distance:.10g}"
    data.RescaleIntercept, data.RescaleSlope = "0", f"{series.slope:.9e}"
    data.RescaleType = "US"
    data.WindowCenter, data.WindowWidth = _window(series)
    data.PixelData = series.pixels[index].astype("<u2").tobytes()
    return data


def _enhanced(
    common: Dataset, series: _DicomSeries, geometry: ImageGeometry, reconstruction: Reconstruction
) -> Dataset:
    from copy import deepcopy

    data = deepcopy(common)
    data.SOPClassUID = _ENHANCED
    data.SOPInstanceUID = _uid(data.SeriesInstanceUID, "enhanced")
    data.ImageType = ["DERIVED", "SECONDARY", "OTHER", "NONE"]
    data.InstanceNumber = 1
    data.NumberOfFrames = len(series.pixels)
    data.ContentDate = data.ContentTime = ""
    data.PixelPresentation, data.VolumetricProperties = "MONOCHROME", "VOLUME"
    data.VolumeBasedCalculationTechnique = "NONE"
    data.ComplexImageComponent, data.AcquisitionContrast = "MAGNITUDE", "UNKNOWN"
    data.ContentQualification, data.PresentationLUTShape = "RESEARCH", "IDENTITY"
    data.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=_uid(
        data.SeriesInstanceUID, "dimensions"))]  # fmt: skip
    data.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=data.DimensionOrganizationSequence[0].DimensionOrganizationUID,
            DimensionIndexPointer=0x00209057,  # InStackPositionNumber
            FunctionalGroupPointer=0x00209111,  # FrameContentSequence
        )
    ]
    measures = _item()
    _measures(measures, geometry)
    center, width = _window(series)
    data.SharedFunctionalGroupsSequence = [
        _item(
            PixelMeasuresSequence=[measures],
            PixelValueTransformationSequence=[
                _item(RescaleIntercept="0", RescaleSlope=f"{series.slope:.9e}", RescaleType="US")
            ],
            FrameVOILUTSequence=[_item(WindowCenter=center, WindowWidth=width)],
            MRImageFrameTypeSequence=[
                _item(
                    FrameType=["DERIVED", "SECONDARY", "OTHER", "NONE"],
                    PixelPresentation="MONOCHROME",
                    VolumetricProperties="VOLUME",
                    VolumeBasedCalculationTechnique="NONE",
                    ComplexImageComponent="MAGNITUDE",
                    AcquisitionContrast="UNKNOWN",
                )
            ],
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        _item(
            FrameContentSequence=[
                _item(
                    StackID="1",
                    InStackPositionNumber=index + 1,
                    DimensionIndexValues=[index + 1],
                    FrameComments=f"slice {int(reconstruction.slices[index])} of the scan",
                )
            ],
            PlanePositionSequence=[
                _item(
                    ImagePositionPatient=_numbers(geometry.corner(index, series.pixels.shape[1:]))
                )
            ],
            PlaneOrientationSequence=[_item(ImageOrientationPatient=_orientation(geometry, index))],
        )
        for index in range(len(series.pixels))
    ]
    data.PixelData = series.pixels.astype("<u2").tobytes()
    return data


def _item(**elements: Any) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def _save(data: Dataset, path: Path) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with atomic_path(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)
