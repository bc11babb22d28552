"""A scan in other units gives the same images in those units, or is refused by name."""

import warnings

import h5py
import numpy as np
import pytest

from mri_alps import reconstruct
from mri_alps.core.errors import InputFileError, MriAlpsWarning
from mri_alps.evaluation.metrics import image_metrics
from mri_alps.rawdata import raw_from_arrays, read_raw
from tests.pipeline.tiny_scans import write_tiny

IMAGES = ("reconstruction", "reconstruction_std", "reconstruction_lower", "zero_filled")
SETTINGS = {"prior": "gaussian", "n_samples": 2, "n_evaluations": 4, "mask": "equispaced"}


@pytest.fixture(scope="module")
def kspace(tmp_path_factory):
    path = write_tiny(tmp_path_factory.mktemp("scan") / "scan.h5", n_slices=1)
    with h5py.File(path) as file:
        return file["kspace"][()]


def reconstructed(kspace, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        return reconstruct(
            raw_from_arrays(kspace), **SETTINGS, acceleration=2, center_fraction=0.4, **settings
        )


@pytest.mark.parametrize("exponent", [-100, -60, 100])
def test_a_power_of_two_changes_no_bit(kspace, exponent):
    plain, scaled = reconstructed(kspace), reconstructed(np.ldexp(1.0, exponent) * kspace)
    for name in IMAGES:
        expected = np.ldexp(getattr(plain, name).astype(float), exponent)
        assert np.array_equal(getattr(scaled, name), expected), name
        assert expected.any()
    assert np.array_equal(scaled.scalars["noise_std"], plain.scalars["noise_std"])


def test_maps_from_a_file_go_with_any_units(kspace, tmp_path):
    maps = np.ones(kspace.shape, np.complex64)
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        file["sensitivity_maps"] = maps
    name = str(tmp_path / "maps.h5")
    settings = {"sensitivity_maps": name, "force": True}  # any maps will do here
    plain = reconstructed(kspace, **settings)
    scaled = reconstructed(np.ldexp(1.0, -100) * kspace, **settings)
    for image in IMAGES:
        expected = np.ldexp(getattr(plain, image).astype(float), -100)
        assert np.array_equal(getattr(scaled, image), expected), image


@pytest.mark.parametrize("factor", [1e-37, 1e34])
def test_what_single_precision_cannot_hold_is_named(kspace, factor):
    with pytest.raises(InputFileError, match=r"noise has a standard deviation of .*multiply"):
        reconstructed((factor / abs(kspace).max() * kspace).astype(np.complex64))


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_scores_do_not_depend_on_the_units(factor):
    generator = np.random.default_rng(0)
    target = generator.random((1, 16, 16), dtype=np.float32)
    image = target + np.float32(0.1) * generator.random((1, 16, 16), dtype=np.float32)
    unit = np.float32(factor)
    scores, scaled = image_metrics(target, image), image_metrics(unit * target, unit * image)
    assert scaled == pytest.approx(scores, rel=1e-4)
    assert np.isfinite(list(scores.values())).all()


def test_reading_leaves_the_units_alone(kspace, tmp_path):
    path = write_tiny(tmp_path / "scan.h5", n_slices=1)
    assert np.array_equal(read_raw(path).read_slice(0), kspace[0])
