"""The package as a whole: import time, public names, layers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mri_alps

PACKAGE = Path(mri_alps.__file__).parent
LAYERS = {
    "errors": 0, "plugins": 0, "fourier": 0, "random": 0, "solvers": 0,
    "hdf5": 0, "magnitudes": 0,
    "rawdata": 1, "operators": 1,
    "priors": 2, "calibration": 2,
    "sampling": 3, "training": 3,
    "reconstruction": 4,
    "evaluation": 5, "cluster": 5,
    "interop": 6, "scanner": 6,
    "commands": 7, "cli": 7,
}  # fmt: skip


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_quick_and_does_not_load_torch():
    code = (
        "import time, sys; t = time.perf_counter(); import mri_alps; "
        "print(time.perf_counter() - t, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    fastest = min((run_python(code).split() for _ in range(3)), key=lambda words: float(words[0]))
    assert float(fastest[0]) < 0.3
    assert fastest[1:] == ["False", "False"]


def test_help_does_not_load_torch():
    code = (
        "import sys, mri_alps.cli as c\n"
        "try:\n    c.main(['reconstruct', '--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    assert run_python(code).endswith("False")


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


def imported_layers(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "mri_alps" and len(parts) > 1:
                found.add(parts[1])
    return found


@pytest.mark.parametrize(
    "file",
    sorted(PACKAGE.rglob("*.py")),
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_layers_only_look_down(file):
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in LAYERS, f"give {own} a layer"
    for other in imported_layers(file) - {own}:
        neighbours = LAYERS[other] == LAYERS[own] in (0, 7)
        allowed = LAYERS[other] < LAYERS[own] or neighbours
        assert allowed, f"{own} (layer {LAYERS[own]}) imports {other} (layer {LAYERS[other]})"
