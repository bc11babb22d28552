"""NIfTI and DICOM read back by their own libraries: values, spacing, orientation."""

import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline import Reconstruction

SPACING, THICKNESS = (1.5, 0.75), 4.0
N_SLICES, HEIGHT, WIDTH = 3, 7, 10


def rotation():
    """An oblique, right-handed set of directions: readout, phase encode, slice."""
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return (q * np.sign(np.linalg.det(q))).T


def make_reconstruction(positions=None, slices=(0, 1, 2)):
    read, phase, normal = rotation()
    if positions is None:
        positions = np.array([5.0, -7.0, 11.0]) + np.arange(N_SLICES)[:, None] * 5.0 * normal
    rng = np.random.default_rng(1)
    mean, std = (rng.random((len(slices), HEIGHT, WIDTH)).astype(np.float32) for _ in range(2))
    geometry = {
        "pixel_spacing": list(SPACING),
        "slice_thickness": THICKNESS,
        "slice_positions": positions.tolist(),
        "readout_direction": [read.tolist()] * N_SLICES,
        "phase_direction": [phase.tolist()] * N_SLICES,
        "slice_direction": [normal.tolist()] * N_SLICES,
        "is_nominal": False,
    }
    return Reconstruction(
        slices=np.array(slices),
        reconstruction=3e-5 * mean,
        reconstruction_std=1e-6 * std,
        reconstruction_lower=mean,
        reconstruction_upper=mean,
        zero_filled=mean,
        posterior_mean=mean.astype(np.complex64),
        samples=None,
        sensitivity_maps=None,
        attributes={
            "source": "scan.h5",
            "n_samples": 8,
            "provenance": {"geometry": geometry, "header": {"vendor": "ACME"}},
        },
        scalars={},
    )


