"""The documentation builds without a warning, and the reference is not empty."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mri_alps
from mri_alps.core.settings import description
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.scanner import Limits, ServerSettings
from mri_alps.training import CropPlan, TrainingConfig

ROOT = Path(__file__).resolve().parents[2]


def missing(name):
    return importlib.util.find_spec(name) is None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(
            importlib.util.find_spec(name) is None
            for name in ("mkdocs", "mkdocstrings", "latex2mathml")
        ),
        reason="mkdocs is missing: pip install 'mri-alps[docs]'",
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; --strict makes every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    command = ["mkdocs", "build", "--strict", "-f", "docs/mkdocs.yml", "-d", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return folder


def test_every_public_name_has_its_entry(site):
    pages = " ".join(path.read_text("utf-8") for path in (site / "reference").glob("*.html"))
    for package in mri_alps._PACKAGES:
        for name in getattr(mri_alps, package).__all__:
            assert re.search(rf'id="mri_alps\.{package}\.[\w.]*\b{name}"', pages), name


def test_the_pages_are_there_with_equations_and_included_examples(site):
    algorithm = (site / "algorithm.html").read_text("utf-8")
    assert algorithm.count("<math ") > 20 and "\\(" not in algorithm
    assert "check_operator" in (site / "guides" / "own_operator.html").read_text("utf-8")
    assert not re.search(r'<script[^>]*src="http', algorithm)
    for page in site.rglob("*.html"):
        assert "--8<--" not in page.read_text("utf-8"), page


def test_the_page_of_settings_has_them_all(site):
    page = (site / "reference" / "settings.html").read_text("utf-8")
    for cls in (ReconstructionConfiguration, ServerSettings, Limits, TrainingConfig, CropPlan):
        missing = [name for name in description(cls) if f"<code>{name}</code>" not in page]
        assert not missing
    assert "settings of" not in page
