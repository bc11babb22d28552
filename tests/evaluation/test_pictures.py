"""The panel beside a reconstruction."""

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from mri_alps.evaluation import pictures
from mri_alps.evaluation.pictures import evenly_chosen, write_panel


def reconstruction_file(path, n_slices=3, shape=(20, 30)):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["slices"] = np.arange(n_slices)
        for name in ("reconstruction", "zero_filled", "reconstruction_std"):
            file[name] = rng.random((n_slices, *shape)).astype(np.float32)
    return path


@pytest.mark.parametrize("n_slices", [1, 3, 40])
@pytest.mark.parametrize("with_reference", [False, True])
def test_panel_is_written_whole(tmp_path, n_slices, with_reference):
    source = reconstruction_file(tmp_path / "r.h5", n_slices)
    reference = {i: np.ones((20, 30)) for i in range(n_slices)} if with_reference else None
    picture = write_panel(source, tmp_path / "r.png", reference, title="a scan")
    image = imread(picture)
    assert image.shape[1] > image.shape[0] * (0.5 if n_slices > 1 else 1)
    assert np.ptp(image[..., :3]) > 0.9
    assert {file.name for file in tmp_path.iterdir()} == {"r.h5", "r.png"}


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_factor_of_the_deviation_stands_above_it(tmp_path, monkeypatch, calibrated):
    source = reconstruction_file(tmp_path / "r.h5", 2)
    with h5py.File(source, "a") as file:  # without an error it is not from left-out samples
        file["facts/uncertainty_factor"] = [1.25, 1.75]
        file["facts/uncertainty_factor_error"] = [0.1, 0.1] if calibrated else [np.nan, np.nan]
    drawn = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: drawn.append(figure))
    write_panel(source, tmp_path / "r.png")
    titles = [axis.get_title() for axis in drawn[0].axes]
    expected = "\ntimes 1.50, from left-out samples" if calibrated else ""
    assert f"posterior standard deviation{expected}" in titles


def test_an_empty_image_is_drawn_without_warnings(tmp_path):
    source = reconstruction_file(tmp_path / "r.h5", 1)
    with h5py.File(source, "a") as file:
        for name in ("reconstruction", "zero_filled", "reconstruction_std"):
            file[name][...] = 0
    assert write_panel(source, tmp_path / "r.png").stat().st_size > 1000


def test_failure_leaves_no_picture(tmp_path):
    source = reconstruction_file(tmp_path / "r.h5", 1)
    with pytest.raises(ValueError):
        write_panel(source, tmp_path / "r.png", {0: np.ones((7, 7))})
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (4, [0, 1, 2, 3]), (11, [0, 5, 10])])
def test_rows_are_spread_evenly(count, expected):
    assert evenly_chosen(count, 4 if count == 4 else 3) == expected
