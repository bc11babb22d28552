"""The demo acquisition that ships with the package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pytest

from mri_alps.operators.rounding import assert_equal_to_rounding

SCRIPT = Path(__file__).resolve().parents[1] / "data_scripts" / "make_demo_data.py"
DATA = Path(str(resources.files("mri_alps"))) / "data"


@pytest.fixture(scope="module")
def demo() -> dict:
    with h5py.File(DATA / "demo_brain.h5", "r") as file:
        found = {name: file[name][()] for name in file}
        found["attributes"] = dict(file.attrs)
        found["noise_covariance"] = file["ground_truth"].attrs["noise_covariance"]
    return found


@pytest.fixture(scope="module")
def script():
    if not SCRIPT.is_file():
        pytest.skip(f"{SCRIPT.name} is not part of an installed package")
    spec = importlib.util.spec_from_file_location("make_demo_data", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_small_and_carries_its_licence():
    assert (DATA / "demo_brain.h5").stat().st_size <= 3_000_000
    notice = (DATA / "LICENSE-Colin27.txt").read_text()
    assert "Copyright (C) 1993-2009 Louis Collins" in notice
    assert "Permission to use, copy, modify, and distribute" in notice


def test_layout_is_that_of_a_fastmri_test_file(demo):
    n_slices, n_coils, readout, phase = demo["kspace"].shape
    assert n_slices >= 2
    assert n_coils == 8
    assert demo["kspace"].dtype == np.complex64
    assert demo["mask"].shape == (phase,)
    assert demo["ground_truth"].shape == (n_slices, readout, phase)
    assert demo["ground_truth"].dtype == np.complex64
    assert demo["reconstruction_rss"].shape == (n_slices, readout, phase)
    assert demo["reconstruction_rss"].dtype == np.float32
    attributes = demo["attributes"]
    assert attributes["acceleration"] == 4
    assert attributes["max"] == demo["reconstruction_rss"].max()
    assert_equal_to_rounding(
        attributes["norm"],
        np.linalg.norm(demo["reconstruction_rss"]),
        n_summed=demo["reconstruction_rss"].size,
        dtype="float32",
    )
    assert {"acquisition", "patient_id", "num_low_frequency", "seed"} <= set(attributes)


def test_mask_is_fourfold_with_a_full_centre(demo):
    mask = demo["mask"].astype(bool)
    phase = mask.size
    assert phase / mask.sum() == pytest.approx(4, rel=0.05)
    n_center = demo["attributes"]["num_low_frequency"]
    assert n_center == round(0.08 * phase)
    start = (phase - n_center + 1) // 2
    assert mask[start : start + n_center].all()
    assert not demo["kspace"][..., ~mask].any()
    assert (np.abs(demo["kspace"][..., mask]).sum(axis=(0, 1, 2)) > 0).all()


def test_header_describes_the_arrays(demo):
    import ismrmrd

    header = ismrmrd.xsd.CreateFromDocument(demo["ismrmrd_header"])
    encoding = header.encoding[0]
    matrix = encoding.encodedSpace.matrixSize
    assert (matrix.x, matrix.y) == demo["kspace"].shape[2:]
    recon = encoding.reconSpace.matrixSize
    assert (recon.x, recon.y) == demo["reconstruction_rss"].shape[1:]
    assert encoding.encodingLimits.kspace_encoding_step_1.center == matrix.y // 2
    assert encoding.encodingLimits.kspace_encoding_step_1.maximum == matrix.y - 1


def test_coils_are_unequal_and_their_noise_is_correlated(demo):
    covariance = demo["noise_covariance"]
    level = np.sqrt(np.diag(covariance).real)
    assert level.max() / level.min() > 1.2
    correlation = np.abs(covariance) / np.outer(level, level)
    assert 0.2 < correlation[~np.eye(8, dtype=bool)].max() < 0.5
    energy = (np.abs(demo["kspace"]) ** 2).sum(axis=(0, 2, 3))
    assert energy.max() / energy.min() > 1.5


def test_truth_has_a_phase_and_the_signal_stands_above_the_noise(demo):
    truth, rss = demo["ground_truth"][0], demo["reconstruction_rss"][0]
    head = rss > 0.3 * rss.max()
    assert np.ptp(np.angle(truth[head])) > 1
    noise = np.sqrt(np.trace(demo["noise_covariance"]).real / 8)
    assert 15 < rss[head].mean() / noise < 80


def test_the_reader_takes_it_and_truth_means_what_it_says(demo):
    from mri_alps.calibration import prepare_slice
    from mri_alps.rawdata.open import read_raw

    raw = read_raw(DATA / "demo_brain.h5")
    assert raw.n_slices == len(demo["kspace"])
    assert raw.mask.reshape(-1).tolist() == demo["mask"].astype(bool).tolist()
    found = prepare_slice(raw, 1)
    truth, reference = raw.read_ground_truth(1), raw.read_reference(1)
    expected = np.sqrt(np.trace(demo["noise_covariance"]).real)
    measured = np.linalg.norm(found.info["noise_std_per_coil"])
    assert measured == pytest.approx(expected, rel=0.06)
    # |posterior_mean| * rss_weight is the root-sum-of-squares image, and so is |truth|.
    head = reference > 0.2 * reference.max()
    ratio = (np.abs(truth) * found.rss_weight.numpy())[head] / reference[head]
    np.testing.assert_allclose(ratio, 1, atol=0.12)
    assert np.median(ratio) == pytest.approx(1, abs=0.04)
    support = found.sensitivity_maps.abs().square().sum(0).numpy() > 0
    assert support[np.abs(truth) > 0].all()


def test_the_script_makes_the_shipped_file(demo, script, tmp_path):
    pytest.importorskip("nibabel")
    if not script.TEMPLATE.is_file():
        pytest.skip("Debian's mricron-data, which holds the head, is not installed")
    output = tmp_path / "again.h5"
    assert script.main(["--output", str(output)]) == 0
    with h5py.File(output, "r") as file:
        assert set(file) == set(demo) - {"attributes", "noise_covariance"}
        scale = np.abs(demo["kspace"]).max()
        np.testing.assert_allclose(file["kspace"][()], demo["kspace"], atol=1e-4 * scale)
        np.testing.assert_array_equal(file["mask"][()], demo["mask"])
        np.testing.assert_allclose(
            np.abs(file["ground_truth"][()] - demo["ground_truth"]).max(),
            0,
            atol=1e-3 * np.abs(demo["ground_truth"]).max(),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["again.h5"]


def test_a_missing_template_leaves_nothing_behind(script, tmp_path, capsys):
    pytest.importorskip("nibabel")
    arguments = ["--template", str(tmp_path / "no.nii.gz"), "--output", str(tmp_path / "out.h5")]
    assert script.main(arguments) == 1
    assert "no.nii.gz" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_help_explains_the_options():
    if not SCRIPT.is_file():
        pytest.skip(f"{SCRIPT.name} is not part of an installed package")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True
    )
    for option in ("--output", "--template", "--seed"):
        assert option in done.stdout
