"""A run that is killed at any moment goes on where it was, to the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.tiny_scans import TINY, assert_same_file, write_tiny

SCRIPT = Path(__file__).parent / "killed_runs.py"


def killed_runs(tmp_path, kind, seed=0, n_slices=3, n_scans=1):
    """Return the output folder, that of an undisturbed run, how many were killed, what was said."""
    inputs = [
        str(write_tiny(tmp_path / "in" / f"scan{i}.h5", n_slices, seed=i)) for i in range(n_scans)
    ]
    return run_task(tmp_path, inputs, [*TINY, "--save-samples"], kind, seed)


def run_task(tmp_path, inputs, options, kind, seed=0):
    """The same with inputs and options of any kind."""
    task = {
        "inputs": inputs, "options": options, "output": str(tmp_path / "out"),
        "kind": kind, "seed": seed,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(task)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    killed = json.loads(done.stdout.splitlines()[-1])["killed"]
    return tmp_path / "out", tmp_path / "out_reference", killed, done.stderr


def check(out, reference):
    names = {path.name for path in reference.iterdir()}
    assert {path.name for path in out.iterdir()} == names  # nothing is left over
    for path in reference.glob("*.h5"):
        assert_same_file(out / path.name, path)


def test_killed_before_flushes_and_renames(tmp_path):
    out, reference, killed, said = killed_runs(tmp_path, "disk")
    assert killed >= 3
    assert "going on after" in said
    check(out, reference)


@pytest.mark.slow
def test_killed_at_random_moments_with_several_scans(tmp_path):
    out, reference, killed, _ = killed_runs(tmp_path, "time", n_slices=2, n_scans=2)
    assert killed >= 1
    check(out, reference)


@pytest.mark.slow
def test_killed_at_every_operation(tmp_path):
    out, reference, killed, _ = killed_runs(tmp_path, "every", n_slices=1)
    assert killed >= 12  # each slice, the record of how, the result and its picture
    for point in range(1, killed + 1):
        check(Path(f"{out}_{point}"), reference)
