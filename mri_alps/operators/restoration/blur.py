"""Blur by a known kernel, and the kernels of the paper's deblurring tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.operators._kinds import with_precision
from mri_alps.operators._lengths import round_length
from mri_alps.operators.base import LinearOperator


class BlurOperator(LinearOperator):
    """Convolution of the last two axes with a real kernel; same shape in and out.

    y[i] = sum_j kernel[j] x[i + c - j] with the kernel's origin c = size // 2 on each axis.

    Parameters
    ----------
    kernel : torch.Tensor
        Real, (kh, kw), float32 or float64; the images have its precision and may be real or
        complex. It is not normalised.
    shape : sequence of int
        Image shape (H, W).
    boundary : {"circular", "reflect"}
        How the image goes on beyond its edges: periodically, or mirrored about the edge pixels,
        which are not repeated (`torch.nn.functional.pad`'s "reflect").

    Raises
    ------
    ShapeError, DtypeError, ConfigurationError
        If kernel, shape and boundary do not fit together.

    Notes
    -----
    The adjoint is the true one: for "reflect" the mirrored margin is folded back. A circular
    `normal` is one pair of transforms; a mirrored one is two, since no transform of the plain
    image diagonalises it for a general kernel.
    """

    def __init__(self, kernel: torch.Tensor, shape: Sequence[int], boundary: str = "circular"):
        if kernel.dtype not in (torch.float32, torch.float64):
            raise DtypeError(
                f"BlurOperator: found a kernel of {kernel.dtype}, expected float32 or float64"
            )
        if kernel.ndim != 2 or len(shape) != 2:
            raise ShapeError(
                f"BlurOperator: found a kernel {tuple(kernel.shape)} and images {tuple(shape)}, "
                "expected (kh, kw) and (H, W)"
            )
        if boundary not in ("circular", "reflect"):
            raise ConfigurationError(
                f"BlurOperator: found boundary={boundary!r}, expected 'circular' or 'reflect'"
            )
        self.domain_shape = self.range_shape = (int(shape[0]), int(shape[1]))
        self.kernel, self.boundary = kernel.detach(), boundary
        self.dtype, self.device = kernel.dtype, kernel.device
        self._margins = [(size - 1 - size // 2, size // 2) for size in kernel.shape]
        self._grid = self.domain_shape if boundary == "circular" else self._padded_grid()
        self._transfer = self._transfer_function()
        self._power = (self._transfer.conj() * self._transfer).real

    def _padded_grid(self) -> tuple[int, int]:
        for size, margins in zip(self.domain_shape, self._margins, strict=True):
            if max(margins) >= size:
                raise ShapeError(
                    f"BlurOperator: found a kernel {tuple(self.kernel.shape)} that reaches beyond "
                    f"the mirror image of {self.domain_shape}, expected a smaller kernel"
                )
        height, width = (
            round_length(size + before + after)
            for size, (before, after) in zip(self.domain_shape, self._margins, strict=True)
        )
        return height, width

    def _transfer_function(self) -> torch.Tensor:
        """Return the kernel's plain transform on the grid, its origin at index 0, (h, w)."""
        kernel = self.kernel.double()
        for axis, length in enumerate(self._grid):
            position = torch.arange(kernel.shape[axis], device=kernel.device)
            position = (position - self.kernel.shape[axis] // 2) % length
            # A circular kernel longer than the image wraps around: add, do not overwrite.
            shape = [length if a == axis else n for a, n in enumerate(kernel.shape)]
            kernel = kernel.new_zeros(shape).index_add_(axis, position, kernel)
        complex_dtype = torch.complex64 if self.dtype == torch.float32 else torch.complex128
        return torch.fft.fft2(kernel).to(complex_dtype)

    def _filter(self, x: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
        if x.is_complex():
            return torch.fft.ifft2(torch.fft.fft2(x, s=self._grid) * transfer)
        half = transfer[:, : self._grid[1] // 2 + 1]
        return torch.fft.irfft2(torch.fft.rfft2(x, s=self._grid) * half, s=self._grid)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.boundary == "circular":
            return self._filter(x, self._transfer)
        for axis, margins in zip((-2, -1), self._margins, strict=True):
            x = _mirror(x, axis, *margins)
        y = self._filter(x, self._transfer)
        for axis, size, margins in zip((-2, -1), self.domain_shape, self._margins, strict=True):
            y = y.narrow(axis, margins[0], size)
        return y.contiguous()

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        if self.boundary == "circular":
            return self._filter(y, self._transfer.conj())
        (top, bottom), (left, right) = self._margins
        y = torch.nn.functional.pad(y, (left, right, top, bottom))
        x = self._filter(y, self._transfer.conj())
        for axis, size, margins in zip((-2, -1), self.domain_shape, self._margins, strict=True):
            x = _fold(x, axis, size, *margins)
        return x

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        if self.boundary == "circular":
            return self._filter(x, self._power)
        return self._adjoint(self._forward(x))

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        kernel = with_precision(self.kernel, device, real_dtype)
        return BlurOperator(kernel, self.domain_shape, self.boundary)


def gaussian_kernel(
    std: float, size: int | None = None, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return a Gaussian kernel with sum 1, (size, size).

    Parameters
    ----------
    std : float
        Standard deviation in pixels.
    size : int, optional
        Odd; 2 ceil(3 std) + 1 if left out. The paper's tasks use 61 with std = 3.
    dtype : torch.dtype
        float32 or float64.

    Raises
    ------
    ConfigurationError
        If `std` is not positive or `size` not odd.
    """
    _require_positive("gaussian_kernel", "std", std)
    size = 2 * math.ceil(3 * std) + 1 if size is None else size
    position = _centred_positions("gaussian_kernel", size)
    profile = torch.exp(-(position**2) / (2 * std**2))
    kernel = profile[:, None] * profile
    return (kernel / kernel.sum()).to(dtype)


def motion_kernel(
    length: float, angle: float, size: int | None = None, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return the kernel of a uniform straight motion, with sum 1, (size, size).

    Parameters
    ----------
    length : float
        Distance moved in pixels.
    angle : float
        Direction in degrees, from the last axis towards smaller row indices.
    size : int, optional
        Odd; just large enough if left out.
    dtype : torch.dtype
        float32 or float64.

    Raises
    ------
    ConfigurationError
        If `length` is not positive, or `size` is even or too small.
    """
    _require_positive("motion_kernel", "length", length)
    size = 2 * math.ceil(length / 2) + 1 if size is None else size
    offset = torch.linspace(-length / 2, length / 2, 8 * math.ceil(length) + 1, dtype=torch.float64)
    radians = math.radians(angle)
    track = torch.stack([-offset * math.sin(radians), offset * math.cos(radians)], dim=1)
    return _draw_track("motion_kernel", track, size).to(dtype)


def random_motion_kernel(
    size: int,
    generator: torch.Generator,
    length: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Return the kernel of a random smooth camera motion, with sum 1, (size, size).

    Parameters
    ----------
    size : int
        Odd.
    generator : torch.Generator
        Source of randomness, on the CPU.
    length : float, optional
        Extent of the motion in pixels; two thirds of `size` if left out.
    dtype : torch.dtype
        float32 or float64.

    Raises
    ------
    ConfigurationError
        If `size` is even, or `length` not positive or too long for `size`.
    """
    length = size * 2 / 3 if length is None else length
    _require_positive("random_motion_kernel", "length", length)
    walk = torch.randn((2000, 2), generator=generator, dtype=torch.float64).cumsum(0)
    # A moving average of a random walk bends but has no corners, like a shaking camera.
    track = torch.nn.functional.avg_pool1d(walk.T[None], 200, stride=1)[0].T
    track = track - (track.amin(0) + track.amax(0)) / 2
    track = track * (length / 2 / track.abs().max())
    return _draw_track("random_motion_kernel", track, size).to(dtype)


def _draw_track(where: str, track: torch.Tensor, size: int) -> torch.Tensor:
    """Spread points (n, 2) around the centre over their four neighbouring pixels."""
    centre = len(_centred_positions(where, size)) // 2
    if float(track.abs().max()) > centre:
        raise ConfigurationError(
            f"{where}: found size={size} for a motion that reaches {float(track.abs().max()):.1f} "
            "pixels from the centre, expected a larger size"
        )
    corner = track.floor()
    weight = track - corner
    kernel = torch.zeros((size + 1, size + 1), dtype=torch.float64)
    for row in (0, 1):
        for column in (0, 1):
            share = (weight[:, 0] if row else 1 - weight[:, 0]) * (
                weight[:, 1] if column else 1 - weight[:, 1]
            )
            index = corner.long() + centre + torch.tensor([row, column])
            kernel.index_put_((index[:, 0], index[:, 1]), share, accumulate=True)
    kernel = kernel[:size, :size]
    return kernel / kernel.sum()


def _centred_positions(where: str, size: int) -> torch.Tensor:
    if size < 1 or size % 2 == 0:
        raise ConfigurationError(f"{where}: found size={size}, expected an odd number")
    return torch.arange(size, dtype=torch.float64) - size // 2


def _require_positive(where: str, name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigurationError(f"{where}: found {name}={value}, expected a positive number")


def _mirror(x: torch.Tensor, axis: int, before: int, after: int) -> torch.Tensor:
    size = x.shape[axis]
    head = x.narrow(axis, 1, before).flip(axis)
    tail = x.narrow(axis, size - 1 - after, after).flip(axis)
    return torch.cat([head, x, tail], dim=axis)


def _fold(y: torch.Tensor, axis: int, size: int, before: int, after: int) -> torch.Tensor:
    """Apply the adjoint of `_mirror`; what follows the margins on the grid is dropped."""
    x = y.narrow(axis, before, size).clone()
    x.narrow(axis, 1, before).add_(y.narrow(axis, 0, before).flip(axis))
    tail = y.narrow(axis, before + size, after).flip(axis)
    x.narrow(axis, size - 1 - after, after).add_(tail)
    return x
