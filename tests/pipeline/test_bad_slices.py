"""One bad slice costs one slice: the others are written, and what is finished is used again."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import mri_alps
from mri_alps.core.atomic import _prefix
from mri_alps.core.errors import ConfigurationError, DivergenceError, MriAlpsWarning
from mri_alps.evaluation import evaluate_folder, write_report
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file
from mri_alps.pipeline.manifest import read_manifest
from mri_alps.pipeline.result import load_reconstruction
from mri_alps.pipeline.scan_job import ScanJob
from mri_alps.pipeline.slice import SliceReconstructor
from tests.pipeline.tiny_scans import TINY, assert_same_file, contents, write_tiny

IMAGES = ("reconstruction", "reconstruction_std", "reconstruction_lower", "reconstruction_upper")
SETTINGS = {
    "prior": "gaussian", "n_samples": 2, "n_evaluations": 4, "mask": "equispaced",
    "acceleration": 2, "center_fraction": 0.4,
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*the noise was estimated")


def with_slice(path, index, value, n_slices=3):
    """Write a scan one of whose slices holds a value throughout (0) or once (NaN)."""
    write_tiny(path, n_slices)
    with h5py.File(path, "a") as file:
        if value == 0:
            file["kspace"][index] = 0
        else:
            file["kspace"][index, 0, 3, 16] = value
    return path


@pytest.fixture
def diverging(monkeypatch):
    """Let slices diverge that are in the set; return it and the slices that were sampled."""
    bad, drawn, real = set(), [], SliceReconstructor.draw

    def draw(road, loaded, *arguments):
        drawn.append(loaded.index)
        if loaded.index in bad:
            raise DivergenceError("the chains diverged", 0, 0, 99.0)
        return real(road, loaded, *arguments)

    monkeypatch.setattr(SliceReconstructor, "draw", draw)
    return bad, drawn


def check_incomplete(path, bad, n_slices=3):
    """The bad slice is NaN with its reason, the others are finite."""
    result = load_reconstruction(path)
    for name in (*IMAGES, "zero_filled", "posterior_mean"):
        finite = np.isfinite(getattr(result, name)).reshape(n_slices, -1)
        np.testing.assert_array_equal(finite.all(1), np.arange(n_slices) != bad)
        assert not finite[bad].any()
    assert list(result.failed_slices) == [bad]
    with h5py.File(path) as file:
        assert list(json.loads(file.attrs["failed_slices"])) == [str(bad)]
    return result.failed_slices[bad]


def test_nan_in_one_slice_costs_that_slice(tmp_path, run):
    bad = 0
    source, out = with_slice(tmp_path / "scan.h5", bad, np.nan), tmp_path / "out"
    first = run("reconstruct", source, "-o", out, *TINY)
    assert first.code == 1 and "NaN" in first.err and f"slice {bad}" in first.err
    assert "NaN or Inf" in check_incomplete(out / "scan.h5", bad)
    assert {path.name for path in out.iterdir()} == {*("scan.h5", "scan.png", "manifest.jsonl")}
    before = contents(out / "scan.h5")
    second = run("reconstruct", source, "-o", out, *TINY)
    assert second.code == 1 and "tried again" in second.err
    after = contents(out / "scan.h5")
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)


def test_a_slice_that_failed_is_tried_again_and_the_others_are_not(tmp_path, run, diverging):
    bad, drawn = diverging
    source, out = write_tiny(tmp_path / "scan.h5"), tmp_path / "out"
    options = (*TINY, "--save-samples", "--threads", 1)
    assert run("reconstruct", source, "-o", tmp_path / "whole", *options).code == 0
    bad.add(1)
    assert run("reconstruct", source, "-o", out, *options).code == 1
    assert check_incomplete(out / "scan.h5", 1) == "the chains diverged"
    drawn.clear()
    bad.clear()
    assert run("reconstruct", source, "-o", out, *options).code == 0
    assert drawn == [1]
    assert_same_file(out / "scan.h5", tmp_path / "whole" / "scan.h5")
    assert {path.name for path in out.iterdir()} == {*("scan.h5", "scan.png", "manifest.jsonl")}


def test_a_file_with_failed_slices_that_is_damaged_is_made_again(tmp_path, run, diverging):
    bad, drawn = diverging
    source, out = write_tiny(tmp_path / "scan.h5"), tmp_path / "out"
    bad.add(1)
    assert run("reconstruct", source, "-o", out, *TINY).code == 1
    with h5py.File(out / "scan.h5", "a") as file:
        file["diagnostics"][2] = "no JSON"
    bad.clear()
    drawn.clear()
    finished = run("reconstruct", source, "-o", out, *TINY)
    assert finished.code == 0 and "is damaged" in finished.err
    assert drawn == [1, 2]  # slice 0 was read back before


def test_a_batch_says_which_slices_failed(tmp_path, run):
    good = write_tiny(tmp_path / "in" / "good.h5", n_slices=1)
    bad = with_slice(tmp_path / "in" / "bad.h5", 1, np.nan, n_slices=2)
    out = tmp_path / "out"
    finished = run("reconstruct", bad, good, "-o", out, *TINY)
    assert finished.code == 1
    assert "bad.h5, slice 1" in finished.err and "1 of 2 inputs lack slices" in finished.err
    found = read_manifest(out / "manifest.jsonl")
    assert found[str(good)]["status"] == "finished" and found[str(good)]["failed_slices"] == {}
    assert found[str(bad)]["status"] == "incomplete"
    assert "NaN or Inf" in found[str(bad)]["failed_slices"]["1"]


def test_if_every_slice_fails_there_is_the_error_and_no_file(tmp_path, run, diverging):
    diverging[0].update(range(3))
    source = write_tiny(tmp_path / "scan.h5")
    finished = run("reconstruct", source, "-o", tmp_path / "out", *TINY)
    assert finished.code == 1
    assert finished.err.splitlines()[-1] == "mri-alps: error: the chains diverged"
    assert not (tmp_path / "out").exists()


def test_a_setting_that_is_wrong_stops_the_scan_and_keeps_what_is_finished(
    tmp_path, run, monkeypatch
):
    real = SliceReconstructor.draw

    def draw(road, loaded, *arguments):
        if loaded.index == 1:
            raise ConfigurationError("this cannot be asked for")
        return real(road, loaded, *arguments)

    source, out = write_tiny(tmp_path / "scan.h5"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(SliceReconstructor, "draw", draw)
        finished = run("reconstruct", source, "-o", out, *TINY)
    assert finished.code == 1 and "cannot be asked for" in finished.err
    assert [path.name for path in out.iterdir()] == [".unfinished"]
    finished = run("reconstruct", source, "-o", out, *TINY)
    assert finished.code == 0 and "going on after 1 of 3" in finished.err


def test_all_zero_slices_come_out_as_zeros(tmp_path, run):
    source, out = with_slice(tmp_path / "scan.h5", 0, 0), tmp_path / "out"
    finished = run("reconstruct", source, "-o", out, *TINY, "--save-samples", "--save-maps")
    assert finished.code == 0 and "slice 0" not in finished.err
    result = load_reconstruction(out / "scan.h5")
    assert result.failed_slices == {} and result.attributes["n_evaluations"] == 4
    for name in (*IMAGES, "zero_filled", "posterior_mean", "samples", "sensitivity_maps"):
        array = getattr(result, name)
        assert not array[0].any() and np.isfinite(array).all() and array[1].any(), name
    write_report(out / "scan.h5")


def test_in_memory_as_well(tmp_path):
    source = with_slice(tmp_path / "scan.h5", 1, np.nan)
    with pytest.warns(MriAlpsWarning, match="slice 1 failed and is NaN"):
        result = mri_alps.reconstruct(source, **SETTINGS)
    assert list(result.failed_slices) == [1] == [int(i) for i in result.attributes["failed_slices"]]
    assert result.slices.tolist() == [0, 1, 2]
    finite = np.isfinite(result.reconstruction).all((1, 2))
    assert finite.tolist() == [True, False, True]
    with pytest.warns(MriAlpsWarning, match="slice 1 failed"):
        path = reconstruct_to_file(
            source, tmp_path / "out", ReconstructionConfiguration(**SETTINGS)
        )
    check_incomplete(path, 1)


def test_scores_and_report_leave_failed_slices_out(tmp_path, run, diverging):
    source, out = write_tiny(tmp_path / "in" / "scan.h5"), tmp_path / "out"
    options = (*TINY, "--save-samples")
    others = tmp_path / "others"
    assert run("reconstruct", source, "-o", others, *options, "--slices", "0,2").code == 0
    diverging[0].add(1)
    assert run("reconstruct", source, "-o", out, *options).code == 1
    with pytest.warns(MriAlpsWarning, match="lacks 1 of 3 slices"):
        found = evaluate_folder(out / "scan.h5", source).volumes[0]
    assert found == evaluate_folder(others / "scan.h5", source).volumes[0]
    page = write_report(out / "scan.h5").read_text()
    assert "Slice 1 failed: the chains diverged" in page
    assert "2 reconstructed slices" in page


def test_reasons_fit_into_an_attribute():
    from mri_alps.pipeline.failures import MOST_LISTED, failures_as_attributes

    found = failures_as_attributes({index: "\u00e4 reason " * 50 for index in range(5000)})
    assert found["n_failed_slices"] == 5000
    assert list(found["failed_slices"]) == [str(index) for index in range(MOST_LISTED)]
    assert len(json.dumps(found["failed_slices"])) < 64_000
    assert failures_as_attributes({}) == {}


@contextlib.contextmanager
def smallest_files(n_bytes):
    """No file may become larger, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_during_assembly(tmp_path, run, monkeypatch):
    source, out = write_tiny(tmp_path / "scan.h5"), tmp_path / "out"
    real = ScanJob.assemble

    def assemble(job):
        with smallest_files(20_000):
            real(job)

    with monkeypatch.context() as patch:
        patch.setattr(ScanJob, "assemble", assemble)
        finished = run("reconstruct", source, "-o", out, *TINY)
    assert finished.code == 1
    assert "cannot be written (File too large)" in finished.err.splitlines()[-1]
    assert "finished slices are kept" in finished.err
    assert [path.name for path in out.iterdir()] == [".unfinished"]
    assert run("reconstruct", source, "-o", out, *TINY).code == 0