def place(reconstruction, k, i, j):
    """Where pixel (i, j) of row k lies, in LPS: from the definition, not from the code."""
    read, phase, _ = rotation()
    geometry = reconstruction.attributes["provenance"]["geometry"]
    center = np.array(geometry["slice_positions"][reconstruction.slices[k]])
    return (
        center + (i - HEIGHT // 2) * SPACING[0] * read + (j - WIDTH // 2) * SPACING[1] * phase
    )  # fmt: skip


PIXELS = [(0, 0, 0), (1, 3, 5), (2, 6, 9), (2, 0, 9)]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(tmp_path, suffix):
    nibabel = pytest.importorskip("nibabel")
    from mri_alps.interop import write_nifti

    made = make_reconstruction()
    paths = write_nifti(made, tmp_path / f"out{suffix}")
    assert [path.name for path in paths] == [f"out{suffix}", f"out_std{suffix}"]
    for path, expected in zip(paths, (made.reconstruction, made.reconstruction_std), strict=True):
        image = nibabel.load(path)
        np.testing.assert_array_equal(np.moveaxis(image.get_fdata(), -1, 0), expected)
        assert_equal_to_rounding(
            image.header.get_zooms(), [*SPACING, 5.0], n_summed=3, dtype="float32"
        )
        assert_equal_to_rounding(image.get_qform(), image.affine, n_summed=4, dtype="float32")
        assert image.header.get_xyzt_units()[0] == "mm"
        for k, i, j in PIXELS:
            found = image.affine @ [i, j, k, 1]
            assert_equal_to_rounding(
                found[:3] * [-1, -1, 1], place(made, k, i, j), n_summed=4, dtype="float32"
            )


def test_nifti_of_what_is_no_volume(tmp_path):
    pytest.importorskip("nibabel")
    from mri_alps.interop import write_nifti

    positions = np.array([[0, 0, 0], [0, 0, 5], [0, 0, 20.0]])
    with pytest.raises(ConfigurationError, match="not equally far apart"):
        write_nifti(make_reconstruction(positions), tmp_path / "x.nii")
    with pytest.raises(ConfigurationError, match="not equally far apart"):
        write_nifti(make_reconstruction(np.zeros((3, 3))), tmp_path / "x.nii")
    assert list(tmp_path.iterdir()) == []
    single = make_reconstruction(slices=(1,))
    (path, _) = write_nifti(single, tmp_path / "x.nii")
    import nibabel

    zooms = nibabel.load(path).header.get_zooms()
    assert_equal_to_rounding(zooms, [*SPACING, THICKNESS], n_summed=3, dtype="float32")


def check_pixel_place(position, orientation, spacing, made, k):
    along_row, along_column = np.array(orientation, float).reshape(2, 3)
    for _, i, j in PIXELS:
        # the equation of DICOM PS3.3 C.7.6.2.1.1: columns step along a row
        found = np.array(position, float) + j * float(spacing[1]) * along_row
        found = found + i * float(spacing[0]) * along_column
        assert_equal_to_rounding(found, place(made, k, i, j), n_summed=4, dtype="float32")


def test_classic_dicom(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from mri_alps.interop import write_dicom

    made = make_reconstruction()
    paths = write_dicom(made, tmp_path / "d", classic=True)
    assert len(paths) == 6
    uids = set()
    for name, images in (("mean", made.reconstruction), ("std", made.reconstruction_std)):
        files = [pydicom.dcmread(p) for p in sorted((tmp_path / "d" / name).iterdir())]
        assert len({file.SeriesInstanceUID for file in files}) == 1
        uids |= {(file.StudyInstanceUID, file.SeriesInstanceUID) for file in files}
        for k, file in enumerate(files):
            values = file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept)
            assert np.abs(values - images[k]).max() <= images.max() / 65535
            spacing = file.PixelSpacing
            check_pixel_place(
                file.ImagePositionPatient, file.ImageOrientationPatient, spacing, made, k
            )
            assert float(file.SliceThickness) == THICKNESS
            assert float(file.SpacingBetweenSlices) == pytest.approx(5.0)
            assert "posterior" in file.SeriesDescription and file.Manufacturer == "ACME"
    assert len(uids) == 2 and len({study for study, _ in uids}) == 1


def test_enhanced_dicom(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from mri_alps.interop import write_dicom

    made = make_reconstruction()
    paths = write_dicom(made, tmp_path / "d")
    assert [path.name for path in paths] == ["mean.dcm", "std.dcm"]
    files = [pydicom.dcmread(path) for path in paths]
    for file, images in zip(files, (made.reconstruction, made.reconstruction_std), strict=True):
        shared = file.SharedFunctionalGroupsSequence[0]
        slope = float(shared.PixelValueTransformationSequence[0].RescaleSlope)
        assert file.NumberOfFrames == 3 and file.pixel_array.shape == images.shape
        assert np.abs(file.pixel_array * slope - images).max() <= images.max() / 65535
        for k, frame in enumerate(file.PerFrameFunctionalGroupsSequence):
            check_pixel_place(
                frame.PlanePositionSequence[0].ImagePositionPatient,
                frame.PlaneOrientationSequence[0].ImageOrientationPatient,
                shared.PixelMeasuresSequence[0].PixelSpacing,
                made,
                k,
            )
    assert files[0].StudyInstanceUID == files[1].StudyInstanceUID
    assert files[0].SeriesInstanceUID != files[1].SeriesInstanceUID
    again = [path.read_bytes() for path in write_dicom(made, tmp_path / "e")]
    assert again == [path.read_bytes() for path in paths]


def test_dicom_refuses_what_it_cannot_hold(tmp_path):
    pytest.importorskip("pydicom")
    from mri_alps.interop import write_dicom

    made = make_reconstruction()
    made.reconstruction[0, 0, 0] = np.nan
    with pytest.raises(ConfigurationError, match="NaN"):
        write_dicom(made, tmp_path)
    del made.attributes["provenance"]["geometry"]
    with pytest.raises(ConfigurationError, match="reconstruct the scan again"):
        write_dicom(made, tmp_path)
    assert list(tmp_path.iterdir()) == []
