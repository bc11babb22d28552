"""Slices that are empty or cannot be read leave the calibration of the others as it is."""

import numpy as np
import pytest

import mri_alps
from mri_alps.calibration import calibrate_volume, prepare_slice
from mri_alps.calibration.lost_samples import refuse_lost_samples
from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import raw_from_arrays
from mri_alps.rawdata.fastmri.writer import write_fastmri


def scan_of(tmp_path, *levels, noise=0.1):
    """A scan of two coils whose slices are noise of such levels; NaN once where that is NaN."""
    rng = np.random.default_rng(1)
    kspace = rng.standard_normal((len(levels), 2, 24, 20)) * noise + 0j
    kspace += 1j * rng.standard_normal(kspace.shape) * noise
    for index, level in enumerate(levels):
        kspace[index] *= 1 if np.isnan(level) else level
        if np.isnan(level):
            kspace[index, 0, 0, 0] = np.nan
    path = tmp_path / f"scan{len(list(tmp_path.iterdir()))}.h5"
    write_fastmri(path, kspace, recon_matrix=(24, 20))
    return mri_alps.read_raw(path)


def test_noise_is_that_of_the_slices_that_can_be_read(tmp_path):
    whole = calibrate_volume(scan_of(tmp_path, 1, 0))
    partly = calibrate_volume(scan_of(tmp_path, 1, np.nan))
    np.testing.assert_array_equal(whole.noise_covariance, partly.noise_covariance)
    with pytest.raises(InputFileError, match="NaN or Inf"):
        calibrate_volume(scan_of(tmp_path, np.nan, 0))


@pytest.mark.parametrize("middle", [0, np.nan])
@pytest.mark.filterwarnings("ignore:.*no noise was found")
def test_the_floor_of_the_noise_follows_the_slices_that_hold_signal(tmp_path, middle):
    """An empty slice in the middle made it 1e-5 in whatever units the file has."""
    raw = scan_of(tmp_path, 1, middle, 0)
    tiny = 1e-12 * np.eye(2)
    from mri_alps.calibration.scan_noise import NOISE_FREE, _raise_to_floor

    energy = float((np.abs(raw.read_slice(0)) ** 2).mean())
    found = _raise_to_floor(raw, 0 * tiny, [])
    np.testing.assert_array_equal(found, NOISE_FREE**2 * energy * np.eye(2))


def test_an_empty_slice_is_prepared_as_zeros(tmp_path):
    acquisition = prepare_slice(scan_of(tmp_path, 0, 1), 0)
    assert acquisition.is_empty and not acquisition.kspace.any()
    assert acquisition.kspace.shape == acquisition.sensitivity_maps.shape == (2, 24, 20)
    assert not acquisition.raw_sensitivity_maps().any() and not acquisition.rss_weight.any()
    assert "slice 0 holds only zeros" in acquisition.info["notes"][-1]


@pytest.mark.parametrize(
    ("coils", "lost", "where"),
    [(1, 7, "coil 1, where other coils"), (slice(None), 9, "all coils, where another slice")],
)
def test_samples_that_a_slice_lost_are_refused(tmp_path, coils, lost, where):
    """Taken for samples they made an image that was wrong by 6 deviations, without a word."""
    kspace = np.stack([scan_of(tmp_path, 1, 1).read_slice(index) for index in (0, 1)])
    kspace[1, coils, :, lost] = 0
    write_fastmri(tmp_path / "lost.h5", kspace, recon_matrix=(24, 20))
    raw = mri_alps.read_raw(tmp_path / "lost.h5")
    calibration = calibrate_volume(raw)
    with pytest.raises(InputFileError, match=f"24 of 480 .* slice 1 are exactly zero in {where}"):
        prepare_slice(raw, 1, calibration=calibration)
    refuse_lost_samples(raw, 0, raw.read_slice(0), raw.slice_mask(0))
    kept = np.arange(20) != lost
    refuse_lost_samples(raw, 1, raw.read_slice(1) * kept, raw.slice_mask(1) & kept)


def test_zeros_among_rounded_numbers_are_not_lost(tmp_path):
    kspace = np.round(3 * scan_of(tmp_path, 1, noise=1).read_slice(0))
    raw = raw_from_arrays(kspace[None])
    assert (kspace[0] == 0).any()
    refuse_lost_samples(raw, 0, kspace, raw.slice_mask(0))
