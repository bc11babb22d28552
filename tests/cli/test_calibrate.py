"""Intervals calibrated on volumes with truth: from the command line into reconstructions."""

import json
import shutil
import warnings

import h5py
import numpy as np
import pytest

from mri_alps.cli.app import main
from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsWarning
from mri_alps.evaluation import calibrate_folder, write_json
from mri_alps.pipeline import ReconstructionConfiguration
from tests.pipeline.tiny_scans import TINY, write_tiny

FACTOR = "facts/uncertainty_factor"
IMAGES = [f"reconstruction{part}" for part in ("", "_lower", "_upper", "_std")]
SHAPE = (80, 64)  # smaller ones are noise to their edge, where no coil has a map


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two scans with their reconstructions, and a third scan that is like them."""
    folder = tmp_path_factory.mktemp("calibrated")
    for seed, name in enumerate(("a.h5", "b.h5")):
        write_tiny(folder / "val" / name, n_slices=1, seed=seed, shape=SHAPE)
    write_tiny(folder / "test" / "new.h5", n_slices=1, seed=5, shape=SHAPE)
    with pytest.raises(SystemExit) as stop, warnings.catch_warnings():
        main([str(each) for each in ("reconstruct", folder / "val", "-o", folder / "made", *TINY)])
    assert stop.value.code == 0
    return folder


@pytest.fixture
def calibrated(made, tmp_path):
    """Their calibration, a file of the test's own, and the third scan."""
    found = calibrate_folder(made / "made", made / "val", confidence=0.6, anatomy="phantom")
    path = tmp_path / "calibration.json"
    write_json(path, found.calibration.to_dict())
    return path, made / "test" / "new.h5"


def images(path):
    with h5py.File(path) as file:
        names = [name for name in file if name.startswith("reconstruction")]
        return {name: file[name][()] for name in names} | {
            "mean": file["posterior_mean"][()]
        }, dict(file.attrs)


