"""Fixtures shared by all tests."""

import getpass
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.scan_fixtures import run, scan  # noqa: F401 - fixtures

# What torch compiles for one set of instructions does not fit another (ATEN_CPU_CAPABILITY).
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    str(
        Path(tempfile.gettempdir())
        / f"torchinductor_{getpass.getuser()}_{torch.backends.cpu.get_cpu_capability()}"
    ),
)


@pytest.fixture(autouse=True)
def _same_state_in_any_order():
    """What libraries keep for the whole process: the same before each test, whatever ran before."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - sigpy and fastMRI draw from it
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real scans; tests that need it are skipped where it is missing."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MRI_ALPS_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real scans: {folder} is missing (set MRI_ALPS_SHARED_DATA to its place)")
    return folder
