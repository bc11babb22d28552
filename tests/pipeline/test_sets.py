"""A scan whose object is larger than its field of view, from the file to the result."""

import warnings

import numpy as np
import pytest
import torch

from mri_alps import load_reconstruction, reconstruct
from mri_alps.core.errors import ConfigurationError, MriAlpsWarning
from mri_alps.core.fourier import ifftc
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation
from tests.calibration.test_folding import SHAPE, fold, mask

N_SAMPLES = 8


def truth():
    """Root sum of squares of the coils without noise: both places, one upon the other."""
    clean, _ = fold(1.3, level=1e-6)
    return ifftc(torch.as_tensor(clean.read_slice(0))).abs().square().sum(0).sqrt().numpy()


def run(raw, **settings):
    settings = {"n_samples": N_SAMPLES, "n_evaluations": 6, "prior": "gaussian"} | settings
    return reconstruct(raw, mask=mask(2), seed=0, device="cpu", **settings)


def error_and_deviation(result):
    image, true = result.reconstruction[0], truth()
    inside = true > 0.2 * true.max()
    error = np.sqrt(np.square(image - true)[inside].mean())
    return error, np.sqrt(np.square(result.reconstruction_std[0])[inside].mean()), inside


def test_two_sets_give_the_folded_image_with_its_deviation_and_one_does_not():
    raw, _ = fold(1.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = run(raw)
    error, deviation, inside = error_and_deviation(both)
    assert 0.7 < error / deviation < 1.2
    true = truth()
    lower, upper = both.reconstruction_lower[0], both.reconstruction_upper[0]
    assert 0.85 < ((true >= lower) & (true <= upper))[inside].mean() < 0.98
    facts = both.diagnostics[0]["calibration"]["facts"]
    assert facts["n_maps"] == 2 and any("2 sets" in note for note in facts["notes"])
    with pytest.warns(MriAlpsWarning) as told:
        one = run(raw, n_maps=1, force=True)
    assert any("use two sets" in str(each.message) for each in told)
    worse, too_small, _ = error_and_deviation(one)
    assert worse > 1.5 * error and worse > 1.5 * too_small


def test_samples_are_combined_and_maps_are_kept_as_asked(tmp_path):
    raw, _ = fold(1.3)
    result = run(raw, n_maps=2, save_samples=True, save_maps=True, n_samples=4)
    assert result.samples.shape == (1, 4, *SHAPE)
    assert result.sensitivity_maps.shape == (1, 2, 6, *SHAPE)
    # In the units of the reconstruction, samples spread about it as its deviation says.
    samples = np.abs(result.samples_in_image_units()[0])
    np.testing.assert_allclose(samples.std(0, ddof=1), result.reconstruction_std[0], rtol=1e-2)
    again = load_reconstruction(result.save(tmp_path / "result.h5"))
    np.testing.assert_array_equal(again.sensitivity_maps, result.sensitivity_maps)
    # The maps that were kept are maps that can be given.
    given = run(raw, sensitivity_maps=result.sensitivity_maps, n_samples=4)
    assert given.diagnostics[0]["calibration"]["facts"]["n_maps"] == 2
    file = run(raw, sensitivity_maps=str(tmp_path / "result.h5"), n_samples=4)
    np.testing.assert_allclose(file.reconstruction, given.reconstruction, rtol=1e-5)
    alone = run(raw, save_maps=True, n_samples=4)
    assert alone.sensitivity_maps.shape == (1, 6, *SHAPE)


def test_all_slices_keep_as_many_sets_as_were_asked_for():
    raw, _ = fold(1.3)
    kspace, _, _, _ = simulation.acquisition(6, SHAPE, 0.01)
    stack = np.stack([raw.read_slice(0), kspace, 0 * kspace])
    several = raw_from_arrays(stack, noise_covariance=1e-4 * np.eye(6))
    result = run(several, n_maps=2, save_maps=True, n_samples=2)
    assert result.sensitivity_maps.shape == (3, 2, 6, *SHAPE)
    assert not result.reconstruction[2].any()


def test_uncertainty_is_calibrated_on_left_out_samples_of_all_sets():
    raw, _ = fold(1.3)
    result = run(raw, self_calibration="scan", n_samples=4)
    # The prior is right enough, and the images of both sets predict what was left out.
    assert 0.5 < result.scalars["uncertainty_factor"][0] < 2


def test_a_start_is_an_image_for_each_set():
    raw, _ = fold(1.3)
    result = run(raw, initial="cg-sense", initial_sigma=0.5, n_samples=4)
    assert np.isfinite(result.reconstruction).all()
    with pytest.raises(
        ConfigurationError, match="has 2 sets of sensitivity maps with an image each"
    ):
        run(raw, initial="wavelet", initial_sigma=0.5)
