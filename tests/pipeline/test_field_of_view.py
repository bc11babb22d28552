"""Files that do not say how large their pixels are, and the field of view that is given."""

import json

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError
from mri_alps.pipeline import ReconstructionConfiguration, load_reconstruction
from mri_alps.rawdata import read_raw, with_field_of_view, write_fastmri
from tests.pipeline.simulated_scan import simulate
from tests.pipeline.tiny_scans import TINY

FAST = TINY[:6]


@pytest.fixture
def bare(tmp_path):
    """`kspace` and `mask`, and nothing else."""
    kspace, _ = simulate(1, 0, (40, 32))
    mask = np.zeros(32, bool)
    mask[::2] = mask[10:22] = True
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["kspace"], file["mask"] = (kspace * mask).astype(np.complex64), mask
    return tmp_path / "bare.h5"


def geometry(path):
    return load_reconstruction(path).attributes["provenance"]["geometry"]


def test_a_file_without_a_header_is_reconstructed_on_its_own_matrix(bare, tmp_path, run):
    finished = run("reconstruct", bare, "-o", tmp_path / "out", *FAST)
    assert finished.code == 0
    said = " ".join(finished.err.split())
    assert "no `ismrmrd_header`" in said and "pixels is unknown" in said and "--fov" in said
    made = tmp_path / "out" / "bare.h5"
    assert load_reconstruction(made).reconstruction.shape == (1, 40, 32)
    found = geometry(made)
    assert found["pixel_spacing"] == [1.0, 1.0] and found["size_is_known"] is False
    finished = run("convert", made, tmp_path / "bare.nii")
    assert finished.code == 0 and "1 mm is written" in " ".join(finished.err.split())


def test_the_field_of_view_can_be_given(bare, tmp_path, run):
    finished = run("reconstruct", bare, "-o", tmp_path / "out", *FAST, "--fov", "200,240,3")
    assert finished.code == 0 and "unknown" not in finished.err
    made = tmp_path / "out" / "bare.h5"
    found = geometry(made)
    assert found["pixel_spacing"] == [5.0, 7.5] and found["slice_thickness"] == 3.0
    assert found["size_is_known"] is True
    assert load_reconstruction(made).attributes["pixel_aspect"] == pytest.approx(5 / 7.5)
    listed = json.loads(run("inspect", bare, "--json", "--fov", "200,240").out)
    assert listed["pixels"] == "5 x 7.5 mm" and "200 x 240 mm" in str(listed["what will be done"])


def test_it_is_that_of_the_final_image_of_a_cropped_scan(tmp_path):
    kspace, _ = simulate(1, 0, (40, 32))
    write_fastmri(tmp_path / "s.h5", kspace, recon_matrix=(20, 32))
    raw = with_field_of_view(read_raw(tmp_path / "s.h5"), (100.0, 64.0))
    assert raw.pixel_spacing == (5.0, 2.0) and raw.geometry.encoded_field_of_view[0] == 200


def test_a_file_without_a_header_has_the_matrix_of_its_reference(bare):
    with h5py.File(bare, "a") as file:
        file["reconstruction_rss"] = np.ones((1, 20, 24), np.float32)
    assert read_raw(bare).crop == (20, 24)


@pytest.mark.parametrize("value", ["200", "200,0", "200,-1", "a,b", "1,2,3,4"])
def test_a_field_of_view_that_is_none_is_named(value):
    with pytest.raises(ConfigurationError, match=r"field_of_view.*two or three positive"):
        ReconstructionConfiguration(field_of_view=value)
