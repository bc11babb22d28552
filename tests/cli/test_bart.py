"""BART's own calibration in our reconstruction."""

import shutil
import subprocess

import numpy as np
import pytest

from mri_alps.pipeline import load_reconstruction
from mri_alps.rawdata import kspace_to_cfl, read_cfl, write_cfl
from tests.pipeline.simulated_scan import CROP, coil_maps
from tests.waiting import LONG

FAST = ("--prior", "gaussian", "--n-samples", "4", "--n-evaluations", "20")
MASK = ("--mask", "equispaced", "--acceleration", "2", "--center-fraction", "0.2")


def nmse(found, reference):
    return np.sum((found - reference) ** 2) / np.sum(reference**2)


@pytest.mark.skipif(shutil.which("bart") is None, reason="bart is missing (apt-get install bart)")
def test_maps_of_bart_ecalib(scan, run, tmp_path):
    """One slice after the other, as ecalib works; then all of them in one array."""
    parts = []
    for index, kspace in enumerate(scan.kspace.astype(np.complex64)):
        write_cfl(tmp_path / f"k{index}", kspace_to_cfl(kspace[np.newaxis]))
        command = ["bart", "ecalib", "-m", "1", f"k{index}", f"maps{index}"]
        subprocess.run(command, check=True, capture_output=True, timeout=LONG, cwd=tmp_path)
        parts.append(np.array(read_cfl(tmp_path / f"maps{index}")))
    # what `bart join 13 maps0 maps1 maps` does
    write_cfl(tmp_path / "maps", np.concatenate(parts, axis=13))
    given = ("--sensitivity-maps", tmp_path / "maps.cfl")
    finished = run("reconstruct", scan.path, "-o", tmp_path / "bart", *FAST, *MASK, *given)
    assert finished.code == 0, finished.err
    assert run("reconstruct", scan.path, "-o", tmp_path / "own", *FAST, *MASK).code == 0
    theirs = load_reconstruction(tmp_path / "bart" / "scan.h5").reconstruction
    ours = load_reconstruction(tmp_path / "own" / "scan.h5").reconstruction
    assert nmse(theirs, scan.reference) < 1.5 * nmse(ours, scan.reference)
    assert nmse(theirs, ours) < 0.01


def test_given_maps_are_used(scan, run, tmp_path):
    """The true maps need no calibration; those of another scan are refused, or forced are worse."""
    true = np.repeat(coil_maps()[np.newaxis], 2, axis=0).astype(np.complex64)
    write_cfl(tmp_path / "true", kspace_to_cfl(true))
    write_cfl(tmp_path / "wrong", kspace_to_cfl(true[:, ::-1]))
    no_centre = ("--mask", "equispaced", "--acceleration", "2", "--center-fraction", "0.04")
    errors = {}
    given = ("--sensitivity-maps", tmp_path / "wrong")
    refused = run("reconstruct", scan.path, "-o", tmp_path / "no", *FAST, *no_centre, *given)
    assert refused.code == 1 and "the maps that were given" in refused.err
    assert not (tmp_path / "no" / "scan.h5").exists()
    for name, forced in (("true", ()), ("wrong", ("--force",))):
        given = ("--sensitivity-maps", tmp_path / name, *forced)
        finished = run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST, *no_centre, *given)
        assert finished.code == 0, finished.err
        found = load_reconstruction(tmp_path / "out" / "scan.h5")
        assert found.reconstruction.shape[1:] == CROP
        errors[name] = nmse(found.reconstruction, np.abs(scan.truth[:, 8:72]))
    assert errors["true"] < 0.1 * errors["wrong"], errors
    assert errors["true"] < 0.05, errors


def test_maps_that_do_not_fit(scan, run, tmp_path):
    write_cfl(tmp_path / "maps", np.ones((8, 8, 1, 4)))
    given = ("--sensitivity-maps", tmp_path / "maps")
    finished = run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST, *given)
    assert finished.code == 1 and "has maps of READ x PHS1" in finished.err
    assert finished.err.count("\n") == 1
