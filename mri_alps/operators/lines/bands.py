"""(A^H A w + F)^-1 for masks of whole lines, where F falls by orders of magnitude: by bands.

A^H A couples only the pixels of one image line, F only depends on the frequency: each is simple
where the other is not. Along the lines both can be held exactly by one dense matrix a line. Across
them F is nearly constant within a band of frequencies, and a band of few frequencies needs few
lines: what A^H A is on the coarse grid is its average over all lines, weighted by the squares of
what the band's window makes of one. Bands overlap, with windows whose squares sum to one. What is
left, above the last band, is any other approximation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mri_alps.core.fourier import fftc
from mri_alps.core.solvers import cholesky_factor

if TYPE_CHECKING:
    from mri_alps.operators.lines.shared import SharedLines

EDGES = (4.0, 16.0)
"""Frequencies, in grid steps across the lines, between the bands and above the last of them."""
OVERLAP = 1.0
"""Octaves over which a band gives way to the next."""
BAND_MATRICES = 16
"""Most matrices of a band where lines share theirs: they are inverted at every level."""
LINES_AT_ONCE = 16
"""Lines whose matrices are held at a time, beside those that are kept."""


@dataclass(frozen=True)
class _Band:
    """One band: its window on the frequencies across, and A^H A on its grid, per slice."""

    window: torch.Tensor  # (across, 1)
    kept: torch.Tensor  # (n,) indices of the frequencies on the coarse grid
    couplings: Callable[[slice], torch.Tensor]  # (slices, some of n_matrices, along, along)
    n_matrices: int  # a divisor of n: as many adjacent lines share one


class LineBands:
    """What `at` needs of A^H A, computed once.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (coils, H, W) or (B, coils, H, W).
    power : torch.Tensor
        What stands between F and F^H in A^H A, bool or real, broadcasts to (*slices, H, W): a mask,
        times squared weights. What varies across the lines is averaged over each band.
    axis : int
        Image axis, -1 or -2, along which the mask varies.
    shared : SharedLines, optional
        Matrices of lines to average over, in large images, instead of those of every line.
    """

    def __init__(
        self,
        maps: torch.Tensor,
        power: torch.Tensor,
        axis: int,
        shared: SharedLines | None = None,
    ):
        self.axis = axis
        n_across = maps.shape[-2 if axis == -1 else -1]
        frequencies = torch.fft.fftfreq(n_across, 1 / n_across, dtype=torch.float64)
        windows = _windows(frequencies.abs())
        chosen = [window for window in windows[:-1] if bool(window.any())]
        self._bands = (
            _own_bands(maps, power, axis, chosen, frequencies)
            if shared is None
            else [_shared_band(window, frequencies, shared) for window in chosen]
        )
        self.rest = windows[-1].to(maps.device, maps.real.dtype).unsqueeze(-1).transpose(-1, axis)
        """Window of what lies above the bands, broadcasts to (H, W)."""

    def at(
        self, fisher: torch.Tensor, weight: torch.Tensor, diagonal: torch.Tensor
    ) -> BandedInverse:
        """Return the approximate inverse of A^H A w + F.

        Parameters
        ----------
        fisher : torch.Tensor
            F, (H, W), in the order of torch.fft.
        weight : torch.Tensor
            w, () or (B,).
        diagonal : torch.Tensor
            Diagonal of w A^H A in the Fourier basis, (*slices, H, W), in the same order.
        """
        fisher = fisher.transpose(-1, self.axis)
        diagonal = diagonal.transpose(-1, self.axis)
        found = []
        for band in self._bands:
            share = band.window.square()
            flat = ((fisher.log() * share).sum(0) / share.sum()).exp()  # (along,)
            correction = ((diagonal + flat) / (diagonal + fisher)).sqrt() * band.window
            found.append(
                (band.kept, correction[..., band.kept, :], self._invert(band, flat, weight))
            )
        return BandedInverse(self.axis, found)

    @staticmethod
    def _invert(band: _Band, flat: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        n = len(flat)
        # A^H A over F spans more than single precision resolves.
        row = torch.fft.ifft(flat.to(torch.complex128))
        pixel = torch.arange(n, device=flat.device)
        prior = row[(pixel.unsqueeze(1) - pixel) % n]
        found = []
        for first in range(0, band.n_matrices, LINES_AT_ONCE):
            couplings = band.couplings(slice(first, first + LINES_AT_ONCE))
            matrix = (couplings.to(torch.complex128) * weight.reshape(-1, 1, 1, 1)).add_(prior)
            inverse = torch.cholesky_inverse(cholesky_factor(matrix))
            found.append(inverse.to(couplings.dtype))
        return torch.cat(found, 1)


def _own_bands(
    maps: torch.Tensor,
    power: torch.Tensor,
    axis: int,
    windows: list[torch.Tensor],
    frequencies: torch.Tensor,
) -> list[_Band]:
    """Bands whose coarse lines each have the average of their own."""
    lines = maps.transpose(-1, axis).reshape(-1, *maps.transpose(-1, axis).shape[-3:])
    n_across, n_along = lines.shape[-2:]
    powers = power.to(maps.real.dtype).transpose(-1, axis)
    powers = powers.reshape(-1, *powers.shape[-2:]).expand(len(lines), n_across, n_along)
    transform = fftc(torch.eye(n_along, dtype=maps.dtype, device=maps.device), dim=-1).mT
    weights = [_coarse_weights(window, frequencies) for window in windows]
    averages = _averages(lines, torch.cat(weights)).split([len(w) for w in weights], 1)
    bands = []
    for window, average in zip(windows, averages, strict=True):
        share = torch.fft.fftshift(window.square() / window.square().sum())
        own = (powers * share.to(powers).unsqueeze(-1)).sum(-2)  # (slices, along)
        spread = transform.mH @ (own.to(maps.dtype).unsqueeze(-1) * transform)
        couplings = average.mul_(spread.unsqueeze(1))
        kept = _kept(average.shape[1], n_across).to(maps.device)
        window = window.to(maps.device, maps.real.dtype).unsqueeze(-1)

        def some(chosen: slice, couplings: torch.Tensor = couplings) -> torch.Tensor:
            return couplings[:, chosen]

        bands.append(_Band(window, kept, some, len(kept)))
    return bands


def _shared_band(window: torch.Tensor, frequencies: torch.Tensor, shared: SharedLines) -> _Band:
    """A band whose coarse lines, some at a time, have an average of the shared matrices."""
    matrices = shared.matrices
    weights = _coarse_weights(window, frequencies)  # (n, across)
    n = len(weights)
    n_matrices = max(m for m in range(1, BAND_MATRICES + 1) if n % m == 0)
    weights = weights.reshape(n_matrices, -1, len(window)).mean(1)
    group = torch.arange(len(window)) // shared.group
    summed = weights.new_zeros((n_matrices, matrices.shape[1])).index_add_(1, group, weights)
    summed = summed.to(matrices)

    def some(chosen: slice) -> torch.Tensor:
        return torch.einsum("ng,sgij->snij", summed[chosen], matrices)

    kept = _kept(n, len(window)).to(matrices.device)
    window = window.to(matrices.device, matrices.real.dtype).unsqueeze(-1)
    return _Band(window, kept, some, n_matrices)


def _kept(n: int, n_across: int) -> torch.Tensor:
    """Indices of a coarse grid's frequencies among all."""
    return torch.fft.fftfreq(n, 1 / n).round().long() % n_across


