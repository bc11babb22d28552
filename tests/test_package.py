"""The package as a whole: import time, public names."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mri_alps

PACKAGE = Path(mri_alps.__file__).parent


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


def test_these_are_the_public_names_at_the_top():
    """What else is public is one level down, in the package of its kind."""
    assert set(mri_alps.__all__) - {"__version__"} == {
        "LinearOperator",
        "MriAlpsError",
        "MriAlpsWarning",
        "Reconstruction",
        "ScoreModel",
        "SenseOperator",
        "load_prior",
        "load_reconstruction",
        "make_mask",
        "prepare_slice",
        "read_raw",
        "reconstruct",
        "sample_posterior",
    }


@pytest.mark.parametrize("name", mri_alps._PACKAGES)
def test_packages_are_there_without_an_import_of_their_own(name):
    """And each one's public names exist and are documented."""
    printed = run_python(f"import mri_alps; print(*mri_alps.{name}.__all__)").split()
    package = importlib.import_module(f"mri_alps.{name}")
    assert printed == list(package.__all__) and printed
    for public in printed:
        value = getattr(package, public)
        assert isinstance(value, str | tuple | list | dict) or (value.__doc__ or "").strip()


@pytest.mark.parametrize("file", PACKAGE.rglob("__init__.py"), ids=lambda file: file.parent.name)
def test_the_names_of_a_package_are_there_and_not_hidden_by_a_module_of_it(file):
    package = importlib.import_module(".".join(file.parent.relative_to(PACKAGE.parent).parts))
    offered = {*getattr(package, "__all__", ()), *getattr(package, "_HOME_OF", ())}
    assert offered & {path.stem for path in file.parent.iterdir()} == set()
    assert all(hasattr(package, name) for name in offered)


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
