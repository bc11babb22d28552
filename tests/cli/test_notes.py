"""What the reader did to a scan is said by every command, and kept; small conveniences."""

import json

import h5py
import pytest

from mri_alps.cli.evaluate import _mean
from mri_alps.pipeline.manifest import read_manifest
from mri_alps.rawdata import write_ismrmrd
from tests.pipeline.simulated_scan import simulate
from tests.pipeline.tiny_scans import TINY

CROPPED = "the final image is cropped to 32 x 32"


@pytest.fixture
def wide(tmp_path):
    path = tmp_path / "wide.h5"
    write_ismrmrd(path, simulate(1, 0, (40, 36))[0], recon_matrix=(32, 32))
    return path


def test_notes_are_printed_once_and_kept(wide, tmp_path, run):
    finished = run("reconstruct", wide, "-o", tmp_path / "out", *TINY)
    assert finished.code == 0 and finished.err.count(CROPPED) == 1
    with h5py.File(tmp_path / "out" / "wide.h5") as file:
        told = json.loads(file["provenance"][()])
    assert any(CROPPED in note for note in told["processing"])
    (entry,) = read_manifest(tmp_path / "out" / "manifest.jsonl").values()
    assert entry["status"] == "finished"  # of one input too
    assert CROPPED in " ".join(run("inspect", wide).out.split())


def test_bart_comes_back_as_hdf5_in_a_folder_that_is_made(wide, tmp_path, run):
    there = run("convert", wide, tmp_path / "new" / "scan.cfl")
    assert there.code == 0 and CROPPED in there.err
    back = run("convert", tmp_path / "new" / "scan.cfl", tmp_path / "other" / "back.h5")
    assert back.code == 0 and (tmp_path / "other" / "back.h5").exists(), back.err


@pytest.mark.parametrize(("n_volumes", "text"), [(1, "0.5"), (2, "0.5 +/- 0.2")])
def test_one_volume_has_no_spread(n_volumes, text):
    assert _mean({"mean": 0.5, "std": 0.1}, n_volumes) == text
