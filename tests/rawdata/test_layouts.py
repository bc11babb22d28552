"""Files laid out as public sets of scans are, with known truth."""

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.rawdata import Selection, describe, make_header, read_raw, with_field_of_view
from tests.pipeline.simulated_scan import NOISE_STD, coil_maps, phantom, simulate
from tests.rawdata.rawdata_helpers import fft_centered, ifft_centered, random_complex

SHAPE = (48, 40)
N_SLICES = 12
VIEW = (200.0, 200.0, 5.0)


def coil_images(shape=SHAPE, n_slices=N_SLICES):
    truth = np.stack([phantom(index, shape) for index in range(n_slices)])
    return truth[:, None] * coil_maps(shape)


def check_images(raw, images, atol=5 * NOISE_STD):
    assert (raw.n_slices, raw.n_coils, *raw.shape) == images.shape
    for index in (0, images.shape[0] - 1):
        found = ifft_centered(raw.read_slice(index))
        assert np.abs(found - images[index]).max() < atol


def told(raw):
    return " ".join(text for _, text in describe(raw))


# --- SKM-TEA ---------------------------------------------------------------------------------


def skm_tea(path, kspace, **others):
    """Write (echo, x, coil, ky, kz) as (x, ky, kz, echo, coil)."""
    stored = kspace.transpose(1, 3, 4, 0, 2).astype(np.complex64)
    with h5py.File(path, "w") as file:
        file["kspace"] = stored
        file["maps"] = np.ones((*stored.shape[:3], stored.shape[4], 1), np.complex64)
        for name, value in others.items():
            file[name] = value
    return path


def test_skm_tea(tmp_path):
    first, second = (simulate(N_SLICES, seed, SHAPE)[0] for seed in (0, 1))
    images = coil_images()
    target = np.stack([images[:, 0], 2 * images[:, 0]], axis=-1)[..., None].astype(np.complex64)
    kspace = np.stack([first, 2 * second])
    kspace[..., :4] = 0  # padding that was never measured
    path = skm_tea(tmp_path / "MTR_001.h5", kspace, target=target)
    raw = read_raw(path)
    assert raw.format == "skm-tea" and raw.axes == ("phase_encode", "partition")
    assert raw.geometry.encoded_matrix == (N_SLICES, *SHAPE)
    np.testing.assert_array_equal(raw.slice_mask(0).all(axis=0), np.arange(40) >= 4)
    np.testing.assert_allclose(raw.read_slice(3), kspace[0, 3], rtol=1e-5)
    np.testing.assert_allclose(raw.read_reference(2), np.abs(target[2, :, :, 0, 0]), rtol=1e-6)
    said = told(raw)
    assert "holds x in image space" in said and "contrast 0 is read, the file has 0, 1" in said
    assert "maps of the file are not used" in said and "1 mm" in said
    other = read_raw(path, selection=Selection(contrast=1))
    np.testing.assert_allclose(other.read_slice(3), kspace[1, 3], rtol=1e-5)
    np.testing.assert_allclose(other.read_reference(2), np.abs(target[2, :, :, 1, 0]), rtol=1e-6)
    sized = with_field_of_view(raw, (24.0, 10.0, 0.5))
    assert sized.pixel_spacing == (0.5, 0.25) and sized.slice_thickness == 0.5
    assert "1 mm" not in " ".join(sized.provenance["warnings"])
    with pytest.raises(ConfigurationError, match="no contrast 2: choose one of 0, 1"):
        read_raw(path, selection=Selection(contrast=2))
    with pytest.raises(ConfigurationError, match="no phase to choose"):
        read_raw(path, selection=Selection(phase=0))


def test_skm_tea_that_was_not_transformed_is_refused(tmp_path):
    kspace = simulate(32, 0, SHAPE)[0]
    kspace = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(kspace, axes=0), axis=0), axes=0)
    path = skm_tea(tmp_path / "s.h5", np.stack([kspace, kspace]))
    with pytest.raises(InputFileError, match="has it in image space: transform that axis"):
        read_raw(path)


# --- Calgary-Campinas ------------------------------------------------------------------------


def calgary_campinas(path, kspace):
    """Write (x, coil, ky, kz) as (x, ky, kz, channel), parts in turn."""
    parts = np.stack([kspace.real, kspace.imag], axis=2)
    parts = parts.reshape(len(kspace), -1, *kspace.shape[2:]).transpose(0, 2, 3, 1)
    with h5py.File(path, "w") as file:
        file["kspace"] = parts.astype(np.float32)
    return path