FULL_DISK = """
import resource, sys, numpy as np
from mri_alps.core.errors import OutputFileError
from mri_alps.core.atomic import create_hdf5
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with create_hdf5(sys.argv[1]) as file:
        data = file.create_dataset("a", (10, 5000), "f8", chunks=(1, 5000), fletcher32=True)
        for row in range(10):
            data[row] = row
except OutputFileError as error:
    print(error)
"""


def test_the_library_survives_a_full_disk(tmp_path):
    """Left to itself it complains on standard error and ends with a segmentation fault."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.h5")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout and done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_too_long_is_refused_before_sampling(tmp_path, run, diverging):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    written = len(_prefix(Path(".html"))) + 8 + len(".tmp")  # beside the stem
    for stem, is_good in ((longest - written, True), (longest - written + 1, False)):
        source = write_tiny(tmp_path / "scan.h5", n_slices=1)
        source = source.rename(tmp_path / ("a" * stem + ".h5"))
        out = tmp_path / str(stem)
        drawn = len(diverging[1])
        finished = run("reconstruct", source, "-o", out, *TINY, "--report")
        assert finished.code == (0 if is_good else 1)
        assert (len(diverging[1]) > drawn) == is_good
        assert out.exists() == is_good
    assert "shorter name" in finished.err.splitlines()[-1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_says_what_is_kept_and_how_to_go_on(tmp_path, run, monkeypatch, number, code):
    real = SliceReconstructor.draw

    def draw(road, loaded, *arguments):
        if loaded.index == 1:
            signal.raise_signal(number)
        return real(road, loaded, *arguments)

    source, out = write_tiny(tmp_path / "scan.h5"), tmp_path / "out"
    before = signal.getsignal(signal.SIGTERM)
    # a shell that starts the tests in the background has SIGINT ignored
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(SliceReconstructor, "draw", draw)
            finished = run("reconstruct", source, "-o", out, *TINY)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert finished.code == code
    last = finished.err.splitlines()[-1]
    assert str(out) in last and "kept" in last and "repeat the command" in last
    assert signal.getsignal(signal.SIGTERM) == before
    finished = run("reconstruct", source, "-o", out, *TINY)
    assert finished.code == 0 and "going on after 1 of 3" in finished.err
    assert not (Path(out) / ".unfinished").exists()
