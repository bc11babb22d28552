"""Public functions, and the methods of classes that users get, say what their parameters are."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import mri_alps

PACKAGE = Path(mri_alps.__file__).parent
# The methods of interop are deepinv's, which documents them; a Problem is what samplers share.
PUBLIC = {
    name
    for package in mri_alps._PACKAGES
    for name in importlib.import_module(f"mri_alps.{package}").__all__
    if package != "interop" and name != "Problem"
}
# Compiled kernels are private to the fused operator; commands explain their options by --help.
FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "fused" not in path.parts and path != PACKAGE / "cli.py"
]


def undocumented(text, public_classes=()):
    """Names of functions, and of methods of such classes, with parameters they do not explain."""
    return [name for name, function in functions_in(ast.parse(text), public_classes)
            if not is_command(function) and missing_in(function)]  # fmt: skip


def functions_in(tree, public_classes):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and node.name in public_classes:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                    yield f"{node.name}.{member.name}", member


def arguments_of(function):
    given = function.args
    found = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [a for a in found if a and a.arg not in ("self", "cls") and not a.arg.startswith("_")]


def is_command(function):
    texts = [ast.unparse(a.annotation) for a in arguments_of(function) if a.annotation]
    texts += [ast.unparse(decorator) for decorator in function.decorator_list]
    return any(re.search(r"Option|typer\.|takes_\w*settings", text) for text in texts)


def missing_in(function):
    _, _, section = (ast.get_docstring(function) or "").partition("Parameters\n----------\n")
    section = re.split(r"\n\w+\n-{4,}\n", section)[0]
    names = re.findall(r"^(\S.*?)(?: : .*)?$", section, re.MULTILINE)
    known = {name.strip().lstrip("*") for entry in names for name in entry.split(",")}
    return [a.arg for a in arguments_of(function) if a.arg not in known]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_parameters_are_documented(path):
    assert undocumented(path.read_text(encoding="utf-8"), PUBLIC) == []


def test_the_check_notices_what_is_missing():
    text = '''
def complete(a, b, *rest, **others):
    """Do it.

    Parameters
    ----------
    a, b : int
        Two.
    *rest, **others
        More.

    Returns
    -------
    c : int
        It.
    """

def lacking(a, c):
    """Do it.

    Parameters
    ----------
    a : int
        One.

    Returns
    -------
    c : int
        It.
    """

def bare(x):
    """Do it."""

class Shown:
    def method(self, x):
        """Do it."""

class Inner:
    def method(self, x):
        """Do it."""
'''
    assert undocumented(text, ["Shown"]) == ["lacking", "bare", "Shown.method"]
