"""`reconstruct`, from a file to a file."""

import argparse
import json
import warnings

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

import mri_alps
from mri_alps.core.crop import center_crop_or_pad
from mri_alps.core.errors import ConfigurationError
from mri_alps.evaluation import head_mask
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline import ReconstructionConfiguration, load_reconstruction
from mri_alps.pipeline.undersampling import mask_seed, undersampling_mask
from mri_alps.rawdata.fastmri.writer import write_fastmri
from tests.pipeline.simulated_scan import CROP, NOISE_STD, SHAPE, centred_fft, centred_ifft

FAST = ("--prior", "gaussian", "--n-samples", "4", "--n-evaluations", "20")
UNDERSAMPLED = ("--mask", "equispaced", "--acceleration", "2", "--center-fraction", "0.3")


def test_one_file_and_one_picture_per_input(scan, tmp_path, run):
    finished = run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST, *UNDERSAMPLED)
    assert finished.code == 0, finished.err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("scan.h5", "scan.png", "manifest.jsonl")
    }
    assert str(tmp_path / "out" / "scan.h5") in finished.out
    assert imread(tmp_path / "out" / "scan.png").ndim == 3
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        for name in ("", "_std", "_lower", "_upper"):
            data = file["reconstruction" + name]
            assert data.shape == (2, *CROP) and data.dtype == np.float32
            assert np.isfinite(data[()]).all()
        assert file["posterior_mean"].shape == (2, *SHAPE)
        assert file["posterior_mean"].dtype == np.complex64
        assert "samples" not in file and "sensitivity_maps" not in file
        configuration = json.loads(file.attrs["configuration"])
        assert configuration["mask"] == "equispaced" and configuration["n_samples"] == 4
        assert json.loads(file.attrs["versions"])["mri_alps"] == mri_alps.__version__
        assert file.attrs["n_evaluations"] <= 20 and file.attrs["seed"] == 0


def test_units_are_those_of_the_scans_own_image(scan, tmp_path, run):
    run("reconstruct", scan.path, "-o", tmp_path, *FAST)
    found = load_reconstruction(tmp_path / "scan.h5")
    truth = np.abs(scan.truth[:, 8:72])
    inside = truth > 0.5
    ratio = found.reconstruction[inside] / truth[inside]
    # Fully sampled: what is left is coil noise, a tenth of the signal at the very most.
    assert np.mean(ratio) == pytest.approx(1, abs=0.02)
    assert np.std(ratio) < 2 * NOISE_STD / 0.6


def test_maps_times_mean_predict_the_raw_kspace(scan, tmp_path, run):
    run("reconstruct", scan.path, "-o", tmp_path, *FAST, "--save-maps", "--save-samples")
    found = load_reconstruction(tmp_path / "scan.h5")
    assert found.samples.shape == (2, 4, *SHAPE)
    assert_equal_to_rounding(found.samples.mean(1), found.posterior_mean, dtype="float32")
    predicted = centred_fft(found.sensitivity_maps * found.posterior_mean[:, None])
    residual = predicted - scan.kspace
    # Noise std per real component is NOISE_STD sqrt(1 + 0.2^2) but for the last coil; a scale or
    # whitening mistake is off by the signal, twenty times that.
    measured = np.sqrt(np.mean(np.abs(residual) ** 2) / 2)
    assert measured == pytest.approx(NOISE_STD, rel=0.15)


def test_the_magnitude_of_the_mean_is_the_reconstruction(scan, tmp_path, run):
    run("reconstruct", scan.path, "-o", tmp_path, *FAST, "--save-maps")
    found = load_reconstruction(tmp_path / "scan.h5")
    coils = found.sensitivity_maps * found.posterior_mean[:, None]
    expected = center_crop_or_pad(np.linalg.norm(coils, axis=1), CROP)
    assert_equal_to_rounding(found.reconstruction, expected, dtype="float32")


