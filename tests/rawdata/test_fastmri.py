"""fastMRI layout: flavours, padding, masks, odd sizes, round trip."""

import pickle

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import ShapeError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import describe, read_raw, write_fastmri
from tests.rawdata.rawdata_helpers import random_complex


@pytest.mark.parametrize("shape", [(3, 4, 12, 10), (1, 1, 7, 9), (2, 24, 89, 5)])
def test_multi_coil_round_trip(tmp_path, shape):
    kspace = random_complex(0, *shape)
    reference = np.abs(random_complex(1, shape[0], *shape[2:]))
    truth = random_complex(2, shape[0], *shape[2:])
    path = tmp_path / "scan.h5"
    write_fastmri(path, kspace, reconstruction=reference, ground_truth=truth)
    raw = read_raw(path)
    assert (raw.format, raw.n_slices, raw.n_coils) == ("fastmri", *shape[:2])
    assert raw.shape == raw.crop == shape[2:]
    assert raw.mask.shape == (1, 1, shape[3]) and raw.mask.all()
    for index in range(shape[0]):
        found = raw.read_slice(index)
        assert found.dtype == np.complex64
        np.testing.assert_array_equal(found, kspace[index])
        np.testing.assert_array_equal(raw.read_reference(index), reference[index])
        np.testing.assert_array_equal(raw.read_ground_truth(index), truth[index])
    assert raw.read_calibration(0) is None and raw.noise_covariance is None
    with h5py.File(path) as file:
        assert set(file) == {"kspace", "ismrmrd_header", "reconstruction_rss", "ground_truth"}
        assert file.attrs["max"] == reference.max()
    assert list(tmp_path.iterdir()) == [path]


def test_single_coil_is_one_coil(tmp_path):
    kspace = random_complex(0, 2, 8, 6)
    image = np.ones((2, 4, 4))
    write_fastmri(tmp_path / "s.h5", kspace, recon_matrix=(4, 4), reconstruction=image)
    raw = read_raw(tmp_path / "s.h5")
    assert raw.n_coils == 1 and raw.crop == (4, 4) and raw.shape == (8, 6)
    np.testing.assert_array_equal(raw.read_slice(1), kspace[1:2])
    with h5py.File(tmp_path / "s.h5") as file:
        assert "reconstruction_esc" in file
    assert raw.read_reference(0).shape == (4, 4)


@pytest.mark.parametrize("n_phase", [20, 21])
def test_padding_is_not_in_the_mask(tmp_path, n_phase):
    kspace = random_complex(0, 1, 2, 8, n_phase)
    left, right = 3, 4
    write_fastmri(tmp_path / "p.h5", kspace, padding=(left, right))
    raw = read_raw(tmp_path / "p.h5")
    expected = np.zeros(n_phase, bool)
    expected[left : n_phase - right] = True
    np.testing.assert_array_equal(raw.mask, expected[None, None])
    assert raw.acquired_range == (left, n_phase - right)
    assert not raw.read_slice(0)[..., ~expected].any()
    assert "padding" in " ".join(raw.provenance["processing"])


def test_formula_of_the_fastmri_header(tmp_path):
    # numbers of a real knee file: encoded 640 x 372, limits centre 161, maximum 321
    from tests.rawdata.rawdata_helpers import Limit, header

    text = header((8, 372, 1), (4, 320, 1), Limit(0, 321, 161))
    write_fastmri(tmp_path / "k.h5", random_complex(0, 1, 1, 8, 372), header=text)
    raw = read_raw(tmp_path / "k.h5")
    assert raw.acquired_range == (372 // 2 - 161, 372 // 2 - 161 + 321 + 1)
    assert raw.crop == (4, 320)


def test_test_flavour_combines_mask_and_padding(tmp_path):
    mask = np.zeros(16, bool)
    mask[::3] = True
    kspace = random_complex(0, 2, 3, 6, 16)
    write_fastmri(tmp_path / "t.h5", kspace, mask=mask, padding=(1, 2))
    raw = read_raw(tmp_path / "t.h5")
    expected = mask.copy()
    expected[:1] = expected[14:] = False
    np.testing.assert_array_equal(raw.mask[0, 0], expected)
    assert raw.provenance["flavour"] == "test"
    np.testing.assert_array_equal(raw.read_slice(1), kspace[1] * expected)
    assert raw.read_reference(0) is None


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.int64])
def test_mask_dtypes_and_two_dimensions(tmp_path, dtype):
    kspace = random_complex(0, 2, 3, 6, 16)
    mask = np.random.default_rng(0).random((6, 16)) < 0.5
    write_fastmri(tmp_path / "t.h5", kspace)
    with h5py.File(tmp_path / "t.h5", "a") as file:
        file["mask"] = mask.astype(dtype)
    raw = read_raw(tmp_path / "t.h5")
    np.testing.assert_array_equal(raw.mask, mask[None])


