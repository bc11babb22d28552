"""A scan written by somebody else's program: the ISMRMRD project's own simulator."""

import shutil
import subprocess

import h5py
import numpy as np
import pytest

from mri_alps.pipeline import load_reconstruction

GENERATOR = "ismrmrd_generate_cartesian_shepp_logan"


@pytest.mark.skipif(shutil.which(GENERATOR) is None, reason="Debian's ismrmrd-tools is missing")
@pytest.mark.parametrize("noise_scan", [False, True])
def test_shepp_logan_reconstructs_to_the_phantom(tmp_path, run, noise_scan):
    path = tmp_path / "shepp_logan.h5"
    options = ["-m", "96", "-c", "8", "-O", "2", "-a", "2", "-w", "24", "-n", "0.01"]
    command = [GENERATOR, *options, *(["-C"] if noise_scan else []), "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with h5py.File(path) as file:
        phantom, coils = (
            file["dataset"][name][0]["real"] + 1j * file["dataset"][name][0]["imag"]
            for name in ("phantom", "csm")
        )
    fast = ("--prior", "gaussian", "--n-samples", "4", "--n-evaluations", "20")
    finished = run("reconstruct", path, "-o", tmp_path / "out", *fast)
    assert finished.code == 0, finished.err
    # The lines of both repetitions calibrate; each is an image of its own.
    written = sorted(found.name for found in (tmp_path / "out").glob("*.h5"))
    assert written == [f"shepp_logan_repetition-{number}.h5" for number in (0, 1)]
    found = load_reconstruction(tmp_path / "out" / written[0])
    # The file is in (phase encode, readout); ours are (readout, phase encode).
    truth = (np.abs(phantom) * np.linalg.norm(coils, axis=0)).T
    image = found.reconstruction[0]
    assert image.shape == truth.shape
    # An independent normalisation of the simulator's Fourier transform is allowed for.
    scale = (image * truth).sum() / (image**2).sum()
    error = np.linalg.norm(scale * image - truth) / np.linalg.norm(truth)
    zero_filled = found.zero_filled[0]
    scale = (zero_filled * truth).sum() / (zero_filled**2).sum()
    aliased = np.linalg.norm(scale * zero_filled - truth) / np.linalg.norm(truth)
    assert error < 0.1
    assert error < 0.25 * aliased