def test_fastmri_scores_the_folder_unchanged(scan, tmp_path, run):
    from fastmri.evaluate import evaluate

    out = tmp_path / "out"
    run("reconstruct", scan.path, "-o", out, *FAST, *UNDERSAMPLED)
    (out / "scan.png").unlink()
    arguments = argparse.Namespace(
        target_path=scan.path.parent, predictions_path=out, acquisition=None, acceleration=None
    )
    means = evaluate(arguments, "reconstruction_rss").means()
    assert means["NMSE"] < 0.1
    found = json.loads(run("evaluate", out, scan.path.parent, "--json").out)
    assert_equal_to_rounding(
        found["summary"]["NMSE"]["mean"],
        float(means["NMSE"]),
        n_summed=scan.reference.size,
        dtype="float32",
    )
    assert_equal_to_rounding(
        found["summary"]["SSIM"]["mean"],
        float(means["SSIM"][0]),
        n_summed=scan.reference.size,
        dtype="float32",
    )
    result = load_reconstruction(out / "scan.h5")
    region = head_mask(scan.reference)
    inside = (result.reconstruction_lower <= scan.reference.astype(np.float32)) & (
        scan.reference.astype(np.float32) <= result.reconstruction_upper
    )
    assert found["summary"]["coverage"]["mean"] == pytest.approx(inside[region].mean(), abs=1e-3)


def test_the_seed_decides_everything(scan, tmp_path, run):
    results = []
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run("reconstruct", scan.path, "-o", tmp_path / folder, *FAST, "--seed", seed)
        results.append(load_reconstruction(tmp_path / folder / "scan.h5").posterior_mean)
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() > 0


def test_the_noise_is_a_setting_that_results_depend_on(scan, tmp_path, run):
    def made(*options: str):
        run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST, "--slices", "0", *options)
        return load_reconstruction(tmp_path / "out" / "scan.h5")

    measured, one = made(), made("--noise-std", "0.125")
    each = made("--noise-std", "0.125,0.125,0.125,0.2")
    assert measured.scalars["noise_std"][0] < 0.5 * one.scalars["noise_std"][0]
    assert one.scalars["noise_std"][0] * one.scalars["scale"][0] == pytest.approx(1)
    assert (each.posterior_mean != one.posterior_mean).any()
    assert each.attributes["configuration"]["noise_std"] == [0.125, 0.125, 0.125, 0.2]
    command = ("reconstruct", scan.path, "-o", tmp_path / "out", *FAST, "--noise-std")
    refused = run(*command, "30")
    assert refused.code != 0 and "is plausible" in refused.err
    refused = run(*command, "0.25,0.5")
    assert refused.code != 0 and "noise_std of 2 values" in refused.err and "4 coils" in refused.err


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1,", "a", ""])
def test_a_noise_level_that_is_none_is_named(scan, tmp_path, run, text):
    refused = run("reconstruct", scan.path, "-o", tmp_path, "--noise-std", text)
    assert refused.code != 0 and "--noise-std is" in refused.err and "positive" in refused.err


def test_slices_are_independent_of_each_other(scan, tmp_path, run):
    run("reconstruct", scan.path, "-o", tmp_path / "all", *FAST)
    run("reconstruct", scan.path, "-o", tmp_path / "one", *FAST, "--slices", "1")
    both, one = (load_reconstruction(tmp_path / name / "scan.h5") for name in ("all", "one"))
    assert one.slices.tolist() == [1]
    np.testing.assert_array_equal(both.posterior_mean[1:], one.posterior_mean)


def test_a_fully_sampled_scan_is_said_to_be_one(scan, tmp_path, run):
    assert "fully sampled" in run("reconstruct", scan.path, "-o", tmp_path, *FAST).err


