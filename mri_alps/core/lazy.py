"""Names that a package offers and imports on first use, so that importing it stays quick."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def undisturbed_imports() -> Iterator[None]:
    """Import large libraries without garbage collections in between.

    What an import makes stays, and every collection looks at all of it again: a tenth of the time
    of torch's import, half of numba's beside torch.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def lazy_names(
    package: str, home_of: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Parameters
    ----------
    package : str
        Its ``__name__``.
    home_of : mapping
        Module by the name that it defines; a package of this one by its own name.
    """

    def __getattr__(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with undisturbed_imports():
            module = importlib.import_module(home_of[name])
        value = module if home_of[name] == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*home_of, *vars(sys.modules[package])})

    return __getattr__, __dir__
