"""Left-out samples against their prediction, in tiles of k-space."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal
from mri_alps.operators import sense_operator
from mri_alps.uncertainty.factors import LeftOutEnergies, frequency_radius

TILES = 8
"""Tiles of k-space along each axis."""
_NOISE_DRAWS = 4


def compare_left_out(
    sensitivity_maps: torch.Tensor,
    left_out: torch.Tensor,
    kspace: torch.Tensor,
    samples: torch.Tensor,
    noise_std: float | torch.Tensor,
    n_evaluations: int = 0,
    trajectory: torch.Tensor | None = None,
    maps_errors: torch.Tensor | None = None,
) -> LeftOutEnergies:
    """Compare samples that were left out with what posterior samples from the others predict.

    Both are looked at as what they contribute to the coil-combined image, S^H F^H P (y - A x),
    inside of the object; of several sets of maps S is the first of them.

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        Complex (coils, H, W), or (sets, coils, H, W) of several sets.
    left_out : torch.Tensor
        Bool (H, W): the samples P.
    kspace : torch.Tensor
        Complex (coils, H, W), what was measured, without weights.
    samples : torch.Tensor
        Complex (n, H, W), n > 1, of the posterior without `left_out`; (n, sets, H, W) of several
        sets.
    noise_std : float or torch.Tensor
        Per real component; (W,) where lines differ.
    n_evaluations : int
        For the record.
    trajectory : torch.Tensor, optional
        float64 (points, 2), where samples that were left out lie, in cycles per field of view;
        `kspace` is (coils, points) then, and `left_out` marks the points of the grid next to them.
    maps_errors : torch.Tensor, optional
        Complex (m, H, W), m > 1, of mean zero: draws of the error that uncertain maps add to the
        image.
    """
    predict = sense_operator(sensitivity_maps, left_out, None, trajectory)
    first = sensitivity_maps if sensitivity_maps.ndim == 3 else sensitivity_maps[0]
    operator = sense_operator(first, left_out, None, trajectory)
    n_samples = len(samples)
    mean_of_sets = samples.mean(0)
    mean = mean_of_sets if sensitivity_maps.ndim == 3 else mean_of_sets[0]
    inside = object_mask(mean)

    def combined(residual: torch.Tensor) -> torch.Tensor:
        return operator.adjoint(residual) * inside

    error = combined(kspace - predict.forward(mean_of_sets))
    # The truth is one draw more: its distance from the mean of n has 1 + 1/n of the variance.
    deviation = combined(predict.forward(samples - mean_of_sets))
    scale = (1 + 1 / n_samples) / (n_samples - 1)
    generator = torch.Generator().manual_seed(0)
    noise_energy = torch.zeros(mean.shape, dtype=torch.float64, device=mean.device)
    noise_variance = torch.zeros_like(noise_energy)
    for _ in range(_NOISE_DRAWS):
        white = standard_normal(operator.range_shape, generator, mean.dtype).to(mean.device)
        noise = combined(noise_std * white)
        noise_energy += fftc(noise).abs().double().square() / _NOISE_DRAWS
        noise_variance += noise.abs().double().square() / _NOISE_DRAWS
    predicted = fftc(deviation).abs().double().square().sum(0) * scale
    variance = deviation.abs().double().square().sum(0) * scale
    maps_energy = maps_variance = None
    if maps_errors is not None:
        added = combined(predict.forward(maps_errors)) / math.sqrt(len(maps_errors) - 1)
        maps_energy = fftc(added).abs().double().square().sum(0)
        maps_variance = added.abs().double().square().sum(0)[inside].cpu().numpy()
    level = noise_variance[inside].mean() if inside.any() else noise_variance.mean()
    held = left_out.cpu().numpy()
    radius = frequency_radius((mean.shape[0], mean.shape[1]))
    tile = _Tiles.of(held)

    def tiled(energy: torch.Tensor) -> np.ndarray:
        return tile.sum(energy.cpu().numpy())

    return LeftOutEnergies(
        error=tiled(fftc(error).abs().double().square()),
        predicted=tiled(predicted),
        noise=tiled(noise_energy),
        radius=tile.sum(held * radius) / tile.sum(held),
        n_left_out=int(held.any(0).sum() if tile.of_lines else held.sum()),
        n_evaluations=n_evaluations,
        squared_error=error.abs().double().square()[inside].cpu().numpy(),
        variance=variance[inside].cpu().numpy(),
        noise_variance=float(level),
        n_samples=n_samples,
        maps=None if maps_energy is None else tiled(maps_energy),
        maps_variance=maps_variance,
    )


def object_mask(image: torch.Tensor) -> torch.Tensor:
    """Return where an image shows something, bool (H, W): bright pixels, closed and filled.

    Parameters
    ----------
    image : torch.Tensor
        Complex (H, W).
    """
    magnitude = image.abs().cpu().numpy()
    bright = magnitude > 0.1 * np.percentile(magnitude, 99)
    closed = ndimage.binary_fill_holes(ndimage.binary_opening(ndimage.binary_closing(bright)))
    return torch.as_tensor(closed if closed.any() else bright, device=image.device)


class _Tiles(NamedTuple):
    """The tiles of k-space that hold left-out samples: parts of each line, or of the plane."""

    number: np.ndarray
    held: np.ndarray
    of_lines: bool

    @classmethod
    def of(cls, left_out: np.ndarray) -> _Tiles:
        height, width = left_out.shape
        lines = np.flatnonzero(left_out.any(0))
        of_lines = bool((left_out[:, lines] == np.asarray(left_out.any(1))[:, None]).all())
        if of_lines:  # what the maps spread belongs to the nearest line
            columns = np.abs(np.arange(width)[:, None] - lines).argmin(1)
        else:
            columns = np.arange(width) * TILES // width
        rows = np.arange(height) * TILES // height
        number = rows[:, None] * (columns.max() + 1) + columns
        held = np.bincount(number.ravel(), left_out.ravel()) > 0
        return cls(number, held, of_lines)

    def sum(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.number.ravel(), values.ravel(), len(self.held))[self.held]
