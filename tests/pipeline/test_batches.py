"""Samples are drawn in batches of what fits; the batch changes nothing."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
import torch
from scipy import stats

from mri_alps.calibration import calibrate_volume
from mri_alps.core.errors import DivergenceError, MriAlpsError, MriAlpsWarning
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline import ReconstructionConfiguration, batches, resources
from mri_alps.pipeline.slice import SliceReconstructor
from mri_alps.priors import load_prior
from mri_alps.rawdata import read_raw
from mri_alps.sampling import PosteriorSamples, join_samples, sample_posterior
from mri_alps.sampling.result import drop_diverged
from tests.pipeline.tiny_scans import TINY, write_tiny

CPU = torch.device("cpu")
CONFIGURATION = ReconstructionConfiguration(prior="gaussian", n_samples=5, n_evaluations=24)
pytestmark = pytest.mark.filterwarnings("ignore:.*the noise was estimated")
OUT_OF_MEMORY = torch.cuda.OutOfMemoryError


@pytest.fixture
def road(tmp_path):
    raw = read_raw(write_tiny(tmp_path / "scan.h5", n_slices=1))
    mask = np.zeros((1, 32), bool)
    mask[:, ::2] = mask[:, 9:23] = True
    prior, calibration = load_prior("gaussian"), calibrate_volume(raw, mask)
    return SliceReconstructor(raw, CONFIGURATION, prior, CPU, mask, calibration)


@pytest.fixture
def loaded(road):
    return road.load(0)


def with_settings(road, **changes):
    return dataclasses.replace(road, configuration=dataclasses.replace(CONFIGURATION, **changes))


def small_memory(monkeypatch, limit):
    """Let sampling run out of memory above `limit` samples; return the sizes asked for."""
    asked = []
    from mri_alps.pipeline import slice as module

    def sample(*arguments, n_samples, **keywords):
        asked.append(n_samples)
        if n_samples > limit:
            raise OUT_OF_MEMORY("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
        return sample_posterior(*arguments, n_samples=n_samples, **keywords)

    monkeypatch.setattr(module, "sample_posterior", sample)
    return asked


@pytest.mark.filterwarnings("ignore:.*raise the number of evaluations")  # dps takes more of them
@pytest.mark.parametrize("method", ["alps", "csgm", "dps"])
def test_samples_do_not_depend_on_the_batch(road, loaded, method):
    road = with_settings(road, method=method)
    whole = road.draw(loaded, batch=5)
    scale = np.abs(whole.samples).max()
    for batch in (1, 2, 3):
        parts = road.draw(loaded, batch=batch)
        assert parts.batch == batch
        assert_equal_to_rounding(parts.samples, whole.samples, dtype="float32")
    assert np.abs(whole.samples[0] - whole.samples[1]).max() > 1e-2 * scale
    assert len(np.unique(whole.samples[:, 20, 16])) == 5


def test_convergence_figures_are_those_of_all_chains(road, loaded):
    whole = road.draw(loaded, batch=5).result.diagnostics
    parts = road.draw(loaded, batch=2).result.diagnostics
    for name in ("split_r_hat", "effective_sample_size"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-3)
    assert len(parts["levels"]) == len(whole["levels"])
    for ours, theirs in zip(parts["levels"], whole["levels"], strict=True):
        assert ours["sigma"] == theirs["sigma"]
        assert ours["data_misfit"] == pytest.approx(theirs["data_misfit"], rel=0.1)
    json.dumps(parts)


def test_without_a_trace_the_worst_figure_of_the_parts_counts():
    def part(n, r_hat, misfit):
        levels = [{"sigma": 1.0, "noise_std": [0.1], "data_misfit": misfit}]
        diagnostics = {"levels": levels, "split_r_hat": r_hat, "n_restarts": n}
        return PosteriorSamples(torch.zeros(n, 4), 10, setup_evaluations=1, diagnostics=diagnostics)

    joined = join_samples([part(3, 1.01, 1.0), part(1, 1.2, 2.0)])
    assert joined.samples.shape == (4, 4)
    assert joined.diagnostics["split_r_hat"] == 1.2
    assert joined.diagnostics["n_restarts"] == 3
    level = {"sigma": 1.0, "noise_std": [0.1], "data_misfit": 1.25}
    assert joined.diagnostics["levels"] == [level]
    assert (joined.n_evaluations, joined.setup_evaluations) == (10, 2)


@pytest.mark.filterwarnings("default::mri_alps.core.errors.MriAlpsWarning")
def test_out_of_memory_halves_the_batch_and_goes_on(road, loaded, monkeypatch):
    whole = road.draw(loaded, batch=5)
    asked = small_memory(monkeypatch, limit=1)
    with pytest.warns(MriAlpsWarning, match="out of memory with 5 samples at a time: going on"):
        halved = road.draw(loaded, batch=5)
    assert asked == [5, 2, 1, 1, 1, 1, 1]
    assert halved.batch == 1
    assert_equal_to_rounding(halved.samples, whole.samples, dtype="float32")


def test_out_of_memory_with_one_sample_is_an_error_that_says_so(road, loaded, monkeypatch):
    small_memory(monkeypatch, limit=0)
    with pytest.raises(MriAlpsError, match=r"single sample \(CUDA out of memory\): free some"):
        road.draw(loaded, batch=1)


def test_memory_of_a_lost_batch_is_free_before_the_next():
    alive = []

    class Held:
        def __del__(self):
            alive.remove(id(self))

    def draw(first, count):
        assert not alive, "the batch that failed still holds its memory"
        held = Held()
        alive.append(id(held))
        if count > 1:
            raise OUT_OF_MEMORY("CUDA out of memory.")
        return PosteriorSamples(torch.full((1, 2), float(first)), 1)

    joined, batch = batches.draw_in_batches(draw, 3, 3)
    assert batch == 1
    assert joined.samples[:, 0].tolist() == [0, 1, 2]


def test_other_errors_are_not_taken_for_out_of_memory():
    def draw(first, count):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side"):
        batches.draw_in_batches(draw, 3, 3)


def test_a_method_that_repeats_itself_in_every_batch_is_refused():
    def draw(first, count):
        return PosteriorSamples(torch.ones(count, 2), 1)

    with pytest.raises(MriAlpsError, match="first_sample"):
        batches.draw_in_batches(draw, 4, 2)


@pytest.mark.parametrize(("n_fit", "expected"), [(100, 8), (8, 8), (7, 4), (3, 3), (2, 2), (0, 1)])
def test_the_batch_is_what_fits_in_batches_of_equal_size(monkeypatch, n_fit, expected):
    shape, n_coils, evaluation = (64, 48), 4, 3e6
    monkeypatch.setattr(batches, "evaluation_bytes", lambda *_: evaluation)
    needed = resources.slice_bytes(shape, n_coils)
    needed += (n_fit + 0.5) * resources.sample_bytes(shape, n_coils, evaluation)
    monkeypatch.setattr(batches, "available_bytes", lambda _: needed / 0.8)
    assert batches.choose_batch(None, shape, n_coils, 8, CPU) == expected


class Greedy:
    """A prior whose evaluation takes `n_bytes` for each sample."""

    sigma_min, sigma_max = 0.1, 1.0

    def __init__(self, n_bytes):
        self.n_bytes, self.n_calls = n_bytes, 0

    def score(self, x, sigma):
        self.n_calls += 1
        held = torch.ones(len(x), self.n_bytes // 4)
        return -x / sigma**2 + 0 * held.mean()


def test_the_memory_of_an_evaluation_is_measured_once_per_shape():
    prior = Greedy(200 << 20)
    found = resources.evaluation_bytes(prior, (16, 16), CPU)
    assert found == pytest.approx(200 << 20, rel=0.15)
    n_calls = prior.n_calls
    assert resources.evaluation_bytes(prior, (16, 16), CPU) == found
    assert prior.n_calls == n_calls


def test_the_limit_of_a_control_group_counts(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    assert resources._control_group_bytes(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 300000\ninactive_file 50000\n")
    assert resources._control_group_bytes(tmp_path) == 650000


@pytest.mark.filterwarnings("default::mri_alps.core.errors.MriAlpsWarning")
def test_a_scan_goes_on_with_the_smaller_batch(tmp_path, run, monkeypatch):
    """Later slices do not run into the same wall, and the file says how it was computed."""
    path = write_tiny(tmp_path / "scan.h5", n_slices=3)
    expected = run("reconstruct", path, "-o", tmp_path / "expected", *TINY, "--save-samples")
    assert expected.code == 0, expected.err
    asked = small_memory(monkeypatch, limit=1)
    found = run("reconstruct", path, "-o", tmp_path / "found", *TINY, "--save-samples")
    assert found.code == 0, found.err
    assert asked == [2, 1, 1, 1, 1, 1, 1]
    assert "out of memory with 2 samples at a time: going on with 1" in found.err
    with (
        h5py.File(tmp_path / "found/scan.h5") as ours,
        h5py.File(tmp_path / "expected/scan.h5") as theirs,
    ):
        assert json.loads(ours.attrs["execution"])["batch"] == 1
        assert json.loads(theirs.attrs["execution"])["batch"] == 2
        assert_equal_to_rounding(ours["samples"][()], theirs["samples"][()], dtype="float32")


def losing(monkeypatch, lost):
    """Let some samples be NaN, by their index."""
    from mri_alps.pipeline import slice as module

    def sample(*arguments, first_sample, **keywords):
        result = sample_posterior(*arguments, first_sample=first_sample, **keywords)
        for index in lost:
            if 0 <= index - first_sample < len(result.samples):
                result.samples[index - first_sample] = float("nan")
        return drop_diverged(result, first_sample)

    monkeypatch.setattr(module, "sample_posterior", sample)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_samples_that_are_lost_leave_the_others_as_they_are(road, loaded, monkeypatch, batch):
    road = with_settings(road, save_samples=True)
    whole = road.draw(loaded, batch=batch)
    losing(monkeypatch, {1, 4})
    with pytest.warns(MriAlpsWarning, match="slice 0: only 3 of 5 samples are used"):
        sampled = road.draw(loaded, batch=batch)
    assert sampled.result.lost == (1, 4)
    np.testing.assert_array_equal(sampled.samples, whole.samples[[0, 2, 3]])
    result = road.reduce(sampled)
    assert result.scalars["n_samples"] == 3 and result.diagnostics["lost_samples"] == [1, 4]
    assert np.isnan(result.samples).all((1, 2)).tolist() == [False, True, False, False, True]
    # The interval is that of three samples: Student's t with two degrees of freedom. They are
    # of one group, whose deviation holds what the error of the mean adds to those of several.
    width = (result.reconstruction_upper - result.reconstruction_lower) / 2
    expected = stats.t.ppf(0.95, 2) * result.reconstruction_std
    size = np.abs(result.reconstruction_upper) + np.abs(result.reconstruction_lower)
    assert (np.abs(width - expected) <= 4 * np.finfo(np.float32).eps * size).all()
    assert np.isfinite(result.reconstruction_std).all() and result.reconstruction_std.any()


def test_fewer_than_half_of_all_batches_is_an_error(road, loaded, monkeypatch):
    losing(monkeypatch, {0, 1, 4})
    with pytest.raises(DivergenceError, match="not finite"):
        road.draw(loaded, batch=2)


def test_a_method_that_gives_up_with_its_last_chain_costs_that_batch():
    def draw(first, count):
        if first == 1:
            raise DivergenceError("all chains diverged", 0, 0, 1.0)
        return PosteriorSamples(torch.full((count, 2), float(first)), 1)

    said = []
    joined, _ = batches.draw_in_batches(draw, 3, 1, said.append)
    assert joined.lost == (1,) and joined.samples[:, 0].tolist() == [0, 2]
    assert "only 2 of 3" in said[0]
    with pytest.raises(DivergenceError, match="all chains"):
        batches.draw_in_batches(draw, 2, 1, said.append)
