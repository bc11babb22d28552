"""``mri-alps masks`` on radial and spiral scans: how many shots are needed."""

import csv
import json

import numpy as np
import pytest

from mri_alps.cli.app import main
from mri_alps.core.errors import ConfigurationError
from mri_alps.masks.study import compare_masks
from mri_alps.masks.study.shots import as_setting, select_shots
from mri_alps.rawdata import read_raw
from tests.masks.test_design_command import make_scan
from tests.rawdata import trajectory_scans as scans

pytest.importorskip("finufft", reason="shots are simulated with finufft")
pytestmark = pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")

SAMPLER = {"prior": "gaussian", "n_samples": 3, "n_evaluations": 4}
FULL = 76  # pi / 2 * 48


def run(capsys, *arguments):
    options = [x for name, value in SAMPLER.items() for x in (f"--{name.replace('_', '-')}", value)]
    with pytest.raises(SystemExit) as stop:
        main(["masks", *map(str, (*arguments, *options))])
    return int(stop.value.code or 0), capsys.readouterr()


@pytest.fixture
def radial(tmp_path):
    places = scans.radial(FULL)
    return scans.write_npz(tmp_path / "radial.npz", scans.samples_at(places), places)


def test_error_against_shots(radial, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    folder = tmp_path / "study"
    code, said = run(capsys, radial, "--shots", "38,19,9", "-o", folder, "--report")
    assert code == 0, said.err
    assert "shots" in said.out and "first" in said.out  # golden angles may stop anywhere
    with (folder / "masks.csv").open() as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: -int(row["n_measured"]))
    assert [int(row["n_measured"]) for row in rows] == [38, 19, 9]
    errors = [float(row["NMSE"]) for row in rows]
    deviations = [float(row["posterior_std"]) for row in rows]
    assert errors == sorted(errors) and deviations == sorted(deviations)
    assert errors[0] < 0.02 < errors[2]
    assert [float(row["achieved_acceleration"]) for row in rows] == pytest.approx(
        [np.pi / 2 * 48 / n for n in (38, 19, 9)]
    )
    assert all(0.5 < float(row["coverage"]) <= 1 for row in rows)
    assert (folder / "error_against_shots.png").stat().st_size > 5000
    assert "error against shots" in (folder / "masks.html").read_text()
    results = json.loads((folder / "masks.json").read_text())["results"]
    assert {result["mask"] for result in results} == {"first"}
    assert run(capsys, radial, "--shots", "38,19,9", "-o", folder)[0] == 0  # what is there is kept
    again = json.loads((folder / "masks.json").read_text())["results"]
    assert [r["metrics"]["seconds"] for r in again] == [r["metrics"]["seconds"] for r in results]


def test_results_are_those_of_a_scan_with_these_shots(radial):
    """The same samples are drawn as for a scan that has no others, with the maps of all."""
    study = compare_masks([radial], ["spread"], [4.0], seed=0, **SAMPLER)
    (result,) = study.results
    assert (result.n_measured, result.is_of_shots) == (19, True)
    part = read_raw(radial).with_shots("0:76:4")
    visited = part.mask[0]
    np.testing.assert_array_equal(result.images["mask"], visited)
    truth = scans.root_sum_of_squares()
    assert np.linalg.norm(result.images["reference"] - truth) < 0.1 * np.linalg.norm(truth)
    error = np.linalg.norm(result.images["mean"] - truth) / np.linalg.norm(truth)
    assert 0.01 < error < 0.3


def test_spirals_in_the_order_of_their_angles_are_spread(tmp_path):
    places = scans.spirals(24)
    path = scans.write_npz(tmp_path / "spiral.npz", scans.samples_at(places), places)
    study = compare_masks([path], shots=[8], seed=0, **SAMPLER)
    assert {(r.mask, r.n_measured) for r in study.results} == {("spread", 8)}
    with pytest.raises(ConfigurationError, match="first 8x leaves the centre"):
        compare_masks([path], accelerations=[1, 8], **SAMPLER)


def test_without_enough_shots_there_is_no_reference(tmp_path):
    places = scans.radial(24)
    path = scans.write_npz(tmp_path / "few.npz", scans.samples_at(places), places)
    study = compare_masks([path], ["first", "spread", "measured"], [2], seed=0, **SAMPLER)
    assert not study.has_reference and len(study.results) == 3
    by_name = {r.mask: r.metrics["predicted_NMSE"] for r in study.results}
    assert by_name["measured"] < min(by_name["first"], by_name["spread"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--masks", "random"), ["radial", "first", "spread"]),
        (("--shots", "100"), ["76 shots", "100"]),
        (("--shots", "0"), ["--shots", "0"]),
        (("--shots", "a,b"), ["--shots", "200,100,50"]),
        (("--shots", ""), ["--shots", "200,100,50"]),
        (("--shots", "9", "--accelerations", "2"), ["same thing"]),
        (("--accelerations", "nan"), ["nan", "--accelerations"]),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    radial, tmp_path, capsys, arguments, words
):
    code, said = run(capsys, radial, *arguments, "-o", tmp_path / "study")
    assert code == 1 and not (tmp_path / "study").exists()
    last = said.err.strip().splitlines()[-1]
    for word in words:
        assert word in said.err, last


def test_lines_and_shots_are_studied_apart(radial, tmp_path):
    lines = make_scan(tmp_path / "lines.h5", 0)
    with pytest.raises(ConfigurationError, match="study them apart"):
        compare_masks([lines, radial], **SAMPLER)
    with pytest.raises(ConfigurationError, match="Cartesian"):
        compare_masks([lines], shots=[4], **SAMPLER)


@pytest.mark.parametrize(("kind", "count"), [("first", 5), ("spread", 5), ("spread", 7)])
def test_a_selection_is_a_setting(kind, count):
    mask = select_shots(kind, count, 20)
    first, stop, step = map(int, as_setting(mask).split(":"))
    np.testing.assert_array_equal(np.flatnonzero(mask[0]), np.arange(20)[first:stop:step])
    assert abs(mask.sum() - count) <= 1
