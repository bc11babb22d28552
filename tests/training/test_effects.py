"""What is simulated on training images: each effect does what its name says, and 0 is none."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from mri_alps.core.fourier import fftc
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.training import _augmentation as augmentation
from mri_alps.training import _effects
from mri_alps.training._batches import TrainingBatches, random_crop
from mri_alps.training.config import ScannerEffects
from mri_alps.training.images import ImageRecord, ImageSet
from mri_alps.training.loss import denoising_loss
from mri_alps.training.sources import load_images


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_contrast_changes_are_monotone_and_keep_both_ends():
    ramp = torch.linspace(0, 2, 201)[None]
    slopes = []
    for seed in range(50):
        coefficients = _effects.draw_contrast(generator(seed), 0.7)
        mapped = _effects.change_contrast(ramp * 1j, coefficients, 1.0)
        assert_equal_to_rounding(mapped.real, torch.zeros_like(ramp))
        curve = mapped.imag[0]
        assert_equal_to_rounding(curve[[0, 100, 150, 200]], ramp[0, [0, 100, 150, 200]])
        slopes.append(curve[:101].diff() * 100)
    slopes = torch.stack(slopes)
    assert slopes.min() > 0.29 and slopes.max() < 1.71
    assert slopes.min() < 0.6 and slopes.max() > 1.4


def test_fat_turns_against_water_and_cancels_at_the_edge():
    image = torch.full((8, 33), 0.2)
    image[:, 17:] = 1.0
    turned = _effects.turn_fat(3 * image, 0.6, 0.03, math.pi, reference=3.0)
    expected = torch.where(image > 0.5, -3 * image, 3 * image).to(turned.dtype)
    assert (turned - expected)[:, [*range(15), *range(19, 33)]].abs().max() < 2e-5  # sigmoid(-13)
    blurred = _effects.turn_fat(torch.full((4, 4), 0.6), 0.6, 0.03, math.pi, reference=1.0)
    assert blurred.abs().max() < 1e-6


def test_a_dipole_is_strongest_at_its_surface_and_none_inside():
    axis = torch.linspace(-1, 1, 201)
    phase = _effects.dipole_phase(axis, axis, 0.0, 0.0, 0.2, 0.0, 3.0)
    along_x, along_y = phase[100], phase[:, 100]
    assert not along_x[81:120].any()
    assert_equal_to_rounding(along_x[125], torch.tensor(3.0 * (0.2 / 0.25) ** 2), scale=3.0)
    assert_equal_to_rounding(along_y[125], -along_x[125], scale=3.0)
    assert phase.abs().max() <= 3.0


@pytest.mark.parametrize("shape", [(16, 16), (15, 18)])
def test_a_symmetric_window_blurs_and_partial_fourier_makes_an_image_complex(shape):
    image = torch.rand(shape, generator=generator(0))
    blurred = _effects.lose_periphery(image, [(0.5, 0.5), (1.0, 1.0)])
    assert blurred.dtype == torch.float32
    kept = fftc(blurred.to(torch.complex64)).abs().amax(1) > 1e-4
    frequency = torch.arange(shape[0]) - shape[0] // 2
    assert kept[frequency.abs() < shape[0] / 4].all()
    assert not kept[frequency.abs() > shape[0] / 4].any()
    partial = _effects.lose_periphery(image, [(1.0, 1.0), (1.0, 0.25)])
    assert partial.dtype == torch.complex64
    spectrum, frequency = fftc(partial), torch.arange(shape[1]) - shape[1] // 2
    assert spectrum[:, frequency > shape[1] / 8].abs().max() < 1e-4
    lower = frequency <= 0
    whole = fftc(image.to(torch.complex64))
    assert_equal_to_rounding(spectrum[:, lower], whole[:, lower], image.numel(), whole.abs().max())


def test_windows_are_wide_enough_and_half_of_them_partial():
    windows = [_effects.draw_window(generator(seed)) for seed in range(200)]
    flat = torch.tensor(windows)  # (n, axis, side)
    assert flat.amax((1, 2)).min() >= 0.6 and flat.min() >= 0.15 and flat.max() == 1
    partial = (flat[..., 0] != flat[..., 1]).sum(1)
    assert partial.max() == 1
    assert 0.35 < partial.double().mean() < 0.65


@pytest.fixture
def disc() -> ImageRecord:
    y, x = np.mgrid[-1:1:48j, -1:1:40j]
    return ImageRecord(np.where(x**2 + y**2 < 0.6, 150, 40).astype(np.uint8), "a")


@pytest.mark.parametrize("name", ["contrast", "phase_edges", "lost_periphery"])
def test_each_effect_changes_crops_and_only_where_it_is_asked_for(disc, name):
    low = augmentation.low_resolution(torch.from_numpy(disc.image).float())

    def crop(effects):
        return random_crop(disc, low, 32, 0.0, generator(3), effects=effects).image

    changed = crop(ScannerEffects(**{name: 0.9}))
    assert torch.isfinite(torch.view_as_real(changed)).all()
    assert not torch.equal(changed, crop(None))
    assert torch.equal(crop(ScannerEffects()), crop(None))


def test_beyond_the_edge_lies_the_mirror_image_and_is_not_known():
    record = ImageRecord(np.full((20, 24), 100, np.float32), "a")
    low = augmentation.low_resolution(torch.from_numpy(record.image))
    for seed in range(10):
        crop, known, _ = random_crop(record, low, 40, 0.0, generator(seed), mirror=True)
        assert 0.15 < known.float().mean() < 0.65  # 0.3, with zooms
        assert crop[~known].abs().min() > 0.01  # its bias, no zeros
        zeros, same, _ = random_crop(record, low, 40, 0.0, generator(seed))
        assert torch.equal(same, known) and (zeros[~known] == 0).float().mean() > 0.5


def test_padding_does_not_count_in_the_loss(data, recipe):
    images = torch.zeros(2, 8, 8, dtype=torch.complex64)
    known = torch.ones(2, 8, 8, dtype=torch.bool)
    known[:, 4:] = False

    def wrong_in_the_lower_half(x, sigma):
        answer = torch.zeros_like(x)
        answer[:, 4:] = 9
        return answer

    def loss(mask):
        sigma = torch.tensor([0.1, 0.2])
        return denoising_loss(wrong_in_the_lower_half, images, sigma, 0.4, generator(0), mask)

    assert not loss(known).any() and (loss(None) > 1).all()
    batches = TrainingBatches(load_images([data]), recipe)
    assert batches[0].known is None
    masked = TrainingBatches(
        load_images([data]), dataclasses.replace(recipe, exclude_padding=True)
    )[0]
    assert masked.known.shape == masked.images.shape and masked.known.dtype == torch.bool


def test_images_are_drawn_by_weight(recipe):
    records = tuple(
        ImageRecord(np.full((40, 40), 50, np.uint8), name, weight=weight)
        for name, weight in (("rare", 0.1), ("often", 0.3))
    )
    batches = TrainingBatches(ImageSet(records), recipe)
    drawn = [i for seed in range(500) for i in batches._draw(recipe.plans[0], generator(seed))]
    assert abs(np.mean(drawn) - 0.75) < 0.04  # 2,000 draws: 4 standard deviations


def test_noise_of_the_images_is_not_learnt():
    """The best linear denoiser of white images is Wiener's for clean ones at the whole level."""
    shape, variance, sigma = (4000, 4, 4), 0.5, torch.tensor(0.6)
    noise = torch.full(shape, 0.4)
    noise[:, :, 2:] = 0.7  # the level is the same in all pixels

    def loss(gain, counted):
        clean = variance**0.5 * torch.randn(shape, dtype=torch.complex64, generator=generator(1))
        seen = 2**0.5 * clean + noise * 2**0.5 * torch.randn(
            shape, dtype=torch.complex64, generator=generator(2)
        )  # complex normal numbers have half of their variance in each component
        return denoising_loss(
            *(lambda x, level: gain * x, seen, sigma.expand(len(seen)), 1.0, generator(3)),
            noise=noise if counted else None,
        ).mean()

    def best(counted):
        low, middle, high = (loss(gain, counted).item() for gain in (0.0, 0.5, 1.0))
        return 0.5 - 0.25 * (high - low) / (high + low - 2 * middle)  # of a parabola

    whole = 0.6**2 + 0.7**2
    assert best(True) == pytest.approx(variance / (variance + whole), abs=0.015)
    assert best(False) > 0.6  # grain taken for anatomy


