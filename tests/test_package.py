"""The package as a whole: import time, public names."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mri_alps


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_quick_since_it_loads_nothing_but_itself():
    code = (
        "import sys; before = set(sys.modules); import mri_alps; "
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*loaded - sys.stdlib_module_names)"
    )
    assert run_python(code) == "mri_alps"


def test_help_does_not_load_torch():
    code = (
        "import sys, mri_alps.cli.app as c\n"
        "try:\n    c.main(['reconstruct', '--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    assert run_python(code).endswith("False")


def test_the_command_that_is_installed_exists():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    module, _, name = re.search(r'^mri-alps = "(.*)"$', text, re.MULTILINE)[1].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("name", sorted(mri_alps.__all__))
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(mri_alps, name)
    assert value is not None
    assert name in dir(mri_alps)
    if name != "__version__":
        assert (value.__doc__ or "").strip()


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = mri_alps.no_such_name
