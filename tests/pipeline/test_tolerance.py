"""As many samples as a stated Monte-Carlo error calls for, whatever they are drawn by."""

import dataclasses
import math

import h5py
import numpy as np
import pytest
import torch

import mri_alps
from mri_alps.core.errors import ConfigurationError, MriAlpsError, MriAlpsWarning
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.pipeline.identity import prior_identity
from mri_alps.pipeline.reached import MEAN_ERROR, STD_ERROR
from mri_alps.pipeline.scan_job import RunContext, ScanJob
from mri_alps.pipeline.slice import SliceReconstructor
from mri_alps.pipeline.tolerance import (
    _std,
    _summed,
    draw_to_tolerance,
    monte_carlo_errors,
)
from mri_alps.pipeline.volume import load_prior_for
from mri_alps.sampling import PosteriorSamples, antithetic_groups, sample_statistics
from tests.pipeline.tiny_scans import TINY, assert_same_file, write_tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*the noise was estimated")
OPTIONS = {"prior": "gaussian", "n_evaluations": 4, "mask": "equispaced", "acceleration": 2.0}


def normal_samples(n, seed=0, std=0.1, shape=(60, 60), antithetic=True):
    """An object of intensity 2 in the middle of nothing, with normal deviations in it."""
    generator = np.random.default_rng(seed)
    image = np.zeros(shape)
    image[10:50, 10:50] = 2.0
    noise = generator.normal(size=(n, *shape, 2)).view(complex)[..., 0]
    if antithetic:
        four = noise.reshape(-1, 4, *shape)
        noise = (math.sqrt(4 / 3) * (four - four.mean(1, keepdims=True))).reshape(noise.shape)
    return image + std * noise * (image > 0) + 1e-3 * noise


@pytest.mark.parametrize("n", [4, 8, 32])
def test_errors_of_independent_samples_are_those_of_theory(n):
    errors = monte_carlo_errors(normal_samples(n, antithetic=False), range(n))
    assert errors.mean == pytest.approx(0.1 * np.sqrt(2 / n) / 2, rel=0.03)
    # The jackknife of a deviation errs by some percent where there are few samples.
    assert errors.std == pytest.approx(1 / np.sqrt(2 * (n - 1)), rel=0.35 if n == 4 else 0.12)


@pytest.mark.parametrize("n", [16, 64])
def test_errors_are_the_scatter_of_repetitions(n):
    """Of samples in groups of four whose noise sums to zero; the mean has no error at all."""
    groups = antithetic_groups(range(n))
    runs = [normal_samples(n, seed) for seed in range(30)]
    found = [sample_statistics(run[:, 20:40, 20:40], groups).magnitude_std for run in runs]
    scatter = np.sqrt(np.var(found, axis=0, ddof=1).mean()) / np.mean(found)
    stated = [monte_carlo_errors(run, groups) for run in runs]
    assert np.mean([errors.std for errors in stated]) == pytest.approx(scatter, rel=0.15)
    assert max(errors.mean for errors in stated) < 1e-12


def test_the_deviation_is_that_of_the_statistics():
    samples, groups = normal_samples(16, shape=(60, 60)), [0, 0, 0, 1, 1, 2, 2, 2, *[3] * 8]
    magnitude = np.abs(samples.reshape(16, -1))
    labels = np.asarray(groups)
    counts = np.bincount(labels)[:, None].astype(float)
    first, second = (_summed(a, labels) for a in (magnitude, magnitude**2))
    within = counts * second - first**2
    found = _std(*(a.sum(0) for a in (counts, first, second, within, counts**2)))
    expected = sample_statistics(samples, groups).magnitude_std.reshape(-1)
    assert found == pytest.approx(expected, rel=1e-6)


def test_too_few_groups_say_nothing_and_an_empty_slice_is_certain():
    assert monte_carlo_errors(normal_samples(8), antithetic_groups(range(8))) == (np.inf, np.inf)
    assert monte_carlo_errors(np.zeros((4, 8, 8), complex), range(4)) == (0.0, 0.0)


def blocks(drawn, same=False):
    def draw(first):
        drawn.append(first)
        return PosteriorSamples(torch.as_tensor(normal_samples(8, 0 if same else first)), 4)

    return draw


def images(result):
    return result.samples.numpy()


@pytest.mark.parametrize(
    ("tolerance", "count"), [((0.4,), 16), ((0.15,), 32), ((1e-3, 0.12), 48), ((0.01,), 120)]
)
def test_blocks_are_drawn_until_both_errors_are_small(tolerance, count):
    drawn = []
    result, errors = draw_to_tolerance(blocks(drawn), images, 8, 127, tolerance)
    assert drawn == list(range(0, len(result.samples), 8))
    assert len(result.samples) == count
    groups = antithetic_groups(range(count))
    assert errors == monte_carlo_errors(result.samples.numpy(), groups)
    assert errors.are_within(tolerance) == (tolerance != (0.01,))


def test_blocks_that_are_alike_are_refused():
    with pytest.raises(MriAlpsError, match="the same samples"):
        draw_to_tolerance(blocks([], same=True), images, 8, 64, (0.01,))


