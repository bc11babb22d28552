"""``mri-alps design-mask`` and ``masks`` on a 3-D scan, of which points are chosen."""

import json

import numpy as np
import pytest

from mri_alps.cli.app import main
from mri_alps.masks import load_mask
from mri_alps.rawdata.bart.cfl import write_cfl

PLANE = (18, 16)
OPTIONS = ("--prior", "gaussian", "--n-samples", "3", "--n-evaluations", "4", "--slices", "4,6")
pytestmark = pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def volume(tmp_path):
    """A BART file (readout, two phase encodes, coils)."""
    rng = np.random.default_rng(0)
    axes = (np.linspace(-1, 1, n) for n in (12, *PLANE))
    x, y, z = np.meshgrid(*axes, indexing="ij")
    image = (np.hypot(np.hypot(x, y), z) < 0.8) - 0.4 * (np.hypot(np.hypot(x, y - 0.2), z) < 0.35)
    maps = np.stack([np.exp(-((y - a) ** 2) - (z - b) ** 2 + 1j * a)
                     for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))], -1)  # fmt: skip
    shifted = np.fft.ifftshift(image[..., None] * maps, axes=(0, 1, 2))
    kspace = np.fft.fftn(shifted, axes=(0, 1, 2), norm="ortho")
    noise = 0.02 * rng.standard_normal((2, *kspace.shape))
    kspace = np.fft.fftshift(kspace, axes=(0, 1, 2)) + noise[0] + 1j * noise[1]
    path = tmp_path / "volume.cfl"
    write_cfl(path, kspace.astype(np.complex64))
    return path


def test_points_are_designed_and_compared(volume, tmp_path, capsys):
    mask = tmp_path / "points.npy"
    assert run("design-mask", volume, "--budget", 100, "--batch", 18, "-o", mask, *OPTIONS) == 0
    chosen = load_mask(mask, PLANE)
    assert chosen.shape == PLANE
    assert chosen.sum() == 100
    assert chosen[5:13, 4:12].all()  # the calibration region
    assert np.array_equal(load_mask(mask.with_suffix(".cfl"), PLANE), chosen)
    listed = np.loadtxt(mask.with_suffix(".txt"), dtype=int)
    assert {tuple(row) for row in listed} == {tuple(row) for row in np.argwhere(chosen).tolist()}
    curve = json.loads(mask.with_suffix(".json").read_text())["design"]["points"]
    sampled = [point for point in curve if point["candidate"] is None]
    assert [point["n_measured"] for point in sampled] == [64, 82, 100]
    assert sampled[-1]["actual_error"] < sampled[0]["actual_error"]

    folder = tmp_path / "study"
    assert run("masks", volume, "--masks", f"poisson,{mask}", "--accelerations", "2.8",
               "--center-fraction", 0.3, "-o", folder, *OPTIONS) == 0  # fmt: skip
    found = json.loads((folder / "masks.json").read_text())
    assert [(entry["mask"], entry["slice"]) for entry in found["results"]] == [
        *(("poisson", 4), ("points", 4), ("poisson", 6), ("points", 6))
    ]
    assert all(entry["acceleration"] == 2.8 for entry in found["results"])
    capsys.readouterr()
    assert run("design-mask", volume, "--budget", 30, "-o", mask, *OPTIONS) == 1
    assert "a budget of 30 is less than the 64 of the calibration region" in capsys.readouterr().err
