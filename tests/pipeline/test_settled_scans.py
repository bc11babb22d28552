"""What was wrong in a file is put right, said once, and stands in the output."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import mri_alps
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.pipeline._arguments import open_source
from mri_alps.rawdata import (
    Geometry,
    RawKSpace,
    kspace_to_cfl,
    raw_from_arrays,
    write_cfl,
    write_fastmri,
    write_ismrmrd,
)
from mri_alps.rawdata.arrays import ArraySource
from tests.pipeline.simulated_scan import simulate

SETTINGS = {
    "prior": "gaussian", "n_samples": 2, "n_evaluations": 4, "device": "cpu", "noise_std": 0.05,
}  # fmt: skip


def write(path, kspace):
    write_fastmri(path, kspace.astype(np.complex64))
    return path


@pytest.fixture
def kspace():
    return simulate(1, 0, (48, 40))[0]


def reconstruct(path, **settings):
    """Return the reconstruction and what was said of the file's contents."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = mri_alps.reconstruct(path, **SETTINGS | settings)
    said = [str(warning.message) for warning in caught]
    return found, [text for text in said if "centre of k-space" in text or "exactly zero" in text]


@pytest.mark.parametrize("shift", [(3, 0), (8, 0), (-12, 0), (0, 10), (6, -7)])
def test_a_wrong_centre_leaves_the_image_as_it_is(tmp_path, kspace, shift):
    right, silence = reconstruct(write(tmp_path / "right.h5", kspace))
    moved = write(tmp_path / "wrong.h5", np.roll(kspace, shift, (-2, -1)))
    wrong, said = reconstruct(moved)
    assert silence == [] and len(said) == 1 and str(moved) in said[0]
    np.testing.assert_array_equal(wrong.reconstruction, right.reconstruction)
    np.testing.assert_array_equal(wrong.reconstruction_std, right.reconstruction_std)
    assert any("centre of k-space" in note for note in wrong.attributes["provenance"]["warnings"])


def test_kspace_that_was_masked_is_as_good_as_with_its_mask(tmp_path, kspace):
    mask = np.arange(40) % 4 == 0
    mask[14:26] = True
    path = write(tmp_path / "masked.h5", kspace * mask)
    found, said = reconstruct(path)
    assert len(said) == 1 and "21 of 40 phase encodes are exactly zero" in said[0]
    told, _ = reconstruct((kspace * mask).astype(np.complex64), mask=mask)
    np.testing.assert_array_equal(found.mask[0], told.mask[0])
    np.testing.assert_array_equal(found.reconstruction, told.reconstruction)


def test_a_mask_of_the_users_has_the_last_word(tmp_path, kspace):
    kspace[..., :4] = 0
    path = write(tmp_path / "padded.h5", kspace)
    np.save(tmp_path / "mask.npy", np.ones(40, bool))
    by_file, _ = reconstruct(path, mask=str(tmp_path / "mask.npy"))
    by_array, _ = reconstruct(path, mask=np.ones(40, bool))
    generated, _ = reconstruct(path, mask="equispaced", acceleration=1.5, center_fraction=0.4)
    assert by_file.mask.all() and by_array.mask.all()
    assert not generated.mask[..., :4].any() and generated.mask[..., 4:].any()


def test_the_mask_of_an_array_moves_with_it(kspace):
    mask = np.arange(40) % 2 == 0
    mask[14:26] = True
    right, _ = reconstruct(kspace * mask, mask=mask)
    moved = np.roll(kspace * mask, 7, -1)
    wrong, said = reconstruct(moved, mask=np.roll(mask, 7))
    assert len(said) == 1
    np.testing.assert_array_equal(wrong.mask, right.mask)
    np.testing.assert_array_equal(wrong.reconstruction, right.reconstruction)


def own_scan(kspace):
    """As a reader of a user's makes it, who has not heard of `settle_scan`."""
    shape = kspace.shape[-2:]
    return RawKSpace(
        path=Path("own"),
        format="array",
        n_slices=1,
        n_coils=kspace.shape[1],
        shape=shape,
        mask=np.ones((1, 1, shape[1]), bool),
        noise_covariance=None,
        geometry=Geometry.nominal((*shape, 1), (*shape, 1), (220.0,) * 3, (220.0,) * 3, 1),
        crop=shape,
        source=ArraySource(kspace),
    )


def written(write, path, kspace):
    write(path, kspace)
    return path


@pytest.mark.parametrize("shift", [(9, 0), (-5, 6)])
def test_all_roads_find_the_same_centre(tmp_path, kspace, shift):
    kspace = kspace.astype(np.complex64)
    moved = np.roll(kspace, shift, (-2, -1))
    roads = {
        "array": moved,
        "array of one slice": moved[0],
        "tensor": torch.as_tensor(moved),
        "raw_from_arrays": raw_from_arrays(moved),
        "a reader of one's own": own_scan(moved),
        "fastMRI": written(write_fastmri, tmp_path / "f.h5", moved),
        "ISMRMRD": written(write_ismrmrd, tmp_path / "i.h5", moved),
        "BART": written(write_cfl, tmp_path / "b", kspace_to_cfl(moved)),
    }
    for name, road in roads.items():
        raw = open_source(road, None, ReconstructionConfiguration())
        np.testing.assert_array_equal(raw.read_slice(0), kspace[0], err_msg=name)
        told = [text for text in raw.provenance["settled"] if "centre of k-space" in text]
        assert len(told) == sum(step != 0 for step in shift), name
        assert "readout" in told[0], name


def test_a_scan_that_was_never_settled_is_by_reconstruct(kspace):
    right, silence = reconstruct(kspace)
    wrong, said = reconstruct(own_scan(np.roll(kspace, 9, -2)))
    assert silence == [] and len(said) == 1 and "readout" in said[0]
    np.testing.assert_array_equal(wrong.reconstruction, right.reconstruction)
    np.testing.assert_array_equal(wrong.reconstruction_std, right.reconstruction_std)
