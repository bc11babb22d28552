"""`reconstruct --coil-compression-tolerance`."""

import json

import h5py
import numpy as np

from tests.pipeline.tiny_scans import TINY, write_tiny


def test_compressed_coils_give_the_same_image(tmp_path, run):
    path = write_tiny(tmp_path / "scan.h5", n_slices=1)
    images, settings = [], []
    for options in ((), ("--coil-compression-tolerance", "1e-4")):
        out = tmp_path / f"out{len(options)}"
        finished = run("reconstruct", path, "-o", out, *TINY, "--save-maps", *options)
        assert finished.code == 0, finished.err
        with h5py.File(out / "scan.h5") as file:
            images.append(file["reconstruction"][()])
            assert file["sensitivity_maps"].shape[1] == 4, "the scan's own coils are kept"
            settings.append(json.loads(file.attrs["settings"]))
    # Means of a few samples: the noise that is drawn for fewer coils is other noise.
    assert np.linalg.norm(images[1] - images[0]) < 0.15 * np.linalg.norm(images[0])
    assert not np.array_equal(images[0], images[1])
    assert "coil_compression_tolerance" not in settings[0]
    assert settings[1]["coil_compression_tolerance"] == 1e-4


def test_what_cannot_be_compressed_is_one_sentence(tmp_path, run):
    path = write_tiny(tmp_path / "scan.h5", n_slices=1)
    command = ("reconstruct", path, "-o", tmp_path / "out", *TINY)
    finished = run(*command, "--coil-compression-tolerance", "2")
    assert finished.code == 1 and "is 2.0, expected a number above 0 and below 1" in finished.err
    masked = [*command, "--coil-compression-tolerance", "1e-3", "--mask", "poisson"]
    finished = run(*masked)
    assert finished.code == 1 and "lines are measured in part" in finished.err
    assert not (tmp_path / "out" / "scan.h5").exists()
