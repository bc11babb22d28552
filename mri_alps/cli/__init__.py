"""The command line, ``mri-alps``: `app` puts the commands together, a module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import undisturbed_imports

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process if left out.
    """
    with undisturbed_imports():
        from mri_alps.cli.app import main as run

    run(arguments)
