from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import torch
from sigpy.mri.app import EspiritCalib

from mri_alps.calibration import _espirit as espirit
from mri_alps.calibration import (
    compression_matrix,
    estimate_sensitivity_maps,
    find_calibration_region,
    prepare_slice,
)
from mri_alps.calibration._espirit import dominant_eigenvectors, lag_matrices, signal_projector
from mri_alps.calibration.region import require
from mri_alps.core.crop import center_crop
from mri_alps.core.errors import ConfigurationError, DtypeError, InputFileError, ShapeError
from mri_alps.core.fourier import fftc
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import raw_from_arrays
from mri_alps.rawdata.bart.cfl import read_cfl, write_cfl
from tests.calibration import calibration_simulation as simulation


def combined(maps: torch.Tensor, images: np.ndarray) -> np.ndarray:
    return (maps.numpy().conj() * images).sum(0)


def unexplained(maps: torch.Tensor, images: np.ndarray) -> float:
    """Fraction of the coil images' norm that maps times one image cannot explain."""
    rest = maps.numpy() * combined(maps, images) - images
    return float(np.linalg.norm(rest) / np.linalg.norm(images))


@pytest.mark.parametrize("shape", [(64, 64), (65, 48), (48, 75), (63, 65)])
@pytest.mark.parametrize("n_coils", [2, 8])
def test_maps_explain_the_coil_images(n_coils, shape):
    kspace, image, coils, matrix = simulation.acquisition(n_coils, shape, level=1e-3)
    noise_std = np.sqrt(np.trace(matrix).real / n_coils)
    maps = estimate_sensitivity_maps(center_crop(kspace, (24, 24)), shape, noise_std=noise_std)
    assert maps.shape == (n_coils, *shape)
    assert maps.dtype == torch.complex64
    assert unexplained(maps, image * coils) < 0.02
    truth = coils / np.sqrt((np.abs(coils) ** 2).sum(0))
    overlap = np.abs((maps.numpy().conj() * truth).sum(0))
    assert np.percentile(overlap[np.abs(image) > 0.1], 1) > 0.995


@pytest.mark.parametrize(("size", "limit"), [((24, 24), 0.02), ((24, 10), 0.04), ((25, 8), 0.08)])
def test_few_lines_suffice_because_the_region_may_be_a_rectangle(size, limit):
    kspace, image, coils, _ = simulation.acquisition(8, (96, 80), level=1e-3)
    maps = estimate_sensitivity_maps(center_crop(kspace, size), (96, 80), noise_std=1e-3)
    assert unexplained(maps, image * coils) < limit


def test_maps_are_normalised_inside_the_support_and_zero_outside():
    kspace, image, _, _ = simulation.acquisition(6, (96, 96), radius=0.4)
    maps = estimate_sensitivity_maps(center_crop(kspace, (24, 24)), (96, 96), noise_std=0.01)
    energy = maps.abs().square().sum(0).numpy()
    support = energy > 0
    assert_equal_to_rounding(energy[support], 1, n_summed=6, dtype="float32")
    assert support[np.abs(image) > 0].all(), "the object is cut"
    assert support.mean() < 0.8, "nothing of the background is left out"
    assert support[48, 48], "the dark hole in the object is cut out"


def test_the_low_resolution_image_is_real_and_positive():
    kspace, image, coils, _ = simulation.acquisition(8, (96, 80), level=1e-3)
    maps = estimate_sensitivity_maps(center_crop(kspace, (24, 24)), (96, 80), noise_std=1e-3)
    x = combined(maps, image * coils)
    assert np.abs(np.angle(x[np.abs(image) > 0.5])).max() < 0.5


def test_a_single_coil_has_unit_maps():
    maps = estimate_sensitivity_maps(np.ones((1, 8, 8), np.complex64), (33, 20))
    assert maps.shape == (1, 33, 20)
    assert bool((maps == 1).all())


def test_thirty_two_coils_fit():
    kspace, image, coils, _ = simulation.acquisition(32, (64, 48), level=1e-3)
    maps = estimate_sensitivity_maps(center_crop(kspace, (20, 20)), (64, 48), noise_std=1e-3)
    assert unexplained(maps, image * coils) < 0.03


def test_eigenvalues_and_maps_agree_with_sigpy():
    kspace, image, _, _ = simulation.acquisition(5, (48, 40), level=1e-3)
    expected, eigenvalues = EspiritCalib(
        kspace, calib_width=24, thresh=0.02, crop=0, output_eigenvalue=True, show_pbar=False
    ).run()
    calibration = torch.from_numpy(center_crop(kspace, (24, 24)))
    projector = signal_projector(calibration, (6, 6), 0.02)
    lags = lag_matrices(projector, 5, (6, 6))
    maps, values = dominant_eigenvectors(lags, (48, 40))
    inside = np.abs(image) > 0.1
    np.testing.assert_allclose(values.numpy()[inside], eigenvalues[0][inside], atol=2e-3)
    overlap = np.abs((maps.numpy().conj() * expected).sum(0))
    np.testing.assert_allclose(overlap[inside], 1, atol=2e-3)


@pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")
@pytest.mark.parametrize(("cropping", "option"), [("hard", []), ("soft", ["-S"])])
def test_maps_and_cropping_agree_with_bart(cropping, option, tmp_path):
    shape = (48, 40)
    kspace, _, _, _ = simulation.acquisition(5, shape, level=1e-3)
    write_cfl(tmp_path / "kspace", kspace.transpose(1, 2, 0)[:, :, None])
    names = [str(tmp_path / name) for name in ("kspace", "maps")]
    subprocess.run(["bart", "ecalib", "-m1", "-r24", *option, *names], check=True)
    expected = read_cfl(tmp_path / "maps").squeeze().transpose(2, 0, 1)
    # BART's threshold of 0.001 is one of energies.
    maps = estimate_sensitivity_maps(
        center_crop(kspace, (24, 24)), shape, threshold=1e-3**0.5, cropping=cropping
    ).numpy()
    weights, wanted = (np.linalg.norm(m, axis=0) for m in (maps, expected))
    np.testing.assert_allclose(weights, wanted, atol=1e-2)
    overlap = np.abs((maps.conj() * expected).sum(0))
    np.testing.assert_allclose(overlap, weights * wanted, atol=2e-3)
    assert 0.3 < (wanted > 0).mean() < 0.9, "nothing was cropped"
    between = (wanted > 0.1) & (wanted < 0.9)
    assert between.any() == (cropping == "soft")


def test_chunks_of_rows_change_nothing(monkeypatch):
    kspace, _, _, _ = simulation.acquisition(4, (33, 20), level=1e-3)
    block = center_crop(kspace, (16, 16))
    whole = estimate_sensitivity_maps(block, (33, 20))
    monkeypatch.setitem(espirit.CHUNK_BYTES, "cpu", 8 * 20 * 16 * 5)  # 5 rows at a time
    assert_equal_to_rounding(estimate_sensitivity_maps(block, (33, 20)), whole)


def test_maps_stay_on_the_device_of_the_calibration():
    lags = torch.empty((3, 3, 4, 4), dtype=torch.complex128, device="meta")
    maps, eigenvalues = espirit.dominant_eigenvectors(lags, (10, 8))
    assert maps.device.type == eigenvalues.device.type == "meta"
    assert maps.shape == (4, 10, 8)


def test_lag_matrices_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(12, 4)) + 1j * rng.normal(size=(12, 4))
    projector = factor @ factor.conj().T
    lags = lag_matrices(torch.from_numpy(projector), 2, (2, 3))
    _, values = dominant_eigenvectors(lags, (5, 7), n_iterations=250)
    kernels = factor.reshape(2, 2, 3, 4)
    y, x = np.arange(5) - 2, np.arange(7) - 3
    wave_y = np.exp(2j * np.pi * np.outer(y, np.arange(2)) / 5)
    wave_x = np.exp(2j * np.pi * np.outer(x, np.arange(3)) / 7)
    images = np.einsum("ya,xb,cabk->yxck", wave_y, wave_x, kernels)
    local = np.einsum("yxck,yxdk->yxcd", images, images.conj()) / 6
    np.testing.assert_allclose(values.numpy(), np.linalg.eigvalsh(local)[..., -1], rtol=1e-3)


def test_maps_refuse_what_they_cannot_use():
    with pytest.raises(DtypeError):
        estimate_sensitivity_maps(np.ones((2, 8, 8)), (16, 16))
    with pytest.raises(ShapeError, match="at least 4x4"):
        estimate_sensitivity_maps(np.ones((2, 8, 3), complex), (16, 16))
    with pytest.raises(ShapeError, match="larger than the maps"):
        estimate_sensitivity_maps(np.ones((2, 8, 8), complex), (6, 16))
    with pytest.raises(ShapeError, match="only zeros"):
        estimate_sensitivity_maps(np.zeros((2, 8, 8), complex), (16, 16))
    with pytest.raises(ConfigurationError, match="support, hard or soft"):
        estimate_sensitivity_maps(np.ones((2, 8, 8), complex), (16, 16), cropping="smooth")


