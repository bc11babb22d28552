"""Optional packages: imported when needed, and named with their pip command when missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from mri_alps.core.errors import MissingDependencyError


def require(module: str, purpose: str, extra: str) -> ModuleType:
    """Import an optional package.

    Parameters
    ----------
    module : str
        Its name.
    purpose : str
        What it is needed for, as it stands in the error.
    extra : str
        Extra of this package that brings it.

    Raises
    ------
    MissingDependencyError
        If it is not installed; the message names the pip command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # the package is there, something that it needs is not
        raise MissingDependencyError(
            f"{purpose} needs the package {module.partition('.')[0]}, which is not installed: "
            f"run pip install 'mri-alps[{extra}]'"
        ) from error
