"""What maps, trajectory and weights of a non-Cartesian operator have to be."""

from __future__ import annotations

import math

import psutil
import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.operators._kinds import as_tensor

# Extents that hint at another unit: 0.5 cycles per pixel, and pi radians per pixel.
_PIXEL_UNITS = 3.2
_SMALLEST_GRID = 16
_ROUNDING = 1e-3
# Peak of the resident memory at 64^3 and 96^3, in bytes a pixel: transforms of twice the length
# along each axis, in double precision. In complex128 finufft's grid is four times as long.
_BYTES_PER_PIXEL = {torch.complex64: 1150, torch.complex128: 2300}


def as_trajectory(
    trajectory: torch.Tensor, shape: tuple[int, ...], n_slices: int | None
) -> torch.Tensor:
    """Return a trajectory in double precision on the CPU.

    Parameters
    ----------
    trajectory : torch.Tensor
        Real, (*points, len(shape)).
    shape : tuple of int
        Image shape N.
    n_slices : int or None
        B of batched maps.

    Raises
    ------
    ShapeError, DtypeError, ConfigurationError
        If it is not real and finite, does not fit, has another unit, or leaves the grid.
    """
    found = tuple(trajectory.shape)
    if trajectory.is_complex() or trajectory.dtype == torch.bool:
        raise DtypeError(
            f"trajectory: found {trajectory.dtype}, expected real numbers (*points, {len(shape)}): "
            "split complex k into its parts"
        )
    if len(found) < 2 or found[-1] != len(shape) or 0 in found:
        raise ShapeError(
            f"trajectory: found shape {found}, expected (*points, {len(shape)}), the axes of the "
            f"image {shape} last; transpose it"
        )
    if n_slices is not None and len(found) >= 4 and found[0] != n_slices:
        raise ShapeError(
            f"trajectory: found shape {found} for {n_slices} slices, expected (shots, samples, 2) "
            f"that all share or ({n_slices}, *points, 2)"
        )
    k = trajectory.detach().to("cpu", torch.float64).clone()
    if not bool(k.isfinite().all()):
        raise ConfigurationError(
            "trajectory: found NaN or infinite values, expected finite numbers: leave these "
            "samples out of the trajectory and of the data"
        )
    for axis, n in enumerate(shape):
        extent = float(k[..., axis].abs().max())
        if extent > n / 2 * (1 + _ROUNDING):
            raise ConfigurationError(
                f"trajectory: found |k| up to {extent:.4g} along image axis {axis}, expected at "
                f"most {n / 2:g}, half of its {n} pixels, in cycles per field of view: check the "
                "unit and the order of the axes, leave out the samples beyond, or take a larger "
                "image"
            )
    extent = float(k.abs().max())
    if min(shape) >= _SMALLEST_GRID and 0 < extent < _PIXEL_UNITS:
        raise ConfigurationError(
            f"trajectory: found |k| up to {extent:.4g}, expected about {min(shape) / 2:g} cycles "
            "per field of view: multiply cycles per pixel by the number of pixels N along each "
            "axis, and radians per pixel by N / (2 pi)"
        )
    return k


def as_point_weights(
    weights: torch.Tensor | None, points: tuple[int, ...], n_slices: int | None
) -> torch.Tensor | None:
    """Return weights in double precision on the CPU, or None.

    Parameters
    ----------
    weights : torch.Tensor, array_like or None
        Real, finite and positive.
    points : tuple of int
        Shape of the trajectory without its last axis.
    n_slices : int or None
        B of batched maps.

    Raises
    ------
    DtypeError, ShapeError
        If they are anything else, or do not broadcast to `points`.
    """
    if weights is None:
        return None
    weights = as_tensor(weights)
    if not weights.is_floating_point() or not bool((weights.isfinite() & (weights > 0)).all()):
        raise DtypeError(
            f"sampling weights: found {weights.dtype}, or values that are not finite and positive; "
            "expected positive real numbers; leave out of the trajectory what was not measured"
        )
    shared = n_slices is not None and len(points) < 3
    allowed = [points, (n_slices, *points)] if shared else [points]
    for shape in allowed:
        padded = (1,) * (len(shape) - weights.ndim) + tuple(weights.shape)
        if len(padded) == len(shape) and all(
            n in (1, wanted) for n, wanted in zip(padded, shape, strict=True)
        ):
            return weights.reshape(padded).to("cpu", torch.float64)
    raise ShapeError(
        f"sampling weights: found shape {tuple(weights.shape)}, expected one that broadcasts to "
        f"the shape {points} of the samples"
    )


def check_memory(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Refuse images whose set-up needs more memory than there is.

    Parameters
    ----------
    shape : tuple of int
        Image shape, three axes.
    dtype : torch.dtype
        Of the maps.

    Raises
    ------
    ConfigurationError
        Naming what it needs.
    """
    needed, free = _BYTES_PER_PIXEL[dtype] * math.prod(shape), psutil.virtual_memory().available
    if needed > free:
        raise ConfigurationError(
            f"a trajectory in three dimensions on an image {shape} needs {needed / 1e9:.1f} GB of "
            f"memory and {free / 1e9:.1f} GB are free: take a smaller image or a larger machine; "
            "stacks of two-dimensional trajectories are reconstructed slice by slice"
        )
