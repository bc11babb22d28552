"""Raw k-space between the formats: samples, masks and geometry survive, or are named."""

import json

import h5py
import numpy as np
import pytest
import torch

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.interop import convert
from mri_alps.interop._sidecar import pack_mask, unpack_mask
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import (
    Selection,
    kspace_to_cfl,
    read_raw,
    write_cfl,
    write_fastmri,
    write_ismrmrd,
)
from tests.rawdata.rawdata_helpers import ifft_centered

SHAPE = (3, 4, 12, 10)  # slices, coils, readout, phase encode


def complex_noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def lines(width=SHAPE[-1]):
    mask = np.zeros(width, bool)
    mask[[1, 3, 4, 5, 6, 8]] = True
    return mask


def make(folder, kind):
    kspace, mask = complex_noise(*SHAPE), lines()
    if kind == "fastmri":
        path = folder / "in.h5"
        write_fastmri(
            path,
            kspace,
            mask=mask,
            recon_matrix=(8, 10),
            attributes={"acquisition": "AXT2"},
            reconstruction=np.ones((3, 8, 10)),
        )
    elif kind == "ismrmrd":
        path = folder / "in.h5"
        write_ismrmrd(
            path, kspace, mask=mask, recon_matrix=(6, 10), noise=complex_noise(4, 99, seed=1)
        )
    elif kind == "bart":
        path = folder / "in.cfl"
        points = np.random.default_rng(2).random((3, 1, *SHAPE[2:])) < 0.5
        write_cfl(path, kspace_to_cfl(kspace * points))
    return path


def opened(path):
    raw = read_raw(path)
    if raw.format == "ismrmrd":
        return read_raw(path, selection=Selection(keep_oversampling=True))
    return raw


def check_same(found, expected):
    assert (found.n_slices, found.n_coils) == (expected.n_slices, expected.n_coils)
    assert found.shape == expected.shape
    for index in range(expected.n_slices):
        np.testing.assert_array_equal(found.slice_mask(index), expected.slice_mask(index))
        np.testing.assert_array_equal(found.read_slice(index), expected.read_slice(index))


@pytest.mark.parametrize("to", ["fastmri", "ismrmrd", "bart"])
@pytest.mark.parametrize("kind", ["fastmri", "ismrmrd", "bart"])
def test_samples_and_masks_are_the_same_bit_by_bit(tmp_path, kind, to):
    source = make(tmp_path, kind)
    target = tmp_path / ("out.cfl" if to == "bart" else "out.h5")
    done = convert(source, target, to)
    found, expected = opened(target), opened(source)
    assert found.format == to and expected.format == kind
    check_same(found, expected)
    assert done.files[-1] == (target if to == "fastmri" else tmp_path / "out.json")
    assert all(file.is_file() for file in done.files)
    if to != "bart":
        assert found.crop == expected.crop
        assert_equal_to_rounding(
            found.pixel_spacing, expected.pixel_spacing, n_summed=3, dtype="float32"
        )
        assert found.slice_thickness == pytest.approx(expected.slice_thickness)
        assert found.acquisition == (expected.acquisition or ("UNKNOWN" if to == "fastmri" else ""))


@pytest.mark.parametrize("kind", ["fastmri", "ismrmrd"])
def test_through_bart_and_back_with_the_json(tmp_path, kind):
    source = make(tmp_path, kind)
    convert(source, tmp_path / "b.cfl", "bart")
    details = json.loads((tmp_path / "b.json").read_text())
    expected = opened(source)
    assert details["format"] == "mri_alps conversion 1" and details["source"] == "in.h5"
    np.testing.assert_array_equal(unpack_mask(details["mask"]), expected.mask)
    assert_equal_to_rounding(
        details["geometry"]["slice_positions"], expected.geometry.slice_positions
    )
    assert tuple(details["crop"]) == expected.crop
    if kind == "ismrmrd":
        noise = details["noise_covariance"]
        found = np.array(noise["real"]) + 1j * np.array(noise["imag"])
        assert_equal_to_rounding(found, expected.noise_covariance)
        assert any("noise" in text for text in details["not_held_by_the_target"])
    else:
        assert any("reference" in text for text in details["not_held_by_the_target"])


