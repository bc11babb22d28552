"""--interpolate: images on the scanner's finer grid, the deviation that of what is seen."""

import json

import h5py
import numpy as np
import pytest

import mri_alps
from mri_alps.pipeline.interpolation import interpolate
from mri_alps.rawdata import make_header
from mri_alps.rawdata.ismrmrd import make_acquisition, write_acquisitions
from tests.pipeline.simulated_scan import simulate
from tests.pipeline.tiny_scans import TINY

SETTINGS = {
    "prior": "gaussian", "n_samples": 4, "n_evaluations": 6, "device": "cpu", "noise_std": 0.05,
    "save_samples": True,
}  # fmt: skip


def centred(x, inverse=False):
    transform = np.fft.ifftn if inverse else np.fft.fftn
    return np.fft.fftshift(transform(np.fft.ifftshift(x), norm="forward"))


@pytest.mark.parametrize("shape", [(16, 12), (15, 12), (16, 13), (9, 7)])
def test_it_is_zeros_around_kspace(shape):
    rng = np.random.default_rng(0)
    image = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    size = tuple(2 * n for n in shape)
    padded = np.zeros(size, complex)
    places = tuple(
        slice(m // 2 - n // 2, m // 2 - n // 2 + n) for m, n in zip(size, shape, strict=True)
    )
    padded[places] = centred(image)
    found = interpolate(image, shape, size)
    np.testing.assert_allclose(found, centred(padded, inverse=True), atol=1e-12)
    np.testing.assert_allclose(
        found[size[0] // 2, size[1] // 2], image[shape[0] // 2, shape[1] // 2]
    )


@pytest.mark.parametrize("crop", [(10, 8), (11, 7)])
@pytest.mark.parametrize("size", [(20, 16), (23, 15), (10, 8)])
def test_a_plane_wave_of_the_object_is_the_same_on_the_finer_grid(crop, size):
    shape, (a, b) = (16, 12), (3, -2)

    def wave(sizes, steps):
        x, y = ((np.arange(n) - n // 2) * step for n, step in zip(sizes, steps, strict=True))
        return np.exp(2j * np.pi * (a * x[:, None] / shape[0] + b * y / shape[1]))

    steps = [kept / wanted for kept, wanted in zip(crop, size, strict=True)]
    found = interpolate(wave(shape, (1, 1))[np.newaxis], crop, size)
    np.testing.assert_allclose(found[0], wave(size, steps), atol=1e-12)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """48 x 32 measured over 220 x 160 mm; 44 x 30 of it as 88 x 60."""
    kspace = simulate(1, 3, (48, 32))[0][0]
    path = tmp_path_factory.mktemp("fine") / "fine.h5"
    header = make_header((48, 32, 1), (88, 60, 1), (220.0, 160.0, 5.0), (201.7, 150.0, 5.0))
    lines = [make_acquisition(kspace[:, :, row], kspace_encode_step_1=row) for row in range(32)]
    write_acquisitions(path, header, lines)
    return path


def test_deviation_and_interval_are_those_of_interpolated_samples(scan):
    plain = mri_alps.reconstruct(scan, **SETTINGS)
    finer = mri_alps.reconstruct(scan, **SETTINGS, interpolate=True)
    assert plain.reconstruction.shape == (1, 44, 30) and finer.reconstruction.shape == (1, 88, 60)
    assert finer.samples.shape == (1, 4, 88, 60)
    np.testing.assert_allclose(
        finer.reconstruction, abs(finer.samples.mean(axis=1)), rtol=1e-4, atol=1e-5
    )
    magnitudes = abs(finer.samples)
    about = magnitudes.std(axis=1, ddof=1)
    assert np.corrcoef(about.ravel(), finer.reconstruction_std.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(finer.samples_in_image_units(), finer.samples, rtol=1e-4, atol=1e-5)
    # The grids share every second pixel, where nothing is interpolated but the weight's product.
    coarse, same = plain.reconstruction[0], finer.reconstruction[0][::2, ::2]
    assert np.linalg.norm(same - coarse) < 0.02 * np.linalg.norm(coarse)
    spread = plain.reconstruction_std[0]
    there = finer.reconstruction_std[0][::2, ::2]
    assert np.linalg.norm(there - spread) < 0.05 * np.linalg.norm(spread)
    ours, theirs = (r.attributes["provenance"]["geometry"]["pixel_spacing"] for r in (finer, plain))
    assert ours == pytest.approx([0.5 * size for size in theirs])


def test_files_say_so(scan, tmp_path, run):
    finished = run("reconstruct", scan, "-o", tmp_path / "out", *TINY, "--interpolate", "--report")
    assert finished.code == 0, finished.err
    assert "zero-filling in k-space, from 44 x 30 to 88 x 60" in " ".join(finished.err.split())
    with h5py.File(tmp_path / "out" / "fine.h5") as file:
        assert file["reconstruction"].shape == (1, 88, 60)
        assert file["posterior_mean"].attrs["units"] == file["reconstruction"].attrs["units"]
        assert "neighbours are not independent" in file.attrs["interpolation"]
        assert json.loads(file.attrs["settings"])["interpolate"] is True
    again = run("reconstruct", scan, "-o", tmp_path / "out", *TINY)
    assert again.code == 0 and "interpolate" in again.err  # other settings: made again
    with h5py.File(tmp_path / "out" / "fine.h5") as file:
        assert file["reconstruction"].shape == (1, 44, 30) and "interpolation" not in file.attrs
    nifti = run("convert", tmp_path / "out" / "fine.h5", tmp_path / "fine.nii.gz")
    assert nifti.code == 0


def test_where_nothing_is_finer_nothing_is_interpolated(tmp_path, run):
    kspace = simulate(1, 3, (40, 32))[0][0]
    header = make_header((40, 32, 1), (32, 32, 1), (200.0, 160.0, 5.0), (160.0, 160.0, 5.0))
    lines = [make_acquisition(kspace[:, :, row], kspace_encode_step_1=row) for row in range(32)]
    write_acquisitions(tmp_path / "same.h5", header, lines)
    finished = run(
        "reconstruct", tmp_path / "same.h5", "-o", tmp_path / "o", *TINY, "--interpolate"
    )
    assert finished.code == 0 and "nothing is interpolated" in finished.err
    with h5py.File(tmp_path / "o" / "same.h5") as file:
        assert file["reconstruction"].shape == (1, 32, 32) and "interpolation" not in file.attrs