@pytest.mark.parametrize("kind", [np.float32, np.complex64])
@pytest.mark.parametrize("coarse", [False, True])
def test_counted_noise_is_that_of_the_crop(kind, coarse):
    random = np.random.default_rng(0)
    image = 8 + 5 * random.standard_normal((64, 64))  # little signal, whose phase may be steep
    if kind == np.complex64:
        image = image + 5j * random.standard_normal((64, 64))
    image = image.astype(kind)
    record = ImageRecord(image, "a", noise_std=5.0)
    low = augmentation.low_resolution(torch.from_numpy(image))
    effects = ScannerEffects(contrast=0.5, phase_edges=1.0, lost_periphery=1.0)
    ratios = []
    for seed in range(20):
        crop, known, noise = random_crop(
            *(record, low, 24, 0.3, generator(seed), coarse), effects=effects, count_noise=True
        )
        # Second differences along the diagonal remove what is smooth; their variance is 4.
        detail = crop[1:, 1:] - crop[1:, :-1] - crop[:-1, 1:] + crop[:-1, :-1]
        inside = known[1:, 1:] & known[:-1, :-1]
        ratios.append((detail.abs()[inside] / noise[1:, 1:][inside]).square().mean().item() / 8)
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)
    assert not random_crop(record, low, 24, 0.3, generator(0)).noise.any()


def test_batches_carry_noise_where_it_is_counted(recipe):
    records = (ImageRecord(np.full((40, 40), 50, np.float32), "a", noise_std=2.0),)
    counted = dataclasses.replace(recipe, count_noise=True)
    batch = TrainingBatches(ImageSet(records), counted)[0]
    assert batch.noise.shape == batch.images.shape and batch.noise.min() > 0
    assert TrainingBatches(ImageSet(records), recipe)[0].noise is None