def test_recon_larger_than_the_matrix_is_clamped(tmp_path):
    write_fastmri(tmp_path / "c.h5", random_complex(0, 1, 2, 6, 8), recon_matrix=(320, 5))
    assert read_raw(tmp_path / "c.h5").crop == (6, 5)


def test_complex128_and_named_parts(tmp_path):
    kspace = random_complex(0, 1, 2, 6, 8)
    write_fastmri(tmp_path / "d.h5", kspace)
    with h5py.File(tmp_path / "d.h5", "a") as file:
        del file["kspace"]
        file["kspace"] = kspace.astype(np.complex128)
    np.testing.assert_array_equal(read_raw(tmp_path / "d.h5").read_slice(0), kspace[0])
    parts = np.empty(kspace.shape, [("real", "f4"), ("imag", "f4")])
    parts["real"], parts["imag"] = kspace.real, kspace.imag
    with h5py.File(tmp_path / "d.h5", "a") as file:
        del file["kspace"]
        file["kspace"] = parts
    np.testing.assert_array_equal(read_raw(tmp_path / "d.h5").read_slice(0), kspace[0])


def test_slices_are_checked_and_the_scan_can_be_pickled(tmp_path):
    write_fastmri(tmp_path / "s.h5", random_complex(0, 2, 2, 6, 8))
    raw = pickle.loads(pickle.dumps(read_raw(tmp_path / "s.h5")))
    assert raw.read_slice(1).shape == (2, 6, 8)
    for index in (-1, 2):
        with pytest.raises(ShapeError, match="slices 0 to 1"):
            raw.read_slice(index)


def test_extension_does_not_matter(tmp_path):
    write_fastmri(tmp_path / "scan.cfl", random_complex(0, 1, 2, 6, 8))
    assert read_raw(tmp_path / "scan.cfl").format == "fastmri"


def test_description_names_acceleration_and_padding(tmp_path):
    mask = np.zeros(20, bool)
    mask[[2, 4, 8, 9, 10, 11, 14]] = True
    write_fastmri(tmp_path / "t.h5", random_complex(0, 1, 2, 6, 20), mask=mask, padding=(2, 4))
    entries = dict(describe(read_raw(tmp_path / "t.h5")))
    assert "7 of 20" in entries["mask"]
    assert entries["acceleration"].startswith("2.86 net, 2 within")
    assert "6 x 4" in entries["calibration region"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "scan.h5"
    write_fastmri(path, random_complex(0, 1, 2, 6, 8))
    before = path.read_bytes()

    def fail(*args, **options):
        raise OSError("disk full")

    monkeypatch.setattr(h5py.File, "create_dataset", fail)
    with pytest.raises(OSError, match="disk full"):
        write_fastmri(path, random_complex(1, 1, 2, 6, 8))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_reading_a_slice_takes_the_memory_of_a_slice(tmp_path):
    import tracemalloc

    write_fastmri(tmp_path / "m.h5", random_complex(0, 40, 4, 64, 64))
    raw = read_raw(tmp_path / "m.h5")
    tracemalloc.start()
    raw.read_slice(20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * (8 * 4 * 64 * 64)  # a slice and some copies of it, of 40


def test_shared_files_match_their_references(shared_data):
    from tests.rawdata.rawdata_helpers import ifft_centered

    for name in ("brain_axial_8ch", "brain_axial_16ch_96", "phantom_gre_8ch_7slices"):
        raw = read_raw(shared_data / "raw" / f"{name}.h5")
        for index in range(raw.n_slices):
            image = np.sqrt((abs(ifft_centered(raw.read_slice(index))) ** 2).sum(axis=0))
            reference = raw.read_reference(index)
            error, scale = np.linalg.norm(image - reference), np.linalg.norm(reference)
            assert_equal_to_rounding(error, 0.0, image.shape[0], scale, dtype="float32")


def test_padding_that_is_not_zero_is_said(tmp_path):
    kspace = random_complex(0, 2, 3, 8, 20)
    write_fastmri(tmp_path / "p.h5", kspace, padding=(2, 3))
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        file["kspace"][...] = kspace
        said = " ".join(read_raw(tmp_path / "p.h5").provenance["warnings"])
        assert "5 of 5 phase encodes outside [2, 17) are not zero" in said
        file["kspace"][..., :2] = file["kspace"][..., 17:] = 0
    assert "are not zero" not in str(read_raw(tmp_path / "p.h5").provenance)
