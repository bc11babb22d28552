"""Commands do not load what they do not need: libraries of seconds for a second's answer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mri_alps
from mri_alps.cli import main

DEMO = Path(mri_alps.__file__).parent / "data" / "demo_brain.h5"
HEAVY = ("torch", "scipy", "numba", "llvmlite", "matplotlib", "ismrmrd", "scipy.spatial")
NOT_FOR_MAPS = ("scipy.stats", "scipy.spatial", "scipy.optimize", "numba", "matplotlib", "ismrmrd")


def loaded_by(code: str, libraries: tuple[str, ...] = HEAVY) -> list[str]:
    """Which heavy libraries a new process has after some code."""
    shown = f"print([n for n in {libraries} if n in sys.modules], file=sys.stderr)"
    code = f"import sys\n{code}\n{shown}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return eval(result.stderr.strip().splitlines()[-1])


def test_what_a_file_says_is_shown_without_heavy_libraries():
    command = ["inspect", "--header-only", str(DEMO)]
    code = f"from mri_alps.cli import main\ntry: main({command})\nexcept SystemExit: 0"
    assert loaded_by(code) == []


def test_inspect_begins_without_heavy_libraries():
    assert loaded_by("import mri_alps.cli.inspect") == []


def test_inspect_calibrates_without_what_calibration_does_not_need():
    command = ["inspect", str(DEMO)]
    code = f"from mri_alps.cli import main\ntry: main({command})\nexcept SystemExit: 0"
    assert loaded_by(code, ("torch", *NOT_FOR_MAPS)) == ["torch"]


def test_a_library_that_is_loaded_is_seen():
    assert loaded_by("import scipy.spatial") == ["scipy", "scipy.spatial"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(DEMO), *arguments])
    return stop.value.code, capsys.readouterr()


def test_header_only_is_the_first_part_of_the_whole(capsys):
    code, header = run(capsys, "--header-only", "--json")
    assert code == 0
    _, whole = run(capsys, "--json")
    header, whole = json.loads(header.out), json.loads(whole.out)
    assert header.items() <= whole.items()
    assert {"noise, slice 1", "what will be done"} <= whole.keys() - header.keys()


def test_what_the_file_says_stands_before_calibration_begins(capsys, monkeypatch):
    def broken(*arguments):
        raise mri_alps.MriAlpsError("stopped here")

    monkeypatch.setattr("mri_alps.cli.inspect.calibration_entries", broken)
    code, told = run(capsys)
    assert code != 0
    assert "208 x 160" in told.out


def test_a_figure_of_what_is_left_out_is_refused(capsys, tmp_path):
    code, told = run(capsys, "--header-only", "--figure", str(tmp_path / "a.png"))
    assert code != 0
    assert "--header-only leaves out" in told.err
    assert not list(tmp_path.iterdir())
