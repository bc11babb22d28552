"""Masks from npy, npz, HDF5 and BART files; what is wrong with a file is said."""

import os
import zipfile

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.masks import load_mask

SHAPE = (6, 5)
POINTS = np.random.default_rng(0).random(SHAPE) < 0.5
LINES = np.array([True, False, True, True, False])


def write_cfl(stem, array, dimensions=None, truncate=0):
    sizes = dimensions or array.shape
    text = "# Dimensions\n" + " ".join(map(str, [*sizes, *[1] * (16 - len(sizes))])) + "\n"
    stem.with_suffix(".hdr").write_text(text)
    data = array.astype("<c8").ravel(order="F").tobytes()
    stem.with_suffix(".cfl").write_bytes(data[: len(data) - truncate])
    return stem.with_suffix(".cfl")


def write_h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def save(path, array, **named):
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, mask=array, **named)
    elif path.suffix == ".cfl":
        return write_cfl(path, np.atleast_2d(array))
    else:
        return write_h5(path, mask=array, **named)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".cfl"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.complex64])
def test_every_format_gives_the_same_mask(tmp_path, suffix, dtype):
    path = save(tmp_path / f"points{suffix}", POINTS.astype(dtype))
    assert np.array_equal(load_mask(path, SHAPE), POINTS)
    path = save(tmp_path / f"lines{suffix}", LINES.astype(dtype))
    found = load_mask(str(path), SHAPE)
    assert found.shape == (1, 5)
    assert found.dtype == bool
    assert np.array_equal(found[0], LINES)


def test_bart_patterns_are_found_by_header_and_stem_and_axes(tmp_path):
    write_cfl(tmp_path / "pattern", POINTS)
    for name in ("pattern", "pattern.hdr", "pattern.cfl"):
        assert np.array_equal(load_mask(tmp_path / name, SHAPE), POINTS)
    phases = write_cfl(tmp_path / "phases", POINTS, dimensions=(1, *SHAPE))
    assert np.array_equal(load_mask(phases, SHAPE), POINTS)


def test_a_column_of_rows_means_rows(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, POINTS[:, :1])
    assert np.array_equal(load_mask(path, SHAPE), np.repeat(POINTS[:, :1], 5, axis=1))


