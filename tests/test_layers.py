"""Imports only look down: no module imports a layer above it, or a neighbour in its own."""

import ast
import re
from pathlib import Path

import pytest

ROOT_FOLDER = Path(__file__).parent.parent
PACKAGE = ROOT_FOLDER / "mri_alps"


def read_table(text):
    """Return {part: layer} as the table of layers in CONTRIBUTING.md says."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    return {part: int(layer) for layer, cell in rows for part in re.findall(r"`([\w.]+)`", cell)}


# Parts of one layer do not know each other, but for those of one package.
LAYERS = read_table((ROOT_FOLDER / "CONTRIBUTING.md").read_text(encoding="utf-8"))
ROOT = "mri_alps"


def part_of(module):
    """Return the part of the package that a dotted module name belongs to, or None.

    A part is the longest beginning of the name that the table has, else the name's second word.
    """
    names = module.split(".")
    if names[0] != ROOT or len(names) < 2:
        return None
    beginnings = [".".join(names[1:stop]) for stop in range(len(names), 1, -1)]
    return next((name for name in beginnings if name in LAYERS), names[1])


def imported_modules(source, module, is_package):
    """Yield every module that a source text imports, at any depth, as absolute names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            if base == ROOT:  # `from mri_alps import sampling`
                yield from (f"{ROOT}.{alias.name}" for alias in node.names)
            else:
                yield base


def violations(source, module, is_package=False):
    """Return what a module imports against the rule."""
    own = part_of(module)
    found = []
    for imported in imported_modules(source, module, is_package):
        other = part_of(imported)
        if other is None or other == own:
            continue
        if other not in LAYERS:
            found.append(f"{module} imports {imported}, which is in no layer")
        elif LAYERS[other] >= LAYERS[own] + (other.split(".")[0] == own.split(".")[0]):
            found.append(f"{module} imports {imported}: layer {LAYERS[own]} -> {LAYERS[other]}")
    return found


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        names = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        is_package = names[-1] == "__init__"
        yield path, ".".join(names[:-1] if is_package else names), is_package


# The top module only lists the public names, and loads them on demand.
FILES = [entry for entry in modules() if part_of(entry[1]) is not None]


# What others import is the package, whose `__init__` has the names; `core` is a shelf of modules,
# and a part that the table lists is its own face. A module that is run as a program is in no face.
PACKAGES = {module for _, module, is_package in modules() if is_package}
WITHOUT_FACE = {"mri_alps.rawdata.probe"}
DEEP_STILL = ("mri_alps.sampling",)


def past_the_face(source, module, is_package=False):
    """Return the modules of other packages that a module imports past their faces."""
    own = module.split(".")[1]
    return [
        imported
        for imported in imported_modules(source, module, is_package)
        if imported.startswith(f"{ROOT}.")
        and imported.split(".")[1] not in (own, "core")
        and imported not in PACKAGES | WITHOUT_FACE
        and imported.removeprefix(f"{ROOT}.") not in LAYERS
    ]


@pytest.mark.parametrize(("path", "module", "is_package"), FILES, ids=[m for _, m, _ in FILES])
def test_other_packages_are_imported_by_their_faces(path, module, is_package):
    if module.startswith(DEEP_STILL):
        return
    found = past_the_face(path.read_text(encoding="utf-8"), module, is_package)
    assert [name for name in found if not name.startswith(DEEP_STILL)] == []


def test_an_import_past_a_face_is_caught():
    source = "from mri_alps.pipeline.slice import x\nfrom mri_alps.pipeline import y"
    assert past_the_face(source, "mri_alps.scanner._work") == ["mri_alps.pipeline.slice"]
    assert past_the_face(source, "mri_alps.pipeline.volume") == []


@pytest.mark.parametrize(("path", "module", "is_package"), FILES, ids=[m for _, m, _ in FILES])
def test_imports_only_look_down(path, module, is_package):
    if part_of(module) == "__main__":
        return
    assert part_of(module) in LAYERS, f"{module} is in no layer: add it to CONTRIBUTING.md"
    assert violations(path.read_text(encoding="utf-8"), module, is_package) == []


def test_the_table_names_what_there_is_and_no_more():
    assert {"core", "operators"} <= {part_of(module) for _, module, _ in FILES}
    assert set(LAYERS) == {part_of(module) for _, module, _ in FILES} - {"__main__"}


@pytest.mark.parametrize(
    ("source", "module", "is_package"),
    [
        ("from mri_alps.sampling import x", "mri_alps.operators.sense", False),
        ("import mri_alps.rawdata.bart._reader", "mri_alps.operators.sense", False),
        ("def f():\n    from mri_alps import cli", "mri_alps.rawdata.fastmri", False),
        ("from ..training import loop", "mri_alps.sampling.alps", False),
        ("from .. import training", "mri_alps.sampling.alps", False),
        ("from mri_alps.unheard_of import x", "mri_alps.sampling.alps", False),
        ("from mri_alps.operators import x", "mri_alps.core.fourier", False),
        ("from mri_alps.masks.study import x", "mri_alps.masks.kinds", False),
    ],
)
def test_a_look_up_or_aside_is_caught(source, module, is_package):
    assert len(violations(source, module, is_package)) == 1


@pytest.mark.parametrize(
    ("source", "module", "is_package"),
    [
        ("from mri_alps.core.errors import x", "mri_alps.core.fourier", False),
        ("from mri_alps.operators.base import x", "mri_alps.operators.sense", False),
        ("from .base import x", "mri_alps.operators", True),
        ("from . import base", "mri_alps.operators.sense", False),
        ("from mri_alps.masks.patterns import x", "mri_alps.masks.kinds", False),
        ("from mri_alps.masks.kinds import x", "mri_alps.pipeline.undersampling", False),
        ("import torch\nfrom mri_alps.operators import x", "mri_alps.sampling.alps", False),
    ],
)
def test_a_look_down_is_allowed(source, module, is_package):
    assert violations(source, module, is_package) == []
