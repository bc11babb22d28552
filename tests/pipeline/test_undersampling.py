"""Settings of a retrospective mask that nothing uses are told, whatever takes the mask's place."""

import warnings

import numpy as np
import pytest

from mri_alps.core.errors import MriAlpsWarning
from mri_alps.pipeline import ReconstructionConfiguration, undersampling_mask
from mri_alps.rawdata import raw_from_arrays, trajectory_from_arrays
from tests.rawdata import trajectory_scans


@pytest.fixture
def cartesian():
    kspace = np.random.default_rng(0).standard_normal((1, 2, 16, 32)).astype(np.complex64)
    kspace[..., ::2] = 0
    kspace[..., 12:20] = 1 + 1j
    return raw_from_arrays(kspace)


@pytest.mark.parametrize("value", [4, 8])
def test_an_acceleration_without_a_mask_is_told(cartesian, value):
    with pytest.warns(MriAlpsWarning, match="--acceleration changes nothing.*--mask leaves"):
        assert (
            undersampling_mask(cartesian, ReconstructionConfiguration(acceleration=value)) is None
        )
    both = ReconstructionConfiguration(acceleration=value, center_fraction=0.1)
    with pytest.warns(MriAlpsWarning, match="--acceleration and --center-fraction change nothing"):
        undersampling_mask(cartesian, both)


def test_a_file_says_itself_what_is_left_out(cartesian, tmp_path):
    lines = np.zeros(32, bool)
    lines[8:24] = lines[::4] = True
    np.save(tmp_path / "lines.npy", lines)
    settings = ReconstructionConfiguration(mask=tmp_path / "lines.npy", center_fraction=0.1)
    with pytest.warns(MriAlpsWarning, match="--center-fraction changes nothing.*name a kind"):
        np.testing.assert_array_equal(undersampling_mask(cartesian, settings)[0], lines)


def test_shots_are_chosen_otherwise():
    places = trajectory_scans.radial(8)
    raw = trajectory_from_arrays(np.ones((1, *places.shape[:2]), np.complex64), places)
    with pytest.warns(MriAlpsWarning, match="--acceleration changes nothing.*--shots"):
        undersampling_mask(raw, ReconstructionConfiguration(acceleration=2))


def test_what_is_used_or_was_left_out_is_not_told(cartesian):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert undersampling_mask(cartesian, ReconstructionConfiguration()) is None
        by_default = undersampling_mask(cartesian, ReconstructionConfiguration(mask="equispaced"))
        four = ReconstructionConfiguration(mask="equispaced", acceleration=4, center_fraction=0.08)
        np.testing.assert_array_equal(by_default, undersampling_mask(cartesian, four))