def test_oblique_positions_reach_ismrmrd(tmp_path, monkeypatch):
    from mri_alps.interop import convert as _  # noqa: F401 - the module below is loaded
    from mri_alps.interop._convert_ismrmrd import scan_as_lines
    from mri_alps.rawdata.ismrmrd import write_acquisitions

    raw = opened(make(tmp_path, "ismrmrd"))
    geometry = raw.geometry
    angle = 0.3
    read = np.array([np.cos(angle), np.sin(angle), 0])
    phase = np.array([-np.sin(angle), np.cos(angle), 0])
    geometry.readout_direction[:] = read
    geometry.phase_direction[:] = phase
    geometry.slice_positions[:] += [4.0, -5.0, 6.0]
    kspace = np.stack([raw.read_slice(index) for index in range(raw.n_slices)])
    write_acquisitions(tmp_path / "o.h5", *scan_as_lines(raw, kspace, None))
    found = opened(tmp_path / "o.h5").geometry
    assert not found.is_nominal
    assert_equal_to_rounding(
        found.readout_direction, geometry.readout_direction, n_summed=3, dtype="float32"
    )
    assert_equal_to_rounding(
        found.phase_direction, geometry.phase_direction, n_summed=3, dtype="float32"
    )
    assert_equal_to_rounding(
        found.slice_positions, geometry.slice_positions, n_summed=3, dtype="float32"
    )


def test_measured_zeros_are_named(tmp_path):
    kspace = complex_noise(*SHAPE)
    kspace[0, :, 2, 3] = 0
    write_fastmri(tmp_path / "in.h5", kspace)
    done = convert(tmp_path / "in.h5", tmp_path / "out", "bart")
    assert any("1 measured points are zero" in text for text in done.not_held)


def test_a_padded_fully_sampled_scan_stays_one(tmp_path):
    kspace = complex_noise(*SHAPE)
    kspace[..., :2] = kspace[..., 8:] = 0
    write_fastmri(tmp_path / "in.h5", kspace, padding=(2, 2))
    convert(tmp_path / "in.h5", tmp_path / "i.h5", "ismrmrd")
    convert(tmp_path / "i.h5", tmp_path / "f.h5", "fastmri")
    with h5py.File(tmp_path / "f.h5") as file:
        assert "mask" not in file
    check_same(opened(tmp_path / "f.h5"), opened(tmp_path / "in.h5"))
    assert opened(tmp_path / "f.h5").acquired_range == (2, 8)


def test_fastmris_loader_trains_on_a_scan_that_was_measured_in_full(tmp_path):
    """Target, `max` and size of the image are there, for both of its transforms."""
    from fastmri.data import SliceDataset
    from fastmri.data.transforms import UnetDataTransform, VarNetDataTransform

    kspace = complex_noise(*SHAPE)
    write_fastmri(tmp_path / "in.h5", kspace, recon_matrix=(8, 8))
    convert(tmp_path / "in.h5", tmp_path / "i.mrd", "ismrmrd")
    convert(tmp_path / "i.mrd", tmp_path / "set" / "f.h5", "fastmri")
    target = np.linalg.norm(ifft_centered(kspace), axis=1)[:, 2:10, 1:9]
    for transform in (VarNetDataTransform(), UnetDataTransform("multicoil")):
        if isinstance(transform, VarNetDataTransform):
            transform.mask_func = lambda shape, offset, seed: (torch.ones(1, 1, shape[-2], 1), 4)
        data = SliceDataset(tmp_path / "set", "multicoil", transform, use_dataset_cache=False)
        sample = data[1]
        assert float(sample.max_value) == pytest.approx(target.max(), rel=1e-5)
        assert sample.target.shape == (8, 8)
    with h5py.File(tmp_path / "set" / "f.h5") as file:
        np.testing.assert_allclose(file["reconstruction_rss"], target, rtol=1e-4)
        assert file.attrs["norm"] == pytest.approx(np.linalg.norm(target), rel=1e-5)


def test_what_was_not_measured_in_full_gets_no_target(tmp_path):
    kspace = complex_noise(*SHAPE)
    write_fastmri(tmp_path / "lines.h5", kspace, mask=lines())
    half = kspace.copy()
    half[..., :4] = 0
    write_fastmri(tmp_path / "half.h5", half, padding=(4, 0))
    for name in ("lines", "half"):
        convert(tmp_path / f"{name}.h5", tmp_path / "i.mrd", "ismrmrd", overwrite=True)
        done = convert(tmp_path / "i.mrd", tmp_path / "f.h5", "fastmri", overwrite=True)
        with h5py.File(done.files[0]) as file:
            assert "reconstruction_rss" not in file and "max" not in file.attrs


