"""The deviation as a Parametric Map of floating-point numbers, by highdicom."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

import mri_alps
from mri_alps.interop.dicom import _values as values
from mri_alps.interop.dicom._common import NOT_FOR_DIAGNOSIS
from mri_alps.interop.dicom._series import UNITS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mri_alps.interop.dicom._series import DicomSeries


def parametric_map(source: Dataset, series: DicomSeries, is_unpaired: bool) -> Dataset:
    """Return the map of a series.

    Parameters
    ----------
    source : pydicom.Dataset
        The Enhanced MR image of the mean, whose frames the map belongs to.
    series : DicomSeries
        The deviation. Stored values are the rescaled ones of its other images; the mapping leads
        to the units of the reconstruction.
    is_unpaired : bool
        Whether the part of the body is known to be one that there is once.
    """
    from highdicom.content import VOILUTTransformation
    from highdicom.pm import DerivedPixelContrastValues, ParametricMap, RealWorldValueMapping
    from pydicom.sr.coding import Code

    stored = series.rescaled.astype(np.float32)
    center, width = series.window()
    instance = values.uid(source.SeriesInstanceUID, "parametric map")
    top = float(stored.max()) or 1.0
    mapping = RealWorldValueMapping(
        lut_label="ALPS",
        lut_explanation="root sum of squares of the coils",
        unit=Code(*UNITS),
        value_range=(0.0, top),
        slope=10.0**-series.exponent,
        intercept=0.0,
        quantity_definition=Code("386136009", "SCT", "Standard deviation"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names of patients, which are the scanner's
        data = ParametricMap(
            source_images=[source],
            pixel_array=stored,
            series_instance_uid=values.uid(instance, "series"),
            series_number=int(source.SeriesNumber) + 2,
            sop_instance_uid=instance,
            instance_number=1,
            manufacturer="mri_alps",
            manufacturer_model_name="mri_alps",
            software_versions=mri_alps.__version__,
            device_serial_number="none",
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            voi_lut_transformations=[
                VOILUTTransformation(window_center=float(center), window_width=float(width))
            ],
            content_description=f"deviation, {NOT_FOR_DIAGNOSIS}",
            content_label="ALPS_STD",
            derived_pixel_contrast=DerivedPixelContrastValues.STD_DEVIATION,
        )
    data.SeriesDescription = values.text(f"{source.ProtocolName} ALPS {series.description} map")
    data.DerivationDescription = source.DerivationDescription.replace(
        "posterior mean", series.description, 1
    )
    data.ImageComments = source.ImageComments
    for keyword in ("BodyPartExamined", "PatientPosition", "ProtocolName", "MagneticFieldStrength"):
        if source.get(keyword):
            setattr(data, keyword, source[keyword].value)
    if not is_unpaired:
        data.Laterality = ""
    return _repeatable(data, source, instance)


def _repeatable(data: Dataset, source: Dataset, instance: str) -> Dataset:
    """Let the same reconstruction give the same file."""
    data.ContentDate, data.ContentTime = source.ContentDate, source.ContentTime
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime"):
        if keyword in source:
            setattr(data, keyword, source[keyword].value)
        elif keyword in data:
            del data[keyword]
    for equipment in data.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = source.ContentDate + source.ContentTime
    dimensions = values.uid(instance, "dimensions")
    for sequence in (data.DimensionOrganizationSequence, data.DimensionIndexSequence):
        for one in sequence:
            one.DimensionOrganizationUID = dimensions
    return data
