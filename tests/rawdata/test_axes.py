"""`kspace` whose axes come in another order than fastMRI's."""

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import make_header, read_raw
from tests.pipeline.simulated_scan import simulate

SHAPE = (48, 40)
NAMES = ("slice", "coil", "readout", "phase encode")
VIEW = (200.0, 200.0, 5.0)


@pytest.fixture(scope="module")
def kspace():
    return simulate(2, 0, SHAPE)[0].astype(np.complex64)


def header(matrix=SHAPE, **options):
    return make_header((*matrix, 1), (*matrix, 1), VIEW, VIEW, **options)


def write(path, kspace, order, text=None, **datasets):
    """Write `kspace` with its axes in an order of indices into `NAMES`."""
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.transpose(order)
        if text is not None:
            file["ismrmrd_header"] = text
        for name, value in datasets.items():
            file[name] = value
    return path


def check(path, kspace, order):
    raw = read_raw(path)
    assert (raw.n_slices, raw.n_coils, *raw.shape) == kspace.shape
    for index in range(2):
        np.testing.assert_array_equal(raw.read_slice(index), kspace[index])
    said = " ".join(raw.provenance["settled"])
    assert f"is read as ({', '.join(NAMES[axis] for axis in order)})" in said
    return said


@pytest.mark.parametrize(
    "order", [(0, 1, 3, 2), (0, 2, 3, 1), (0, 3, 2, 1), (2, 3, 0, 1), (1, 0, 2, 3), (3, 2, 1, 0)]
)
def test_the_matrix_of_the_header_decides(tmp_path, kspace, order):
    # which of two axes holds slices and which coils, the reference images say
    images = {"reconstruction_rss": np.ones((2, *SHAPE), np.float32)} if order[0] == 1 else {}
    path = write(tmp_path / "s.h5", kspace, order, header(n_coils=4), **images)
    assert "48 x 40" in check(path, kspace, order)


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (0, 2, 3, 1)])
def test_the_readout_decides_where_the_width_of_the_header_is_wrong(tmp_path, kspace, order):
    path = write(tmp_path / "s.h5", kspace, order, header((48, 44)))
    assert "readout of the header, 48 x 44" in check(path, kspace, order)


def test_the_length_of_the_mask_decides(tmp_path, kspace):
    order = (0, 1, 3, 2)
    for shape in ((40,), (1, 40, 1), (1, 1, 40)):
        path = write(tmp_path / "s.h5", kspace, order, mask=np.ones(shape, bool))
        assert "mask of 40" in check(path, kspace, order)


def test_the_energy_decides_where_nothing_is_said(tmp_path, kspace):
    path = write(tmp_path / "s.h5", kspace, (0, 2, 3, 1))
    assert "energy of k-space" in check(path, kspace, (0, 2, 3, 1))


def test_the_customary_order_is_left_alone(tmp_path, kspace):
    for text in (None, header(), header((48, 44))):
        path = write(tmp_path / "s.h5", kspace, (0, 1, 2, 3), text)
        raw = read_raw(path)
        assert "is read as" not in str(raw.provenance)
        np.testing.assert_array_equal(raw.read_slice(1), kspace[1])


def test_images_turn_with_the_kspace(tmp_path, kspace):
    images = np.arange(2 * 40 * 48, dtype=np.float32).reshape(2, 40, 48)
    path = write(tmp_path / "s.h5", kspace, (0, 1, 3, 2), header(), reconstruction_rss=images)
    np.testing.assert_array_equal(read_raw(path).read_reference(1), images[1].T)
    bare = {"mask": np.ones(40, bool), "reconstruction_rss": images[:, :20]}
    assert read_raw(write(tmp_path / "b.h5", kspace, (0, 1, 3, 2), **bare)).crop == (48, 20)


def test_a_mask_of_points_turns_with_the_kspace(tmp_path, kspace):
    mask = np.random.default_rng(0).random(SHAPE) < 0.5
    path = write(tmp_path / "s.h5", kspace, (0, 1, 3, 2), header(), mask=mask.T)
    np.testing.assert_array_equal(read_raw(path).mask[0], mask)


def test_a_single_coil(tmp_path, kspace):
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace[:, 0].swapaxes(1, 2)
        file["ismrmrd_header"] = header()
    np.testing.assert_array_equal(read_raw(path).read_slice(1), kspace[1, :1])


def test_what_fits_no_order_is_refused_axis_by_axis(tmp_path, kspace):
    path = write(tmp_path / "s.h5", kspace, (0, 2, 3, 1), header((50, 44), n_coils=4))
    with pytest.raises(InputFileError) as caught:
        read_raw(path)
    said = str(caught.value)
    assert "2 x 48 (energy like k-space) x 40 (energy like k-space) x 4," in said
    assert "(slice, coil, readout, phase encode) with coils 4, readout 50, phase encode 44" in said