def test_a_mask_that_fastmris_transforms_cannot_read_is_named(tmp_path):
    from fastmri.data import SliceDataset
    from fastmri.data.transforms import VarNetDataTransform

    points = np.random.default_rng(0).random(SHAPE[-2:]) < 0.5
    write_fastmri(tmp_path / "in.h5", complex_noise(*SHAPE), mask=points)
    convert(tmp_path / "in.h5", tmp_path / "b.cfl", "bart")
    done = convert(tmp_path / "b.cfl", tmp_path / "set" / "f.h5", "fastmri")
    assert any("`mask` is 2-D, which fastMRI's own transforms" in text for text in done.not_held)
    data = SliceDataset(
        tmp_path / "set", "multicoil", VarNetDataTransform(), use_dataset_cache=False
    )
    with pytest.raises(ValueError, match="cannot reshape"):
        data[0]


def test_single_coil(tmp_path):
    write_fastmri(tmp_path / "in.h5", complex_noise(2, 12, 10))
    convert(tmp_path / "in.h5", tmp_path / "b.cfl", "bart")
    convert(tmp_path / "b.cfl", tmp_path / "f.h5", "fastmri")
    with h5py.File(tmp_path / "f.h5") as file, h5py.File(tmp_path / "in.h5") as source:
        np.testing.assert_array_equal(file["kspace"][()], source["kspace"][()])


def test_files_are_not_overwritten(tmp_path):
    source = make(tmp_path, "fastmri")
    before = source.read_bytes()
    with pytest.raises(ConfigurationError, match="is the file that is to be converted"):
        convert(source, source, "ismrmrd", overwrite=True)
    assert source.read_bytes() == before
    convert(source, tmp_path / "out.h5", "ismrmrd")
    with pytest.raises(ConfigurationError, match="exists"):
        convert(source, tmp_path / "out.h5", "ismrmrd")
    convert(source, tmp_path / "out.h5", "ismrmrd", overwrite=True)
    convert(source, tmp_path / "new" / "folder" / "out.h5", "ismrmrd")
    assert (tmp_path / "new" / "folder" / "out.h5").exists()
    with pytest.raises(ConfigurationError, match="is no folder"):
        convert(source, source / "out.h5", "ismrmrd")
    with pytest.raises(ConfigurationError, match="not to 'nifti'"):
        convert(source, tmp_path / "x", "nifti")


def test_nothing_is_left_of_a_conversion_that_fails(tmp_path):
    kspace = complex_noise(*SHAPE)
    kspace[2, 0, 0, 0] = np.nan
    write_fastmri(tmp_path / "in.h5", kspace)
    with pytest.raises(InputFileError, match="NaN"):
        convert(tmp_path / "in.h5", tmp_path / "out.cfl", "bart")
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5"]


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 9), (2, 1, 4)])
def test_masks_in_json(shape):
    mask = np.random.default_rng(0).random(shape) < 0.5
    np.testing.assert_array_equal(unpack_mask(json.loads(json.dumps(pack_mask(mask)))), mask)


@pytest.mark.parametrize(
    "name",
    ["phantom_prospective_r3_14ch_ismrmrd.h5", "phantom_gre_8ch_7slices.h5", "brain_poisson_8ch"],
)
def test_real_scans_to_the_other_formats(shared_data, tmp_path, name):
    source = shared_data / "raw" / name
    expected = opened(source)
    others = {"fastmri", "ismrmrd", "bart"} - {expected.format}
    for to in sorted(others):
        target = tmp_path / f"{to}_out{'.cfl' if to == 'bart' else '.h5'}"
        convert(source, target, to)
        check_same(opened(target), expected)
        if to == "ismrmrd" or expected.geometry.is_nominal:
            continue
        if to == "fastmri":
            with h5py.File(target) as file:
                text = file["conversion"].asstr()[()]
        else:
            text = (tmp_path / f"{to}_out.json").read_text()
        assert "positions" in " ".join(json.loads(text)["not_held_by_the_target"])
