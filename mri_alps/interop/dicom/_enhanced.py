"""Enhanced MR Image Storage: one file, a frame a slice."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.interop.dicom import _values as values
from mri_alps.interop.dicom._classic import orientation, slice_distance, timing
from mri_alps.interop.dicom._common import UNKNOWN
from mri_alps.interop.dicom._values import code, item

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mri_alps.interop.dicom._facts import Facts
    from mri_alps.interop.dicom._series import DicomSeries
    from mri_alps.interop.image_geometry import ImageGeometry
    from mri_alps.pipeline import Reconstruction

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.4.1"
_PARALLEL = 1e-5  # of unit vectors; headers hold single precision


def enhanced(
    common: Dataset,
    series: DicomSeries,
    geometry: ImageGeometry,
    facts: Facts,
    reconstruction: Reconstruction,
) -> Dataset:
    """Return the image of all slices.

    Parameters
    ----------
    common : pydicom.Dataset
        What the images of the series share.
    series : DicomSeries
        Mean or deviation.
    geometry : ImageGeometry
        Where the slices lie.
    facts : Facts
        What is known of the scan.
    reconstruction : Reconstruction
        For the numbers of its slices.
    """
    data = deepcopy(common)
    data.SOPClassUID = SOP_CLASS
    data.SOPInstanceUID = values.uid(data.SeriesInstanceUID, "enhanced")
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber"):
        if not data.get(keyword):
            setattr(data, keyword, UNKNOWN)
    data.InstanceNumber = 1
    data.NumberOfFrames = len(series.values)
    kind = _kind(series)
    data.ImageType = kind.pop("FrameType")
    data.update(item(**kind))
    data.ContentQualification, data.PresentationLUTShape = "RESEARCH", "IDENTITY"
    data.AcquisitionContextSequence = []
    data.ApplicableSafetyStandardAgency = UNKNOWN  # the scanner's own; headers do not say it
    # The functional groups of timing want absorption rates and much else that no header says: what
    # it does say stands where classic images have it.
    data.update(timing(facts))
    data.ResonantNucleus = "1H"
    dimensions = values.uid(data.SeriesInstanceUID, "dimensions")
    data.DimensionOrganizationSequence = [item(DimensionOrganizationUID=dimensions)]
    data.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=dimensions,
            DimensionIndexPointer=0x00209057,  # InStackPositionNumber
            FunctionalGroupPointer=0x00209111,  # FrameContentSequence
        )
    ]
    parallel = is_parallel(geometry)
    shared = _shared(series, geometry, facts)
    if parallel:
        shared["PlaneOrientationSequence"] = _orientation(geometry, 0)
    data.SharedFunctionalGroupsSequence = [item(**shared)]
    shape = series.values.shape[1:]
    data.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[
                item(
                    StackID="1",
                    InStackPositionNumber=index + 1,
                    DimensionIndexValues=[index + 1],
                    FrameComments=f"slice {int(reconstruction.slices[index])} of the scan",
                )
            ],
            PlanePositionSequence=[
                item(ImagePositionPatient=values.decimals(geometry.corner(index, shape)))
            ],
            PlaneOrientationSequence=None if parallel else _orientation(geometry, index),
        )
        for index in range(len(series.values))
    ]
    data.PixelData = series.pixels.astype("<u2").tobytes()
    return data


def is_parallel(geometry: ImageGeometry) -> bool:
    """Return whether all slices have the same directions.

    Parameters
    ----------
    geometry : ImageGeometry
        Where the slices lie.
    """
    axes = np.stack([geometry.row_direction, geometry.column_direction])
    return bool(np.abs(axes - axes[:, :1]).max() <= _PARALLEL)


def _orientation(geometry: ImageGeometry, index: int) -> list[Dataset]:
    return [item(ImageOrientationPatient=orientation(geometry, index))]


def _kind(series: DicomSeries) -> dict[str, Any]:
    return {
        "FrameType": ["DERIVED", "PRIMARY", "VOLUME", series.contrast],
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": "MAGNITUDE",
        "AcquisitionContrast": "UNKNOWN",
    }


def _shared(series: DicomSeries, geometry: ImageGeometry, facts: Facts) -> dict[str, Any]:
    center, width = series.window()
    part, meaning = facts.body_part
    groups = {
        "PixelMeasuresSequence": [
            item(
                PixelSpacing=values.decimals(geometry.spacing),
                SliceThickness=values.decimal(geometry.thickness),
                SpacingBetweenSlices=slice_distance(geometry),
            )
        ],
        "FrameAnatomySequence": [
            item(FrameLaterality="U", AnatomicRegionSequence=[code(part, "SCT", meaning)])
        ],
        "PixelValueTransformationSequence": [
            item(RescaleIntercept="0", RescaleSlope=series.slope_text, RescaleType="US")
        ],
        "FrameVOILUTSequence": [item(WindowCenter=center, WindowWidth=width)],
        "RealWorldValueMappingSequence": [series.real_world_mapping()],
        "MRImageFrameTypeSequence": [item(**_kind(series))],
    }
    echo = facts.number("echo_times_ms")
    if echo is not None:
        groups["MREchoSequence"] = [item(EffectiveEchoTime=echo)]
    return groups
