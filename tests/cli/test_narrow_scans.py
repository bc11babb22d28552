"""fastMRI files whose k-space is narrower than the recon matrix, as some of the public set are."""

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import MriAlpsWarning
from mri_alps.evaluation import evaluate_folder, write_report
from mri_alps.rawdata.fastmri.writer import write_fastmri
from tests.pipeline.simulated_scan import centred_ifft, simulate
from tests.pipeline.tiny_scans import TINY


@pytest.mark.parametrize("width", [24, 23])
def test_a_narrow_scan_is_reconstructed_reported_and_scored(tmp_path, width, run):
    kspace, _ = simulate(1, 0, (40, width))
    image = np.linalg.norm(centred_ifft(kspace), axis=1)
    reference = np.zeros((1, 32, 32), np.float32)
    first = 16 - width // 2  # pixel N // 2 lies on pixel N // 2
    reference[..., first : first + width] = image[:, 4:36]
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "narrow.h5"
    write_fastmri(path, kspace, recon_matrix=(32, 32), reconstruction=reference)
    assert run("reconstruct", path, "-o", tmp_path / "out", *TINY).code == 0
    made = tmp_path / "out" / "narrow.h5"
    with h5py.File(made) as file:
        assert file["reconstruction"].shape == (1, 32, width)
        np.testing.assert_allclose(file["reference"], image[:, 4:36], rtol=1e-6)
        found = file["reconstruction"][0]
    assert made.with_suffix(".png").exists()
    with pytest.warns(MriAlpsWarning, match=f"scored on 32x{width} instead of 32x32"):
        score = evaluate_folder(made, path).volumes[0]
    expected = np.sum((found - image[0, 4:36]) ** 2) / np.sum(image[0, 4:36] ** 2)
    assert score.metrics["NMSE"] == pytest.approx(expected, rel=1e-4)
    assert write_report(made, target=path).exists()


def test_a_reference_smaller_than_the_image_is_left_out(tmp_path, run):
    kspace, _ = simulate(1, 0, (40, 32))
    path = tmp_path / "small.h5"
    write_fastmri(path, kspace, recon_matrix=(32, 32), reconstruction=np.ones((1, 16, 16)))
    assert run("reconstruct", path, "-o", tmp_path / "out", *TINY).code == 0
    with h5py.File(tmp_path / "out" / "small.h5") as file:
        assert "reference" not in file
    assert (tmp_path / "out" / "small.png").exists()
