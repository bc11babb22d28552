"""Soft-SENSE: several sets of sensitivity maps, each with an image of its own.

Where two places of an object share a pixel, as in a field of view that is smaller than the object,
no single set of maps explains what the coils see: A (x_1, x_2, ..) = M F sum_s S_s x_s. Source:
Uecker et al., Magn Reson Med 71:990-1001 (2014).
"""

from __future__ import annotations

from functools import cached_property

import torch

from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.operators._kinds import with_precision
from mri_alps.operators._sets_gram import SetsGram
from mri_alps.operators.base import LinearOperator
from mri_alps.operators.lines._structure import line_axis
from mri_alps.operators.lines.sets import SetsLineFactors
from mri_alps.operators.noncartesian.operator import NonCartesianSenseOperator
from mri_alps.operators.sense import SenseOperator, as_mask, as_weights


class SoftSenseOperator(LinearOperator):
    """Cartesian multi-coil acquisition of several images, each seen by a set of maps of its own.

    A x = weights * mask * F(sum over sets of sensitivity_maps * x), with F as in `SenseOperator`.

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        Complex, (sets, coils, H, W); the domain is (sets, H, W) and the range (coils, H, W). No
        normalisation is assumed. The tensor is kept, not copied: do not write into it afterwards.
    mask : torch.Tensor or array_like
        Boolean (or only 0 and 1), True where measured; broadcasts to (H, W).
    weights : torch.Tensor, optional
        Real, positive, of the shapes a mask may have; see `SenseOperator`.

    Raises
    ------
    ShapeError, DtypeError
        If maps, mask and weights do not fit together.
    """

    def __init__(
        self,
        sensitivity_maps: torch.Tensor,
        mask: torch.Tensor,
        weights: torch.Tensor | None = None,
    ):
        _check_maps(sensitivity_maps)
        n_sets, n_coils, height, width = sensitivity_maps.shape
        self.domain_shape = (n_sets, height, width)
        self.range_shape = (n_coils, height, width)
        self.dtype, self.device = sensitivity_maps.dtype, sensitivity_maps.device
        self.sensitivity_maps = sensitivity_maps.detach()
        self.mask = as_mask(mask, (height, width)).to(self.device)
        self.weights = None
        power = self.mask.to(self.dtype.to_real())  # what stands between F and F^H in A^H A
        if weights is not None:
            found = as_weights(weights, (height, width)).to(self.mask.device)
            self.weights = found.to(self.dtype.to_real())
            power = self.weights.square() * self.mask
        self._power = power
        self._gram = SetsGram(self.sensitivity_maps, power)

    @property
    def n_sets(self) -> int:
        """Number of sets of maps, and of images."""
        return self.domain_shape[0]

    @property
    def n_coils(self) -> int:
        """Number of coils."""
        return self.range_shape[0]

    @cached_property
    def parts(self) -> tuple[SenseOperator, ...]:
        """The operator of each set alone: A is their sum, each of its own image."""
        return tuple(SenseOperator(maps, self.mask, self.weights) for maps in self.sensitivity_maps)

    @property
    def measured(self) -> torch.Tensor:
        """The mask with a coil axis: boolean, broadcastable to `range_shape`."""
        return self.mask.unsqueeze(-3)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.sensitivity_maps
        coil_images = maps[0] * x[..., 0, None, :, :]
        for index in range(1, self.n_sets):
            coil_images = coil_images + maps[index] * x[..., index, None, :, :]
        return self._weigh(fftc(coil_images) * self.measured)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        # masked_fill, since NaN times zero would let unmeasured garbage through
        coil_images = ifftc(self._weigh(y.masked_fill(~self.measured, 0)))
        return torch.stack([(m.conj() * coil_images).sum(-3) for m in self.sensitivity_maps], -3)

    def _weigh(self, kspace: torch.Tensor) -> torch.Tensor:
        return kspace if self.weights is None else kspace * self.weights.unsqueeze(-3)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return self._gram(x.reshape(-1, *self.domain_shape)).reshape(x.shape)

    def normal_fourier_diagonal(self) -> torch.Tensor:
        """Diagonal of A^H A in the Fourier basis of each set, real (sets, H, W)."""
        return torch.stack([part.normal_fourier_diagonal() for part in self.parts])

    @cached_property
    def _line_axis(self) -> int | None:
        return line_axis(self.mask)

    def line_factors(self) -> SetsLineFactors | None:
        """Eigenvectors of A^H A per image line; None for masks along both axes.

        See `SenseOperator.line_factors`; found anew each time they are asked for.
        """
        if self._line_axis is None:
            return None
        exact = line_axis(self._power) is not None
        power = self._power if exact else self._power.mean(-3 - self._line_axis, keepdim=True)
        return SetsLineFactors(self.sensitivity_maps, power, exact)

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> SoftSenseOperator:
        maps = with_precision(self.sensitivity_maps, device, real_dtype)
        return SoftSenseOperator(maps, self.mask.to(maps.device), self.weights)


def sense_operator(
    maps: torch.Tensor,
    mask: torch.Tensor,
    weights: torch.Tensor | None = None,
    trajectory: torch.Tensor | None = None,
) -> SenseOperator | SoftSenseOperator | NonCartesianSenseOperator:
    """Return A: along a trajectory if there is one, else on the grid of k-space.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (coils, H, W); on the grid also (sets, coils, H, W) of several sets.
    mask : torch.Tensor
        Of Cartesian samples; along a trajectory every sample counts.
    weights : torch.Tensor, optional
        Of samples.
    trajectory : torch.Tensor, optional
        float64 (samples, shots, 2).
    """
    if trajectory is not None:
        return NonCartesianSenseOperator(maps, trajectory, weights)
    return (SenseOperator if maps.ndim == 3 else SoftSenseOperator)(maps, mask, weights)


def _check_maps(maps: torch.Tensor) -> None:
    if not isinstance(maps, torch.Tensor) or maps.dtype not in (torch.complex64, torch.complex128):
        found = maps.dtype if isinstance(maps, torch.Tensor) else type(maps).__name__
        raise DtypeError(
            f"sensitivity_maps: found {found}, expected a complex64 or complex128 torch.Tensor"
        )
    if maps.ndim != 4 or 0 in maps.shape:
        raise ShapeError(
            f"sensitivity_maps: found shape {tuple(maps.shape)}, expected (sets, coils, H, W); of "
            "one set SenseOperator takes (coils, H, W)"
        )
