"""What A^H A of a SENSE operator looks like line by line and in the Fourier basis."""

from __future__ import annotations

import torch

from mri_alps.fourier import fftc


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
    power = fftc(maps).abs().square().sum(-3) / (height * width)
    sampled = mask.expand(power.shape).to(power.dtype)
    origin = torch.fft.ifftshift(power, dim=(-2, -1))
    blurred = torch.fft.ifft2(torch.fft.fft2(origin).conj() * torch.fft.fft2(sampled))
    return blurred.real.clamp_min(0)


def line_normal_matrices(maps: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, int] | None:
    """A^H A as one dense matrix per image line, for a mask of whole lines.

    With a mask that varies along one axis only, the transform along the other cancels and
    A^H A couples only pixels along the mask's axis: B_r(x, x') = sum_c conj(S_c(r, x))
    h(x - x') S_c(r, x') with h the mask's point-spread function.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (*slices, coils, H, W).
    mask : torch.Tensor
        Bool, (*slices or 1, H or 1, W or 1).

    Returns
    -------
    matrices : torch.Tensor
        (*slices, lines, n, n), Hermitian.
    axis : int
        Image axis along which the lines run. None is returned for masks that vary along both.
    """
    if mask.shape[-2] == 1 or bool((mask == mask[..., :1, :]).all()):
        axis, pattern = -1, mask[..., 0, :]
    elif bool((mask == mask[..., :1]).all()):
        axis, pattern = -2, mask[..., 0]
    else:
        return None
    n = maps.shape[axis]
    transform = fftc(torch.eye(n, dtype=maps.dtype, device=maps.device), dim=-1).mT
    weighted = transform * pattern.to(maps.dtype).unsqueeze(-1)
    spread = transform.mH @ weighted  # (*slices or 1, n, n)
    lines = maps.transpose(-1, axis).movedim(-3, -1)  # (*slices, lines, n, coils)
    coupling = lines.conj() @ lines.mT  # sum over coils
    return coupling * spread.unsqueeze(-3), axis
