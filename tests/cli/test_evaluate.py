"""Metrics, coverage and the evaluate command, against fastMRI's own."""

import argparse
import json

import h5py
import numpy as np
import pytest

from mri_alps.cli.app import main
from mri_alps.core.errors import InputFileError, MriAlpsWarning, ShapeError
from mri_alps.evaluation import evaluate_folder, head_mask, image_metrics, interval_coverage
from mri_alps.operators.rounding import assert_equal_to_rounding


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs["acquisition"] = "AXT2"


@pytest.fixture
def folders(tmp_path):
    """Two volumes of different sizes; the reconstructions are larger than the targets."""
    rng = np.random.default_rng(3)
    targets, reconstructions = tmp_path / "targets", tmp_path / "reconstructions"
    targets.mkdir(), reconstructions.mkdir()
    for name, (height, width) in {"a.h5": (40, 32), "b.h5": (32, 32)}.items():
        target = rng.random((3, height, width)).astype(np.float32)
        error = 0.1 * rng.standard_normal((3, 44, 36)).astype(np.float32)
        top, left = (44 - height) // 2, (36 - width) // 2
        prediction = error.copy()
        prediction[:, top : top + height, left : left + width] += target
        write(targets / name, reconstruction_rss=target)
        write(
            reconstructions / name,
            reconstruction=prediction,
            reconstruction_lower=prediction - 0.1,
            reconstruction_upper=prediction + 0.1,
        )
    return reconstructions, targets


def fastmri_means(reconstructions, targets):
    from fastmri.evaluate import evaluate

    arguments = argparse.Namespace(
        target_path=targets, predictions_path=reconstructions, acquisition=None, acceleration=None
    )
    metrics = evaluate(arguments, "reconstruction_rss")
    return metrics.means(), metrics.stddevs()


def test_metrics_are_identical_to_fastmris(folders):
    means, stds = fastmri_means(*folders)
    summary = evaluate_folder(*folders).summary()
    for name in ("NMSE", "PSNR", "SSIM"):
        assert_equal_to_rounding(
            summary[name]["mean"], float(np.squeeze(means[name])), n_summed=1000, dtype="float32"
        )
        assert_equal_to_rounding(
            summary[name]["std"],
            float(np.squeeze(stds[name])),
            n_summed=1000,
            scale=abs(summary[name]["mean"]),
            dtype="float32",
        )


def test_coverage_of_a_known_interval(folders):
    # The error is normal with the half width of the interval as its standard deviation, and the
    # "head" of a noise target is every pixel but the corners that closing may leave out.
    report = evaluate_folder(*folders)
    for volume in report.volumes:
        assert volume.coverage == pytest.approx(0.683, abs=0.03)


def test_json_of_the_command_line(folders, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *map(str, folders), "--json"])
    assert stop.value.code in (0, None)
    found = json.loads(capsys.readouterr().out)
    assert [volume["name"] for volume in found["volumes"]] == ["a.h5", "b.h5"]
    assert set(found["summary"]) == {"NMSE", "PSNR", "SSIM", "coverage", "sharpness"}


def test_the_factor_of_the_deviation_is_scored_where_there_is_one(folders):
    with h5py.File(folders[0] / "a.h5", "a") as file:
        file["facts/uncertainty_factor"] = [1.5, 2.5, 1.0]
        file["facts/uncertainty_factor_error"] = [0.1, 0.1, np.nan]  # the last was not calibrated
    report = evaluate_folder(*folders)
    assert [volume.uncertainty_factor for volume in report.volumes] == [2.0, None]
    assert report.summary()["uncertainty_factor"] == {"mean": 2.0, "std": 0.0}


