"""A slice whose image does not explain the centre of k-space is refused, or kept and marked."""

import h5py
import numpy as np
import pytest

from mri_alps import reconstruct
from mri_alps.core.errors import CalibrationError, MriAlpsWarning
from mri_alps.pipeline.output import write_reconstruction
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation

SHAPE = (32, 32)
SETTINGS = {"prior": "gaussian", "n_samples": 2, "n_evaluations": 4, "device": "cpu"}


def scan():
    kspace, _, maps, matrix = simulation.acquisition(6, SHAPE, level=0.02)
    mask = simulation.lines(SHAPE[1], 2, 16)
    return raw_from_arrays((kspace * mask)[None], mask, noise_covariance=matrix), maps


def test_an_image_by_right_maps_says_how_far_it_explains_the_data():
    raw, maps = scan()
    result = reconstruct(raw, sensitivity_maps=maps, **SETTINGS)
    assert result.scalars["calibration_misfit"][0] < 0.05
    assert "unexplained_slices" not in result.attributes


def test_an_image_by_maps_of_other_coils_is_refused():
    raw, maps = scan()
    with (
        pytest.warns(MriAlpsWarning, match="maps"),
        pytest.raises(CalibrationError, match=r"slice 0.*maps that were given.*--force"),
    ):
        reconstruct(raw, sensitivity_maps=np.roll(maps, 1, 0), **SETTINGS)


def test_a_forced_image_is_marked(tmp_path):
    raw, maps = scan()
    with pytest.warns(MriAlpsWarning, match="likeliest cause is the maps"):
        result = reconstruct(raw, sensitivity_maps=np.roll(maps, 1, 0), force=True, **SETTINGS)
    assert result.scalars["calibration_misfit"][0] > 0.25
    assert result.attributes["unexplained_slices"] == "0"
    assert "maps that were given" in result.diagnostics[0]["unexplained"]
    with h5py.File(write_reconstruction(result, tmp_path / "forced.h5")) as file:
        assert file.attrs["unexplained_slices"] == "0"


def test_given_noise_that_the_kspace_contradicts_is_refused_or_marked():
    raw, _ = scan()
    with pytest.raises(CalibrationError, match=r"array: noise .*at most .* is plausible.*--force"):
        reconstruct(raw, noise_std=30.0, **SETTINGS)
    with pytest.warns(MriAlpsWarning):  # of the noise in the file's units and in the image's
        result = reconstruct(raw, noise_std=30.0, force=True, **SETTINGS)
    assert result.attributes["unexplained_slices"] == "0"
    assert "is plausible" in result.diagnostics[0]["unexplained"]
