"""Files made by other people's tools: Debian's ismrmrd-tools."""

import shutil
import subprocess

import h5py
import numpy as np
import pytest

from mri_alps.rawdata import Selection, center_block, read_raw
from tests.rawdata.rawdata_helpers import ifft_centered
from tests.waiting import LONG

TOOL = "ismrmrd_generate_cartesian_shepp_logan"
NOISE = 0.05

pytestmark = pytest.mark.skipif(
    shutil.which(TOOL) is None, reason=f"{TOOL} is missing (apt-get install ismrmrd-tools)"
)


def generate(path, *options, noise=NOISE):
    command = [TOOL, "-o", str(path), "-c", "8", "-n", str(noise), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=LONG)


def phantom_and_maps(path, dataset="dataset"):
    """Return the tool's own phantom (x, y) and maps (coil, x, y)."""
    with h5py.File(path) as file:
        parts = [file[f"{dataset}/{name}"][0] for name in ("phantom", "csm")]
    # their axes are (y, x) = (phase encode, readout)
    phantom, maps = (np.swapaxes(p["real"] + 1j * p["imag"], -1, -2) for p in parts)
    return phantom, maps


# The tool's header claims an oversampling of 2 whatever -O says, so 2 is the one to test.
def test_fully_sampled_phantom(tmp_path):
    path = tmp_path / "full.h5"
    generate(path, "-a", "1", "-O", "2", "-m", "64", "-d", "scan")
    raw = read_raw(path)
    assert raw.shape == raw.crop == (64, 64) and raw.mask.all() and raw.n_coils == 8
    phantom, maps = phantom_and_maps(path, "scan")
    difference = ifft_centered(raw.read_slice(0)) - phantom * maps
    assert np.std(difference) / np.sqrt(2) == pytest.approx(NOISE, rel=0.02)


def test_acceleration_two_with_noise_and_calibration(tmp_path):
    path = tmp_path / "r2.h5"
    generate(path, "-a", "2", "-O", "2", "-m", "128", "-w", "24", "-C")
    raw = read_raw(path)
    assert raw.shape == raw.crop == (128, 128) and raw.n_slices == 1
    np.testing.assert_array_equal(np.flatnonzero(raw.mask[0, 0]), np.arange(0, 128, 2))
    # the noise level is that of a real component
    std = np.sqrt(np.diag(raw.noise_covariance).real)
    np.testing.assert_allclose(std, NOISE, rtol=0.15)
    # "interleaved": both repetitions together fill k-space
    assert raw.has_calibration and center_block(raw.read_calibration(0)[1]) == (128, 128)
    other = read_raw(path, selection=Selection(repetition=1))
    np.testing.assert_array_equal(np.flatnonzero(other.mask[0, 0]), np.arange(1, 128, 2))


def test_sense_with_the_tools_maps_gives_the_phantom_back(tmp_path):
    path = tmp_path / "r2.h5"
    generate(path, "-a", "2", "-O", "2", "-m", "128", noise=0.001)
    phantom, maps = phantom_and_maps(path)
    aliased = ifft_centered(read_raw(path).read_slice(0))
    # every second line folds y onto y + N / 2, with half the amplitude
    pairs = np.stack([maps[..., :64], maps[..., 64:]], axis=-1) / 2  # (coil, x, y, 2)
    folded = np.moveaxis(aliased[..., :64], 0, -1)[..., np.newaxis]
    image = (np.linalg.pinv(np.moveaxis(pairs, 0, -2)) @ folded)[..., 0]
    image = np.concatenate([image[..., 0], image[..., 1]], axis=-1)
    assert np.linalg.norm(image - phantom) < 0.02 * np.linalg.norm(phantom)
