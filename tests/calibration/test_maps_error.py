"""The error of sensitivity maps is found from what an image cannot explain of the data."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mri_alps.calibration import doubts, fit_maps_error, maps_error, prepare_slice, sampling_weights
from mri_alps.calibration.line_weights import LARGEST_ERROR, MAPS_ERROR
from mri_alps.calibration.maps_error import (
    MapsJudge,
    _image_power,
    gaussian_mean,
    strict_misfit,
)
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.operators import SenseOperator
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation

SHAPE, NOISE = (48, 40), 0.003


def wrong(maps: np.ndarray, error: float, seed: int = 0) -> np.ndarray:
    """Unit maps with a smooth relative error, of unit norm again."""
    rng = np.random.default_rng(seed)
    spectrum = np.zeros(maps.shape, complex)
    middle = tuple(slice(n // 2 - 2, n // 2 + 3) for n in SHAPE)
    spectrum[(slice(None), *middle)] = rng.normal(size=(len(maps), 5, 5, 2)) @ [1, 1j]
    field = np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(-2, -1)))
    size = np.sqrt((np.abs(field) ** 2).sum(0).mean())
    changed = maps + error * field / size
    return changed / np.sqrt((np.abs(changed) ** 2).sum(0))


def scan(error: float, mask: np.ndarray, noise_std: float = NOISE, n_coils: int = 8):
    """K-space by the true maps, mask, maps that are wrong by `error`, and their actual error."""
    maps = simulation.coils(n_coils, SHAPE)
    maps = maps / np.sqrt((np.abs(maps) ** 2).sum(0))
    image = torch.as_tensor(simulation.disc(SHAPE), dtype=torch.complex64)
    given = torch.as_tensor(wrong(maps, error), dtype=torch.complex64)
    sampled = torch.as_tensor(mask)
    true = SenseOperator(torch.as_tensor(maps, dtype=torch.complex64), sampled)
    kspace = true.forward(image)
    # The best image for the given maps: what remains is theirs to answer for.
    everything = torch.ones(SHAPE, dtype=torch.bool)
    full = SenseOperator(true.sensitivity_maps, everything).forward(image)
    best = SenseOperator(given, everything)
    rest = full - best.forward(best.adjoint(full))
    actual = float((rest.abs().square().sum() / full.abs().square().sum()).sqrt())
    noise = standard_normal(kspace.shape, torch.Generator().manual_seed(3), torch.complex64)
    return (kspace + noise_std * noise) * sampled, sampled, given, actual


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("error", [0.2, 0.4])
def test_the_error_is_found(error, points):
    mask = simulation.lines(SHAPE[1], 2, 8)
    if points:
        mask = mask[None] | (np.random.default_rng(1).random(SHAPE) < 0.2)
    kspace, mask, maps, actual = scan(error, mask)
    found = fit_maps_error(kspace, mask, maps, NOISE)
    assert actual > 1.5 * MAPS_ERROR  # so that the usual allowance would not do
    assert actual / 1.6 < found.found < 1.6 * actual
    assert bool((found.weights[~mask] == 1).all())
    # However wrong the maps are, the centre stays measured: no more than this is allowed for.
    assert found.relative_error == LARGEST_ERROR and found.misfit > 1.05
    allowed = sampling_weights(kspace, mask, NOISE, LARGEST_ERROR, found.noise_factor)
    assert torch.equal(found.weights, allowed)


def test_maps_from_outside_get_the_usual_allowance_at_most():
    kspace, mask, maps, _ = scan(0.4, simulation.lines(SHAPE[1], 2, 8))
    found = fit_maps_error(kspace, mask, maps, NOISE, MAPS_ERROR)
    assert found.relative_error == MAPS_ERROR and found.found > 0.2


def test_right_maps_keep_the_usual_allowance_per_line():
    kspace, mask, maps, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8))
    found = fit_maps_error(kspace, mask, maps, NOISE)
    assert found.relative_error == MAPS_ERROR and found.misfit < 1.1
    assert torch.equal(found.weights, sampling_weights(kspace, mask, NOISE))


def test_noise_is_not_taken_for_an_error_of_the_maps():
    kspace, mask, maps, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8), noise_std=0.05)
    assert fit_maps_error(kspace, mask, maps, 0.05).misfit == pytest.approx(1, abs=0.1)


def test_data_that_no_image_explains_are_not_trusted():
    """White data of eight coils: three quarters of them, or more, are left over."""
    _, mask, maps, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8))
    noise = standard_normal((8, *SHAPE), torch.Generator().manual_seed(1), torch.complex64)
    found = fit_maps_error(noise * mask, mask, maps, NOISE)
    assert 0.7 < found.found < 1.1


def test_noise_that_was_underestimated_is_not_taken_for_an_error_of_the_signal():
    """Ten times the noise: all samples get the same weight, whatever their signal."""
    kspace, mask, maps, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8), noise_std=10 * NOISE)
    found = fit_maps_error(kspace, mask, maps, NOISE)
    assert found.noise_factor == pytest.approx(10, rel=0.15) and found.found < MAPS_ERROR
    weights = found.weights[mask]
    assert float(weights.quantile(0.05)) > 0.07 and float(weights.max()) < 0.14
    assert found.misfit == pytest.approx(1, abs=0.15)


def test_a_judge_says_of_maps_what_is_said_of_them_alone():
    """Whatever it judged before, to within what iterations leave unsolved."""
    kspace, mask, maps, _ = scan(0.3, simulation.lines(SHAPE[1], 2, 8))
    right = scan(0.0, simulation.lines(SHAPE[1], 2, 8))[2]
    judge = MapsJudge(kspace, mask, NOISE)
    for each in (maps, right, maps):
        error, misfit = judge(each)
        alone = fit_maps_error(kspace, mask, each, NOISE)
        assert error.misfit == pytest.approx(alone.misfit, rel=0.01)
        assert error.found == pytest.approx(alone.found, rel=0.01)
        assert misfit == pytest.approx(strict_misfit(kspace, mask, each, NOISE), rel=0.01)


@pytest.mark.parametrize("shape", [(24, 20), (23, 21)])
def test_the_mean_solves_the_equations_of_the_gaussian_posterior(shape):
    generator = torch.Generator().manual_seed(4)
    maps = standard_normal((4, *shape), generator, torch.complex64)
    mask = torch.rand(shape, generator=generator) < 0.5
    operator = SenseOperator(maps, mask)
    data = standard_normal((4, *shape), generator, torch.complex64) * mask
    image = gaussian_mean(operator, data, 0.3)
    gradient = operator.adjoint(data - operator.forward(image)) / 0.3**2
    prior = ifftc(fftc(image) / _image_power(shape))
    assert float((gradient - prior).norm() / gradient.norm()) < 1e-3


def test_the_same_data_give_the_same_error():
    kspace, mask, maps, _ = scan(0.3, simulation.lines(SHAPE[1], 2, 8))
    first, second = (fit_maps_error(kspace, mask, maps, NOISE) for _ in range(2))
    assert first.misfit == second.misfit and torch.equal(first.weights, second.weights)


def test_a_prepared_slice_says_how_far_its_maps_are_trusted():
    kspace, mask, maps, actual = scan(0.4, simulation.lines(SHAPE[1], 2, 8))
    data = 1000 * kspace.numpy()
    raw = raw_from_arrays(
        data[None], mask.numpy(), noise_covariance=np.eye(8) * (1000 * NOISE) ** 2
    )
    with pytest.warns(MriAlpsWarning, match="likeliest cause is the maps that were given"):
        found = prepare_slice(raw, 0, sensitivity_maps=maps.numpy())
    assert found.info["maps_error_found"] == pytest.approx(actual, rel=0.6)
    assert found.info["maps_error"] == MAPS_ERROR
    assert found.weights.shape == found.mask.shape == (SHAPE[1],)
    assert found.operator().normal(maps[0]).shape == SHAPE
    fixed = prepare_slice(raw, 0, sensitivity_maps=maps.numpy(), maps_error=0.02)
    assert fixed.info["maps_error"] == 0.02 and fixed.weights.shape == (SHAPE[1],)


def moved_scan(shift: int, corrupted: tuple[int, ...] = ()):
    """Lines beyond the middle 20 are of the object moved along the phase encode."""
    shape = (48, 56)
    kspace, image, maps, matrix = simulation.acquisition(8, shape, radius=0.6)
    moved = simulation.fft2c(np.roll(image, shift, 1) * maps)
    still = simulation.fft2c(image * maps)
    outer = np.ones(shape[1], bool)
    outer[18:38] = False
    kspace = kspace + (moved - still) * outer
    kspace[:, :, corrupted] *= 1.5j
    return raw_from_arrays(kspace.astype(np.complex64)[None], noise_covariance=matrix)


def test_motion_within_kspace_is_told():
    raw = moved_scan(4)
    given = simulation.coils(8, raw.shape)
    with pytest.warns(MriAlpsWarning, match=r"array: slice 0: .*lines .*motion"):
        prepare_slice(raw, 0, sensitivity_maps=given)
    found = prepare_slice(moved_scan(0), 0, sensitivity_maps=given)
    assert not any("motion" in note for note in found.info["notes"])


def test_lines_that_do_not_belong_to_the_others_are_found():
    maps = torch.as_tensor(simulation.coils(8, (48, 56)), dtype=torch.complex64)
    maps = maps / torch.linalg.vector_norm(maps, dim=0)
    mask = torch.ones(56, dtype=torch.bool)

    def odd(raw):
        return set(fit_maps_error(torch.as_tensor(raw.read_slice(0)), mask, maps, 0.01).odd_lines)

    moved = odd(moved_scan(4))
    assert moved & {17, 18, 37, 38} and all(min(abs(k - 18), abs(k - 37)) < 6 for k in moved)
    assert odd(moved_scan(0)) == set()
    corrupted = odd(moved_scan(0, (42,)))
    assert 42 in corrupted and corrupted <= {40, 41, 42, 43, 44}


def maps_with_errors(size):
    """Data of 8 coils, their mask, and maps with an error that is smooth in k-space."""
    kspace, _, maps, _ = simulation.acquisition(8, (48, 56), level=0.003, radius=0.8)
    mask = torch.arange(56) % 3 == 0
    mask[20:36] = True
    rng = np.random.default_rng(0)
    spectrum = np.zeros(maps.shape, complex)
    spectrum[:, 14:35, 18:39] = rng.normal(size=(8, 21, 21)) + 1j * rng.normal(size=(8, 21, 21))
    error = simulation.fft2c(spectrum)
    wrong = maps + size * error * np.linalg.norm(maps) / np.linalg.norm(error)
    wrong = torch.as_tensor(wrong, dtype=torch.complex64)
    wrong = wrong / torch.linalg.vector_norm(wrong, dim=0)
    return torch.as_tensor(kspace) * mask, mask, wrong


def test_maps_that_are_worse_than_is_allowed_for_are_no_motion():
    data, mask, wrong = maps_with_errors(0.4)
    found = fit_maps_error(data, mask, wrong, 0.003)
    assert found.found > found.relative_error
    assert found.odd_lines == ()
    problem = maps_error._MisfitOfDraws(data, mask, wrong, 0.003)
    rest, _ = problem.draw(found.weights)
    assert len(problem.odd_lines(found.weights, rest)) > 3  # what they leave


@pytest.mark.parametrize("size", [0.01, 0.02])
def test_errors_of_maps_beside_a_strong_centre_are_no_motion(size, monkeypatch):
    data, mask, wrong = maps_with_errors(size)
    assert fit_maps_error(data, mask, wrong, 0.003).odd_lines == ()
    monkeypatch.setattr(maps_error, "SPREAD_ERROR", 0.0)
    assert fit_maps_error(data, mask, wrong, 0.003).odd_lines != ()


@pytest.mark.parametrize("factor, is_told", [(1.4, False), (2.1, True), (2.3, False)])
def test_more_noise_than_the_corners_of_the_image_show_is_none(factor, is_told):
    def weighted(witness):
        calibration = SimpleNamespace(
            noise_covariance=9 * np.eye(4),
            witnesses=({"witness": witness, "noise_std": 3.0},),
            noise_source=witness,
        )
        whitened = SimpleNamespace(calibration=calibration, name="scan")
        mapped = SimpleNamespace(folding=None)
        kspace, mask = torch.zeros(1, 8, 8, dtype=torch.complex64), torch.ones(8, dtype=torch.bool)
        scaled = SimpleNamespace(
            whitened=whitened, mapped=mapped, kspace=kspace, mask=mask, noise_std=1, trajectory=None
        )
        found = SimpleNamespace(found=MAPS_ERROR, noise_factor=factor, odd_lines=())
        return SimpleNamespace(compressed=SimpleNamespace(scaled=scaled), found=found)

    assert bool(doubts._misfit(weighted("image corners"))) == is_told
    assert bool(doubts._misfit(weighted("noise scan"))) == (factor > 2)
    noted = doubts._spread_error(weighted("image corners"))
    assert bool(noted) == (factor > 2.2) and all("errors of the maps" in note for note in noted)