def test_dry_run_writes_nothing(scan, tmp_path, run):
    finished = run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST, "--dry-run")
    assert finished.code == 0
    for word in ("80 x 64", "64 x 64", "memory", "time", "4 x 20"):
        assert word in finished.out
    assert not (tmp_path / "out").exists()


def test_the_api_returns_what_the_file_holds(scan, tmp_path, run):
    run("reconstruct", scan.path, "-o", tmp_path, *FAST, *UNDERSAMPLED)
    found = load_reconstruction(tmp_path / "scan.h5")
    result = mri_alps.reconstruct(
        scan.path, prior="gaussian", n_samples=4, n_evaluations=20, mask="equispaced",
        acceleration=2, center_fraction=0.3,
    )  # fmt: skip
    for name in ("reconstruction", "reconstruction_std", "zero_filled", "reconstruction_upper"):
        np.testing.assert_array_equal(getattr(result, name), getattr(found, name))


def test_unknown_settings_are_named(scan):
    with pytest.raises(ConfigurationError, match="unknown setting samples"):
        mri_alps.reconstruct(scan.path, samples=3)


def test_single_coil(scan, tmp_path, run):
    path = tmp_path / "single.h5"
    noise = np.random.default_rng(1).standard_normal((2, *scan.truth.shape))
    kspace = centred_fft(scan.truth) + 0.02 * (noise[0] + 1j * noise[1])
    write_fastmri(path, kspace, recon_matrix=CROP)
    finished = run("reconstruct", path, "-o", tmp_path / "out", *FAST)
    assert finished.code == 0, finished.err
    found = load_reconstruction(tmp_path / "out" / "single.h5").reconstruction
    truth = np.abs(scan.truth[:, 8:72])
    assert np.linalg.norm(found - truth) < 0.2 * np.linalg.norm(truth)


def test_mask_is_seeded_by_file_name_as_in_fastmri(scan):
    raw = mri_alps.read_raw(scan.path)
    configuration = ReconstructionConfiguration(mask="random")
    assert mask_seed(raw, configuration) == tuple(map(ord, "scan.h5"))
    from fastmri.data.subsample import RandomMaskFunc

    expected, _ = RandomMaskFunc([0.08], [4])((1, *SHAPE, 2), seed=tuple(map(ord, "scan.h5")))
    found = undersampling_mask(raw, configuration)
    np.testing.assert_array_equal(np.squeeze(found), expected.numpy().squeeze().astype(bool))
    assert mask_seed(raw, ReconstructionConfiguration(seed=5)) == 5


def test_a_mask_from_a_file_is_used(scan, tmp_path, run):
    mask = np.zeros(64, bool)
    mask[::2] = True
    mask[24:40] = True
    np.save(tmp_path / "mask.npy", mask)
    options = ("-o", tmp_path / "out", *FAST, "--mask", tmp_path / "mask.npy")
    assert run("reconstruct", scan.path, *options).code == 0
    found = load_reconstruction(tmp_path / "out" / "scan.h5").zero_filled
    expected = np.linalg.norm(centred_ifft(scan.kspace * mask), axis=1)[:, 8:72]
    assert_equal_to_rounding(found, expected, dtype="float32")


@pytest.mark.parametrize(
    ("size", "shape"), [(5, 3), (6, 3), (5, 4), (6, 4), (4, 6), (5, 6), (4, 7), (3, 3)]
)
def test_the_centre_stays_the_centre(size, shape):
    image = np.zeros((2, size, size))
    image[:, size // 2, size // 2] = 1
    found = center_crop_or_pad(image, (shape, shape))
    assert found.shape == (2, shape, shape)
    assert found[0, shape // 2, shape // 2] == 1


def test_warnings_are_said_once(capsys):
    from mri_alps.cli.terminal import warnings_said_once

    with warnings_said_once():
        for _ in range(3):
            warnings.warn("look here", mri_alps.MriAlpsWarning, stacklevel=1)
        warnings.warn("a library's", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "mri-alps: warning: look here\n"
