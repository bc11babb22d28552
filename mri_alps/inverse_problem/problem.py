"""One inverse problem, as every sampler sees it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.plugins import guarded
from mri_alps.core.solvers import inner_product


class OperatorLike(Protocol):
    """What the samplers ask of an operator; a `LinearOperator` is one."""

    @property
    def domain_shape(self) -> Sequence[int]:
        """Shape of an image."""
        ...

    def forward(self, x: torch.Tensor, /) -> torch.Tensor:
        """Apply A to (n, *domain_shape)."""
        ...

    def adjoint(self, y: torch.Tensor, /) -> torch.Tensor:
        """Apply A^H to (*data_shape) or (n, *data_shape)."""
        ...

    def normal(self, x: torch.Tensor, /) -> torch.Tensor:
        """Apply A^H A to (n, *domain_shape)."""
        ...


@dataclass(frozen=True)
class Problem:
    """Data y = A x + n with its likelihood, for images (n, *domain_shape).

    Attributes
    ----------
    operator : object
        With `forward`, `adjoint`, `normal`, `domain_shape`.
    data : torch.Tensor
        y, (*range_shape).
    noise_std : torch.Tensor
        Per real component, shaped to broadcast against an image: () or (B, 1, ...).
    back_projection : torch.Tensor
        A^H y, computed once.
    domain_shape : tuple of int
        Shape of the unknown.
    n_slices : int or None
        B for an operator over a batch of slices, whose domain is (B, *image_shape).
    n_sets : int or None
        Of an operator whose unknown is several images that are seen together, one for each of its
        sets of maps: the domain, and `image_shape`, is (n_sets, H, W).
    """

    operator: OperatorLike
    data: torch.Tensor
    noise_std: torch.Tensor
    back_projection: torch.Tensor
    domain_shape: tuple[int, ...]
    n_slices: int | None
    n_sets: int | None = None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return self.domain_shape if self.n_slices is None else self.domain_shape[1:]

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of the data of one image."""
        return tuple(self.data.shape if self.n_slices is None else self.data.shape[1:])

    @property
    def dims(self) -> tuple[int, ...]:
        """Negative axes of one image: priors are stationary along these."""
        return tuple(range(-len(self.image_shape) + (self.n_sets is not None), 0))

    @property
    def n_pixels(self) -> int:
        """Of one image: the factor of the Fourier transform's norm."""
        return math.prod(self.image_shape[dim] for dim in self.dims)

    @property
    def n_values(self) -> int:
        """Real values of the unknown."""
        return math.prod(self.image_shape) * (2 if self.dtype.is_complex else 1)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the unknown: that of A^H y."""
        return self.back_projection.dtype

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.data.device

    def over_data(self, per_image: torch.Tensor) -> torch.Tensor:
        """Reshape a () or (B, 1, ...) weight to broadcast against the data."""
        if self.n_slices is None or per_image.ndim == 0:
            return per_image
        return per_image.reshape(-1, *[1] * len(self.data_shape))

    def data_gradient(
        self, x: torch.Tensor, noise_std: torch.Tensor, back_projection: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Gradient of log p(y | x), (A^H y - A^H A x) / noise_std^2, in Gram form.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        noise_std : torch.Tensor
            Per real component; () or (B, 1, ...).
        back_projection : torch.Tensor, optional
            A^H of other data, (n, *domain_shape), for paths through noisier data.
        """
        target = self.back_projection if back_projection is None else back_projection
        return (target - self.normal(x)) / noise_std**2

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """Apply A^H A.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        """
        with guarded("the operator", self.operator):
            return self.operator.normal(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply A.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        """
        with guarded("the operator", self.operator):
            return self.operator.forward(x)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Apply A^H.

        Parameters
        ----------
        y : torch.Tensor
            (n, *data_shape).
        """
        with guarded("the operator", self.operator):
            return self.operator.adjoint(y)

    def misfit(self, x: torch.Tensor, normal: torch.Tensor | None = None) -> torch.Tensor:
        """Return |y - A x|^2 / (m noise_std^2) per sample and slice, float64; about 1.

        m is the number of measured real values.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        normal : torch.Tensor, optional
            A^H A x. With it the Gram form |y|^2 - Re <x, 2 A^H y - A^H A x> is taken, which
            costs next to nothing but cancels near convergence: its error is that of A^H A
            times |y|^2 / (m noise_std^2). Without it the residual itself is computed, and
            squared in double precision.
        """
        if normal is not None:
            return self._gram_misfit(x, normal)
        # One sample at a time: data of all of them may be many times what else is held.
        return torch.cat([self._residual_misfit(part) for part in x.split(1)])

    def _residual_misfit(self, x: torch.Tensor) -> torch.Tensor:
        residual = (self.data - self.forward(x)).abs().double()
        power = self._measured_only(residual.square_())
        power = power / self.over_data(self.noise_std).double() ** 2
        axes = tuple(range(-len(self.data_shape), 0))
        return power.sum(axes) / self._n_measured

    def _gram_misfit(self, x: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        double = _double(x.dtype)
        products = inner_product(
            x.to(double), (normal - 2 * self.back_projection).to(double), len(self.image_shape)
        )
        squares = products.real.flatten(-len(self.image_shape))[..., 0]
        variance = self.noise_std.double() ** 2
        if self.n_slices is not None:
            variance = variance.reshape(-1)
        misfit = (self._data_energy + squares) / variance / self._n_measured
        return misfit.clamp_min(0)

    @cached_property
    def _data_energy(self) -> torch.Tensor:
        """|y|^2 over what was measured, () or (B,)."""
        power = self._measured_only(self.data.abs().double().square())
        return power.sum(tuple(range(-len(self.data_shape), 0)))

    def _measured_only(self, power: torch.Tensor) -> torch.Tensor:
        measured = getattr(self.operator, "measured", None)
        return power if measured is None else power * measured

    def n_measured(self) -> float:
        """Number of real values measured per image: points outside a mask do not count."""
        return float(self._n_measured)

    @cached_property
    def _n_measured(self) -> torch.Tensor:
        """The same, left on the device: reading it would make the host wait."""
        parts = 2 if self.data.is_complex() else 1
        points = torch.ones(self.data.shape, dtype=torch.bool, device=self.device)
        total = self._measured_only(points).sum().double()
        return (parts * total / (self.n_slices or 1)).clamp_min(1)


def make_problem(
    operator: OperatorLike, data: torch.Tensor, noise_std: float | torch.Tensor
) -> Problem:
    """Check what the caller gave and fix shapes.

    Parameters
    ----------
    operator : object
        With `forward`, `adjoint`, `normal`, `domain_shape`.
    data : torch.Tensor
        y, complex or real.
    noise_std : float or torch.Tensor
        Per real component; scalar or (B,).

    Raises
    ------
    ShapeError, DtypeError, ConfigurationError
        If something does not fit, before any work is done.
    """
    missing = [
        n for n in ("forward", "adjoint", "normal", "domain_shape") if not hasattr(operator, n)
    ]
    if missing:
        raise ConfigurationError(
            f"the operator lacks {', '.join(missing)}: expected an object with forward, adjoint, "
            f"normal and domain_shape, found {type(operator).__name__}"
        )
    if not isinstance(data, torch.Tensor) or not (data.is_complex() or data.is_floating_point()):
        found = data.dtype if isinstance(data, torch.Tensor) else type(data).__name__
        raise DtypeError(f"data must be a complex or floating-point torch.Tensor, found {found}")
    range_shape = getattr(operator, "range_shape", None)
    if range_shape is not None and tuple(range_shape) != tuple(data.shape):
        raise ShapeError(
            f"data has shape {tuple(data.shape)}, expected {tuple(range_shape)} as the operator's "
            "range says"
        )
    if not _is_finite(data):
        raise ConfigurationError("data contains NaN or Inf: remove or mask those points first")
    with guarded("the operator", operator):
        domain_shape = tuple(int(n) for n in operator.domain_shape)
    real = data.real.dtype if data.is_complex() else data.dtype
    try:
        levels = torch.as_tensor(noise_std, dtype=real, device=data.device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ConfigurationError(
            f"noise_std must be a positive number or one for each slice, found {noise_std!r}: "
            "measure it from the scan, per real component"
        ) from None
    if levels.ndim == 1 and len(levels) == 1:
        levels = levels.reshape(())
    n_slices = _count_slices(operator, levels, domain_shape)
    if not bool((torch.isfinite(levels) & (levels > 0)).all()):
        raise ConfigurationError(
            f"noise_std must be positive and finite, found {levels.tolist()}: measure it from "
            "the scan, per real component"
        )
    if levels.ndim:
        levels = levels.reshape(-1, *[1] * (len(domain_shape) - 1))
    with guarded("the operator", operator):
        back_projection = operator.adjoint(data)
    if not isinstance(back_projection, torch.Tensor) or back_projection.shape != domain_shape:
        shape = tuple(getattr(back_projection, "shape", ()))
        raise ShapeError(
            f"the adjoint of {type(operator).__name__} returned a {type(back_projection).__name__} "
            f"of shape {shape}: expected a tensor of its domain_shape {domain_shape}"
        )
    n_sets = getattr(operator, "n_sets", None)
    return Problem(operator, data, levels, back_projection, domain_shape, n_slices, n_sets)


def _is_finite(data: torch.Tensor) -> bool:
    """Look at some values at a time: a comparison of all makes several copies of them."""
    values = (torch.view_as_real(data) if data.is_complex() else data).reshape(-1)
    return bool(torch.stack([part.isfinite().all() for part in values.split(1 << 20)]).all())


def _count_slices(
    operator: OperatorLike, levels: torch.Tensor, domain_shape: Sequence[int]
) -> int | None:
    batched = getattr(operator, "n_slices", None) is not None or levels.ndim == 1
    if getattr(operator, "n_sets", None) is not None and levels.ndim:
        raise ShapeError(
            f"noise_std has shape {tuple(levels.shape)}, expected a scalar for an operator of "
            "several sets of maps, which is of one slice"
        )
    if levels.ndim > 1 or (levels.ndim == 1 and (len(levels),) != tuple(domain_shape[:1])):
        raise ShapeError(
            f"noise_std has shape {tuple(levels.shape)}, expected a scalar or one value for each "
            f"slice of the domain {tuple(domain_shape)}"
        )
    return int(domain_shape[0]) if batched else None


def _double(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype.is_complex else torch.float64
