"""Sensitivity maps from BART and from our own files, slice by slice."""

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import (
    kspace_to_cfl,
    raw_from_arrays,
    read_raw,
    read_sensitivity_maps,
    write_cfl,
)
from tests.rawdata.rawdata_helpers import fft_centered, random_complex


@pytest.fixture
def raw():
    return raw_from_arrays(random_complex(0, 3, 2, 6, 8))


def test_bart_maps_of_slices(tmp_path, raw):
    maps = random_complex(1, 3, 2, 6, 8)
    array = kspace_to_cfl(maps)
    sets = np.repeat(array[:, :, :, :, None, 0], 2, axis=4)
    sets[:, :, :, :, 1] *= 2
    write_cfl(tmp_path / "maps", array)
    write_cfl(tmp_path / "sets", sets)  # as bart ecalib -m2 writes them
    for index in range(3):
        for name in ("maps", "maps.cfl", "maps.hdr"):
            found = read_sensitivity_maps(tmp_path / name, raw, index)
            np.testing.assert_array_equal(found, maps[index])
            assert found.dtype == np.complex64
        found = read_sensitivity_maps(tmp_path / "sets", raw, index)
        np.testing.assert_array_equal(found, [maps[index], 2 * maps[index]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_whatever_axes_of_bart_it_lies_in(tmp_path, axis):
    maps = random_complex(1, 2, 6, 8)
    write_cfl(tmp_path / "maps", np.expand_dims(np.moveaxis(maps, 0, -1), axis))
    raw = raw_from_arrays(random_complex(0, 1, 2, 6, 8))
    np.testing.assert_array_equal(read_sensitivity_maps(tmp_path / "maps", raw, 0), maps)


def test_bart_maps_of_a_volume(tmp_path):
    volume = random_complex(0, 2, 6, 4, 5)
    write_cfl(tmp_path / "scan", np.moveaxis(fft_centered(volume, (1, 2, 3)), 0, -1))
    maps = random_complex(1, 2, 6, 4, 5)
    write_cfl(tmp_path / "maps", np.moveaxis(maps, 0, -1))
    raw = read_raw(tmp_path / "scan")
    for index in range(6):
        found = read_sensitivity_maps(tmp_path / "maps", raw, index)
        np.testing.assert_array_equal(found, maps[:, index])


@pytest.mark.parametrize("axis, name", [(4, "MAPS"), (5, "TE"), (2, "PHS2")])
def test_bart_maps_with_coils_along_another_axis(tmp_path, raw, axis, name):
    array = kspace_to_cfl(random_complex(1, 3, 2, 6, 8))
    write_cfl(tmp_path / "maps", np.swapaxes(array, 3, axis))
    with pytest.raises(InputFileError, match=f"maps of READ.* along {name} instead of COIL"):
        read_sensitivity_maps(tmp_path / "maps", raw, 0)


def test_bart_maps_at_several_echoes_are_not_those_of_the_first(tmp_path, raw):
    array = kspace_to_cfl(random_complex(1, 3, 2, 6, 8))
    write_cfl(tmp_path / "maps", np.repeat(array, 2, axis=5))
    with pytest.raises(InputFileError, match="3 slices, 2 along TE, and"):
        read_sensitivity_maps(tmp_path / "maps", raw, 0)


def test_hdf5_of_several_sets(tmp_path, raw):
    maps = random_complex(1, 3, 2, 2, 6, 8)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["sensitivity_maps"] = maps
    np.testing.assert_array_equal(read_sensitivity_maps(tmp_path / "r.h5", raw, 1), maps[1])
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["sensitivity_maps"] = maps[:, :1]
    np.testing.assert_array_equal(read_sensitivity_maps(tmp_path / "r.h5", raw, 2), maps[2, 0])
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["sensitivity_maps"] = np.zeros((3, 5, 2, 6, 8), np.complex64)
    with pytest.raises(InputFileError, match="5 sets of maps where 1 to 2"):
        read_sensitivity_maps(tmp_path / "r.h5", raw, 0)


@pytest.mark.parametrize(
    "shape, axis", [((3, 6, 8, 2), 3), ((2, 3, 6, 8), 0), ((3, 1, 6, 8, 2), 4)]
)
def test_hdf5_maps_with_coils_along_another_axis(tmp_path, raw, shape, axis):
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["sensitivity_maps"] = np.zeros(shape, np.complex64)
    with pytest.raises(InputFileError, match=f"the 2 coils may lie along axis {axis}: move it"):
        read_sensitivity_maps(tmp_path / "r.h5", raw, 0)


def test_hdf5_of_some_slices(tmp_path, raw):
    maps = random_complex(1, 2, 2, 6, 8)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["sensitivity_maps"], file["slices"] = maps, np.array([2, 0])
    np.testing.assert_array_equal(read_sensitivity_maps(tmp_path / "r.h5", raw, 0), maps[1])
    np.testing.assert_array_equal(read_sensitivity_maps(tmp_path / "r.h5", raw, 2), maps[0])
    with pytest.raises(InputFileError, match="no maps for slice 1"):
        read_sensitivity_maps(tmp_path / "r.h5", raw, 1)


@pytest.mark.parametrize("shape", [(6, 8, 1, 3), (8, 6, 1, 2), (6, 8, 1, 2)])
def test_bart_maps_of_another_scan(tmp_path, raw, shape):
    write_cfl(tmp_path / "maps", random_complex(0, *shape))
    with pytest.raises(InputFileError, match=r"maps of READ x PHS1 x PHS2.*3 slices of 6 x 8"):
        read_sensitivity_maps(tmp_path / "maps", raw, 0)


def test_files_that_hold_no_maps(tmp_path, raw):
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["image"] = np.zeros(3)
    with pytest.raises(InputFileError, match="no dataset `sensitivity_maps`"):
        read_sensitivity_maps(tmp_path / "r.h5", raw, 0)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["sensitivity_maps"] = np.zeros((3, 2, 6, 8))
    with pytest.raises(InputFileError, match="needs complex maps"):
        read_sensitivity_maps(tmp_path / "r.h5", raw, 0)
    (tmp_path / "x.txt").write_text("maps")
    with pytest.raises(InputFileError, match="neither one of a BART"):
        read_sensitivity_maps(tmp_path / "x.txt", raw, 0)
    with pytest.raises(InputFileError, match="does not exist"):
        read_sensitivity_maps(tmp_path / "nowhere", raw, 0)
