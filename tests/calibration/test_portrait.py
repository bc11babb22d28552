"""What is kept of a calibration: right, small, and harmless where somebody else wrote it."""

import json

import numpy as np
import pytest

from mri_alps.calibration import CalibrationPortrait, portray_calibration, prepare_slice
from mri_alps.calibration.sensitivity import local_eigenvalues
from mri_alps.rawdata import raw_from_arrays
from tests.calibration.calibration_simulation import acquisition, coils, disc, fft2c, lines

SHAPE = (48, 40)


@pytest.fixture(scope="module")
def portrait():
    kspace, _, _, covariance = acquisition(n_coils=4, shape=SHAPE, radius=0.6)
    raw = raw_from_arrays(kspace[None], lines(SHAPE[1], 2, 12), noise_covariance=covariance)
    return portray_calibration(raw, prepare_slice(raw, 0))


@pytest.fixture
def plain(portrait):
    return json.loads(json.dumps(portrait.to_plain(), sort_keys=True))


def test_it_shows_coils_maps_centre_and_weights(portrait):
    height, width = portrait.support.shape
    assert (height, width) == (40, 33)  # SHAPE with 40 pixels along the longer side
    assert portrait.coils == [0, 1, 2, 3]
    norm = np.sqrt((portrait.map_magnitudes**2).sum(0))
    np.testing.assert_allclose(norm[portrait.support], 1, atol=1e-4)
    assert portrait.coil_images.max() == pytest.approx(1)
    assert portrait.coil_images[:, 20, 16].max() > 20 * portrait.coil_images[:, 0, 0].max()
    readout, phase = portrait.profiles["readout"], portrait.profiles["phase_encode"]
    assert readout.argmax() == SHAPE[0] // 2 and np.nanargmax(phase) == SHAPE[1] // 2
    unmeasured = ~lines(SHAPE[1], 2, 12)
    np.testing.assert_array_equal(np.isnan(phase), unmeasured)
    np.testing.assert_array_equal(np.isnan(portrait.weights), unmeasured)
    assert portrait.eigenvalues[0, 20, 16] > 0.95


def test_it_survives_a_file(portrait, plain):
    found = CalibrationPortrait.from_plain(plain)
    for name in ("coil_images", "map_magnitudes", "eigenvalues"):
        difference = getattr(found, name) - np.clip(getattr(portrait, name), 0, 1)
        assert np.abs(difference).max() < 0.51 / 255
    assert np.abs(found.map_phases - portrait.map_phases).max() < 0.51 / 255 * 2 * np.pi + 1e-6
    np.testing.assert_array_equal(found.support, portrait.support)
    np.testing.assert_allclose(found.weights, portrait.weights, rtol=6e-3)
    assert list(found.profiles) == ["readout", "phase_encode"]
    assert found.facts == plain["facts"] and found.coils == portrait.coils


@pytest.mark.parametrize(
    "name, value",
    [
        ("support", None),
        ("support", {"shape": [10**6, 10**6], "data": ""}),
        ("support", {"shape": [40, 33], "data": "no base64!"}),
        ("support", {"shape": [40, 33], "data": ""}),
        ("coil_images", {"shape": [4, 2], "data": ""}),
        ("weights", [0.5] * 100_000),
        ("weights", ["x"]),
        ("profiles", 3),
        ("coils", []),
        ("facts", 1),
        ("map_phases", "of_others"),
    ],
)
def test_what_is_no_portrait_is_refused(plain, name, value):
    plain[name] = plain["support"] if value == "of_others" else value
    with pytest.raises(ValueError):
        CalibrationPortrait.from_plain(plain)


def test_the_second_eigenvalue_shows_what_folds_onto_one_pixel():
    whole = (64, 64)
    kspace = fft2c(coils(6, whole) * disc(whole, 0.9))
    inside = local_eigenvalues(kspace, whole, noise_std=0)
    folded = local_eigenvalues(kspace[..., ::2], (64, 32), noise_std=0)  # half the field of view
    assert inside[0, 32, 32] > 0.99 and inside[1, 32, 32] < 0.4
    assert folded[1, 32, 4] > 0.85 and folded[2, 32, 4] < 0.4  # two places, no three
