"""The trajectory in the portrait of a calibration, its picture, and the report of a scan."""

import json

import numpy as np
import pytest
import torch

from mri_alps.calibration import (
    CalibrationPortrait,
    calibrate_volume,
    portray_calibration,
    prepare_slice,
)
from mri_alps.calibration.portrait_path import PORTRAYED_POINTS, portray_path
from mri_alps.evaluation.calibration_figure import draw_calibration
from mri_alps.evaluation.path_figure import delays_in_words
from mri_alps.evaluation.report import write_report
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file
from mri_alps.rawdata import trajectory_from_arrays
from tests.rawdata import trajectory_scans as scans

pytest.importorskip("finufft", reason="shots are simulated with finufft")
pytestmark = pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")
DELAY = 0.3


def delayed():
    nominal = scans.radial(40)
    along = nominal[:, -1] - nominal[:, 0]
    along /= np.linalg.norm(along, axis=1)[:, None]
    return nominal, scans.samples_at(nominal + DELAY * along[:, None])


@pytest.fixture(scope="module")
def raw():
    nominal, samples = delayed()
    return trajectory_from_arrays(samples, nominal, scans.SHAPE)


@pytest.mark.parametrize("corrected", [True, False])
def test_it_shows_where_the_samples_are_taken_to_lie(raw, corrected):
    calibration = calibrate_volume(raw, correct_delays=corrected)
    portrait = portray_calibration(raw, prepare_slice(raw, 0, calibration=calibration))
    found = CalibrationPortrait.from_plain(json.loads(json.dumps(portrait.to_plain())))
    assert found.path.shape == (40, 3, 2)
    middle = np.linalg.norm(found.path[:, 1], axis=1)  # spokes no longer meet at DC
    np.testing.assert_allclose(middle, DELAY if corrected else 0, atol=0.02)
    said = delays_in_words(found.facts["trajectory"])
    assert said.endswith(", corrected" if corrected else "not corrected") and "delays +0." in said
    figure = draw_calibration(found, "radial")
    titles = [axis.get_title().replace("\n", " ") for axis in figure.axes]
    assert sum("40 shots" in title and said in title for title in titles) == 1


@pytest.mark.parametrize(
    ("kind", "shape"), [("spiral", (2000, 32)), ("other", (9000, 1)), ("radial", (700, 600))]
)
def test_it_is_small(kind, shape):
    path = portray_path(torch.rand(*shape, 2), kind)
    assert path.shape[0] * path.shape[1] <= PORTRAYED_POINTS


@pytest.mark.parametrize(
    "path",
    [
        3,
        {"shape": [1, 2, 2]},
        {"shape": [1, 2, 2], "values": [1.0]},
        {"shape": [1, 1, 2], "values": [float("nan"), 0.0]},
        {"shape": [10**6, 1, 2], "values": [0.0] * (2 * 10**6)},
        {"shape": [2], "values": [0.0, 0.0]},
        {"shape": [1, 1, 2], "values": ["x", None]},
    ],
)
def test_what_is_no_trajectory_is_refused(raw, path):
    calibration = calibrate_volume(raw)
    plain = portray_calibration(raw, prepare_slice(raw, 0, calibration=calibration)).to_plain()
    with pytest.raises(ValueError):
        CalibrationPortrait.from_plain(plain | {"path": path})
    assert CalibrationPortrait.from_plain(plain | {"path": None}).path is None


def test_the_report_says_shots_unit_and_delays(tmp_path):
    nominal, samples = delayed()
    path = scans.write_npz(tmp_path / "r.npz", samples, nominal)
    settings = ReconstructionConfiguration(
        prior="gaussian", n_samples=2, n_evaluations=2, correct_delays=True, shots="0:40:2"
    )
    written = reconstruct_to_file(path, tmp_path / "out", settings)
    page = tmp_path / "page.html"
    write_report(written, page)
    page = page.read_text()
    assert "20 shots (radial), chosen by --shots 0:40:2" in page
    assert "delays +0." in page and "corrected" in page and "cycles per field of view" in page
    assert "undersampled points" not in page and "weights, trajectory" in page
