"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real scans; tests that need it are skipped where it is missing."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MRI_ALPS_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real scans: {folder} is missing (set MRI_ALPS_SHARED_DATA to its place)")
    return folder
