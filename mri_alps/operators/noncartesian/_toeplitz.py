"""A^H A of a trajectory: a convolution with the lags of its points, between the maps.

(A^H A)(n, m) = p(n - m) sum_c conj(S_c(n)) S_c(m), with p(l) = sum_j w_j^2 exp(2 pi i k_j l / N)
/ prod(N) for |l_a| < N_a. A convolution of images of N pixels is circular on 2 N; its even and odd
frequencies separate into circular convolutions on N of images that are turned by half a frequency.
So A^H A is a sum of 2^d Cartesian ones, each with a "mask" of real numbers, and needs neither
padding nor a kernel of its own.

Source: Wajer and Pruessmann, Proc ISMRM 2001:767 (the embedding); Fessler, Lee, Olafsson, Shi and
Noll, IEEE Trans Signal Process 53:3393 (2005). The separation is the first stage of a
decimation-in-frequency transform.
"""

from __future__ import annotations

import itertools
import math

import torch

from mri_alps.operators._gram import Gram, PlaneGram, make_gram
from mri_alps.operators.noncartesian._nufft import Nufft


def lag_spectrum(
    trajectory: torch.Tensor,
    weights: torch.Tensor | None,
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.complex128,
) -> torch.Tensor:
    """Return the transform of the lags p on the grid of 2 N, real and not always positive.

    Parameters
    ----------
    trajectory : torch.Tensor
        Double, (n_points, d), cycles per field of view.
    weights : torch.Tensor or None
        w, (n_points,); 1 if None.
    shape : tuple of int
        N.
    dtype : torch.dtype
        Of the images that precision is asked for.

    Returns
    -------
    torch.Tensor
        Double, (2 N_0, 2 N_1, ...), in the order of torch.fft, on the CPU.
    """
    power = torch.ones(len(trajectory), dtype=torch.float64) if weights is None else weights**2
    sizes = tuple(2 * n - 1 for n in shape)
    # The lag grid's exponent is k l / N, the transform's k l / (2 N - 1).
    scaled = trajectory * trajectory.new_tensor([m / n for m, n in zip(sizes, shape, strict=True)])
    lags = Nufft(scaled, sizes, dtype).adjoint(power.to(torch.complex128)[None])[0]
    embedded = lags.new_zeros([2 * n for n in shape])
    embedded[tuple(slice(1, None) for _ in shape)] = lags / math.prod(shape)
    # p(-l) = conj(p(l)), so that the spectrum is real.
    return torch.fft.fftn(torch.fft.ifftshift(embedded)).real


class SeparatedGram:
    """A^H A as 2^d Cartesian ones, for x (N, *domain_shape).

    Parameters
    ----------
    maps : torch.Tensor
        Complex, (coils, *shape), or (B, coils, H, W).
    spectrum : torch.Tensor
        From `lag_spectrum`, or (B or 1, 2 H, 2 W) of several.
    n_axes : int
        2 or 3 image axes.
    """

    def __init__(self, maps: torch.Tensor, spectrum: torch.Tensor, n_axes: int = 2):
        axes = tuple(range(-n_axes, 0))
        shape = maps.shape[-n_axes:]
        self._grams: list[Gram] = []
        self._turns: list[tuple[torch.Tensor, torch.Tensor]] = []  # there and back
        for odd in itertools.product((0, 1), repeat=n_axes):
            part = spectrum / 2**n_axes
            for axis, first in zip(axes, odd, strict=True):
                part = _every_second(part, axis, first)
            mask = torch.fft.fftshift(part, dim=axes).to(maps.device, maps.dtype.to_real())
            gram = make_gram(maps, mask) if n_axes == 2 else PlaneGram(maps, mask, n_axes)
            turn = _half_frequency(odd, shape).to(maps.device, maps.dtype)
            self._grams.append(gram)
            self._turns.append((turn, turn.conj().resolve_conj()))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x."""
        total = self._grams[0](x)  # of the even frequencies, which nothing turns
        for gram, (there, back) in zip(self._grams[1:], self._turns[1:], strict=True):
            total.addcmul_(gram(x * there), back)
        return total


def fourier_diagonal(maps: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    """Diagonal of A^H A in the Fourier basis: lags times the maps' autocorrelation, folded.

    d(k) = sum_l p(l) R(l) exp(-2 pi i k l / N) / prod(N), R(l) = sum_c sum_m conj(S_c(m + l))
    S_c(m). It is also the circulant matrix nearest to A^H A (T. Chan, SIAM J Sci Stat Comput
    9:766, 1988).

    Parameters
    ----------
    maps : torch.Tensor
        Complex, (coils, *shape).
    spectrum : torch.Tensor
        Of the lags, (2 N_0, 2 N_1, ...).

    Returns
    -------
    torch.Tensor
        Double, *shape, on the centred frequency grid, on the device of the maps.
    """
    shape, size = maps.shape[1:], spectrum.shape
    power = torch.zeros(size, dtype=torch.float64, device=maps.device)
    for coil in maps:
        power += torch.fft.fftn(coil, s=size).abs().square_()
    # |FFT(S)|^2 is the transform of the autocorrelation with the lag's sign turned.
    product = torch.fft.ifftn(power).conj_physical_()
    product *= torch.fft.ifftn(spectrum.to(maps.device))
    folded = torch.fft.fftn(product).real
    for axis in range(-len(shape), 0):
        folded = _every_second(folded, axis, 0)
    return torch.fft.fftshift(folded).clamp_min(0) / math.prod(shape)


def _every_second(x: torch.Tensor, axis: int, first: int) -> torch.Tensor:
    """Return a view of every second entry along a negative axis."""
    return x.unflatten(axis, (-1, 2)).select(axis, first)


def _half_frequency(odd: tuple[int, ...], shape: torch.Size) -> torch.Tensor:
    """Return exp(-i pi sum_a odd_a n_a / N_a) over the image, double."""
    angle = torch.zeros(shape, dtype=torch.float64)
    for axis, (is_odd, n) in enumerate(zip(odd, shape, strict=True)):
        along = (torch.arange(n, dtype=torch.float64) - n // 2) * (is_odd / n)
        angle += along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return torch.polar(torch.ones_like(angle), -torch.pi * angle)