def test_a_single_array_needs_no_name(tmp_path):
    path = tmp_path / "one.npz"
    np.savez_compressed(path, LINES)
    assert np.array_equal(load_mask(path, SHAPE)[0], LINES)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".cfl"])
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(7), r"7,?.*expected one for the k-space matrix \(6, 5\)"),
        (np.zeros(5), "without a single measured entry"),
        (np.linspace(0, 1, 5), "values other than 0 and 1"),
        (np.full(5, np.nan), "values other than 0 and 1"),
        (np.ones((2, 6, 5)), "60 entries, expected at most the 30|found a mask of shape"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(tmp_path, suffix, array, message):
    path = save(tmp_path / f"bad{suffix}", array)
    with pytest.raises(InputFileError, match=message) as error:
        load_mask(path, SHAPE)
    assert str(path) in str(error.value)


def test_files_that_hold_no_mask_are_named(tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([None, 1]), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", np.array([None, 1]))
    (tmp_path / "cut.npy").write_bytes((save(tmp_path / "m.npy", POINTS)).read_bytes()[:-7])
    np.savez(tmp_path / "two.npz", first=LINES, second=LINES)
    (tmp_path / "broken.npz").write_bytes(save(tmp_path / "n.npz", POINTS).read_bytes()[:150])
    write_h5(tmp_path / "other.h5", kspace=POINTS)
    write_cfl(tmp_path / "short", POINTS, truncate=8)
    write_cfl(tmp_path / "huge", POINTS, dimensions=(10**6, 10**6))
    (tmp_path / "odd.hdr").write_text("# Dimensions\n6 five\n")
    (tmp_path / "empty.hdr").write_text("")
    np.save(tmp_path / "text_values.npy", np.array(["yes"] * 5))
    for name, message in (
        ("text.npy", "cannot be read as a mask"),
        ("objects.npy", r"cannot be read as a mask \(Python objects, which are never loaded\)"),
        ("objects.npz", r"cannot be read as a mask \(Python objects, which are never loaded\)"),
        ("cut.npy", "cannot be read as a mask"),
        ("two.npz", "arrays first, second, expected one named mask"),
        ("broken.npz", "cannot be read as a mask"),
        ("other.h5", "datasets kspace, expected one named mask"),
        ("short.cfl", "232 bytes, expected 240"),
        ("huge.cfl", "1000000000000 entries"),
        ("odd.hdr", "cannot be read as a mask"),
        ("empty.hdr", "no valid line of dimensions"),
        ("text_values.npy", "values other than 0 and 1"),
        ("missing.npy", "no such file"),
        (".", "a folder"),
    ):
        with pytest.raises(InputFileError, match=message):
            load_mask(tmp_path / name, SHAPE)


def test_a_compressed_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mask.npy", bytes(10_000_000))
    with pytest.raises(InputFileError, match="entries, expected at most"):
        load_mask(path, SHAPE)


def test_a_claimed_size_is_not_allocated(tmp_path):
    with h5py.File(tmp_path / "claim.h5", "w") as file:
        file.create_dataset("mask", shape=(10**6, 10**6), dtype="u1", chunks=(100, 100))
    with pytest.raises(InputFileError, match="1000000000000 entries"):
        load_mask(tmp_path / "claim.h5", SHAPE)


def npy(header: bytes, content: bytes = b"") -> bytes:
    """An .npy file with any header."""
    length = len(header).to_bytes(4, "little")
    return np.lib.format.MAGIC_PREFIX + b"\2\0" + length + header + content


DAMAGED = {
    "open_brackets.npy": npy(b"(" * 3000),
    "unfinished.npy": npy(b"{'descr': '|b1', 'fortran_order': ((("),
    "fat.npy": npy(b"{'descr': '|S100000000', 'fortran_order': False, 'shape': (6, 5), }"),
    "objects.npy": npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (6, 5), }", bytes(240)),
    "version.npy": np.lib.format.MAGIC_PREFIX + b"\xff\xff" + bytes(40),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("packed", [False, True])
def test_whatever_a_damaged_array_raises_is_one_sentence(tmp_path, name, packed):
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    if packed:
        path = path.with_suffix(".npz")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("mask.npy", DAMAGED[name])
    with pytest.raises(InputFileError) as error:
        load_mask(path, SHAPE)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_no_single_damaged_byte_of_an_archive_gives_another_error(tmp_path):
    content = save(tmp_path / "whole.npz", POINTS).read_bytes()
    path = tmp_path / "damaged.npz"
    n_refused = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert load_mask(path, SHAPE).dtype == bool
        except InputFileError:
            n_refused += 1
    assert n_refused > len(content) // 4


def test_a_pipe_beside_a_header_is_not_waited_for(tmp_path):
    write_cfl(tmp_path / "m", POINTS)
    for suffix in (".cfl", ".hdr"):
        write_cfl(tmp_path / "m", POINTS)
        (tmp_path / f"m{suffix}").unlink()
        os.mkfifo(tmp_path / f"m{suffix}")
        with pytest.raises(InputFileError, match="no regular file"):
            load_mask(tmp_path / "m.cfl", SHAPE)
        (tmp_path / f"m{suffix}").unlink()


def test_a_damaged_hdf5_mask_is_one_sentence(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mask", data=POINTS, fletcher32=True, chunks=POINTS.shape)
        place = file["mask"].id.get_chunk_info(0).byte_offset
    content = bytearray((tmp_path / "m.h5").read_bytes())
    content[place] ^= 1
    (tmp_path / "m.h5").write_bytes(content)
    with pytest.raises(InputFileError, match="damaged"):
        load_mask(tmp_path / "m.h5", SHAPE)


def test_masks_that_matlab_wrote_have_their_columns_first(tmp_path):
    for name in ("mask", "mask04"):
        path = tmp_path / f"{name}.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            file[name] = POINTS.T.astype(float)
            file[name].attrs["MATLAB_class"] = np.bytes_(b"double")
        np.testing.assert_array_equal(load_mask(path, SHAPE), POINTS)
