"""Training batches as a pure function of (seed, step, rank): any step can be made again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from mri_alps.calibration import image_scale
from mri_alps.core.random import stream_seed
from mri_alps.training import _augmentation as augmentation

if TYPE_CHECKING:
    from mri_alps.training.config import CropPlan, TrainingConfig
    from mri_alps.training.images import ImageRecord, ImageSet

# Longest edge of a coarse slice relative to the crop: the head, or most of it, is inside.
_COARSE = (0.85, 1.4)
_PLAN_STREAM, _BATCH_STREAM, _NOISE_STREAM = 1, 2, 3


class Batch(NamedTuple):
    """One step's clean images and noise levels.

    Attributes
    ----------
    images : torch.Tensor
        Complex64 (n, size, size), each divided by the `image_scale` of its slice and jittered.
    sigma : torch.Tensor
        Float32 (n,), per real component.
    step : int
        From 0.
    """

    images: torch.Tensor
    sigma: torch.Tensor
    step: int


def noise_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of the noise that is added at a step on a process.

    Parameters
    ----------
    seed : int
        Of the run.
    step : int
        Step of the training.
    rank : int
        Number of the process.
    """
    return stream_seed(seed, _NOISE_STREAM, step, rank)


class TrainingBatches(Dataset):
    """Map from step to `Batch`.

    Which images, crops, phases and levels a step sees depends on (seed, step, rank) only, not
    on worker processes or on where a run was interrupted. All processes of a step use the same
    crop plan, so that they take equally long.

    Parameters
    ----------
    images : ImageSet
        Training slices.
    config : TrainingConfig
        Recipe.
    rank : int
        Number of this process.
    """

    def __init__(self, images: ImageSet, config: TrainingConfig, rank: int = 0):
        self.records = images.records
        self.config = config
        self.rank = rank
        self._low: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return self.config.steps

    def plan(self, step: int) -> CropPlan:
        """Return the crop plan of a step."""
        generator = _generator(stream_seed(self.config.seed, _PLAN_STREAM, step))
        shares = torch.tensor([plan.share for plan in self.config.plans])
        return self.config.plans[int(torch.multinomial(shares, 1, generator=generator))]

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of a step."""
        plan = self.plan(step)
        generator = _generator(stream_seed(self.config.seed, _BATCH_STREAM, step, self.rank))
        chosen = torch.randint(len(self.records), (plan.batch_size,), generator=generator)
        crops = [self._crop(int(index), plan, generator) for index in chosen]
        return Batch(torch.stack(crops), draw_levels(plan, generator), step)

    def _crop(self, index: int, plan: CropPlan, generator: torch.Generator) -> torch.Tensor:
        record = self.records[index]
        if index not in self._low:
            self._low[index] = augmentation.low_resolution(to_tensor(record.image))
        low, jitter = self._low[index], self.config.scale_jitter
        return random_crop(record, low, plan.size, jitter, generator, plan.coarse)


def draw_levels(plan: CropPlan, generator: torch.Generator) -> torch.Tensor:
    """Draw a batch's noise levels log-uniformly, one in each of equal strata.

    Parameters
    ----------
    plan : CropPlan
        Gives range and count.
    generator : torch.Generator
        Source of randomness.
    """
    position = torch.arange(plan.batch_size) + torch.rand(plan.batch_size, generator=generator)
    low, high = math.log(plan.sigma_min), math.log(plan.sigma_max)
    return torch.exp(low + (high - low) * position / plan.batch_size)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """Convert a record's pixels to float32 or complex64.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W), of any real or complex dtype.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(image))
    return tensor if tensor.is_complex() else tensor.float()


