"""A hostile file among others: it is named, and the others are reconstructed."""

import json

import h5py
import numpy as np
import pytest

from mri_alps.rawdata import probe
from tests.pipeline.tiny_scans import TINY, write_tiny

CHILD = """
import os, signal
from mri_alps.rawdata import probe
earnest = probe._problem
def problem(path, *options):
    if "crash" in path.name:
        os.kill(os.getpid(), signal.SIGBUS)
    return earnest(path, *options)
probe._problem = problem
probe.serve()
"""


def test_a_file_that_crashes_the_library_costs_one_input(tmp_path, run, monkeypatch):
    monkeypatch.setattr(probe, "_CHILD", CHILD)
    folder = tmp_path / "in"
    for name in ("a", "crash", "z"):
        write_tiny(folder / f"{name}.h5", n_slices=1)
    done = run("reconstruct", folder, "-o", tmp_path / "out", *TINY)
    assert done.code == 1
    assert (tmp_path / "out" / "a.h5").exists() and (tmp_path / "out" / "z.h5").exists()
    assert not (tmp_path / "out" / "crash.h5").exists()
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    status = {json.loads(line)["source"]: json.loads(line) for line in lines}
    found = status[str(folder / "crash.h5")]
    assert found["status"] == "failed" and "SIGBUS" in found["reason"]
    assert "1 of 3 inputs failed" in done.err
    planned = run("reconstruct", folder, "-o", tmp_path / "out", "--dry-run", *TINY)
    assert planned.code == 1 and "SIGBUS" in planned.err


@pytest.mark.parametrize("to", ["fastmri", "bart", "ismrmrd"])
def test_nothing_of_another_file_is_converted(tmp_path, run, to):
    (tmp_path / "secret").write_bytes(b"SECRET" * 2000)
    source = write_tiny(tmp_path / "scan.h5", n_slices=1)
    with h5py.File(source, "a") as file:
        shape = file["reconstruction_rss"].shape
        del file["reconstruction_rss"]
        outside = [(tmp_path / "secret", 0, 4 * int(np.prod(shape)))]
        file.create_dataset("reconstruction_rss", shape, "f4", external=outside)
    done = run("convert", source, tmp_path / "out", "--to", to)
    assert done.code == 1 and "stored in other files" in done.err and "Traceback" not in done.err
    assert not list(tmp_path.glob("out*"))
