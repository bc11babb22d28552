"""Batches are a function of (seed, step, rank), scaled as the prior expects."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mri_alps.calibration.scale import image_scale
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.training import _augmentation as augmentation
from mri_alps.training._batches import (
    TrainingBatches,
    draw_levels,
    random_crop,
    to_tensor,
    whole_image,
)
from mri_alps.training.config import CropPlan
from mri_alps.training.images import ImageRecord
from mri_alps.training.sources import load_images


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batches(data, recipe):
    return TrainingBatches(load_images([data]), recipe)


def test_a_step_can_be_made_again_in_any_order(batches, data, recipe):
    first = [batches[step] for step in range(6)]
    fresh = TrainingBatches(load_images([data]), recipe)
    for step in (5, 0, 3):
        again = fresh[step]
        assert torch.equal(again.images, first[step].images)
        assert torch.equal(again.sigma, first[step].sigma)
    assert not torch.equal(first[0].sigma, first[1].sigma[: len(first[0].sigma)])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_worker_processes_change_nothing(batches):
    direct = [batches[step] for step in range(4)]
    loader = DataLoader(batches, batch_size=None, sampler=range(4), num_workers=2)
    for expected, found in zip(direct, loader, strict=True):
        assert int(found.step) == expected.step
        assert torch.equal(found.images, expected.images)


def test_processes_share_the_plan_but_not_the_images(batches, data, recipe):
    other = TrainingBatches(load_images([data]), recipe, rank=1)
    for step in range(5):
        assert batches[step].images.shape == other[step].images.shape
        assert not torch.equal(batches[step].images, other[step].images)


def test_plans_come_with_their_shares(batches, recipe):
    sizes = [batches.plan(step).size for step in range(600)]
    assert 0.6 < sizes.count(32) / 600 < 0.73  # 2/3 +- 3.4 standard deviations
    reseeded = TrainingBatches(load_images_from(batches), dataclasses.replace(recipe, seed=1))
    assert [reseeded.plan(step).size for step in range(600)] != sizes


def load_images_from(batches):
    from mri_alps.training.images import ImageSet

    return ImageSet(batches.records)


def test_levels_are_stratified_and_log_uniform():
    plan = CropPlan(16, 8, 0.01, 10.0)
    drawn = torch.stack([draw_levels(plan, generator(seed)) for seed in range(50)])
    logs = (drawn.log10() + 2) / 3
    assert (logs >= 0).all() and (logs <= 1).all()
    assert torch.equal((logs * 8).floor(), torch.arange(8.0).expand(50, 8))


def test_crop_keeps_magnitudes_up_to_bias_and_scale():
    """Without jitter, the crop of a whole slice has the image scale 1, up to its warp."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    disc = ((x**2 + y**2 < 0.6) * (150 + 20 * random.standard_normal((64, 64)))).clip(0)
    record = ImageRecord(disc.astype(np.uint8), "a")
    low = augmentation.low_resolution(to_tensor(record.image))
    scales, signs = [], []
    for seed in range(40):
        crop = random_crop(record, low, 64, 0.0, generator(seed)).image
        assert crop.dtype == torch.complex64
        scales.append(image_scale(crop))
        signs.append(crop.mean().angle().item())
    assert 0.9 < np.median(scales) < 1.1
    assert max(scales) < 1.6 and min(scales) > 0.6
    assert np.std(signs) > 0.5  # phases differ


def test_jitter_spreads_the_scale():
    record = ImageRecord(np.full((64, 64), 100, np.uint8), "a")
    low = augmentation.low_resolution(to_tensor(record.image))
    means, still = (
        torch.stack([random_crop(record, low, 16, jitter, generator(s)).image for s in range(300)])
        .abs()
        .mean((1, 2))
        for jitter in (0.3, 0.0)
    )
    ratio = means / still
    assert ratio.min() > 1 / 1.301 and ratio.max() < 1.301
    assert ratio.min() < 0.8 and ratio.max() > 1.25


def test_exact_orientations_move_pixels_without_interpolation():
    image = torch.arange(64.0).reshape(1, 8, 8)
    seen = set()
    for seed in range(200):
        matrix = augmentation.random_affine(generator(seed))
        if not torch.equal(matrix, matrix.round()):
            continue
        center = torch.tensor([3.5, 3.5])
        crop = augmentation.extract(image, matrix, center, 8)
        assert torch.equal(crop.flatten().sort().values, image.flatten())
        seen.add(tuple(crop[0, :2, :2].flatten().tolist()))
    assert len(seen) == 8  # the whole dihedral group