@pytest.mark.parametrize("shape", [(48, 40), (45, 40), (48, 39)])
def test_calgary_campinas(tmp_path, shape):
    images = coil_images(shape)
    # The set's own images are plain inverse transforms of k-space with its centre in the middle.
    kspace = np.fft.fftshift(np.fft.fft2(images, norm="ortho"), axes=(-2, -1))
    kspace += NOISE_STD / 3 * random_complex(0, *kspace.shape)
    kspace[..., int(np.ceil(0.85 * shape[1])) :] = 0
    raw = read_raw(calgary_campinas(tmp_path / "e14089s3.h5", kspace))
    assert raw.format == "calgary-campinas" and raw.axes == ("phase_encode", "partition")
    assert raw.mask.shape[1:] == (1, shape[1]) and raw.mask.sum() == np.ceil(0.85 * shape[1])
    expected = ifft_centered(np.where(raw.slice_mask(0), fft_centered(images[5]), 0))
    assert np.abs(ifft_centered(raw.read_slice(5)) - expected).max() < 5 * NOISE_STD
    said = told(raw)
    assert "parts of 4 coils in turn" in said and "along ky by half its length (there)" in said


def test_calgary_campinas_with_images_in_the_middle(tmp_path):
    kspace = simulate(N_SLICES, 0, SHAPE)[0]
    raw = read_raw(calgary_campinas(tmp_path / "s.h5", kspace))
    check_images(raw, coil_images())
    assert "along ky by nothing (there), along kz by nothing (there)" in told(raw)


# --- CMRxRecon -------------------------------------------------------------------------------


def cmrxrecon(path, kspace, name="kspace_full", kind=np.float32, is_matlab=True):
    """Write (frame, slice, coil, kx, ky) as MATLAB does (kx, ky, coil, slice, frame)."""
    stored = kspace.swapaxes(-2, -1)
    records = np.empty(stored.shape, [("real", kind), ("imag", kind)])
    records["real"], records["imag"] = stored.real, stored.imag
    with h5py.File(path, "w", userblock_size=512) as file:
        dataset = file.create_dataset(name, data=records)
        if is_matlab:
            dataset.attrs["MATLAB_class"] = np.bytes_(b"single")
    return path


@pytest.mark.parametrize(
    ("name", "kind"), [("kspace_full", np.float32), ("kspace_sub04", np.float64), ("kus", "<f4")]
)
def test_cmrxrecon(tmp_path, name, kind):
    frames = np.stack([simulate(2, seed, SHAPE)[0] * (1 + seed) for seed in range(3)])
    lines = np.ones(40, bool)
    if name != "kspace_full":
        lines[:16:4] = lines[26::4] = False
        frames[..., ~lines] = 0
    path = cmrxrecon(tmp_path / "cine_sax.mat", frames, name, kind)
    raw = read_raw(path)
    assert raw.format == "cmrxrecon" and raw.axes == ("readout", "phase_encode")
    np.testing.assert_allclose(raw.read_slice(1), frames[0, 1], rtol=1e-5)
    np.testing.assert_array_equal(raw.slice_mask(0)[0], lines)
    assert "phase 0 is read, the file has 0 to 2" in told(raw)
    last = read_raw(path, selection=Selection(phase=2))
    np.testing.assert_allclose(last.read_slice(1), frames[2, 1], rtol=1e-5)
    if lines.all():
        check_images(raw, coil_images(n_slices=2))


def test_cmrxrecon_of_2025_and_of_one_coil(tmp_path):
    frames = np.stack([simulate(2, seed, SHAPE)[0] for seed in range(2)])
    raw = read_raw(cmrxrecon(tmp_path / "a.mat", frames, "kspace"))
    np.testing.assert_allclose(raw.read_slice(0), frames[0, 0], rtol=1e-5)
    raw = read_raw(cmrxrecon(tmp_path / "b.mat", frames[0], "kspace"))  # without frames
    np.testing.assert_allclose(raw.read_slice(1), frames[0, 1], rtol=1e-5)
    raw = read_raw(cmrxrecon(tmp_path / "c.mat", frames[:, :, 0], "kspace_single_full"))
    assert raw.n_coils == 1 and raw.n_slices == 2
    np.testing.assert_allclose(raw.read_slice(1), frames[0, 1, :1], rtol=1e-5)


