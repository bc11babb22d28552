"""Every code block of README, CONTRIBUTING and the documentation does what it says it does."""

import re
import shlex
import shutil
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pytest
import typer

import mri_alps
from mri_alps.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "pages"
DEMO = Path(mri_alps.__file__).parent / "data" / "demo_brain.h5"
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(PAGES.rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = typer.main.get_command(app)


def blocks(path, language):
    return [text for kind, text in BLOCK.findall(path.read_text("utf-8")) if kind == language]


def name_of(path):
    return str(path.relative_to(ROOT))


WITH_PYTHON = [path for path in FILES if blocks(path, "python") and path.name != "README.md"]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with what the pages call scan.h5, one slice of the demo, and repetitions of it."""
    monkeypatch.chdir(tmp_path)
    with h5py.File(DEMO) as source, h5py.File(tmp_path / "scan.h5", "w") as target:
        for name in source:
            data = source[name]
            sliced = name in ("kspace", "reconstruction_rss", "ground_truth")
            target[name] = data[1:2] if sliced else data[()]
        target.attrs.update(source.attrs)
    for number in (1, 2, 3):
        shutil.copy(tmp_path / "scan.h5", tmp_path / f"2022061003_T20{number}.h5")
    matplotlib.use("agg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_PYTHON, ids=name_of)
def test_python_blocks_run(path, workplace):
    """The blocks of a page run one after the other, as a reader would type them."""
    names = {"__name__": "page"}
    for number, block in enumerate(blocks(path, "python"), 1):
        exec(compile(block, f"{name_of(path)}, block {number}", "exec"), names)


def command_lines():
    for path in FILES:
        text = path.read_text("utf-8")
        shell = [line for block in blocks(path, "bash") for line in block.splitlines()]
        indented = re.findall(r"^ {4}(mri-alps .*)$", BLOCK.sub("", text), re.MULTILINE)
        for line in [*shell, *indented]:
            line = line.split(" #")[0].strip()
            if line.startswith("mri-alps "):
                yield pytest.param(line, id=f"{name_of(path)}: {line}")


@pytest.mark.parametrize("line", list(command_lines()))
def test_command_lines_are_understood(line):
    """Commands and options exist and take such values; nothing is run."""
    name, *words = shlex.split(line)[1:]
    assert name in COMMAND.commands or name.startswith("-"), f"there is no mri-alps {name}"
    if name in COMMAND.commands and "--help" not in words:
        COMMAND.commands[name].make_context(name, words, resilient_parsing=False)


def script_lines():
    for path in FILES:
        for block in blocks(path, "bash"):
            for line in block.splitlines():
                if line.startswith("python "):
                    yield pytest.param(line, id=f"{name_of(path)}: {line}")


@pytest.mark.parametrize("line", list(script_lines()))
def test_scripts_are_there_and_have_the_options(line):
    _, script, *words = shlex.split(line)
    words = words[: words.index("--")] if "--" in words else words
    source = (ROOT / script).read_text("utf-8")
    for option in (word for word in words if word.startswith("-")):
        assert f'"{option}"' in source, f"{script} has no option {option}"


def test_a_command_with_a_wrong_option_would_be_noticed():
    with pytest.raises(Exception, match="No such option"):
        COMMAND.commands["report"].make_context("report", ["x.h5", "--no-such-option"])


def test_every_command_is_in_the_documentation():
    text = " ".join(path.read_text("utf-8") for path in PAGES.rglob("*.md"))
    missing = [name for name in COMMAND.commands if f"mri-alps {name}" not in text]
    assert missing == []


def test_every_public_name_is_in_the_reference():
    text = " ".join(path.read_text("utf-8") for path in (PAGES / "reference").glob("*.md"))
    assert {name for name in mri_alps._PACKAGES if f"::: mri_alps.{name}" not in text} == set()


def test_the_pages_name_nothing_that_is_not_there():
    for path in PAGES.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#]+\.(?:md|png))\)", path.read_text("utf-8")):
            assert "://" in target or (path.parent / target).exists(), f"{path}: {target}"


def test_the_picture_is_small():
    pictures = list((PAGES / "images").glob("*"))
    assert pictures and all(p.stat().st_size < 300_000 for p in pictures)
    assert np.all([p.suffix == ".png" for p in pictures])
