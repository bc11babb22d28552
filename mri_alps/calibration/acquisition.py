"""One slice as a sampler takes it: whitened, scaled, with sensitivity maps and weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from mri_alps.core.crop import center_crop
from mri_alps.operators import (
    NonCartesianSenseOperator,
    SenseOperator,
    SoftSenseOperator,
    sense_operator,
)

CENTER = 24
"""Samples along each axis that count as the centre of k-space."""

AnySenseOperator = SenseOperator | SoftSenseOperator | NonCartesianSenseOperator


class InverseProblem(NamedTuple):
    """data = operator x + n, with n of `noise_std` per real component.

    Parameters
    ----------
    operator : SenseOperator, SoftSenseOperator or NonCartesianSenseOperator
        A, with the weights of measured samples; of several sets of maps its unknown is an image for
        each, (sets, H, W).
    data : torch.Tensor
        complex64 (coils, H, W), or (coils, samples, shots) along a trajectory: k-space times the
        weights.
    noise_std : float
        Of all of `data`.
    """

    operator: AnySenseOperator
    data: torch.Tensor
    noise_std: float


@dataclass(frozen=True)
class Acquisition:
    """One slice, whitened and scaled: kspace = mask F S x + n.

    x has about unit size (its image scale is 1), F is the centred orthonormal Fourier
    transform, n has the standard deviation `noise_std` (times `line_noise`, where there is one) per
    real component, independent between coils and samples.

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
        |S|^2 = 1 inside the support and 0 outside: the first set where there are several.
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
    further_maps, further_maps_uncompressed : torch.Tensor or None
        complex64 (sets - 1, coils, H, W): further sets of maps, where two places of the object
        share a pixel; orthogonal to the first at every pixel.
    further_powers : tuple of float
        Power of their images over that of the first, as the calibration region has it.
    maps_deviation : torch.Tensor or None
        float32 (H, W): standard deviation of the complex image that the error of the maps brings
        about, as two estimates of them tell it (`measure_maps_deviation`), beside what operator
        and noise say; `reconstruct` adds it to the samples' deviations. None where there is one.
    line_noise : torch.Tensor or None
        float32 (W,): standard deviation of the noise of each line over `noise_std`, where k-space
        was filtered along the phase encode (`mri_alps.calibration.noise_spectrum`); `weights` are
        larger than 1 where it is less. None for 1 everywhere.
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
    further_maps: torch.Tensor | None = field(default=None, repr=False)
    further_maps_uncompressed: torch.Tensor | None = field(default=None, repr=False)
    further_powers: tuple[float, ...] = ()
    maps_deviation: torch.Tensor | None = field(default=None, repr=False)
    line_noise: torch.Tensor | None = field(default=None, repr=False)

    def problem(self) -> InverseProblem:
        """Return what `sample_posterior` takes after the prior: operator, data and noise level.

        The weights of measured samples are part of operator and data, as `reconstruct` uses
        them: ``sample_posterior(prior, *acquisition.problem())`` is its posterior. Of several sets
        of maps the prior is that of an image for each, see `mri_alps.priors.PriorOfSets`.
        """
        return InverseProblem(self.operator(), self.data(), self.noise_std)

    @property
    def n_sets(self) -> int:
        """Sets of sensitivity maps."""
        return 1 + len(self.further_powers)

    def sets(self, uncompressed: bool = False) -> torch.Tensor:
        """Return all maps, (sets, coils, H, W) of several sets, else (coils, H, W).

        Parameters
        ----------
        uncompressed : bool
            Whether those of the whitened coils before compression.
        """
        first, further = self.sensitivity_maps, self.further_maps
        if uncompressed:
            first, further = self.maps_uncompressed, self.further_maps_uncompressed
        return first if further is None else torch.cat([first[None], further])

    def operator(self) -> AnySenseOperator:
        """Return A with the weights, which goes with `data()`."""
        return self.operator_with(self.weights)

    def operator_with(self, weights: torch.Tensor | None) -> AnySenseOperator:
        """Return A with other weights, or none.

        Parameters
        ----------
        weights : torch.Tensor or None
            Of the samples.
        """
        return sense_operator(self.sets(), self.mask, weights, self.trajectory)

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

        Times scale * x they predict the coil images, and so the k-space, of the file. Of several
        sets (sets, coils, H, W): times the images of all sets, and added.
        """
        inverse = torch.as_tensor(np.linalg.inv(self.whitening))
        maps = self.sets(uncompressed=True)
        return torch.einsum("ij,...jhw->...ihw", inverse.to(maps.device, maps.dtype), maps)

    def combine(self, images: torch.Tensor) -> torch.Tensor:
        """Return one image for those of all sets; that of a single set as it is.

        Its magnitude is that of all coils, sqrt(sum_c |sum_s (W^-1 S_s)_c x_s|^2), and its phase
        that of the first set's image.

        Parameters
        ----------
        images : torch.Tensor
            Complex (n, sets, H, W) of several sets.

        Returns
        -------
        torch.Tensor
            Complex (n, H, W); times `rss_weight` and `scale` it is in the units of the scan's own
            root-sum-of-squares image.
        """
        if self.n_sets == 1:
            return images
        maps = self.raw_sensitivity_maps().to(images.device)
        power = torch.zeros_like(images[:, 0].real)
        for coil in range(maps.shape[1]):
            power += (maps[:, coil] * images).sum(1).abs().square()
        weight = self.rss_weight.to(images.device)
        magnitude = torch.where(weight > 0, power.sqrt() / weight.clamp_min(1e-30), 0)
        return torch.polar(magnitude, images[:, 0].angle())
