"""The page of tuned constants: its tables, what its names stand for, and other values for them.

A name is written without `mri_alps.`: of a module's constant (`sampling.alps.HANDOVER`), of a
default of a function's parameter or a data class' field (`sampling.path.AlpsConfiguration.rho`),
or of a module alone, where the number has no name and the value is the piece of code it is in.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mri_alps

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pages" / "reference" / "constants.md"


class Row(NamedTuple):
    """What the first two columns of a table say."""

    name: str
    value: str


def rows(text: str) -> list[Row]:
    """Rows of all tables whose first two cells are code."""
    found = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|", text, re.MULTILINE)
    return [Row(*cells) for cells in found]


def resolve(name: str) -> tuple[types.ModuleType, list[str]]:
    """The module that a name begins with, and the parts that are left."""
    module, parts = mri_alps, name.split(".")
    while parts and hasattr(module, "__path__"):
        module = importlib.import_module(f"{module.__name__}.{parts.pop(0)}")
    return module, parts


def value_of(name: str) -> Any:
    """The value that a name stands for now."""
    module, parts = resolve(name)
    home: Any = module
    for part in parts[:-1]:
        home = getattr(home, part)
    if home is module:
        return getattr(module, parts[-1])
    return inspect.signature(home).parameters[parts[-1]].default


def constants_of(module: types.ModuleType) -> list[str]:
    """Names that a module gives to numbers that say how it works, but for addresses of noise."""
    assigned = [node for node in ast.parse(inspect.getsource(module)).body if _is_constant(node)]
    return [name for node in assigned if (name := node.targets[0].id) != "_FIRST_SAMPLE"]


def _is_constant(node: ast.stmt) -> bool:
    """Whether a statement gives a name in capitals to a number, or a tuple of numbers."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return False
    parts = [part for part in ast.walk(node.value) if isinstance(part, ast.Name | ast.Constant)]
    numbers = all(
        isinstance(part, ast.Constant) and not isinstance(part.value, str) for part in parts
    )
    return node.targets[0].id.isupper() and bool(parts) and numbers


def agrees(row: Row) -> bool:
    """Whether the code has the value that the page states."""
    module, parts = resolve(row.name)
    if not parts:
        return row.value in inspect.getsource(module)
    stated = eval(row.value, {"__builtins__": {}})  # of our own page: 4 * 2**20
    return stated == plain(value_of(row.name))


def plain(value: Any) -> Any:
    """Data classes as tuples."""
    if isinstance(value, tuple):
        return tuple(plain(entry) for entry in value)
    return dataclasses.astuple(value) if dataclasses.is_dataclass(value) else value


@contextlib.contextmanager
def replaced(name: str, value: Any) -> Iterator[None]:
    """Give a constant another value, wherever it was imported or made a default, for a while."""
    module, parts = resolve(name)
    with contextlib.ExitStack() as stack:
        if len(parts) > 1:
            target = getattr(module, parts[0])
            stack.enter_context(_default(target, parts[1], value))
        else:
            before, parameter = getattr(module, parts[0]), parts[0].lower()
            for holder in [module, *_importers(module, parts[0])]:
                stack.callback(setattr, holder, parts[0], before)
                setattr(holder, parts[0], value)
            for _, function in inspect.getmembers(module, inspect.isfunction):
                found = inspect.signature(function).parameters.get(parameter)
                if found is not None and found.default is before:
                    stack.enter_context(_default(function, parameter, value))
        yield


def _importers(home: types.ModuleType, name: str) -> list[types.ModuleType]:
    """Modules beside it that took a constant over by `from home import name`."""
    found = []
    for info in pkgutil.walk_packages([str(Path(home.__file__).parent)], f"{home.__package__}."):
        module = importlib.import_module(info.name)
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ImportFrom) and node.module == home.__name__:
                found += [module for alias in node.names if alias.name == name]
    return found


@contextlib.contextmanager
def _default(target: Any, parameter: str, value: Any) -> Iterator[None]:
    """Give a function's parameter or a data class' field another default."""
    function = target.__init__ if inspect.isclass(target) else target
    named, placed = dict(function.__kwdefaults__ or {}), function.__defaults__
    before = inspect.signature(function).parameters
    assert before[parameter].default is not inspect.Parameter.empty
    if parameter in named:
        function.__kwdefaults__ = named | {parameter: value}
    else:
        with_default = [
            p.name
            for p in before.values()
            if p.default is not p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        function.__defaults__ = tuple(
            value if n == parameter else old for n, old in zip(with_default, placed, strict=True)
        )
    try:
        yield
    finally:
        function.__kwdefaults__, function.__defaults__ = named or None, placed
