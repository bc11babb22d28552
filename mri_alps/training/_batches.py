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
from mri_alps.training import _effects
from mri_alps.training.config import ScannerEffects

if TYPE_CHECKING:
    from mri_alps.training.config import CropPlan, TrainingConfig
    from mri_alps.training.images import ImageRecord, ImageSet

# Longest edge of a coarse slice relative to the crop: the head, or most of it, is inside.
_COARSE = (0.85, 1.4)
_DIPOLES = 2  # cavities of air in a slice whose phase has edges
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
    known : torch.Tensor or None
        Boolean (n, size, size), the pixels that are scored; None for all.
    noise : torch.Tensor or None
        Float32 (n, size, size), standard deviation of the noise that the images have, per real
        component; None where it is not counted.
    """

    images: torch.Tensor
    sigma: torch.Tensor
    step: int
    known: torch.Tensor | None = None
    noise: torch.Tensor | None = None


class Crop(NamedTuple):
    """An augmented crop.

    Attributes
    ----------
    image : torch.Tensor
        Complex64 (size, size).
    known : torch.Tensor
        Boolean (size, size), whether a pixel lies in the slice.
    noise : torch.Tensor
        Float32 (size, size), standard deviation of the noise that is counted.
    """

    image: torch.Tensor
    known: torch.Tensor
    noise: torch.Tensor


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
        weights = torch.tensor([record.weight for record in self.records], dtype=torch.float64)
        self._weights = None if (weights == weights[0]).all() else weights

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
        crops = [self._crop(index, plan, generator) for index in self._draw(plan, generator)]
        images, known, noise = (torch.stack(part) for part in zip(*crops, strict=True))
        return Batch(
            images,
            draw_levels(plan, generator),
            step,
            known if self.config.exclude_padding else None,
            noise if self.config.count_noise else None,
        )

    def _draw(self, plan: CropPlan, generator: torch.Generator) -> list[int]:
        count = plan.batch_size
        if self._weights is None:
            return torch.randint(len(self.records), (count,), generator=generator).tolist()
        return torch.multinomial(self._weights, count, True, generator=generator).tolist()

    def _crop(self, index: int, plan: CropPlan, generator: torch.Generator) -> Crop:
        record = self.records[index]
        if index not in self._low:
            self._low[index] = augmentation.low_resolution(to_tensor(record.image))
        low, config = self._low[index], self.config
        return random_crop(
            *(record, low, plan.size, config.scale_jitter, generator, plan.coarse),
            effects=config.effects,
            mirror=config.exclude_padding,
            count_noise=config.count_noise,
        )


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
    effects: ScannerEffects | None = None,
    mirror: bool = False,
    count_noise: bool = False,
) -> Crop:
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
    effects : ScannerEffects, optional
        None by default.
    mirror : bool
        Beyond the slice's edges lies its mirror image, not zeros.
    count_noise : bool
        See `RecipeSettings`.

    Returns
    -------
    Crop
        With its known pixels and counted noise.
    """
    noise = (record.noise_std or 0.0) if count_noise else 0.0
    effects = ScannerEffects() if effects is None or noise else effects
    image = to_tensor(record.image)
    if record.image.dtype == np.uint8:
        # Undo the rounding, except where the scanner wrote exact zeros.
        image = image + (torch.rand(image.shape, generator=generator) - 0.5) * (image > 0)
    if noise and not image.is_complex():  # a magnitude lacks the other component
        image = torch.complex(image, noise * torch.randn(image.shape, generator=generator))
    if _happens(effects.lost_periphery, generator):
        image = _effects.lose_periphery(image, _effects.draw_window(generator))
    if coarse:
        longest = size * augmentation.uniform(generator, *_COARSE)
        image = augmentation.reduce_matrix(image, longest)
    height, width = image.shape
    noise *= math.sqrt(image.numel() / record.image.size)  # a smaller matrix has less
    matrix = augmentation.random_affine(generator, warp=not noise)
    center = augmentation.draw_center(low, (height, width), size, generator)
    planes = torch.view_as_real(image).permute(2, 0, 1) if image.is_complex() else image[None]
    crop = augmentation.extract(planes, matrix, center, size, mirror)
    x = torch.complex(crop[0], crop[1] if len(crop) == 2 else torch.zeros_like(crop[0]))
    # The fields live in the crop's frame; the warp only moves them a little against the image.
    offset = (torch.arange(size) - (size - 1) / 2) * 2
    shift = (center + 0.5) * 2 / torch.tensor([width, height]) - 1
    origin = torch.linalg.solve(matrix, shift)
    fields = _Fields(record.image.dtype.kind == "c", generator, effects, image_scale(low))
    scale = image_scale(fields.apply(low, *(_cell_centers(n) for n in low.shape)))
    scale *= math.exp(augmentation.uniform(generator, -math.log1p(jitter), math.log1p(jitter)))
    y_axis, x_axis = offset / height + origin[1], offset / width + origin[0]
    return Crop(
        fields.apply(x, y_axis, x_axis) / scale,
        augmentation.inside((height, width), matrix, center, size),
        noise * fields.shading(y_axis, x_axis) / scale,
    )


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
    """What is drawn once for the crop and for its low-resolution slice: bias, phase, effects.

    Parameters
    ----------
    has_phase : bool
        The slice is complex.
    generator : torch.Generator
        Source of randomness.
    effects : ScannerEffects, optional
        None by default.
    reference : float
        Scale of the slice, before any of it.
    """

    def __init__(
        self,
        has_phase: bool,
        generator: torch.Generator,
        effects: ScannerEffects | None = None,
        reference: float = 1.0,
    ):
        strength = math.exp(augmentation.uniform(generator, -2.5, -0.7))
        self.bias = strength * augmentation.smooth_field(generator, 2.0)
        self.field, self.polynomial = augmentation.draw_phase(generator)
        # Tissues differ in phase, too: susceptibility and chemical shift follow the contrast.
        self.contrast = 0.4 * torch.randn((), generator=generator).item()
        self.contrast *= augmentation.uniform(generator, 0, 1) < 0.3
        if has_phase:  # a measured phase is only tilted
            self.field, self.polynomial = self.field * 0, self.polynomial * 0.3
            self.contrast = 0.0
        self.reference = reference
        effects = effects or ScannerEffects()
        self.curve = self.fat = None
        self.dipoles: list[tuple[float, float, float, float, float]] = []
        if effects.contrast > 0:
            self.curve = _effects.draw_contrast(generator, effects.contrast)
        if not has_phase and _happens(effects.phase_edges, generator):
            if _happens(0.7, generator):
                self.fat = _effects.draw_fat(generator)
            self.dipoles = [_effects.draw_dipole(generator) for _ in range(_DIPOLES)]

    def shading(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Gain of the receive bias, which noise has as well as signal."""
        return augmentation.evaluate_field(self.bias, y, x).exp()

    def apply(self, image: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if self.curve is not None:
            image = _effects.change_contrast(image, self.curve, self.reference)
        if self.fat is not None:
            image = _effects.turn_fat(image, *self.fat, self.reference)
        biased = image * self.shading(y, x)
        phase = augmentation.evaluate_field(self.field, y, x)
        phase = phase + augmentation.evaluate_polynomial(self.polynomial, y, x)
        for dipole in self.dipoles:
            phase = phase + _effects.dipole_phase(y, x, *dipole)
        if self.contrast:
            magnitude = biased.abs()
            typical = magnitude.square().mean().sqrt().clamp(min=1e-20)
            phase = phase + self.contrast * (magnitude / typical / 2).clamp(max=2.5)
        return biased * torch.polar(torch.ones(()), phase)


def _happens(share: float, generator: torch.Generator) -> bool:
    """Draw whether; nothing is drawn where it never does, so that recipes without stay the same."""
    return share > 0 and augmentation.uniform(generator, 0, 1) < share


def _cell_centers(count: int) -> torch.Tensor:
    return (torch.arange(count) + 0.5) * 2 / count - 1


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
