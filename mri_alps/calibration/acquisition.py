"""One slice as a sampler takes it: whitened, scaled, with sensitivity maps and weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from mri_alps.core.crop import center_crop
from mri_alps.operators import NonCartesianSenseOperator, SenseOperator

CENTER = 24
"""Samples along each axis that count as the centre of k-space."""


def sense_operator(
    sensitivity_maps: torch.Tensor,
    mask: torch.Tensor,
    weights: torch.Tensor | None = None,
    trajectory: torch.Tensor | None = None,
) -> SenseOperator | NonCartesianSenseOperator:
    """Return A: along a trajectory if there is one, else on the grid of k-space.

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        Complex (coils, H, W).
    mask : torch.Tensor
        Of Cartesian samples; along a trajectory every sample counts.
    weights : torch.Tensor, optional
        Of samples.
    trajectory : torch.Tensor, optional
        float64 (samples, shots, 2).
    """
    if trajectory is None:
        return SenseOperator(sensitivity_maps, mask, weights)
    return NonCartesianSenseOperator(sensitivity_maps, trajectory, weights)


class InverseProblem(NamedTuple):
    """data = operator x + n, with n of `noise_std` per real component.

    Parameters
    ----------
    operator : SenseOperator or NonCartesianSenseOperator
        A, with the weights of measured samples.
    data : torch.Tensor
        complex64 (coils, H, W), or (coils, samples, shots) along a trajectory: k-space times the
        weights.
    noise_std : float
        Of all of `data`.
    """

    operator: SenseOperator | NonCartesianSenseOperator
    data: torch.Tensor
    noise_std: float


@dataclass(frozen=True)
class Acquisition:
    """One slice, whitened and scaled: kspace = mask F S x + n.

    x has about unit size (its image scale is 1), F is the centred orthonormal Fourier
    transform, n has the standard deviation `noise_std` per real component, independent between
    coils and samples.

    Parameters
    ----------
    kspace : torch.Tensor
        complex64 (coils, H, W): whitened, compressed if asked for, divided by `scale`; zero
        outside the mask. Along a trajectory (coils, samples, shots), or (coils, samples, 1) where
        some of the samples were not measured.
    mask : torch.Tensor
        bool (H, W), or (W,) where whole lines were measured; True for all (samples, shots).
    sensitivity_maps : torch.Tensor
        complex64 (coils, H, W) of the whitened (and compressed) coils, sum over coils of
        |S|^2 = 1 inside the support and 0 outside.
    noise_std : float
        1 / scale.
    scale : float
        Raw units of the whitened, coil-combined image: image = scale * x.
    rss_weight : torch.Tensor
        float32 (H, W): sqrt(sum_c |(W^-1 S)_c|^2) over the uncompressed coils; |x| times
        rss_weight times scale is in the units of the scan's own root-sum-of-squares image.
    whitening : numpy.ndarray
        complex128 (coils, coils) W of the uncompressed coils.
    compression : numpy.ndarray or None
        (virtual coils, coils) with orthonormal rows, or one such matrix for each readout
        position, (H, virtual coils, coils); None without compression.
    maps_uncompressed : torch.Tensor
        complex64 (coils, H, W), the maps of the whitened coils before compression, in the
        normalisation in which they go with x.
    info : dict
        json-able: noise source, calibration region, notes.
    weights : torch.Tensor or None
        float32, shape of `mask` or (H, W): how far each measured sample is trusted (see
        `mri_alps.calibration.line_weights`); None for 1 everywhere.
    is_empty : bool
        True where all measured samples are zero, as outside of the head in a padded volume:
        there is nothing to infer, the image is zero. Maps are zero then, `scale` is 1.
    calibration_kspace : numpy.ndarray or None
        complex64 (coils, at most 32, at most 32): what of the calibration region maps are made
        of, of the whitened, uncompressed coils; possibly of size 0.
    trajectory : torch.Tensor or None
        float64 (samples, shots, 2), where the samples lie in cycles per field of view; None of
        Cartesian scans.
    """

    kspace: torch.Tensor
    mask: torch.Tensor
    sensitivity_maps: torch.Tensor
    noise_std: float
    scale: float
    rss_weight: torch.Tensor
    whitening: np.ndarray
    compression: np.ndarray | None
    maps_uncompressed: torch.Tensor = field(repr=False)
    info: dict[str, Any] = field(default_factory=dict)
    weights: torch.Tensor | None = None
    is_empty: bool = False
    calibration_kspace: np.ndarray | None = field(default=None, repr=False)
    trajectory: torch.Tensor | None = field(default=None, repr=False)

    def problem(self) -> InverseProblem:
        """Return what `sample_posterior` takes after the prior: operator, data and noise level.

        The weights of measured samples are part of operator and data, as `reconstruct` uses
        them: ``sample_posterior(prior, *acquisition.problem())`` is its posterior.
        """
        return InverseProblem(self.operator(), self.data(), self.noise_std)

    def operator(self) -> SenseOperator | NonCartesianSenseOperator:
        """Return A with the weights, which goes with `data()`."""
        return self.operator_with(self.weights)

    def operator_with(
        self, weights: torch.Tensor | None
    ) -> SenseOperator | NonCartesianSenseOperator:
        """Return A with other weights, or none.

        Parameters
        ----------
        weights : torch.Tensor or None
            Of the samples.
        """
        return sense_operator(self.sensitivity_maps, self.mask, weights, self.trajectory)

    def data(self) -> torch.Tensor:
        """Return k-space times the weights, (coils, H, W): noise and model error in one level."""
        return self.kspace if self.weights is None else self.kspace * self.weights

    @property
    def shape(self) -> tuple[int, int]:
        """(readout, phase_encode) of the image."""
        return (self.sensitivity_maps.shape[-2], self.sensitivity_maps.shape[-1])

    @property
    def center(self) -> torch.Tensor:
        """Samples within 12 of the centre of k-space along both axes, bool, shape of a coil."""
        if self.trajectory is not None:
            return (self.trajectory.abs() < CENTER / 2).all(-1).to(self.kspace.device)
        center = torch.zeros(self.shape, dtype=torch.bool, device=self.kspace.device)
        size = (min(CENTER, self.shape[0]), min(CENTER, self.shape[1]))
        center_crop(center, size)[...] = True
        return center

    def raw_sensitivity_maps(self) -> torch.Tensor:
        """Maps of the scan's own coils, complex64 (coils, H, W): W^-1 S.

        Times scale * x they predict the coil images, and so the k-space, of the file.
        """
        inverse = torch.as_tensor(np.linalg.inv(self.whitening))
        maps = self.maps_uncompressed
        return torch.tensordot(inverse.to(maps.device, maps.dtype), maps, dims=1)
