"""The SENSE operator along a trajectory: coil sensitivities and a non-uniform Fourier transform.

Source: Pruessmann, Weiger, Börnert and Boesiger, Magn Reson Med 46:638 (2001).
"""

from __future__ import annotations

import math

import torch

from mri_alps.core.errors import ShapeError
from mri_alps.operators._kinds import as_tensor, with_precision
from mri_alps.operators.base import LinearOperator
from mri_alps.operators.noncartesian._checks import as_point_weights, as_trajectory, check_memory
from mri_alps.operators.noncartesian._nufft import Nufft
from mri_alps.operators.noncartesian._toeplitz import (
    SeparatedGram,
    fourier_diagonal,
    lag_spectrum,
)
from mri_alps.operators.sense import check_maps


class NonCartesianSenseOperator(LinearOperator):
    """Multi-coil acquisition along any trajectory: radial, spiral, rosette, 3-D radial.

    (A x)_cj = w_j / sqrt(H W) * sum_n S_c(n) x(n) exp(-2 pi i (k_j0 n_0 / H + k_j1 n_1 / W)),
    n_a from -(N_a // 2): at integer k this is `mri_alps.core.fourier.fftc`, so that noise, image
    scale and priors mean what they mean for Cartesian data.

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        Complex, (coils, H, W), or (B, coils, H, W) for B slices at a time; (coils, D, H, W) for
        a trajectory in three dimensions. The tensor is kept, not copied.
    trajectory : torch.Tensor or array_like
        Real, (*points, 2) or (*points, 3), for example (shots, samples, 2): where the samples
        lie, in cycles per field of view, in the order of the image axes, 0 at the centre of
        k-space, within -N / 2 .. N / 2. Kept in double precision. With batched maps one that all
        slices share, (shots, samples, 2) or (points, 2), or one for each, (B, *points, 2) with
        at least four axes.
    weights : torch.Tensor or array_like, optional
        Real, positive, broadcasts to (*points) or (B, *points): what data and model are
        multiplied by where noise is not the same everywhere, as in `SenseOperator`. Never a
        density compensation: that would change the posterior.

    Raises
    ------
    ShapeError, DtypeError
        If maps, trajectory and weights do not fit together.
    ConfigurationError
        If the trajectory has another unit or leaves the grid, or the set-up for three dimensions
        needs more memory than there is.
    MissingDependencyError
        If finufft is not installed (``pip install 'mri-alps[noncartesian]'``).

    Notes
    -----
    The range is (coils, *points), or (B, coils, *points). `normal` is a sum of four (in three
    dimensions eight) Cartesian ones and never goes through the samples; `forward` and `adjoint`
    are computed by finufft in double precision on the CPU, with errors of 1e-7 for complex64 and
    1e-12 for complex128, and are the same bit for bit at any number of threads.
    """

    def __init__(
        self,
        sensitivity_maps: torch.Tensor,
        trajectory: torch.Tensor,
        weights: torch.Tensor | None = None,
    ):
        trajectory = as_tensor(trajectory)
        self.n_axes = 3 if trajectory.ndim and trajectory.shape[-1] == 3 else 2
        check_maps(sensitivity_maps)
        if self.n_axes == 3 and sensitivity_maps.ndim != 4:
            raise ShapeError(
                f"sensitivity_maps: found shape {tuple(sensitivity_maps.shape)}, expected "
                "(coils, D, H, W) for a trajectory in three dimensions"
            )
        self.image_shape = tuple(sensitivity_maps.shape[-self.n_axes :])
        batch = tuple(sensitivity_maps.shape[: -self.n_axes - 1])
        self.n_slices = batch[0] if batch else None
        self.dtype: torch.dtype = sensitivity_maps.dtype
        self.device = sensitivity_maps.device
        self.sensitivity_maps = sensitivity_maps.detach()
        self.trajectory = as_trajectory(trajectory, self.image_shape, self.n_slices)
        self._own = self.n_slices is not None and self.trajectory.ndim >= 4
        points = tuple(self.trajectory.shape[:-1])
        self.weights = as_point_weights(weights, points, self.n_slices)
        self._point_shape = points[1:] if self._own else points
        self.domain_shape = (*batch, *self.image_shape)
        self.range_shape = (*batch, self.n_coils, *self._point_shape)
        if self.n_axes == 3:
            check_memory(self.image_shape, self.dtype)
        self._flat_weights = self._flatten_weights()
        paths = (self.trajectory if self._own else self.trajectory[None]).flatten(1, -2)
        self._nuffts = [Nufft(path, self.image_shape, self.dtype) for path in paths]
        self._spectrum = self._lag_spectra(paths)
        spectrum = self._spectrum if self.n_slices is not None else self._spectrum[0]
        self._gram = SeparatedGram(self.sensitivity_maps, spectrum, self.n_axes)

    @property
    def n_coils(self) -> int:
        """Number of coils."""
        return self.sensitivity_maps.shape[-self.n_axes - 1]

    @property
    def unseen(self) -> torch.Tensor:
        """Pixels where all maps are zero: boolean, `domain_shape`."""
        return (self.sensitivity_maps == 0).all(-self.n_axes - 1)

    def _flatten_weights(self) -> torch.Tensor | None:
        """Return the weights as (1 or B, n_points) in double precision, or None."""
        if self.weights is None:
            return None
        one = self.n_slices is None or self.weights.ndim < len(self._point_shape) + 1
        batch = (1,) if one else tuple(self.weights.shape[:1])
        return self.weights.expand(*batch, *self._point_shape).reshape(*batch, -1)

    def _lag_spectra(self, paths: torch.Tensor) -> torch.Tensor:
        """Return the spectra of the lags, (1 or B, 2 N_0, 2 N_1, ...)."""
        n = max(len(paths), 1 if self._flat_weights is None else len(self._flat_weights))
        # Three axes take much memory: no more precision than the images have.
        dtype = self.dtype if self.n_axes == 3 else torch.complex128
        found = []
        for i in range(n):
            weights = self._flat_weights
            own = None if weights is None else weights[min(i, len(weights) - 1)]
            found.append(lag_spectrum(paths[min(i, len(paths) - 1)], own, self.image_shape, dtype))
        return torch.stack(found) if n > 1 else found[0][None]

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        coil_images = self.sensitivity_maps * x.unsqueeze(-self.n_axes - 1)
        lead = x.shape[: x.ndim - self.n_axes]
        samples = self._through("forward", coil_images, lead)
        return self._weigh(samples).reshape(*lead, self.n_coils, *self._point_shape)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        lead = y.shape[: y.ndim - len(self._point_shape) - 1]
        samples = self._weigh(y.reshape(*lead, self.n_coils, -1))
        coil_images = self._through("adjoint", samples, lead)
        return (self.sensitivity_maps.conj() * coil_images).sum(-self.n_axes - 1)

    def _through(self, method: str, x: torch.Tensor, lead: tuple[int, ...]) -> torch.Tensor:
        """Transform (*lead, coils, ...), slice by slice where each has a trajectory."""
        tail = x.shape[len(lead) + 1 :]
        if not self._own:
            found = getattr(self._nuffts[0], method)(x.reshape(-1, *tail))
            return found.reshape(*lead, self.n_coils, *found.shape[1:])
        slices = x.reshape(-1, *x.shape[len(lead) - 1 :]).unbind(1)
        parts = [
            getattr(nufft, method)(part.reshape(-1, *tail)).reshape(len(part), self.n_coils, -1)
            for nufft, part in zip(self._nuffts, slices, strict=True)
        ]
        shape = self.image_shape if method == "adjoint" else (-1,)
        return torch.stack(parts, 1).reshape(*lead, self.n_coils, *shape)

    def _weigh(self, samples: torch.Tensor) -> torch.Tensor:
        """Multiply (*lead, coils, points) by the weights and the scale of an orthonormal FFT."""
        scale = 1 / math.sqrt(math.prod(self.image_shape))
        if self._flat_weights is None:
            return samples * scale
        weights = (self._flat_weights * scale).to(samples.device, samples.dtype.to_real())
        return samples * (weights.unsqueeze(-2) if self.n_slices is not None else weights)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        batched = x.reshape(-1, *self.domain_shape)
        return self._gram(batched).reshape(x.shape)

    def normal_fourier_diagonal(self) -> torch.Tensor:
        """Diagonal of A^H A in the Fourier basis, real (*domain_shape), centred; exact."""
        real = self.dtype.to_real()
        if self.n_slices is None:
            return fourier_diagonal(self.sensitivity_maps, self._spectrum[0]).to(real)
        spectra = self._spectrum.expand(self.n_slices, *self._spectrum.shape[1:])
        pairs = zip(self.sensitivity_maps, spectra, strict=True)
        return torch.stack([fourier_diagonal(maps, each) for maps, each in pairs]).to(real)

    def _to(
        self, device: torch.device | None, real_dtype: torch.dtype | None
    ) -> NonCartesianSenseOperator:
        maps = with_precision(self.sensitivity_maps, device, real_dtype)
        return NonCartesianSenseOperator(maps, self.trajectory, self.weights)
