"""Priors and samplers of other packages, found by their entry points.

A package that writes in its ``pyproject.toml``

    [project.entry-points."mri_alps.priors"]
    my-prior = "my_package:make_prior"

    [project.entry-points."mri_alps.samplers"]
    my-sampler = "my_package:sample"

makes ``--prior my-prior`` and ``--method my-sampler`` available where it is installed. Its code
is imported when one of its names is asked for, and not before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from mri_alps.core.errors import ConfigurationError, MriAlpsError, PluginError

PRIORS = "mri_alps.priors"
SAMPLERS = "mri_alps.samplers"


def plugin_names(group: str) -> list[str]:
    """List the names that installed packages have registered; nothing is imported.

    Parameters
    ----------
    group : str
        `PRIORS` or `SAMPLERS`.
    """
    return sorted({entry.name for entry in metadata.entry_points(group=group)})


def load_plugin(group: str, name: str) -> Any:
    """Import what a package has registered under a name.

    Parameters
    ----------
    group : str
        `PRIORS` or `SAMPLERS`.
    name : str
        One of `plugin_names`.

    Returns
    -------
    Any
        The registered object.

    Raises
    ------
    ConfigurationError
        If no package registered the name, more than one did, or the import fails.
    """
    found = {(entry.value, _package(entry)): entry for entry in _entries(group, name)}
    if not found:
        raise ConfigurationError(
            f"no installed package registers {name!r} in the entry-point group {group}: install "
            "the package, or check the name"
        )
    if len({value for value, _ in found}) > 1:
        packages = " and ".join(sorted(package for _, package in found))
        raise ConfigurationError(
            f"{packages} both register {name!r} in the entry-point group {group}: uninstall one "
            "of them"
        )
    (value, package), entry = next(iter(found.items()))
    try:
        return entry.load()
    except Exception as error:  # whatever a foreign module does while it is imported
        raise ConfigurationError(
            f"{package} registers {name!r} in the entry-point group {group}, and importing "
            f"{value} fails ({type(error).__name__}: {error}): repair or uninstall the package"
        ) from error


@contextmanager
def guarded(what: str, thing: object) -> Iterator[None]:
    """Turn whatever code from outside the package raises into an error that names it.

    Errors of this package pass, and so does a lack of memory, which smaller batches may cure.

    Parameters
    ----------
    what : str
        What is done, for the message: "the prior" for example.
    thing : object
        The object or function that is called. The package's own are not guarded: what they raise
        on purpose is an `MriAlpsError` anyway.

    Raises
    ------
    PluginError
        With the original exception as its cause.
    """
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    try:
        yield
    except (MriAlpsError, MemoryError):
        raise
    except Exception as error:
        own = str(kind.__module__).partition(".")[0] == __name__.partition(".")[0]
        if own or type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error):
            raise
        raise PluginError(
            f"{what} {kind.__module__}.{kind.__qualname__} failed ({type(error).__name__}: "
            f"{' '.join(str(error).split())}): it is not part of this package, repair it or use "
            "another"
        ) from error


def _entries(group: str, name: str) -> list[metadata.EntryPoint]:
    return list(metadata.entry_points(group=group, name=name))


def _package(entry: metadata.EntryPoint) -> str:
    distribution = getattr(entry, "dist", None)
    return distribution.metadata["Name"] if distribution else entry.value.partition(":")[0]
