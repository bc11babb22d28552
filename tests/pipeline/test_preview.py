"""A preview is there before the samples, says what it is, and goes when the posterior is there."""

import json

import h5py
import numpy as np
import pytest
import torch

import mri_alps
from mri_alps.calibration.chain import scaled
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file
from mri_alps.pipeline.preview import MOST_SLICES, PREVIEW_FORMAT, preview_path, previewed_slices
from mri_alps.pipeline.slice import SliceReconstructor
from mri_alps.priors import GaussianPrior
from tests.pipeline.tiny_scans import TINY, assert_same_file, write_tiny

SETTINGS = dict(
    prior="gaussian", n_samples=2, n_evaluations=4, mask="equispaced", acceleration=2.0,
    center_fraction=0.4,
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*the noise was estimated")


@pytest.fixture
def tiny(tmp_path):
    return write_tiny(tmp_path / "in" / "scan.h5")


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("n_slices", [1, 2, 8, 9, 50])
def test_the_middle_slice_is_first(n_slices):
    indices = tuple(range(3, 3 + n_slices))
    found = previewed_slices(indices)
    assert len(set(found)) == len(found) == min(n_slices, MOST_SLICES)
    assert set(found) <= set(indices) and list(found[1:]) == sorted(found[1:])
    assert abs(found[0] - indices[n_slices // 2]) <= n_slices / MOST_SLICES


def test_the_command_line_writes_it_and_removes_it(tiny, tmp_path, run, monkeypatch):
    seen = []
    draw = SliceReconstructor.draw

    def look(self, *arguments, **options):
        seen.append(names(tmp_path / "out"))
        return draw(self, *arguments, **options)

    monkeypatch.setattr(SliceReconstructor, "draw", look)
    finished = run("reconstruct", tiny, "-o", tmp_path / "out", "--preview", *TINY)
    assert finished.code == 0, finished.err
    assert "scan_preview.h5 is a first image" in finished.err
    assert "preview" not in finished.out
    assert "scan_preview.h5" in seen[-1] and "scan.h5" not in seen[-1]
    assert names(tmp_path / "out") == {"scan.h5", "scan.png", "manifest.jsonl"}
    assert run("reconstruct", tiny, "-o", tmp_path / "plain", *TINY).code == 0
    assert_same_file(tmp_path / "out" / "scan.h5", tmp_path / "plain" / "scan.h5")


def test_its_file_says_what_it_is_and_holds_no_deviation(tiny, tmp_path):
    from mri_alps.evaluation import write_preview

    found, pictures = {}, []

    def look(path):
        with h5py.File(path) as file:
            found.update({name: file[name][()] for name in file} | {"attributes": dict(file.attrs)})
        pictures.append(write_preview(path).exists())

    configuration = ReconstructionConfiguration(**SETTINGS)
    target = reconstruct_to_file(tiny, tmp_path / "out", configuration, preview=look)
    assert pictures == [True] * 3
    assert names(target.parent) == {"scan.h5"}
    attributes = found["attributes"]
    assert attributes["format"] == PREVIEW_FORMAT and "without a standard" in attributes["kind"]
    assert json.loads(attributes["configuration"])["mask"] == "equispaced"
    assert set(found) == {"attributes", "slices", "preview", "n_evaluations", "seconds"}
    np.testing.assert_array_equal(found["slices"], [0, 1, 2])
    posterior = mri_alps.load_reconstruction(target)
    shown = found["preview"]
    assert shown.shape == posterior.reconstruction.shape and shown.dtype == np.float32
    # It is an estimate of the same image in the same units: nearer than what was measured alone.
    error = np.linalg.norm(shown - posterior.reconstruction)
    assert error < 0.5 * np.linalg.norm(posterior.zero_filled - posterior.reconstruction)


def test_the_library_is_given_the_same_images(tiny, tmp_path):
    shown, kept = [], {}
    mri_alps.reconstruct(tiny, **SETTINGS, preview=shown.append)

    def look(path):
        with h5py.File(path) as file:
            kept.update(zip(file["slices"][()].tolist(), file["preview"][()], strict=True))

    reconstruct_to_file(tiny, tmp_path, ReconstructionConfiguration(**SETTINGS), preview=look)
    assert [each.index for each in shown] == [1, 0, 2]
    for each in shown:
        np.testing.assert_array_equal(each.image, kept[each.index])


def test_it_is_there_before_maps_are_judged(tiny, tmp_path, monkeypatch):
    seen = []
    refine = scaled.refine_sensitivity_maps

    def look(*arguments):
        seen.append((tmp_path / "scan_preview.h5").exists())
        return refine(*arguments)

    monkeypatch.setattr(scaled, "refine_sensitivity_maps", look)
    reconstruct_to_file(tiny, tmp_path, ReconstructionConfiguration(**SETTINGS), preview=print)
    assert len(seen) == 3 and all(seen)


class NoDenoiser(GaussianPrior):
    """A score without a denoiser."""

    def denoise(self, x, sigma):
        raise NotImplementedError("only a score")


def test_a_prior_that_is_no_denoiser_has_no_preview_and_a_posterior(tiny, tmp_path, monkeypatch):
    prior = NoDenoiser(torch.ones(40, 32), sigma_min=0.02, sigma_max=20.0)
    monkeypatch.setattr("mri_alps.pipeline.volume.load_prior_for", lambda _: (prior, CPU))
    with pytest.warns(MriAlpsWarning, match="no preview is made: .*only a score"):
        found = mri_alps.reconstruct(tiny, **SETTINGS, preview=pytest.fail)
    assert np.isfinite(found.reconstruction_std).all()


CPU = torch.device("cpu")


def test_an_interrupted_run_keeps_its_preview_and_goes_on_with_it(tiny, tmp_path, monkeypatch):
    configuration = ReconstructionConfiguration(**SETTINGS)
    looked = []

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SliceReconstructor, "draw", stop)
        with pytest.raises(KeyboardInterrupt):
            reconstruct_to_file(tiny, tmp_path / "out", configuration, preview=looked.append)
    path = preview_path(tmp_path / "out" / "scan.h5")
    assert path.exists() and len(looked) == 3
    reconstruct_to_file(tiny, tmp_path / "out", configuration, preview=looked.append)
    assert len(looked) == 3  # none was made twice
    assert names(tmp_path / "out") == {"scan.h5"}


def test_a_file_of_others_is_not_touched(tiny, tmp_path, run):
    out = tmp_path / "out"
    out.mkdir()
    (out / "scan_preview.h5").write_text("mine")
    finished = run("reconstruct", tiny, "-o", out, "--preview", *TINY)
    assert finished.code == 0 and "is no preview of mri_alps" in finished.err
    assert (out / "scan_preview.h5").read_text() == "mine"


def test_a_scan_that_is_refused_leaves_no_preview(tiny, tmp_path, run, monkeypatch):
    def refuse(*_, **__):
        raise mri_alps.MriAlpsError("nothing fits")

    monkeypatch.setattr(SliceReconstructor, "draw", refuse)
    finished = run("reconstruct", tiny, "-o", tmp_path / "out", "--preview", *TINY)
    assert finished.code == 1 and "is a first image" in finished.err
    assert not list((tmp_path / "out").glob("*preview*")) if (tmp_path / "out").exists() else True


def test_a_worker_writes_the_same(tiny, tmp_path):
    """What a cluster's task writes, without a cluster."""
    pytest.importorskip("distributed")
    from mri_alps.pipeline.cluster import _tasks as tasks
    from mri_alps.pipeline.identity import prior_identity, scan_identity
    from mri_alps.pipeline.slice_store import ComputeSettings, SliceStore

    configuration = ReconstructionConfiguration(**SETTINGS, device="cpu")
    target, identity = tmp_path / "out" / "scan.h5", {"scan_hash": "a", "configuration_hash": "b"}
    SliceStore(target, "id").folder.mkdir(parents=True)
    task = tasks.ScanTask(
        path=str(tiny),
        target=str(target),
        store_identity="id",
        scan_identity=scan_identity(mri_alps.read_raw(tiny)),
        prior_identity=prior_identity(mri_alps.load_prior("gaussian"), "gaussian"),
        configuration=configuration,
        compute_settings=ComputeSettings("cpu", torch.get_num_threads(), 2, ""),
    )
    calibrated = tasks.calibrate(task)
    assert calibrated.error is None
    receipt = tasks.preview_scan(task, (0, 1, 2), identity, calibrated)
    assert receipt.computed == () and "is a first image" in receipt.notes[0]
    shown = []
    mri_alps.reconstruct(tiny, **SETTINGS, preview=shown.append)
    with h5py.File(preview_path(target)) as file:
        assert file.attrs["scan_hash"] == "a"
        for each in shown:
            np.testing.assert_array_equal(file["preview"][each.index], each.image)