@pytest.mark.parametrize("size", [7, 8, 20, 33])
@pytest.mark.parametrize("shape", [(20, 31), (33, 16)])
def test_crops_of_any_size_from_images_of_any_size(size, shape):
    record = ImageRecord(np.full(shape, 50, np.float32), "a")
    low = augmentation.low_resolution(to_tensor(record.image))
    for seed in range(10):
        crop = random_crop(record, low, size, 0.3, generator(seed)).image
        assert crop.shape == (size, size)
        assert torch.isfinite(torch.view_as_real(crop)).all()


def test_measured_phase_survives():
    """A complex image keeps its phase up to a smooth tilt: neighbours stay coherent."""
    random = np.random.default_rng(1)
    texture = np.exp(1j * np.pi * random.integers(0, 2, (48, 48))).astype(np.complex64)
    image = whole_image(ImageRecord(texture, "a"), generator(0))
    product = image * torch.from_numpy(texture).conj()
    neighbours = (product[:, 1:] * product[:, :-1].conj()).angle().abs()
    assert neighbours.max() < 0.5  # without the texture's sign flips nothing jumps


def test_whole_image_has_unit_scale_and_the_slice_s_size():
    record = ImageRecord(np.full((30, 41), 90, np.uint8), "a")
    image = whole_image(record, generator(0))
    assert image.shape == (30, 41)
    assert_equal_to_rounding(image_scale(image), 1.0, n_summed=image.numel(), dtype="float32")


@pytest.mark.parametrize("shape", [(48, 48), (48, 36), (49, 33)])
@pytest.mark.parametrize("kind", [torch.float32, torch.complex64])
def test_a_reduced_matrix_keeps_field_of_view_and_intensities(shape, kind):
    """A band-limited image comes out as its own samples on the coarser grid."""

    def wave(height: int, width: int) -> torch.Tensor:
        # Pixel N // 2 is at the origin on every grid.
        y = ((torch.arange(height) - height // 2) / height)[:, None]
        x = (torch.arange(width) - width // 2) / width
        field = 1 + 0.5 * torch.cos(2 * torch.pi * (2 * y + 3 * x))
        return (field if kind == torch.float32 else field * torch.exp(4j * torch.pi * y)).to(kind)

    reduced = augmentation.reduce_matrix(wave(*shape), 24.0)
    expected = (round(shape[0] * 24 / max(shape)), round(shape[1] * 24 / max(shape)))
    assert reduced.dtype == kind and tuple(reduced.shape) == expected
    assert_equal_to_rounding(reduced, wave(*expected))


def test_a_small_image_is_not_reduced():
    image = torch.rand(20, 30, generator=torch.Generator().manual_seed(0))
    assert augmentation.reduce_matrix(image, 30.0) is image


def test_coarse_crops_show_the_whole_object():
    """A crop of a quarter of the edge holds a sixteenth of the disc, or nearly all of it."""
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    record = ImageRecord(np.where(x**2 + y**2 < 0.64, 150, 0).astype(np.uint8), "a")
    low = augmentation.low_resolution(to_tensor(record.image))
    shares = {}
    for coarse in (False, True):
        crops = [random_crop(record, low, 32, 0.0, generator(s), coarse).image for s in range(40)]
        assert all(crop.shape == (32, 32) for crop in crops)
        shares[coarse] = np.mean([(crop.abs() > 0.3).float().mean().item() for crop in crops])
    # The disc covers half of the slice; fine crops lie mostly inside of it.
    assert shares[False] > 0.75
    assert 0.3 < shares[True] < 0.65


def test_a_coarse_plan_makes_batches_of_its_own(data, recipe):
    images, plan = load_images([data]), recipe.plans[0]
    fine, coarse = (
        TrainingBatches(
            images, dataclasses.replace(recipe, plans=(dataclasses.replace(plan, coarse=kind),))
        )[3]
        for kind in (False, True)
    )
    assert coarse.images.shape == fine.images.shape
    assert plan.sigma_min <= coarse.sigma.min() and coarse.sigma.max() <= plan.sigma_max
    assert not torch.equal(coarse.images, fine.images)
