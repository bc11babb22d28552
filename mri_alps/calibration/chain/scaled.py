"""Third stage: k-space divided by the image scale, with which maps can be judged and refined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.calibration.maps_error import strict_misfit
from mri_alps.calibration.noncartesian.scale import scale_through_maps
from mri_alps.calibration.refinement import (
    PointEstimate,
    RefinedMaps,
    refine_sensitivity_maps,
)
from mri_alps.calibration.scale import BLOCK, calibration_scale
from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import smallest_mask

if TYPE_CHECKING:
    from mri_alps.calibration.chain.mapped import MappedSlice
    from mri_alps.calibration.chain.whitened import WhitenedSlice

BETTER_MISFIT = 1.15
"""Misfit of the first estimate of maps over that of the second from which the second is taken. Of
eight scans of 4 or 5 lines the second was better where this is 1.30 and 1.51 (16 coils), and the
first, or both alike, where it is 1.00 to 1.08. Of maps from outside and the same completed it is
3.8 and 4.1 for those of `bart ecalib -m1`, and 0.39 to 1.06 for good maps of three scans."""

FEW_LINES = 24
"""Calibration lines from which maps are not improved with a learned prior: the block that is
completed has as many."""


@dataclass(frozen=True)
class ScaledSlice:
    """A slice whose image has about unit size.

    Parameters
    ----------
    mapped : MappedSlice
        The stage before.
    kspace : torch.Tensor
        complex64 (coils, H, W) on the device: whitened, divided by `scale`.
    mask : torch.Tensor
        bool (W,) where whole lines were measured, else (H, W).
    scale : float
        Of the image.
    sensitivity_maps : torch.Tensor
        complex64 (coils, H, W), of unit norm over the coils.
    refined : RefinedMaps or None
        What a refinement of the maps found, if there was one.
    trajectory : torch.Tensor or None
        float64 (samples, shots, 2) of a scan along one, in cycles per field of view; `kspace` and
        `mask` are (coils, samples, shots) and (samples, shots) then.
    alternative : torch.Tensor or None
        Maps of the second estimate, of the same coils, where there are two.
    """

    mapped: MappedSlice
    kspace: torch.Tensor
    mask: torch.Tensor
    scale: float
    sensitivity_maps: torch.Tensor
    refined: RefinedMaps | None = None
    trajectory: torch.Tensor | None = None
    alternative: torch.Tensor | None = None

    @property
    def sets(self) -> torch.Tensor:
        """All sets of maps, complex64 (sets, coils, H, W); (coils, H, W) of a single one."""
        further = self.mapped.further
        if further is None:
            return self.sensitivity_maps
        return torch.cat([self.sensitivity_maps[None], further])

    @property
    def whitened(self) -> WhitenedSlice:
        """The first stage."""
        return self.mapped.whitened

    @property
    def noise_std(self) -> float:
        """Per real component."""
        return 1 / self.scale


def scale(mapped: MappedSlice) -> ScaledSlice:
    """Find the image scale and divide k-space by it.

    Parameters
    ----------
    mapped : MappedSlice
        The slice.

    Raises
    ------
    InputFileError
        If its low-resolution image is zero or not finite.
    """
    whitened, maps = mapped.whitened, mapped.sensitivity_maps
    found = _scale_of(mapped)
    path = whitened.trajectory
    measured = smallest_mask(whitened.measured) if path is None else whitened.measured
    return ScaledSlice(
        mapped,
        torch.as_tensor(whitened.kspace / np.float32(found), device=maps.device),
        torch.as_tensor(measured, device=maps.device),
        found,
        maps,
        trajectory=None if path is None else torch.as_tensor(path, device=maps.device),
    )


def choose_maps(scaled: ScaledSlice) -> ScaledSlice:
    """Take the maps that the data agree with better, where there are two.

    Parameters
    ----------
    scaled : ScaledSlice
        The slice, with the maps of the first estimate.
    """
    second = scaled.mapped.alternative
    if second is None:
        return scaled
    kspace, mask, noise_std = scaled.kspace, scaled.mask, scaled.noise_std
    first, other = (
        strict_misfit(kspace, mask, maps, noise_std)
        for maps in (scaled.sensitivity_maps, second.sensitivity_maps)
    )
    if first > BETTER_MISFIT * other:
        return replace(scale(second), alternative=scaled.sensitivity_maps)
    return replace(scaled, alternative=second.sensitivity_maps)


def refine_maps(scaled: ScaledSlice, estimate: PointEstimate | None = None) -> ScaledSlice:
    """Improve maps where the data do not agree with them; several sets stay as they are.

    Parameters
    ----------
    scaled : ScaledSlice
        The slice.
    estimate : callable, optional
        Point estimate of the image by a learned prior, for scans of few calibration lines.
    """
    if scaled.mapped.further is not None:
        return scaled
    if min(scaled.whitened.region.size) >= FEW_LINES:
        estimate = None
    data = (scaled.kspace, scaled.mask)
    noise_std, alternative = scaled.noise_std, scaled.alternative
    refined = refine_sensitivity_maps(*data, scaled.sensitivity_maps, noise_std, estimate)
    if alternative is not None and (refined.n_rounds or estimate is not None):
        other = refine_sensitivity_maps(*data, alternative, noise_std, estimate)
        n_estimates = refined.n_estimates + other.n_estimates
        if other.n_rounds and other.misfit < refined.misfit:
            refined, other = other, refined
        refined = refined._replace(n_estimates=n_estimates)
        alternative = other.sensitivity_maps
    return replace(
        scaled,
        sensitivity_maps=refined.sensitivity_maps,
        refined=refined,
        alternative=alternative,
    )


def _scale_of(mapped: MappedSlice) -> float:
    whitened, maps = mapped.whitened, mapped.sensitivity_maps
    raw, region, measured = whitened.raw, whitened.region, whitened.measured
    ratio = (raw.shape[0] / raw.crop[0], raw.shape[1] / raw.crop[1])
    path = whitened.trajectory
    try:
        if mapped.center is not None:
            return calibration_scale(mapped.center, maps, ratio)
        if path is not None and raw.n_coils > 1 and min(region.size) < BLOCK:
            kspace, places = torch.as_tensor(whitened.kspace), torch.as_tensor(path)
            return scale_through_maps(kspace.to(maps.device), maps, places, ratio)
        if min(region.size) >= 4:
            return calibration_scale(region.kspace, maps, ratio)
        # Without a fully sampled centre, what there is of it stands for the rest.
        fraction = measured.mean() if measured.any() else 1.0
        return calibration_scale(whitened.kspace / np.float32(fraction), maps, ratio)
    except InputFileError as error:
        raise InputFileError(f"{whitened.name}: {error}") from None
