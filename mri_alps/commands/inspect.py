"""``mri-alps inspect``."""

from __future__ import annotations

from pathlib import Path


def run_inspect(file: Path, as_json: bool) -> None:
    """Print what is in a raw file and what would be done with it."""
    raise NotImplementedError
