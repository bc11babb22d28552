"""A file that crashes the process that opens it costs that file only."""

import numpy as np
import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import probe, write_fastmri
from mri_alps.rawdata.probe import Probe

# Dies, or never answers, at names that say so; opens the others in earnest.
CHILD = """
import os, signal
from mri_alps.rawdata import probe
earnest = probe._problem
def problem(path, *options):
    if "crash" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "endless" in path.name:
        signal.pause()
    return earnest(path, *options)
probe._problem = problem
probe.serve()
"""


@pytest.fixture
def scan(tmp_path):
    write_fastmri(tmp_path / "scan.h5", np.ones((1, 2, 16, 16), np.complex64))
    return tmp_path / "scan.h5"


def test_one_child_opens_all(scan, tmp_path):
    (tmp_path / "bad.h5").write_bytes(b"no scan")
    with Probe() as opened:
        opened.check(scan)
        child = opened._child
        with pytest.raises(InputFileError, match=r"bad\.h5 is neither HDF5"):
            opened.check(tmp_path / "bad.h5")
        opened.check(scan)
        assert opened._child is child and child.poll() is None
    assert child.poll() == 0 and opened._child is None


def test_a_crash_is_named_and_the_next_file_is_opened(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_CHILD", CHILD)
    with Probe() as opened:
        with pytest.raises(InputFileError, match=r"crash\.h5 crashed the process .*SIGSEGV"):
            opened.check(tmp_path / "crash.h5")
        opened.check(scan)


def test_a_file_that_never_opens_is_given_up(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_CHILD", CHILD)
    with Probe() as opened:
        opened.check(scan)
        monkeypatch.setattr(probe, "SECONDS", 0.01)
        with pytest.raises(InputFileError, match=r"endless\.h5 was not opened within"):
            opened.check(tmp_path / "endless.h5")
        monkeypatch.setattr(probe, "SECONDS", 300.0)
        opened.check(scan)
