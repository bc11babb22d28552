"""Every kind of bad input: one sentence, a non-zero exit, nothing left behind."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import OutputFileError
from mri_alps.pipeline.slice import costs_one_slice
from mri_alps.rawdata.fastmri.writer import write_fastmri

FAST = ("--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "5")


def change(path, **datasets):
    with h5py.File(path, "a") as file:
        for name, array in datasets.items():
            if name in file:
                del file[name]
            if array is not None:
                file[name] = array


def edit_header(path, old, new):
    with h5py.File(path, "a") as file:
        header = file["ismrmrd_header"][()]
        assert old in header
        change_to = header.replace(old, new, 1)
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = change_to


def truncate(scan):
    content = scan.path.read_bytes()
    scan.path.write_bytes(content[: len(content) // 2])


def with_value(value):
    def spoil(scan):
        kspace = scan.kspace.astype(np.complex64)
        kspace[:, 0, 3, 3] = value
        change(scan.path, kspace=kspace)

    return spoil


def absurd_matrix(scan):
    edit_header(scan.path, b"<x>80</x>", b"<x>1000000</x>")


def entity_bomb(scan):
    bomb = (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
        b'<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">&c;</ismrmrdHeader>'
    )
    with h5py.File(scan.path, "a") as file:
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = bomb


def no_centre(scan):
    mask = np.zeros(64, bool)
    mask[::5] = True
    mask[29:36] = False
    write_fastmri(scan.path, scan.kspace, mask=mask, recon_matrix=(64, 64))


BAD_FILES = {
    "truncated": (truncate, "truncated or damaged"),
    "empty": (lambda scan: scan.path.write_bytes(b""), "scan.h5"),
    "no k-space": (lambda scan: change(scan.path, kspace=None), "kspace"),
    "real k-space": (lambda scan: change(scan.path, kspace=np.abs(scan.kspace)), "complex"),
    "nan": (with_value(np.nan), "NaN or Inf"),
    "inf": (with_value(np.inf), "NaN or Inf"),
    "mask length": (lambda scan: change(scan.path, mask=np.ones(63, bool)), "mask"),
    "absurd matrix": (absurd_matrix, "1000000"),
    "entities": (entity_bomb, "scan.h5"),
    "no calibration": (no_centre, "calibration"),
    "missing": (lambda scan: scan.path.unlink(), "does not exist"),
}


def check_failure(finished, *words):
    assert finished.code != 0
    *others, last = finished.err.strip().splitlines()
    assert all(line.startswith("mri-alps: warning: ") for line in others), finished.err
    assert last.startswith("mri-alps: error: ")
    for word in words:
        assert word in last


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files(scan, tmp_path, run, kind):
    spoil, word = BAD_FILES[kind]
    spoil(scan)
    output = tmp_path / "output"
    check_failure(run("reconstruct", scan.path, "-o", output, *FAST), "scan.h5", word)
    assert not output.exists()


def test_a_directory_as_input(tmp_path, run):
    finished = run("reconstruct", tmp_path, "-o", tmp_path / "output", *FAST)
    check_failure(finished, str(tmp_path), "directory")
    assert not (tmp_path / "output").exists()


def test_an_output_folder_that_is_a_file(scan, tmp_path, run):
    (tmp_path / "output").write_text("mine")
    check_failure(run("reconstruct", scan.path, "-o", tmp_path / "output", *FAST), "output")
    assert (tmp_path / "output").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_permission(scan, tmp_path, run):
    (tmp_path / "output").mkdir(mode=0o500)
    finished = run("reconstruct", scan.path, "-o", tmp_path / "output", *FAST)
    check_failure(finished, "output", "ermission")


def test_a_full_disk_leaves_nothing(scan, tmp_path, run, monkeypatch):
    def full(self, result):
        raise OSError(28, "No space left on device")

    from mri_alps.pipeline.slice_store import SliceStore

    monkeypatch.setattr(SliceStore, "write", full)
    check_failure(run("reconstruct", scan.path, "-o", tmp_path / "o", *FAST), "No space left")
    assert not (tmp_path / "o").exists()


def test_a_slice_that_cannot_be_kept_names_its_file(scan, tmp_path, run, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    out = tmp_path / "o"
    check_failure(run("reconstruct", scan.path, "-o", out, *FAST), str(out), "No space left")
    assert not costs_one_slice(OutputFileError("full"))  # such a slice is to be made again


def test_a_disk_that_is_full_at_the_end_keeps_the_slices(scan, tmp_path, run, monkeypatch):
    def full(self, result):
        raise OSError(28, "No space left on device")

    from mri_alps.pipeline.output import ReconstructionWriter

    out = tmp_path / "o"
    with monkeypatch.context() as patch:
        patch.setattr(ReconstructionWriter, "write_slice", full)
        finished = run("reconstruct", scan.path, "-o", out, *FAST)
    assert finished.code != 0 and "No space left" in finished.err
    assert "kept for the next run" in finished.err
    assert [path.name for path in out.iterdir()] == [".unfinished"]
    assert run("reconstruct", scan.path, "-o", out, *FAST).code == 0
    assert {path.name for path in out.iterdir()} == {*("scan.h5", "scan.png", "manifest.jsonl")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mask", "spiral"), ("'spiral'", "equispaced")),
        (("--mask", "equispaced", "--acceleration", "0.5"), ("acceleration", "0.5")),
        (("--mask", "equispaced", "--center-fraction", "2"), ("--center-fraction", "2")),
        (("--n-samples", "1"), ("--n-samples", "at least 2")),
        (("--n-evaluations", "0"), ("--n-evaluations", "0")),
        (("--slices", "7"), ("slices 0 to 1", "7")),
        (("--slices", "one"), ("--slices", "'one'")),
        (("--device", "tpu"), ("'tpu'", "cpu")),
        (("--device", "mps"), ("'mps'", "double precision", "use --device cpu")),
        (("--prior", "no-such-prior"), ("no-such-prior",)),
        (("--method", "no-such-method"), ("no-such-method",)),
    ],
)
def test_bad_options(scan, tmp_path, run, options, words):
    output = tmp_path / "output"
    finished = run("reconstruct", scan.path, "-o", output, *FAST, *options)
    check_failure(finished, *words)
    assert not output.exists()


def mask_file(path, mask):
    np.save(path, mask)
    return path


@pytest.mark.parametrize(
    ("mask", "word"),
    [
        (np.ones(63), "63"),
        (np.ones((64, 80)), "(64, 80)"),
        (np.zeros(64), "without a single"),
        (np.full(64, 0.5), "0 and 1"),
        (np.array(["a"] * 64), "0 and 1"),
    ],
)
def test_bad_mask_files(scan, tmp_path, run, mask, word):
    path = mask_file(tmp_path / "mask.npy", mask)
    finished = run("reconstruct", scan.path, "-o", tmp_path / "output", *FAST, "--mask", path)
    check_failure(finished, "mask.npy", word)
    assert not (tmp_path / "output").exists()


def test_a_pickled_mask_is_not_executed(scan, tmp_path, run):
    path = tmp_path / "mask.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    finished = run("reconstruct", scan.path, "-o", tmp_path / "output", *FAST, "--mask", path)
    check_failure(finished, "mask.npy")


def test_two_inputs_of_one_name(scan, tmp_path, run):
    other = tmp_path / "other" / "scan.h5"
    other.parent.mkdir()
    other.write_bytes(scan.path.read_bytes())
    check_failure(run("reconstruct", scan.path, other, "-o", tmp_path / "output", *FAST), "scan.h5")


def test_the_scan_is_not_overwritten(scan, run):
    before = scan.path.read_bytes()
    check_failure(run("reconstruct", scan.path, "-o", scan.path.parent, *FAST), "overwrite")
    assert scan.path.read_bytes() == before


def test_one_bad_input_does_not_stop_the_others(scan, tmp_path, run):
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no")
    finished = run("reconstruct", bad, scan.path, "-o", tmp_path / "output", *FAST)
    assert finished.code != 0
    assert "bad.h5" in finished.err and "1 of 2 inputs failed" in finished.err
    written = {path.name for path in (tmp_path / "output").iterdir()}
    assert written == {"scan.h5", "scan.png", "manifest.jsonl"}