class BandedInverse:
    """The inverse at one level, without what lies above the bands.

    Parameters
    ----------
    axis : int
        Image axis along which the mask varies.
    bands : list of tuple
        Frequencies across that are kept, their correction, and dense inverses (slices, m, W, W), m
        a divisor of their number n: n / m adjacent lines of the coarse grid share one.
    """

    def __init__(self, axis: int, bands: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
        self._axis, self._bands = axis, bands

    def apply_to_spectrum(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the spectrum of the inverse times an image.

        Parameters
        ----------
        spectrum : torch.Tensor
            (n, *slices, H, W), in the order of torch.fft.
        """
        across = spectrum.transpose(-1, self._axis)
        result = torch.zeros_like(across)
        for kept, correction, inverse in self._bands:
            image = torch.fft.ifft2(across[..., kept, :] * correction)
            n_slices, n_matrices, n_along, _ = inverse.shape
            lines = image.reshape(len(image), n_slices, n_matrices, -1, n_along)
            lines = lines.permute(1, 2, 4, 0, 3)  # (slices, matrices, along, samples, lines)
            found = inverse @ lines.reshape(n_slices, n_matrices, n_along, -1)
            image = found.reshape(lines.shape).permute(3, 0, 1, 4, 2).reshape(image.shape)
            result[..., kept, :] += torch.fft.fft2(image) * correction
        return result.transpose(-1, self._axis)


def _coarse_weights(window: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """What each line of a band's coarse grid is the average of, (coarse lines, lines).

    It stands for what the window makes of one line, which has a share of all: a line where maps
    vanish must not seem free if its neighbours are measured.
    """
    n_across = len(window)
    highest = float(frequencies.abs()[window > 0].max())
    n = min(2 * math.ceil(highest) + 2, n_across)
    # sum over k of window(k) cos(2 pi k (line - place) / N), by products of two matrices
    line = 2 * math.pi / n_across * torch.arange(n_across).double() * frequencies.unsqueeze(1)
    place = 2 * math.pi / n * torch.arange(n).double().unsqueeze(1) * frequencies
    sums = (window * place.cos()) @ line.cos() + (window * place.sin()) @ line.sin()
    weights = sums.square()
    return weights / weights.sum(1, keepdim=True)


def _averages(lines: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted averages of maps^H maps over lines, (slices, coils, lines, along)."""
    n_slices, _, n_across, n_along = lines.shape
    found = lines.new_zeros((n_slices, len(weights), n_along, n_along))
    total = torch.view_as_real(found).flatten(2)  # a view
    weights = weights.to(lines.device, total.dtype).expand(n_slices, -1, -1)
    for first in range(0, n_across, LINES_AT_ONCE):
        part = lines[:, :, first : first + LINES_AT_ONCE].transpose(1, 2)
        products = torch.view_as_real(part.mH @ part).flatten(2)
        total.baddbmm_(weights[..., first : first + LINES_AT_ONCE], products)
    return found


def _windows(distance: torch.Tensor) -> list[torch.Tensor]:
    """One window for each band and one for the rest; their squares sum to one."""
    ramps = [torch.ones_like(distance)]
    for edge in EDGES:
        octaves = torch.log2((distance + 1) / (edge + 1))
        rise = (octaves / OVERLAP + 0.5).clamp(0, 1)
        ramps.append(torch.sin(rise * math.pi / 2).square())
    ramps.append(torch.zeros_like(distance))
    return [(low - high).clamp_min(0).sqrt() for low, high in itertools.pairwise(ramps)]
