"""NIfTI read back by its own library: values, spacing, orientation."""

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


def make_reconstruction(positions=None, slices=(0, 1, 2), path=None):
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
        path=path,
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
