"""MR Image Storage: a file for each slice, which every program reads."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.interop.dicom import _values as values

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mri_alps.interop.dicom._facts import Facts
    from mri_alps.interop.dicom._series import DicomSeries
    from mri_alps.interop.image_geometry import ImageGeometry

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.4"


def classic(
    common: Dataset, series: DicomSeries, index: int, geometry: ImageGeometry, facts: Facts
) -> Dataset:
    """Return the image of one slice.

    Parameters
    ----------
    common : pydicom.Dataset
        What the images of the series share.
    series : DicomSeries
        Mean or deviation.
    index : int
        Row of the reconstruction.
    geometry : ImageGeometry
        Where the slices lie.
    facts : Facts
        What is known of the scan.
    """
    data = deepcopy(common)
    data.SOPClassUID = SOP_CLASS
    data.SOPInstanceUID = values.uid(data.SeriesInstanceUID, index)
    data.ImageType = ["DERIVED", "SECONDARY", "OTHER", series.contrast]
    data.InstanceNumber = index + 1
    if not facts.is_unpaired:
        data.Laterality = ""  # has to be there where the part of the body may be one of a pair
    data.ScanningSequence, data.SequenceVariant = facts.scanning_sequence, "NONE"
    data.ScanOptions, data.MRAcquisitionType = "", "2D"
    data.RepetitionTime = data.EchoTime = data.EchoTrainLength = None  # have to be there
    data.update(timing(facts))
    data.PixelSpacing = values.decimals(geometry.spacing)  # between rows, then between columns
    data.SliceThickness = values.decimal(geometry.thickness)
    data.ImageOrientationPatient = orientation(geometry, index)
    data.ImagePositionPatient = values.decimals(geometry.corner(index, series.values.shape[1:]))
    if len(geometry.centers) > 1:
        data.SpacingBetweenSlices = slice_distance(geometry)
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", series.slope_text, "US"
    data.WindowCenter, data.WindowWidth = series.window()
    data.RealWorldValueMappingSequence = [series.real_world_mapping()]
    data.PixelData = series.pixels[index].astype("<u2").tobytes()
    return data


def slice_distance(geometry: ImageGeometry) -> str:
    """Return how far slices are apart on average; of a single one, its thickness.

    Parameters
    ----------
    geometry : ImageGeometry
        Where the slices lie.
    """
    if len(geometry.centers) < 2:
        return values.decimal(geometry.thickness)
    steps = np.linalg.norm(np.diff(geometry.centers, axis=0), axis=1)
    return values.decimal(float(steps.mean()))


def timing(facts: Facts) -> Dataset:
    """Return what the header knows of the sequence.

    Parameters
    ----------
    facts : Facts
        What is known of the scan.
    """
    found = {
        "RepetitionTime": facts.number("repetition_times_ms"),
        "EchoTime": facts.number("echo_times_ms"),
        "InversionTime": facts.number("inversion_times_ms"),
        "FlipAngle": facts.number("flip_angles_degree"),
        "ImagingFrequency": facts.number("proton_frequency_hz"),
    }
    if found["ImagingFrequency"] is not None:
        found["ImagingFrequency"] /= 1e6  # MHz
    made = {name: values.decimal(value) for name, value in found.items() if value is not None}
    train = facts.number("echo_train_length")
    return values.item(
        **made,
        EchoTrainLength=None if train is None else str(int(train)),
        SequenceName=facts.text("sequence_name", 16) or None,
        ImagedNucleus="1H" if "ImagingFrequency" in made else None,
    )


def orientation(geometry: ImageGeometry, index: int) -> list[str]:
    """Return the direction along a row (of increasing column), then along a column.

    Parameters
    ----------
    geometry : ImageGeometry
        Where the slices lie.
    index : int
        Row of the reconstruction.
    """
    return values.decimals([*geometry.column_direction[index], *geometry.row_direction[index]])
