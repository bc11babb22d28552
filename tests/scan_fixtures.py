"""A small simulated scan in fastMRI layout, and a way to run the command line."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mri_alps.rawdata.fastmri.writer import write_fastmri
from tests.pipeline.simulated_scan import CROP, centred_ifft, simulate


@dataclass
class FastmriFile:
    """The file and what it was made of; arrays (slices, ...)."""

    path: Path
    kspace: np.ndarray
    truth: np.ndarray
    reference: np.ndarray


@pytest.fixture
def scan(tmp_path) -> FastmriFile:
    """A fully sampled scan of two slices, four coils, 80x64, cropped to 64x64."""
    kspace, truth = simulate()
    reference = np.linalg.norm(centred_ifft(kspace), axis=1)[:, 8:72]
    path = tmp_path / "input" / "scan.h5"
    path.parent.mkdir()
    write_fastmri(
        path,
        kspace,
        recon_matrix=CROP,
        reconstruction=reference,
        ground_truth=truth,
        attributes={"acquisition": "AXT1"},
    )
    return FastmriFile(path, kspace, truth, reference)


@dataclass
class Finished:
    """What a run of the command line left."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command line in this process."""
    from mri_alps.cli.app import main

    monkeypatch.setenv("COLUMNS", "160")

    def run_main(*arguments) -> Finished:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Finished(int(stop.value.code or 0), captured.out, captured.err)

    return run_main
