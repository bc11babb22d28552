"""The notebooks run within a time limit, and their two files say the same."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import LONG

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = int(2 * LONG)  # only ends what hangs; on one free core each takes less than a minute
LARGEST = 800_000


def missing(*names):
    return any(importlib.util.find_spec(name) is None for name in names)


def needs(path):
    """Return the packages that a notebook imports beyond the package's own dependencies."""
    return {
        "5_train_a_prior": ("lightning",),
        "7_deepinv_prior": ("deepinv",),
        "9_radial_scan": ("finufft",),
    }.get(path.stem, ())


def test_there_are_nine_pairs():
    assert len(NOTEBOOKS) == 9
    assert [p.with_suffix(".py") for p in NOTEBOOKS] == sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_script_and_notebook_are_the_same(path):
    jupytext = pytest.importorskip("jupytext")
    script, notebook = jupytext.read(path.with_suffix(".py")), jupytext.read(path)
    cells = [[(c.cell_type, c.source) for c in found.cells] for found in (script, notebook)]
    assert cells[0] == cells[1], f"run jupytext --sync notebooks/{path.name} and keep the outputs"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_small_and_free_of_errors(path):
    nbformat = pytest.importorskip("nbformat")
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert path.stat().st_size < LARGEST


@pytest.mark.slow
@pytest.mark.skipif(missing("nbmake", "ipykernel"), reason="pip install 'mri-alps[notebooks]'")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    for name in needs(path):
        pytest.importorskip(name)
    # The pictures in the repository are of the packaged data, and so is what is run here.
    monkeypatch.delenv("MRI_ALPS_SHARED_DATA", raising=False)
    command = ["pytest", "-q", "--nbmake", f"--nbmake-timeout={SECONDS}", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "-o", "filterwarnings=", "-p", "no:xdist", str(path)],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
