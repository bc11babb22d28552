"""What A^H A of a SENSE operator looks like line by line and in the Fourier basis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mri_alps.core.fourier import fftc

_SPECTRA_BYTES = 1 << 22
"""Spectra of maps that are held at a time, several copies of them."""


def normal_fourier_diagonal(maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Diagonal of A^H A in the Fourier basis: the mask blurred by the maps' power spectrum.

    d(k) = sum_q mask(k + q) sum_c |FFT(S_c)(q)|^2 / (H W), circular.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (*slices, coils, H, W).
    mask : torch.Tensor
        Bool, broadcasts to (*slices, H, W).

    Returns
    -------
    torch.Tensor
        Real, (*slices, H, W), on the centred frequency grid.
    """
    height, width = maps.shape[-2:]
    total: torch.Tensor | None = None
    for part in maps.split(max(1, _SPECTRA_BYTES // maps[..., 0, :, :].nbytes), -3):
        found = fftc(part).abs().square().sum(-3)
        total = found if total is None else total.add_(found)
    assert total is not None
    power = total / (height * width)
    sampled = mask.expand(power.shape).to(power.dtype)
    origin = torch.fft.ifftshift(power, dim=(-2, -1))
    blurred = torch.fft.ifft2(torch.fft.fft2(origin).conj() * torch.fft.fft2(sampled))
    return blurred.real.clamp_min(0)


@dataclass(frozen=True)
class LineBlock:
    """A^H A of adjacent image lines of one slice, where their maps are not zero.

    Attributes
    ----------
    slice_index : int
        Slice, 0 for an operator without a batch of slices.
    first_line, first_pixel : int
        Where the block begins: line, and pixel along the lines.
    matrices : torch.Tensor
        (lines, n, n), Hermitian, of the pixels from `first_pixel` on. All others are zero.
    """

    slice_index: int
    first_line: int
    first_pixel: int
    matrices: torch.Tensor


def line_axis(mask: torch.Tensor) -> int | None:
    """Image axis along which the lines run that a mask leaves uncoupled, -1 or -2.

    Parameters
    ----------
    mask : torch.Tensor
        Bool, (*slices or 1, H or 1, W or 1). None is returned if it varies along both axes.
    """
    if mask.shape[-2] == 1 or bool((mask == mask[..., :1, :]).all()):
        return -1
    return -2 if bool((mask == mask[..., :1]).all()) else None


def line_blocks(
    maps: torch.Tensor, mask: torch.Tensor, n_lines: int, positions: torch.Tensor | None = None
) -> Iterator[LineBlock]:
    """A^H A as dense matrices, a few lines at a time, for a mask of whole lines.

    With a mask that varies along one axis only, the transform along the other cancels and
    A^H A couples only pixels along the mask's axis: B_r(x, x') = sum_c conj(S_c(r, x))
    h(x - x') S_c(r, x') with h the mask's point-spread function. Lines whose maps vanish are
    left out.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (*slices, coils, H, W).
    mask : torch.Tensor
        Bool, (*slices or 1, H or 1, W or 1), varying along `line_axis(mask)` only.
    n_lines : int
        Most lines in a block.
    positions : torch.Tensor, optional
        Where on the mask's axis the pixels of a line are, int; one after the other if left out.
    """
    axis = line_axis(mask)
    assert axis is not None
    pattern = mask[..., 0, :] if axis == -1 else mask[..., 0]
    n = maps.shape[axis] if positions is None else pattern.shape[-1]
    transform = fftc(torch.eye(n, dtype=maps.dtype, device=maps.device), dim=-1).mT
    lines = maps.transpose(-1, axis).movedim(-3, -1)  # *slices, lines, n, coils
    for i, part in enumerate(lines.reshape(-1, *lines.shape[-3:])):
        own = pattern.reshape(-1, pattern.shape[-1])
        own = own[min(i, len(own) - 1)].expand(n)
        spread = transform.mH @ (transform * own.to(maps.dtype).unsqueeze(-1))
        if positions is not None:
            spread = spread[positions][:, positions]
        for first, first_pixel, stop, stop_pixel in _boxes((part != 0).any(-1), n_lines):
            pixels = slice(first_pixel, stop_pixel)
            chunk = part[first:stop, pixels]
            coupling = chunk.conj() @ chunk.mT  # sum over coils
            yield LineBlock(i, first, first_pixel, coupling * spread[pixels, pixels])


def _boxes(support: torch.Tensor, n_lines: int) -> Iterator[tuple[int, int, int, int]]:
    """First line and pixel, and those after the last, of the blocks of a support (lines, n)."""
    inside = support.cpu()
    used = inside.any(-1).nonzero().flatten().tolist()
    while used:
        first = used[0]
        stop = max(line for line in used if line < first + n_lines) + 1
        pixels = inside[first:stop].any(0).nonzero().flatten()
        yield first, int(pixels[0]), stop, int(pixels[-1]) + 1
        used = [line for line in used if line >= stop]
