"""What is published: one version everywhere, conda's dependencies those of pip, a whole wheel."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mri_alps
from mri_alps.scanner.openrecon import read_label

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
RECIPE = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text("utf-8")
OF_CONDA = {"torch": "pytorch", "ismrmrd": "ismrmrd-python", "matplotlib": "matplotlib-base"}


def test_the_version_is_in_one_place_and_the_others_agree():
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {mri_alps.__version__}\n" in citation
    assert f'\n  version: "{mri_alps.__version__}"\n' in RECIPE
    assert read_label()["general"]["version"] == mri_alps.__version__


def test_conda_asks_for_what_pip_asks_for():
    wanted = set()
    for requirement in PROJECT["dependencies"]:
        name, bound = re.match(r"([\w-]+)\s*((?:>=[\d.]+)?)", requirement).groups()
        wanted.add(f"{OF_CONDA.get(name, name)} {bound}".strip())
    listed = re.search(r"\n  run:\n((?:    - .*\n)+)", RECIPE)[1]
    found = {line.strip("- ").strip() for line in listed.splitlines()}
    assert found - {"python >=${{ python_min }}"} == wanted
    assert f'python_min: "{PROJECT["requires-python"].removeprefix(">=")}"' in RECIPE
    assert f"mri-alps = {PROJECT['scripts']['mri-alps']}" in RECIPE


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(tmp_path):
    """Data, templates and weights too: they are listed by hand in pyproject.toml."""
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "mri_alps", source / "mri_alps", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--wheel-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--no-deps", "--no-build-isolation", "--no-index"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"mri_alps-{mri_alps.__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("mri_alps/")}
    there = {str(p.relative_to(source)) for p in (source / "mri_alps").rglob("*") if p.is_file()}
    assert held == there
