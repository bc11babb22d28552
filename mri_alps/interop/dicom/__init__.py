"""Reconstructions as DICOM: enhanced multi-frame with a parametric map, or classic single-frame.

Rows run along the readout and columns along the phase encode, as in the arrays. Mean and standard
deviation are two series of the scanner's own study, where the raw data's header or an image of the
scanner's says which that is. Pixels are 16 bit; rescaled, they are the values of the reconstruction
times one power of ten for both, to within half a step, 1 / 131070 of the series' largest value; the
real-world mapping leads to the values themselves.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.core.atomic import atomic_path
from mri_alps.core.optional import require
from mri_alps.interop.image_geometry import ImageGeometry

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mri_alps.pipeline import Reconstruction


def write_dicom(
    reconstruction: Reconstruction,
    folder: Path | str,
    classic: bool = False,
    study: Path | str | None = None,
) -> list[Path]:
    """Write mean and standard deviation as DICOM series.

    Parameters
    ----------
    reconstruction : Reconstruction
        From `load_reconstruction`.
    folder : Path or str
        Gets mean.dcm and std.dcm (Enhanced MR Image, a frame a slice) and, of parallel slices,
        std_map.dcm (Parametric Map, float32), or with `classic` mean/0001.dcm, ... and
        std/0001.dcm, ... (MR Image).
    classic : bool
        A file for each slice, for programs that do not read the enhanced form.
    study : Path or str, optional
        A DICOM image of the scanner's from the same examination: patient, study and frame of
        reference are taken from it, so that archives put the series beside it.

    Returns
    -------
    list of Path
        The files. Identifiers follow from the content: the same reconstruction gives the same
        ones.

    Raises
    ------
    MissingDependencyError
        If pydicom or, for the parametric map, highdicom is missing.
    InputFileError
        If `study` is no DICOM image.
    ConfigurationError
        If the reconstruction holds values that are not finite, or no geometry, or `study` is of
        another patient, study or frame of reference than the raw data's header says.
    """
    require("pydicom", "writing DICOM", "dicom")
    if not classic:
        require("highdicom", "writing parametric maps", "dicom")
    from mri_alps.interop.dicom._classic import classic as classic_image
    from mri_alps.interop.dicom._common import common
    from mri_alps.interop.dicom._enhanced import enhanced, is_parallel
    from mri_alps.interop.dicom._facts import Facts
    from mri_alps.interop.dicom._parametric_map import parametric_map
    from mri_alps.interop.dicom._series import series_of

    geometry = ImageGeometry.of(reconstruction)
    folder = Path(folder)
    both = series_of(reconstruction)
    facts = Facts.of(reconstruction, None if study is None else Path(study))
    digest = hashlib.sha256(facts.source.encode())
    for series in both:
        digest.update(series.pixels.tobytes())
    identity = digest.hexdigest()
    made: list[tuple[Path, Dataset]] = []
    for series in both:
        data = common(reconstruction, facts, series, geometry, identity)
        if classic:
            made += [
                (
                    folder / series.name / f"{index + 1:04d}.dcm",
                    classic_image(data, series, index, geometry, facts),
                )
                for index in range(len(series.values))
            ]
        else:
            image = enhanced(data, series, geometry, facts, reconstruction)
            made.append((folder / f"{series.name}.dcm", image))
    if not classic and is_parallel(geometry):
        deviation = parametric_map(made[0][1], both[1], facts.is_unpaired)
        made.append((folder / "std_map.dcm", deviation))
    for path, data in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(data, path)
    return [path for path, _ in made]


def _save(data: Dataset, path: Path) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with atomic_path(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)