@pytest.mark.parametrize(("length", "size"), [(9, 4), (8, 5), (8, 4), (7, 7)])
def test_center_crop_keeps_dc_in_the_middle(length, size):
    array = np.zeros((1, length, length))
    array[0, length // 2, length // 2] = 1
    assert center_crop(array, (size, size))[0, size // 2, size // 2] == 1


def test_the_larger_calibration_region_is_taken():
    kspace, _, _, _ = simulation.acquisition(3, (40, 40))
    own, lines = simulation.lines(40, 4, 10), simulation.lines(40, 40, 20)
    lines[0] = False
    raw = raw_from_arrays(
        (kspace * own)[None],
        own,
        calibration=((2 * kspace * lines)[None], np.broadcast_to(lines, (1, 40, 40))),
    )
    region = find_calibration_region(raw, 0, raw.read_slice(0), raw.slice_mask(0))
    assert region.source == "separate calibration lines"
    assert region.size == (40, 20)
    assert_equal_to_rounding(region.kspace, 2 * kspace[:, :, 10:30])
    alone = raw_from_arrays((kspace * own)[None], own)
    region = find_calibration_region(alone, 0, alone.read_slice(0), alone.slice_mask(0))
    assert region.source == "center of the scan"
    assert region.size[0] == 40
    assert region.size[1] in (10, 11)


def test_no_calibration_region_names_the_remedy():
    kspace, _, _, _ = simulation.acquisition(3, (40, 40))
    mask = simulation.lines(40, 4, 1)
    raw = raw_from_arrays((kspace * mask)[None], mask, name="scan.h5")
    region = find_calibration_region(raw, 0, raw.read_slice(0), raw.slice_mask(0))
    with pytest.raises(InputFileError, match=r"scan\.h5.*calibration lines.*sensitivity maps"):
        require(raw, 0, region)


def test_compression_keeps_the_signal_and_the_whiteness():
    rng = np.random.default_rng(0)
    low_rank = rng.normal(size=(8, 3)) @ (rng.normal(size=(3, 500)) + 1j)
    matrix = compression_matrix(low_rank, tolerance=1e-6)
    assert matrix.shape == (3, 8)
    assert_equal_to_rounding(matrix @ matrix.conj().T, np.eye(3))
    assert_equal_to_rounding(
        matrix.conj().T @ matrix @ low_rank, low_rank, scale=np.linalg.norm(low_rank)
    )


def test_compression_by_tolerance_keeps_as_few_as_it_may():
    data = np.diag([10.0, 3.0, 1.0, 0.1]).astype(complex)
    energies = np.array([100, 9, 1, 0.01])
    for n in (1, 2, 3):
        lost = energies[n:].sum() / energies.sum()
        assert compression_matrix(data, tolerance=lost * 1.01).shape[0] == n
        assert compression_matrix(data, tolerance=lost * 0.99).shape[0] == n + 1


def test_compression_refuses_ambiguous_options():
    data = np.ones((4, 10), complex)
    with pytest.raises(ConfigurationError, match="exactly one"):
        compression_matrix(data)
    with pytest.raises(ConfigurationError, match="exactly one"):
        compression_matrix(data, 2, 0.1)
    with pytest.raises(ConfigurationError, match="choose 1 to 4"):
        compression_matrix(data, 5)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        compression_matrix(data, tolerance=1.5)


def test_maps_of_a_real_brain_leave_no_more_than_noise(shared_data):
    from mri_alps.calibration import apply_to_coils, calibrate_volume
    from mri_alps.rawdata.open import read_raw

    raw = read_raw(shared_data / "raw" / "brain_axial_8ch.h5")
    white = apply_to_coils(calibrate_volume(raw).whitening, raw.read_slice(0))
    images = np.fft.fftshift(
        np.fft.ifft2(np.fft.ifftshift(white, axes=(1, 2)), norm="ortho"), axes=(1, 2)
    )
    maps = estimate_sensitivity_maps(center_crop(white, (32, 20)), raw.shape, noise_std=1.0)
    rest = images - maps.numpy() * combined(maps, images)
    # The head folds over at the ends of the readout, which one set of maps cannot describe.
    inside = (np.abs(combined(maps, images)) > 20) & (np.abs(np.arange(256) - 128) < 100)[:, None]
    assert inside.sum() > 20_000
    assert np.sqrt((np.abs(rest[:, inside]) ** 2).mean() / 2) < 1.15


def filled_view(n_coils: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coil images of an object that goes on to the borders of the readout, and the coils."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    image = (np.abs(x) < 0.6) * (1 + 0.4 * np.cos(5 * x + 3 * y))
    angle = 2 * np.pi * np.arange(n_coils)[:, None, None] / n_coils
    distance = (y - 1.3 * np.sin(angle)) ** 2 + (x - 1.3 * np.cos(angle)) ** 2
    coils = np.exp(-distance / 2 + 1j * (angle + 0.4 * x * np.cos(angle) - 0.7 * y))
    return image * coils, coils


@pytest.mark.parametrize("shape", [(96, 80), (95, 81)])
@pytest.mark.parametrize("n_lines", [12, 6])
def test_maps_hold_to_the_borders_of_a_readout_that_the_object_fills(n_lines, shape):
    images, coils = filled_view(8, shape)
    noise = np.random.default_rng(0).normal(size=(2, *images.shape))
    kspace = fftc(torch.as_tensor(images + 1e-3 * (noise[0] + 1j * noise[1]))) * 1000
    mask = np.zeros(shape[1], bool)
    mask[:: 2 if n_lines == 6 else 4] = True
    mask[shape[1] // 2 - n_lines // 2 :][:n_lines] = True
    covariance = 2 * np.eye(len(coils), dtype=complex)
    raw = raw_from_arrays(
        kspace.to(torch.complex64).numpy()[None], mask, noise_covariance=covariance
    )
    found = prepare_slice(raw, 0).maps_uncompressed.numpy()
    true = coils / np.linalg.norm(coils, axis=0)
    overlap = np.abs((found.conj() * true).sum(0))[np.abs(images).sum(0) > 0]
    assert overlap.min() > 0.99  # 0.4 to 0.6 with kernels that are periodic over the image
