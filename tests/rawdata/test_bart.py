"""BART cfl: column-major dimensions, inferred masks, slices and volumes."""

import pickle

import numpy as np
import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import center_block, kspace_to_cfl, read_cfl, read_raw, write_cfl
from tests.rawdata.rawdata_helpers import fft_centered, random_complex


def test_cfl_is_column_major(tmp_path):
    array = random_complex(0, 3, 4, 1, 2)
    write_cfl(tmp_path / "a", array)
    assert (tmp_path / "a.hdr").read_text() == "# Dimensions\n3 4 1 2" + " 1" * 12 + "\n"
    stored = np.fromfile(tmp_path / "a.cfl", np.complex64)
    np.testing.assert_array_equal(stored, array.ravel(order="F"))
    np.testing.assert_array_equal(
        read_cfl(tmp_path / "a")[..., 0], array.reshape(3, 4, 1, 2, *[1] * 11)
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.cfl", "a.hdr"]


@pytest.mark.parametrize("suffix", ["", ".cfl", ".hdr"])
def test_slices_and_their_masks(tmp_path, suffix):
    kspace = random_complex(0, 3, 2, 7, 10)
    masks = np.random.default_rng(1).random((3, 7, 10)) < 0.5
    kspace *= masks[:, None]
    write_cfl(tmp_path / "scan.v1", kspace_to_cfl(kspace))
    raw = read_raw(str(tmp_path / "scan.v1") + suffix)
    assert raw.format == "bart" and raw.shape == raw.crop == (7, 10)
    np.testing.assert_array_equal(raw.mask, masks)
    for index in range(3):
        np.testing.assert_array_equal(raw.read_slice(index), kspace[index])
    assert "zero in all coils" in raw.provenance["mask_source"]


def test_a_zero_in_one_coil_is_measured(tmp_path):
    kspace = random_complex(0, 1, 2, 6, 8)
    kspace[0, 0, 2, 3] = 0
    write_cfl(tmp_path / "s", kspace_to_cfl(kspace))
    assert read_raw(tmp_path / "s").mask.all()


@pytest.mark.parametrize("shape", [(8, 6, 4), (7, 5, 3)])
@pytest.mark.parametrize("block_bytes", [1, 2**28])
def test_volume(tmp_path, monkeypatch, shape, block_bytes):
    monkeypatch.setattr("mri_alps.rawdata.decoupling.BLOCK_BYTES", block_bytes)
    volume = random_complex(0, 2, *shape)
    mask = np.random.default_rng(0).random(shape[1:]) < 0.6
    kspace = fft_centered(volume, axes=(1, 2, 3)) * mask
    write_cfl(tmp_path / "v", np.moveaxis(kspace, 0, -1))
    raw = pickle.loads(pickle.dumps(read_raw(tmp_path / "v")))
    assert raw.n_slices == shape[0] and raw.shape == shape[1:]
    np.testing.assert_array_equal(raw.mask, mask[None])
    for index in (0, shape[0] - 1, 2):
        expected = fft_centered(volume[:, index]) * mask
        assert_equal_to_rounding(raw.read_slice(index), expected, n_summed=shape[0])


def test_slice_of_a_volume(tmp_path):
    image = np.zeros((3, 24, 32))
    image[:, 4:20, 6:25] = 1
    kspace = np.moveaxis(fft_centered(image), 0, -1)[np.newaxis]
    kspace = kspace.astype(np.complex64) + 0.01 * random_complex(0, 1, 24, 32, 3)
    write_cfl(tmp_path / "s", kspace)
    raw = read_raw(tmp_path / "s")
    assert raw.n_slices == 1 and raw.shape == (24, 32)
    np.testing.assert_array_equal(raw.read_slice(0), np.moveaxis(kspace[0], -1, 0))


@pytest.mark.parametrize("n_shots", [5, 8, 50])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_shots_are_no_slice(tmp_path, n_shots, noise):
    along = np.sinc((np.arange(64) - 32) / 8)  # the projection of a rectangle
    shots = np.broadcast_to(along[np.newaxis, :, np.newaxis, np.newaxis], (1, 64, n_shots, 2))
    kspace = shots.astype(np.complex64) + noise * random_complex(0, 1, 64, n_shots, 2)
    write_cfl(tmp_path / "radial", kspace)
    with pytest.raises(InputFileError, match=f"1 x 64 x {n_shots}"):
        read_raw(tmp_path / "radial")
    if n_shots < 8:  # so few lines have no peak to be looked for
        return
    write_cfl(tmp_path / "samples_first", kspace.reshape(64, n_shots, 1, 2))
    with pytest.raises(InputFileError, match="peaks nowhere"):
        read_raw(tmp_path / "samples_first")


def test_averages_and_ignored_dimensions(tmp_path):
    array = random_complex(0, 6, 8, 1, 2, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2)  # TE 3, AVG 2
    array[:, 5, ..., 1] = 0  # a line that only the first average has
    write_cfl(tmp_path / "s", array)
    raw = read_raw(tmp_path / "s")
    first = array[:, :, 0, :, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    expected = first.mean(axis=-1)
    expected[:, 5] = first[:, 5, :, 0]
    assert_equal_to_rounding(raw.read_slice(0), np.moveaxis(expected, -1, 0), n_summed=2)
    assert raw.n_averages == 1 and raw.mask.all()
    assert "TE (3)" in " ".join(raw.provenance["warnings"])


def test_shared_poisson_brain(shared_data):
    raw = read_raw(shared_data / "raw" / "brain_poisson_8ch")
    assert raw.shape == (180, 230) and raw.n_coils == 8
    assert raw.mask.mean() == pytest.approx(0.124, abs=0.001)
    assert center_block(raw.slice_mask(0)) == (24, 24)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("1cxys", ("PHS1 6, PHS2 32, COIL 24, MAPS 3", "PHS2 and COIL")),
        ("1cxy", ("PHS1 6, PHS2 32, COIL 24", "PHS2 and COIL")),
        ("cx1y", ("READ 6, PHS1 32, COIL 24", "PHS1 and COIL")),
        ("cxy1", ("READ 6, PHS1 32, PHS2 24", "PHS1 and PHS2")),
        ("c11xy", ("READ 6, COIL 32, MAPS 24", "COIL and MAPS")),
    ],
)
def test_dimensions_in_another_order_are_named(tmp_path, order, words):
    x, y = (np.arange(n) - n // 2 for n in (32, 24))
    decay = np.exp(-np.hypot(x[:, None], y) / 1.5)
    rng = np.random.default_rng(0)
    kspace = rng.standard_normal((3, 6, 32, 24, 2)) @ [1, 1j] * decay + 0.001
    found = kspace if "s" in order else kspace[0]
    axes = "scxy" if "s" in order else "cxy"
    letters = order.replace("1", "")
    array = np.transpose(found, [axes.index(letter) for letter in letters])
    sizes = iter(array.shape)
    array = array.reshape([1 if letter == "1" else next(sizes) for letter in order])
    write_cfl(tmp_path / "x", array.astype(np.complex64))
    with pytest.raises(InputFileError) as caught:
        read_raw(tmp_path / "x.cfl")
    assert all(word in str(caught.value) for word in (*words, "READ 32 and PHS1 24"))