def test_from_truths_to_a_reconstruction(tmp_path, run, made):
    path, new = tmp_path / "c" / "calibration.json", made / "test" / "new.h5"
    finished = run("calibrate", made / "made", made / "val", "-o", path,
                   "--confidence", "0.6", "--anatomy", "phantom", "--json")  # fmt: skip
    assert finished.code == 0, finished.err
    printed, content = json.loads(finished.out), json.loads(path.read_text())
    assert content == {key: value for key, value in printed.items() if key != "coverage_before"}
    assert content["volumes"] == ["a.h5", "b.h5"] and content["anatomy"] == "phantom"
    assert content["factor"] == max(content["scores"]) and content["acquisitions"] == ["AXT1"]
    assert content["guarantee"] == pytest.approx(2 / 3)
    for coverage, score in zip(printed["coverage_before"], content["scores"], strict=True):
        assert (coverage < 0.9) == (score > 1)

    run("reconstruct", new, "-o", tmp_path / "plain", *TINY)
    finished = run("reconstruct", new, "-o", tmp_path / "out", *TINY, "--calibration", path)
    assert finished.code == 0, finished.err
    (before, _), (after, attributes) = (images(tmp_path / f / "new.h5") for f in ("plain", "out"))
    factor = content["factor"]
    for name in ("reconstruction", "mean"):
        np.testing.assert_array_equal(after[name], before[name])
    widths = [a["reconstruction_upper"] - a["reconstruction_lower"] for a in (before, after)]
    assert widths[0].max() > 0
    np.testing.assert_allclose(widths[1], factor * widths[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        after["reconstruction_std"], factor * before["reconstruction_std"], rtol=1e-5
    )
    assert attributes["calibration_factor"] == factor
    assert len(attributes["calibration_sha256"]) == 32
    assert "split conformal" in attributes["interval"] and attributes["calibration_volumes"] == 2


def test_the_volumes_themselves_are_covered_afterwards(tmp_path, run, made, calibrated):
    # The factor is the larger of the two scores, so both hold nine pixels in ten.
    path, _ = calibrated
    out = tmp_path / "again"
    assert run("reconstruct", made / "val", "-o", out, *TINY, "--calibration", path).code == 0
    report = json.loads(run("evaluate", out, made / "val", "--json").out)
    coverages = [each["coverage"] for each in report["volumes"]]
    assert min(coverages) == pytest.approx(0.9, abs=2e-3) and max(coverages) >= 0.9
    twice = run("calibrate", out, made / "val", "-o", tmp_path / "twice.json")
    assert twice.code == 1 and "are calibrated already" in twice.err
    assert not (tmp_path / "twice.json").exists()


@pytest.mark.parametrize(
    ("acquisition", "options", "words"),
    [
        ("AXT2", (), "acquisition AXT2 instead of AXT1"),
        ("AXT1", ("--acceleration", "1.5"), "acceleration 1.49"),
        ("AXT1", ("--n-samples", "3"), "n_samples 3 instead of 2"),
        ("AXT1", ("--mask", "gaussian-points"), "pattern points instead of regular lines"),
    ],
)
def test_other_scans_and_settings_are_refused(
    tmp_path, run, calibrated, acquisition, options, words
):
    path, _ = calibrated
    other = write_tiny(tmp_path / "other.h5", n_slices=1, shape=SHAPE, acquisition=acquisition)
    out = tmp_path / "out"
    finished = run("reconstruct", other, "-o", out, *TINY, *options, "--calibration", path)
    assert finished.code == 1 and finished.err.count("\n") == 1
    assert "(phantom) does not hold for" in finished.err and words in finished.err
    assert not out.exists()


def test_another_calibration_is_another_setting(tmp_path, run, calibrated):
    path, new = calibrated
    arguments = ("reconstruct", new, "-o", tmp_path / "out", *TINY, "--calibration", path)
    assert run(*arguments).code == 0
    moved = path.rename(tmp_path / "moved.json")
    assert "1 of 1 were finished before" in run(*arguments[:-1], moved).err
    content = json.loads(moved.read_text())
    path.write_text(json.dumps(content | {"anatomy": "another"}))
    assert "was made with other settings: calibration" in run(*arguments).err


def test_a_damaged_calibration_is_told_once_for_all_scans(tmp_path, run, made, calibrated):
    path, _ = calibrated
    path.write_text(path.read_text()[:-20])
    finished = run("reconstruct", made / "val", "-o", tmp_path / "out", *TINY,
                   "--calibration", path)  # fmt: skip
    assert finished.code == 1 and finished.err.count("\n") == 1
    assert "cannot be read (no JSON)" in finished.err and not (tmp_path / "out").exists()


def test_too_few_volumes_are_told_with_what_they_guarantee(tmp_path, run, made):
    finished = run("calibrate", made / "made", made / "val", "-o", tmp_path / "c.json")
    assert finished.code == 0
    assert "2 volumes guarantee a confidence of 0.667" in finished.err
    assert "0.9 needs 9 volumes" in finished.err
    for words in ("a.h5", "b.h5", "at least 0.667", "regular lines"):
        assert words in " ".join(finished.out.split())
    refused = run("calibrate", made / "made", made / "val", "-o", tmp_path / "d.json",
                  "--confidence", "1")  # fmt: skip
    assert refused.code == 1 and "confidence is 1.0" in refused.err


def test_reconstructions_of_unknown_making_are_refused(tmp_path, run, made):
    shutil.copytree(made / "made", tmp_path / "made")
    with h5py.File(tmp_path / "made" / "b.h5", "a") as file:
        del file.attrs["settings"]
    finished = run("calibrate", tmp_path / "made", made / "val", "-o", tmp_path / "c.json")
    assert finished.code == 1 and "does not say with which prior" in finished.err


def test_slices_that_failed_are_left_out(tmp_path, run, made):
    shutil.copytree(made / "made", tmp_path / "made")
    shutil.copytree(made / "val", tmp_path / "val")
    for path in (tmp_path / "made" / "b.h5", tmp_path / "val" / "b.h5"):
        with h5py.File(path, "a") as file:  # once more each slice, the second one failed
            for name in ("slices", "reconstruction_rss", *IMAGES, "mask", FACTOR):
                if name in file and len(file[name]):
                    twice = np.concatenate([file[name][()]] * 2)
                    twice[1:] = 1 if name == "slices" else np.nan if "recon" in name else 0
                    twice = np.where(np.arange(2) == 1, np.nan, 1.0) if name == FACTOR else twice
                    del file[name]
                    file[name] = twice
    plain = calibrate_folder(made / "made", made / "val", confidence=0.6)
    with pytest.warns(MriAlpsWarning, match="lacks 1 of 2 slices"):
        found = calibrate_folder(tmp_path / "made", tmp_path / "val", confidence=0.6)
    assert found.calibration == plain.calibration


@pytest.mark.parametrize(
    ("name", "value"),
    [("mask", np.ones(3, bool)), ("mask", np.zeros((1, 1, 64), bool)), (None, "[" * 10_000),
     (None, '{"prior": 1}'), ("facts/uncertainty_factor", np.array([b"x"]))],
)  # fmt: skip
def test_damaged_reconstructions_are_one_sentence(tmp_path, made, name, value):
    path = shutil.copy(made / "made" / "a.h5", tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        if name is None:
            file.attrs["settings"] = value
        else:
            del file[name]
            file[name] = value
    with pytest.raises(InputFileError, match=r"a\.h5"):
        calibrate_folder(path, made / "val" / "a.h5")


def test_it_excludes_self_calibration():
    for mode in ("scan", "slice"):
        with pytest.raises(ConfigurationError, match="leave one of the two out"):
            ReconstructionConfiguration(calibration="c.json", self_calibration=mode)
    assert ReconstructionConfiguration(calibration="c.json", self_calibration="off").calibration


def test_a_learned_prior_is_not_calibrated_twice():
    from mri_alps.pipeline.self_calibration import is_calibrated

    learned = object()
    assert is_calibrated(ReconstructionConfiguration(), learned)
    assert not is_calibrated(ReconstructionConfiguration(calibration="c.json"), learned)