def random_crop(
    record: ImageRecord,
    low: torch.Tensor,
    size: int,
    jitter: float,
    generator: torch.Generator,
    coarse: bool = False,
) -> torch.Tensor:
    """Cut an augmented crop out of a slice.

    Parameters
    ----------
    record : ImageRecord
        The slice.
    low : torch.Tensor
        Its `augmentation.low_resolution`.
    size : int
        Edge of the crop.
    jitter : float
        Largest relative deviation of the scale.
    generator : torch.Generator
        Source of randomness.
    coarse : bool
        Reduce the slice to about `size` first, see `CropPlan`.

    Returns
    -------
    torch.Tensor
        Complex64 (size, size).
    """
    image = to_tensor(record.image)
    if record.image.dtype == np.uint8:
        # Undo the rounding, except where the scanner wrote exact zeros.
        image = image + (torch.rand(image.shape, generator=generator) - 0.5) * (image > 0)
    if coarse:
        longest = size * augmentation.uniform(generator, *_COARSE)
        image = augmentation.reduce_matrix(image, longest)
    height, width = image.shape
    matrix = augmentation.random_affine(generator)
    center = augmentation.draw_center(low, (height, width), size, generator)
    planes = torch.view_as_real(image).permute(2, 0, 1) if image.is_complex() else image[None]
    crop = augmentation.extract(planes, matrix, center, size)
    x = torch.complex(crop[0], crop[1] if len(crop) == 2 else torch.zeros_like(crop[0]))
    # The fields live in the crop's frame; the warp only moves them a little against the image.
    offset = (torch.arange(size) - (size - 1) / 2) * 2
    shift = (center + 0.5) * 2 / torch.tensor([width, height]) - 1
    inside = torch.linalg.solve(matrix, shift)
    fields = _Fields(record.image.dtype.kind == "c", generator)
    scale = image_scale(fields.apply(low, *(_cell_centers(n) for n in low.shape)))
    scale *= math.exp(augmentation.uniform(generator, -math.log1p(jitter), math.log1p(jitter)))
    return fields.apply(x, offset / height + inside[1], offset / width + inside[0]) / scale


def whole_image(record: ImageRecord, generator: torch.Generator) -> torch.Tensor:
    """Return a slice as training sees it, uncropped, neither warped nor jittered.

    Parameters
    ----------
    record : ImageRecord
        The slice.
    generator : torch.Generator
        Decides phase and receive bias.

    Returns
    -------
    torch.Tensor
        Complex64 (H, W), divided by its `image_scale`.
    """
    image = to_tensor(record.image).to(torch.complex64)
    fields = _Fields(record.image.dtype.kind == "c", generator)
    image = fields.apply(image, *(_cell_centers(size) for size in image.shape))
    return image / image_scale(image)


class _Fields:
    """A receive bias and a phase, drawn once, for the crop and for its low-resolution slice."""

    def __init__(self, has_phase: bool, generator: torch.Generator):
        strength = math.exp(augmentation.uniform(generator, -2.5, -0.7))
        self.bias = strength * augmentation.smooth_field(generator, 2.0)
        self.field, self.polynomial = augmentation.draw_phase(generator)
        # Tissues differ in phase, too: susceptibility and chemical shift follow the contrast.
        self.contrast = 0.4 * torch.randn((), generator=generator).item()
        self.contrast *= augmentation.uniform(generator, 0, 1) < 0.3
        if has_phase:  # a measured phase is only tilted
            self.field, self.polynomial = self.field * 0, self.polynomial * 0.3
            self.contrast = 0.0

    def apply(self, image: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        biased = image * augmentation.evaluate_field(self.bias, y, x).exp()
        phase = augmentation.evaluate_field(self.field, y, x)
        phase = phase + augmentation.evaluate_polynomial(self.polynomial, y, x)
        if self.contrast:
            magnitude = biased.abs()
            typical = magnitude.square().mean().sqrt().clamp(min=1e-20)
            phase = phase + self.contrast * (magnitude / typical / 2).clamp(max=2.5)
        return biased * torch.polar(torch.ones(()), phase)


def _cell_centers(count: int) -> torch.Tensor:
    return (torch.arange(count) + 0.5) * 2 / count - 1


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
