"""By acquisition, sharpness, sparsification; CSV and figure."""

import argparse
import csv

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

from mri_alps.evaluation import evaluate_folder
from mri_alps.evaluation._sparsification import (
    FRACTIONS,
    sparsification_area,
    sparsification_curve,
)
from mri_alps.evaluation.score_files import draw_scores
from mri_alps.operators.rounding import assert_equal_to_rounding

ACQUISITIONS = {"a.h5": "AXT1", "b.h5": "AXT2", "c.h5": "AXT2"}


@pytest.fixture
def folders(tmp_path):
    """Three volumes whose error has the standard deviation that the file says."""
    rng = np.random.default_rng(0)
    targets, results = tmp_path / "targets", tmp_path / "results"
    targets.mkdir(), results.mkdir()
    for name, acquisition in ACQUISITIONS.items():
        target = (1 + rng.random((2, 32, 32))).astype(np.float32)
        std = rng.uniform(0.01, 0.2, target.shape).astype(np.float32)
        mean = target + std * rng.standard_normal(target.shape).astype(np.float32)
        with h5py.File(targets / name, "w") as file:
            file["reconstruction_rss"] = target
            file.attrs["acquisition"] = acquisition
        with h5py.File(results / name, "w") as file:
            file["reconstruction"], file["reconstruction_std"] = mean, std
            file["reconstruction_lower"] = mean - 1.645 * std
            file["reconstruction_upper"] = mean + 1.645 * std
    return results, targets


def test_each_acquisition_is_what_fastmri_says(folders):
    from fastmri.evaluate import evaluate

    groups = evaluate_folder(*folders).by_acquisition()
    assert list(groups) == ["AXT1", "AXT2"]
    for name, group in groups.items():
        arguments = argparse.Namespace(
            target_path=folders[1], predictions_path=folders[0], acquisition=name,
            acceleration=None,
        )  # fmt: skip
        means = evaluate(arguments, "reconstruction_rss").means()
        for metric in ("NMSE", "PSNR", "SSIM"):
            expected = float(np.squeeze(means[metric]))
            assert_equal_to_rounding(
                group.summary()[metric]["mean"], expected, n_summed=1000, dtype="float32"
            )


def test_sharpness_and_coverage_of_a_known_interval(folders):
    for volume in evaluate_folder(*folders).volumes:
        assert volume.coverage == pytest.approx(0.9, abs=0.03)
        # 2 * 1.645 * mean std over the mean intensity
        assert volume.sharpness == pytest.approx(3.29 * 0.105 / 1.5, rel=0.05)


def test_an_honest_uncertainty_sorts_the_error(folders):
    report = evaluate_folder(*folders)
    curve = report.sparsification()
    assert curve["error"][0] == pytest.approx(1) and curve["oracle"][0] == pytest.approx(1)
    # The surest 5 % have a std near 0.015, all have 0.118.
    assert curve["error"][-1] == pytest.approx(0.015 / 0.118, rel=0.25)
    assert all(np.diff(curve["error"]) < 0.01)
    assert np.all(np.subtract(curve["error"], curve["oracle"]) >= -1e-12)


def test_curves_of_known_numbers():
    error = np.arange(1.0, 101.0)
    everywhere = np.ones(100, bool)
    oracle = sparsification_curve(error, error, everywhere)
    half = FRACTIONS.index(0.5)
    expected = np.sqrt(np.mean(error[:50] ** 2) / np.mean(error**2))
    assert oracle[half] == pytest.approx(expected)
    worst = sparsification_curve(error, -error, everywhere)
    assert worst[half] > 1
    assert sparsification_area(oracle, oracle) == 0
    assert sparsification_area(worst, oracle) > 0.5
    assert sparsification_curve(0 * error, error, everywhere) == ()
    assert sparsification_curve(error, error, ~everywhere) == ()


def test_csv_and_figure(folders, tmp_path, run):
    table, picture = tmp_path / "new" / "scores.csv", tmp_path / "new" / "scores.png"
    finished = run("evaluate", *folders, "--csv", table, "--figure", picture)
    assert finished.code == 0, finished.err
    assert "AXT2" in finished.out and "sharpness" in finished.out
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["row"] for row in rows] == ["volume"] * 3 + ["mean", "2 sd"] * 3
    report = evaluate_folder(*folders)
    assert float(rows[0]["SSIM"]) == report.volumes[0].metrics["SSIM"]
    summary = report.summary()["PSNR"]
    assert float(rows[-2]["PSNR"]) == summary["mean"]
    assert float(rows[-1]["PSNR"]) == pytest.approx(2 * summary["std"])
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("honest", [True, False])
def test_the_figure_contains_the_sparsification_curves(folders, tmp_path, monkeypatch, honest):
    report = evaluate_folder(*folders)
    if not honest:  # the least uncertain pixels are those with the largest errors
        for name in ACQUISITIONS:
            with h5py.File(folders[0] / name, "a") as file:
                with h5py.File(folders[1] / name) as target:
                    error = file["reconstruction"][()] - target["reconstruction_rss"][()]
                file["reconstruction_std"][...] = 1 / (0.01 + np.abs(error))
        report = evaluate_folder(*folders)
    curve = report.sparsification()
    assert (max(curve["error"]) > 1.5) == (not honest)
    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (drawn.append(self), savefig(self, *a, **k))
    )
    draw_scores(report, tmp_path / "scores.png")
    axis = drawn[0].axes[-1]
    low, high = axis.get_ylim()
    for line, name in zip(axis.get_lines(), ("error", "oracle"), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve[name])
        assert low <= min(curve[name]) and max(curve[name]) < high
    assert low == 0 and high == pytest.approx(1.05 * max(curve["error"]))


def test_a_figure_of_no_known_kind(folders, tmp_path, run):
    finished = run("evaluate", *folders, "--figure", tmp_path / "scores.txt")
    assert finished.code != 0 and ".svg" in finished.err


def test_a_figure_of_results_without_a_standard_deviation(folders, tmp_path):
    for name in ACQUISITIONS:
        with h5py.File(folders[0] / name, "a") as file:
            del file["reconstruction_std"]
    report = evaluate_folder(*folders)
    assert not report.sparsification()
    draw_scores(report, tmp_path / "scores.png")
    assert (tmp_path / "scores.png").read_bytes()[:4] == b"\x89PNG"