def test_cmrxrecon_in_another_order_is_refused(tmp_path):
    frames = simulate(2, 0, SHAPE)[0][None].transpose(0, 1, 4, 3, 2)  # coils where kx should be
    for n_coils in (4, 16):
        path = cmrxrecon(tmp_path / "a.mat", np.repeat(frames, n_coils // 4, axis=4))
        with pytest.raises(InputFileError, match="has no energy in its middle as k-space has"):
            read_raw(path)


def test_matlab_files_of_before_are_refused_with_the_remedy(tmp_path):
    path = tmp_path / "cine.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + bytes(64))
    with pytest.raises(InputFileError, match=r"save it with -v7\.3"):
        read_raw(path)


# --- M4Raw, and repetitions ------------------------------------------------------------------


def m4raw(path, kspace):
    """One repetition a file, as fastMRI lays files out; k-space was padded to a square."""
    matrix = (*kspace.shape[-2:], 1)
    view = (240.0, 240.0, 5.0)
    images = np.linalg.norm(ifft_centered(kspace), axis=1)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.astype(np.complex64)
        file["reconstruction_rss"] = images.astype(np.float32)
        file["ismrmrd_header"] = make_header(matrix, matrix, view, view)
        file.attrs.update({"acquisition": "AXT2", "max": images.max(), "patient_id": "0"})
    return path


def test_m4raw(tmp_path):
    kspace = simulate(3, 0, (48, 48))[0]
    kspace[..., :6] = kspace[..., -6:] = 0
    raw = read_raw(m4raw(tmp_path / "2022061003_T201.h5", kspace))
    assert raw.acquisition == "AXT2" and raw.mask.sum() == 36
    np.testing.assert_allclose(raw.read_slice(1), kspace[1].astype(np.complex64))
    assert raw.pixel_spacing == (5.0, 5.0)


@pytest.mark.parametrize("place", [0, 1, 2, 4])
@pytest.mark.parametrize("has_parts", [False, True])
def test_repetitions_are_averaged_with_the_noise_of_their_mean(tmp_path, place, has_parts):
    repeated = np.stack([simulate(3, seed, SHAPE)[0] for seed in range(5)])
    stored = np.moveaxis(repeated, 0, place).astype(np.complex64)
    if has_parts:
        stored = np.stack([stored.real, stored.imag], axis=-1)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["kspace"] = stored
        file["ismrmrd_header"] = make_header(
            (*SHAPE, 1), (*SHAPE, 1), (200.0, 200, 5), (200, 200, 5)
        )
    raw = read_raw(tmp_path / "s.h5")
    np.testing.assert_allclose(raw.read_slice(2), repeated[:, 2].mean(axis=0), atol=1e-5)
    mixing = np.eye(4) + 0.2 * np.diag(np.ones(3), 1)
    expected = NOISE_STD**2 / 5 * mixing @ mixing.T
    np.testing.assert_allclose(raw.noise_covariance, expected, atol=0.05 * NOISE_STD**2 / 5)
    assert raw.n_averages == 5
    assert "5 repetitions that differ by noise alone: they are averaged" in told(raw)
    one = read_raw(tmp_path / "s.h5", selection=Selection(repetition=3))
    np.testing.assert_allclose(one.read_slice(2), repeated[3, 2], atol=1e-5)
    assert one.noise_covariance is None and one.n_averages == 1


def test_repetitions_that_are_other_images_are_not_averaged(tmp_path):
    repeated = np.stack([simulate(3, seed, SHAPE)[0] * (1 + 0.1 * seed) for seed in range(3)])
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["kspace"] = repeated.astype(np.complex64)
    raw = read_raw(tmp_path / "s.h5")
    np.testing.assert_allclose(raw.read_slice(2), repeated[0, 2], atol=1e-5)
    assert "differ by more than noise and are not averaged" in told(raw)
    assert "repetition 0 is read, the file has 0 to 2" in told(raw)
    assert raw.noise_covariance is None


def test_real_and_imaginary_parts_as_last_axis(tmp_path):
    kspace = simulate(3, 0, SHAPE)[0]
    for name, stored in (("many", kspace), ("one", kspace[:, 0])):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["kspace"] = np.stack([stored.real, stored.imag], axis=-1)
        raw = read_raw(tmp_path / f"{name}.h5")
        np.testing.assert_allclose(raw.read_slice(2), stored.reshape(3, -1, *SHAPE)[2], atol=1e-5)
        assert "holds real and imaginary parts" in told(raw)