def test_a_slice_has_the_samples_that_so_many_at_once_have(tmp_path):
    path = write_tiny(tmp_path / "scan.h5", n_slices=1)
    options = OPTIONS | {"n_samples": 4, "save_samples": True}
    found = mri_alps.reconstruct(path, tolerance=(1.0, 0.3), max_samples=16, **options)
    counts = found.scalars["n_samples"]
    assert (counts % 4 == 0).all() and (counts >= 12).all() and (counts <= 16).all()
    assert (found.scalars[STD_ERROR] <= 0.3).all()
    for row, count in enumerate(counts):
        fixed = mri_alps.reconstruct(path, **(options | {"n_samples": int(count)}))
        assert_equal_to_rounding(found.samples[row, :count], fixed.samples[row])
        assert np.isnan(found.samples[row, count:]).all() and found.samples.shape[1] == 16
        mean = torch.as_tensor(fixed.reconstruction_std[row])
        assert_equal_to_rounding(torch.as_tensor(found.reconstruction_std[row]), mean, n_summed=16)


def test_what_was_reached_is_told(tmp_path, run):
    path = write_tiny(tmp_path / "scan.h5", n_slices=2)
    options = [*TINY, "--tolerance", "1,0.3", "--max-samples", "16"]
    done = run("reconstruct", path, "-o", tmp_path / "out", *options)
    assert done.code == 0, done.err
    assert "samples a slice; Monte-Carlo error at most" in done.err
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        attributes, scalars = dict(file.attrs), {k: v[()] for k, v in file["facts"].items()}
    assert attributes["n_samples"] == scalars["n_samples"].min()
    assert attributes["max_n_samples"] == scalars["n_samples"].max() <= 16
    assert attributes[STD_ERROR] == pytest.approx(scalars[STD_ERROR].max())
    assert attributes[MEAN_ERROR] == pytest.approx(scalars[MEAN_ERROR].max())
    again = run("reconstruct", path, "-o", tmp_path / "out", *options)
    assert again.code == 0 and "finished before" in again.err


def test_a_run_that_is_gone_on_with_and_workers_make_the_file_of_one_run(
    tmp_path, run, monkeypatch
):
    """Slices have different numbers of samples, which only what they are stored with says."""
    tasks = pytest.importorskip("mri_alps.pipeline.cluster._tasks")
    path = write_tiny(tmp_path / "scan.h5", n_slices=2)
    options = [*TINY, "--tolerance", "1,0.22", "--max-samples", "24", "--device", "cpu"]
    assert run("reconstruct", path, "-o", tmp_path / "alone", *options).code == 0
    with h5py.File(tmp_path / "alone" / "scan.h5") as file:
        assert len(set(file["facts/n_samples"][()])) > 1

    real, drawn = SliceReconstructor.draw, []

    def stops(self, *arguments, **settings):
        if len(drawn) == 1:
            raise KeyboardInterrupt
        drawn.append(1)
        return real(self, *arguments, **settings)

    monkeypatch.setattr(SliceReconstructor, "draw", stops)
    assert run("reconstruct", path, "-o", tmp_path / "stopped", *options).code != 0
    assert len(list((tmp_path / "stopped").rglob("slice_*.npz"))) == 1
    monkeypatch.setattr(SliceReconstructor, "draw", real)
    assert run("reconstruct", path, "-o", tmp_path / "stopped", *options).code == 0
    assert_same_file(tmp_path / "stopped" / "scan.h5", tmp_path / "alone" / "scan.h5")

    settings = ReconstructionConfiguration(
        prior="gaussian", n_samples=2, n_evaluations=4, mask="equispaced", acceleration=2.0,
        center_fraction=0.4, device="cpu", tolerance=(1.0, 0.22), max_samples=24,
    )  # fmt: skip
    prior, device = load_prior_for(settings)
    out = tmp_path / "workers"
    out.mkdir()
    context = RunContext(settings, prior, device, "gaussian", n_threads=1)
    job = ScanJob(path, out, context)
    job.open()
    task = tasks.ScanTask(
        str(path), str(job.target), job.store.identity, job.scan_hash, prior_identity(prior),
        settings, job.compute_settings,
    )  # fmt: skip
    calibrated = tasks.calibrate(task)
    for slices in ((1,), (0,)):
        assert tasks.reconstruct_slices(task, slices, calibrated).computed == slices
    job.release()
    monkeypatch.setattr(SliceReconstructor, "draw", stops)  # everything is found
    assert run("reconstruct", path, "-o", out, *options).code == 0
    assert_same_file(out / "scan.h5", tmp_path / "alone" / "scan.h5")


def test_what_was_not_reached_is_a_warning(tmp_path):
    path = write_tiny(tmp_path / "scan.h5", n_slices=1)
    with pytest.warns(MriAlpsWarning, match="the most that --max-samples allows"):
        found = mri_alps.reconstruct(path, tolerance=1e-3, max_samples=17, n_samples=3, **OPTIONS)
    assert found.scalars["n_samples"].tolist() == [15]


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigurationError, match="max_samples"):
        ReconstructionConfiguration(tolerance=0.1, n_samples=8, max_samples=4)
    with pytest.raises(ConfigurationError, match="calibration"):
        ReconstructionConfiguration(tolerance=0.1, calibration="some.json")
    with pytest.raises(ConfigurationError, match="tolerance"):
        ReconstructionConfiguration(tolerance=(0.1, 0.1, 0.1))
    settings = ReconstructionConfiguration(tolerance=0.1)
    assert settings.most_samples == 64 and settings.tolerance == (0.1,)
    assert dataclasses.replace(settings, tolerance=None).most_samples == 8
