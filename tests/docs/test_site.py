"""The documentation builds without a warning, and the reference is not empty."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mri_alps
from mri_alps.core.settings import description
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.scanner import Limits, ServerSettings
from mri_alps.training import CropPlan, TrainingConfig
from tests.waiting import LONG

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


def test_the_search_works_in_pages_opened_from_the_disk(site):
    """In a browser, without a server and without a network; the pages load nothing from one."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.support.ui import WebDriverWait

    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("Debian's chromium, chromium-driver are missing")
    pages = " ".join(path.read_text("utf-8") for path in site.rglob("*.html"))
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=.?https?://(?!mri)", pages)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(option)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    try:
        browser.get((site / "guides" / "masks.html").as_uri())
        browser.execute_script(
            "const box = document.querySelector('input.md-search__input');"
            "box.focus(); box.value = 'likelihood'; box.dispatchEvent(new Event('keyup'));"
        )
        found = "return document.querySelectorAll('.md-search-result__item').length"
        WebDriverWait(browser, LONG).until(lambda _: browser.execute_script(found) > 0)
    finally:
        browser.quit()
