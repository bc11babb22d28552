"""Real scans, from the file to the reconstruction; skipped where the scans are missing."""

import numpy as np
import pytest

from mri_alps.evaluation import evaluate_folder, head_mask
from mri_alps.pipeline import load_reconstruction
from mri_alps.rawdata import read_raw
from tests.pipeline.simulated_scan import centred_fft

pytestmark = pytest.mark.slow
FAST = ("--prior", "gaussian", "--n-samples", "4", "--n-evaluations", "10")


def reconstruct(run, path, output, *options):
    finished = run("reconstruct", path, "-o", output, *FAST, *options)
    assert finished.code == 0, finished.err
    return load_reconstruction(output / f"{path.stem}.h5")


def test_undersampled_brain(shared_data, tmp_path, run):
    path = shared_data / "raw" / "brain_axial_8ch.h5"
    options = ("--mask", "equispaced", "--acceleration", "4")
    found = reconstruct(run, path, tmp_path, *options)
    scores = evaluate_folder(tmp_path / path.name, path).volumes[0]
    reference = read_raw(path).read_reference(0)
    error = np.linalg.norm(found.zero_filled[0] - reference) ** 2 / np.linalg.norm(reference) ** 2
    assert scores.metrics["NMSE"] < 0.5 * error
    assert 0.8 < scores.coverage <= 1
    # Four aliases fall on the middle of the head, fewer on the air at its sides.
    std = found.reconstruction_std[0]
    assert std[96:160, 96:160].mean() > 1.3 * std[96:160, 8:24].mean()


def test_slices_of_the_phantom(shared_data, tmp_path, run):
    path = shared_data / "raw" / "phantom_gre_8ch_7slices.h5"
    found = reconstruct(run, path, tmp_path, "--slices", "0,3,6")
    raw = read_raw(path)
    reference = np.stack([raw.read_reference(i) for i in (0, 3, 6)])
    inside = head_mask(reference)
    ratio = found.reconstruction[inside] / reference[inside]
    # Fully sampled: the units must be the scan's own to a fraction of a percent.
    assert np.median(ratio) == pytest.approx(1, abs=0.005)
    assert np.linalg.norm((found.reconstruction - reference)[inside]) < 0.03 * np.linalg.norm(
        reference[inside]
    )


def test_prospective_ismrmrd_scan(shared_data, tmp_path, run):
    path = shared_data / "raw" / "phantom_prospective_r3_14ch_ismrmrd.h5"
    found = reconstruct(run, path, tmp_path, "--save-maps")
    assert found.reconstruction.shape == (1, 192, 144)
    image, std = found.reconstruction[0], found.reconstruction_std[0]
    # Two bottles: bright inside, dark in the corners and at the edges, where the zero-filled
    # image has aliases as bright as the object.
    bright = image > 0.15 * np.percentile(image, 99)
    assert bright[60, 70] and bright[140, 65]
    assert not bright[:, :15].any() and not bright[:, -15:].any()
    aliased = found.zero_filled[0] > 0.15 * np.percentile(found.zero_filled, 99)
    assert aliased[:, :15].any() and aliased[:, -15:].any()
    assert std[bright].mean() > 0
    # The noise was measured by the scanner: what is left of the data has just its power.
    raw = read_raw(path)
    predicted = centred_fft(found.sensitivity_maps[0] * found.posterior_mean[0])
    mask = raw.slice_mask(0)
    residual = (predicted - raw.read_slice(0))[:, mask]
    noise = np.sqrt(np.diag(raw.noise_covariance).real)
    ratio = np.sqrt((np.abs(residual) ** 2).mean(axis=1) / 2) / noise
    assert 0.5 < np.median(ratio) < 2


def test_poisson_brain_from_bart(shared_data, tmp_path, run):
    path = shared_data / "raw" / "brain_poisson_8ch.cfl"
    found = reconstruct(run, path, tmp_path)
    assert found.reconstruction.shape == (1, 180, 230)
    image = found.reconstruction[0]
    corners = np.concatenate([image[:15, :15].ravel(), image[-15:, -15:].ravel()])
    assert np.median(corners) < 0.1 * np.median(image[60:120, 60:170])
