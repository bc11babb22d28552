"""Centred orthonormal Fourier transforms of complex tensors.

Index N // 2 is the zero frequency (and the image centre) on every transformed axis, for even
and odd N alike; the transforms are unitary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mri_alps.core.errors import DtypeError


def fftc(x: torch.Tensor, dim: int | Sequence[int] = (-2, -1)) -> torch.Tensor:
    """Centred orthonormal Fourier transform along `dim`.

    Parameters
    ----------
    x : torch.Tensor
        Complex, any shape.
    dim : int or sequence of int
        Axes to transform; the last two if left out.

    Returns
    -------
    torch.Tensor
        Same shape, dtype and device as `x`; the sum of squared magnitudes is preserved.

    Raises
    ------
    DtypeError
        If `x` is real: a real array here is nearly always a magnitude image by mistake.
    """
    return _transform(torch.fft.fftn, x, dim)


def ifftc(x: torch.Tensor, dim: int | Sequence[int] = (-2, -1)) -> torch.Tensor:
    """Centred orthonormal inverse Fourier transform along `dim`; the inverse of `fftc`.

    Parameters
    ----------
    x : torch.Tensor
        Complex, any shape.
    dim : int or sequence of int
        Axes to transform; the last two if left out.

    Returns
    -------
    torch.Tensor
        Same shape, dtype and device as `x`.

    Raises
    ------
    DtypeError
        If `x` is real.
    """
    return _transform(torch.fft.ifftn, x, dim)


def unshift(x: torch.Tensor) -> torch.Tensor:
    """Put the middle of the last two axes at index 0, the order of torch.fft.

    Between arrays that are all in this order `ortho_fft` is what `fftc` is between centred ones.
    Shifts of many small transforms take as long as these do.

    Parameters
    ----------
    x : torch.Tensor
        (..., H, W).
    """
    return torch.fft.ifftshift(x, dim=(-2, -1))


def shift(x: torch.Tensor) -> torch.Tensor:
    """Undo `unshift`.

    Parameters
    ----------
    x : torch.Tensor
        (..., H, W).
    """
    return torch.fft.fftshift(x, dim=(-2, -1))


def ortho_fft(x: torch.Tensor) -> torch.Tensor:
    """Orthonormal Fourier transform along the last two axes, in the order of torch.fft.

    Parameters
    ----------
    x : torch.Tensor
        Complex (..., H, W).
    """
    return torch.fft.fft2(x, norm="ortho")


def ortho_ifft(x: torch.Tensor) -> torch.Tensor:
    """Undo `ortho_fft`.

    Parameters
    ----------
    x : torch.Tensor
        Complex (..., H, W).
    """
    return torch.fft.ifft2(x, norm="ortho")


def multiply_spectrum(x: torch.Tensor, weight: torch.Tensor, dim: Sequence[int]) -> torch.Tensor:
    """Multiply by a real even weight in the Fourier domain; a real array stays real.

    Parameters
    ----------
    x : torch.Tensor
        Complex or real, any shape.
    weight : torch.Tensor
        Real, broadcasts against `x`; in the order of torch.fft, the zero frequency first.
    dim : sequence of int
        Axes to transform. Shifts of the image cancel between the two transforms.
    """
    axes = tuple(dim)
    filtered = torch.fft.ifftn(torch.fft.fftn(x, dim=axes).mul_(weight), dim=axes)
    return filtered if x.is_complex() else filtered.real


def _transform(
    transform: Callable[..., torch.Tensor], x: torch.Tensor, dim: int | Sequence[int]
) -> torch.Tensor:
    if not x.is_complex():
        raise DtypeError(
            f"the Fourier transform needs a complex tensor, found {x.dtype}: convert with "
            "x.to(torch.complex64) if a zero imaginary part is really meant"
        )
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    shifted = torch.fft.ifftshift(x, dim=axes)
    return torch.fft.fftshift(transform(shifted, dim=axes, norm="ortho"), dim=axes)