def test_table_of_the_command_line(folders, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        main(["evaluate", *map(str, folders)])
    printed = capsys.readouterr().out
    assert "a.h5" in printed and "SSIM" in printed and "mean" in printed


def test_a_subset_of_slices_is_compared_with_the_same_slices(tmp_path):
    target = np.random.default_rng(0).random((4, 16, 16)).astype(np.float32)
    write(tmp_path / "t.h5", reconstruction_rss=target)
    write(tmp_path / "r.h5", reconstruction=target[[1, 3]] + 0.01, slices=np.array([1, 3]))
    report = evaluate_folder(tmp_path / "r.h5", tmp_path / "t.h5")
    assert report.volumes[0].metrics["NMSE"] < 1e-3
    assert report.volumes[0].coverage is None


def test_single_coil_targets_are_found(tmp_path):
    image = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    write(tmp_path / "t.h5", reconstruction_esc=image)
    write(tmp_path / "r.h5", reconstruction=image.copy())
    assert evaluate_folder(tmp_path / "r.h5", tmp_path / "t.h5").volumes[0].metrics["NMSE"] == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r, t: [f.unlink() for f in r.iterdir()], "none of the 2 files"),
        (lambda r, t: write(t / "b.h5", kspace=np.zeros(3)), "no reference image"),
        (lambda r, t: write(r / "b.h5", other=np.zeros(3)), "no dataset 'reconstruction'"),
        (lambda r, t: (r / "b.h5").write_bytes(b"no"), "cannot be read as HDF5"),
        (lambda r, t: write(r / "b.h5", reconstruction=np.ones((3, 8, 8))), "smaller than"),
        (lambda r, t: write(r / "b.h5", reconstruction=np.ones((2, 32, 32))), "2 slices"),
        (lambda r, t: [f.unlink() for f in t.iterdir()], "holds no files"),
    ],
)
def test_what_cannot_be_scored_is_named(folders, spoil, message):
    spoil(*folders)
    files = [folder / "b.h5" for folder in folders]
    is_one = all(file.exists() for file in files)  # others can be scored
    with pytest.raises(InputFileError, match=message):
        evaluate_folder(*(files if is_one else folders))
    if is_one:
        with pytest.warns(MriAlpsWarning, match=message):
            report = evaluate_folder(*folders)
        assert [volume.name for volume in report.volumes] == ["a.h5"]
        assert list(report.unscored) == ["b.h5"]


def test_what_can_be_scored_is_and_the_rest_is_listed(folders, run):
    write(folders[0] / "b.h5", other=np.zeros(3))
    finished = run("evaluate", *folders)
    said = " ".join(finished.err.split())
    assert finished.code == 0 and "left out of the scores: " in said and "b.h5" in said
    assert "Not scored: b.h5." in finished.out
    found = json.loads(run("evaluate", *folders, "--json").out)
    assert "no dataset 'reconstruction'" in found["unscored"]["b.h5"]


def test_names_are_whole_at_100_columns(folders, capsys, monkeypatch):
    name = "file_brain_AXFLAIR_200_6002425_contrast-1_repetition-0.h5"
    for folder in folders:
        (folder / "a.h5").rename(folder / name)
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main(["evaluate", *map(str, folders)])
    printed = capsys.readouterr().out
    assert "…" not in printed and max(map(len, printed.splitlines())) <= 100
    begin = next(line for line in printed.splitlines() if line.strip().startswith(name[:4]))
    width = len(begin) - len(begin.lstrip()) + len(begin.split()[0])
    assert name in "".join(line[:width].strip() for line in printed.splitlines())
    report = evaluate_folder(*folders)
    for volume in report.volumes:
        assert f"{volume.metrics['NMSE']:.4g}" in printed


@pytest.mark.parametrize("content", [np.array([b"a", b"b"]), np.ones((3, 44, 36), complex)])
def test_a_reconstruction_that_is_no_image_is_named(folders, content):
    reconstructions, targets = folders
    for name in ("a.h5", "b.h5"):
        (reconstructions / name).unlink()
        write(reconstructions / name, reconstruction=content)
    with pytest.raises(InputFileError, match=r"'reconstruction' holds .*expected real images"):
        evaluate_folder(reconstructions, targets)


def test_targets_without_a_reconstruction_are_left_out_and_counted(folders, run):
    whole = evaluate_folder(*folders)
    (folders[0] / "b.h5").unlink()
    with pytest.warns(MriAlpsWarning, match="lacks 1 of 2 files .* the first is b.h5"):
        report = evaluate_folder(*folders)
    assert report.missing == ("b.h5",) and report.volumes == whole.volumes[:1]
    finished = run("evaluate", *folders, "--json")
    assert finished.code == 0 and "lacks 1 of 2 files" in finished.err
    assert json.loads(finished.out)["missing"] == ["b.h5"]
    assert "1 targets without a reconstruction" in run("evaluate", *folders).out


def test_shapes_must_agree():
    with pytest.raises(ShapeError, match="one shape"):
        image_metrics(np.ones((1, 8, 8)), np.ones((1, 8, 9)))


def test_head_mask_fills_holes_and_leaves_the_air_out():
    y, x = np.mgrid[-32:32, -32:32]
    radius = np.hypot(x, y)
    head = np.where(radius < 25, 1.0, 0.0)
    head[radius < 8] = 0.0  # dark ventricles belong to the head
    noise = 0.02 * np.abs(np.random.default_rng(1).standard_normal(head.shape))
    found = head_mask((head + noise)[None])[0]
    assert found[radius < 23].all()
    assert not found[radius > 27].any()


def test_coverage_counts():
    reference = np.array([[0.0, 1.0, 2.0, 3.0]])
    region = np.array([[True, True, True, False]])
    found = interval_coverage(reference, reference * 0 + 0.5, reference * 0 + 2.0, region)
    assert found == pytest.approx(2 / 3)
    assert np.isnan(interval_coverage(reference, reference, reference, region & False))
