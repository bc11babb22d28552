"""What `factors` and `bands` need of A^H A in large images: adjacent lines share a matrix.

Sensitivity maps are smooth, so that A^H A hardly changes from one image line to the next: a few
averages over neighbours stand for all, at a cost that does not grow with the number of lines. They
approximate: for preconditioners, whose solver is exact whatever they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from mri_alps.core.fourier import fftc

SHARED_LIMIT = 10**8
"""Entries of the eigenvectors of a slice, lines times squared pixels, above which lines share them:
they cost cubes of a line to find, and squares to keep and to apply."""
SHARED_MATRICES = 64
"""Matrices of all lines of a slice."""
LINES_AVERAGED = 8
"""Lines that one of them is the average of, evenly spaced among those that share it."""


class SharedLines:
    """Averages of A^H A over neighbouring image lines, and functions of it by their eigenvectors.

    Images are (n, *slices, H, W). See `mri_alps.operators.lines.factors.LineFactors`, in whose
    place it stands.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (coils, H, W) or (B, coils, H, W).
    power : torch.Tensor
        What stands between F and F^H in A^H A, bool or real, as many axes as an image, varying
        along one image axis.
    axis : int
        That axis, -1 or -2.
    exact : bool
        Whether that is what A^H A has, not a mean.

    Attributes
    ----------
    exact : bool
        As given.
    matrices : torch.Tensor
        (slices, n, W, W), Hermitian.
    values : torch.Tensor
        Eigenvalues of all of them, flat, not negative.
    slice_of_value : torch.Tensor
        Slice to which each belongs.
    """

    def __init__(self, maps: torch.Tensor, power: torch.Tensor, axis: int, exact: bool = True):
        self.exact, self._axis = exact, axis
        self._maps, self._power = maps, power
        lines = maps.transpose(-1, axis)
        lines = lines.reshape(-1, *lines.shape[-3:])
        self.n_lines, n = lines.shape[-2:]
        self.group = math.ceil(self.n_lines / SHARED_MATRICES)
        own = power.to(maps.real.dtype).transpose(-1, axis)[..., :1, :]
        own = own.reshape(-1, 1, power.shape[axis]).expand(len(lines), 1, n)
        transform = fftc(torch.eye(n, dtype=maps.dtype, device=maps.device), dim=-1).mT
        spread = transform.mH @ (own.mT.to(maps.dtype) * transform)  # (slices, n, n)
        self.matrices = _averages(lines, self.group).mul_(spread.unsqueeze(1))
        inside = (self.matrices.diagonal(dim1=-2, dim2=-1).real > 0).any(0).any(0)
        self._first, self._stop = _range(inside)
        part = slice(self._first, self._stop)
        values, self._vectors = torch.linalg.eigh(self.matrices[..., part, part])
        self._shape = values.shape  # (slices, n, pixels)
        self.values = values.clamp_min_(0).flatten()
        index = torch.arange(len(lines), device=maps.device)
        self.slice_of_value = index.repeat_interleave(self.values.numel() // len(lines))

    def filter(
        self,
        x: torch.Tensor,
        noise: None,  # noqa: ARG002 - as of `LineFactors`; preconditioners add none
        product: torch.Tensor,
        shift: torch.Tensor,  # noqa: ARG002
        outside: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Return U product U^H x.

        Parameters
        ----------
        x : torch.Tensor
            (n, *slices, H, W).
        noise : None
            Not added.
        product, shift : torch.Tensor
            (V,) weights, the second of the noise.
        outside : pair of torch.Tensor
            Both weights outside the support, 0-dimensional.
        """
        lines = x.transpose(-1, self._axis)
        result = lines * outside[0]
        shape = (len(x), -1, *lines.shape[-2:])
        source = lines.reshape(shape)[..., self._first : self._stop]
        target = result.view(shape)[..., self._first : self._stop]
        weights = product.reshape(self._shape)
        for index in range(self._shape[1]):
            rows = slice(index * self.group, (index + 1) * self.group)
            part, vectors = source[:, :, rows].transpose(0, 1), self._vectors[:, index]
            if not part.numel():
                break  # fewer lines than matrices have room for
            flat = part.reshape(len(part), -1, part.shape[-1]).mT  # (slices, W, n * lines)
            found = vectors @ ((vectors.mH @ flat) * weights[:, index].unsqueeze(-1))
            target[:, :, rows] = found.mT.reshape(part.shape).transpose(0, 1)
        return result.transpose(-1, self._axis).contiguous()

    def draw_noise(self, draw: Callable[[Sequence[int]], torch.Tensor]) -> torch.Tensor:
        """Noise of the covariance A^H A, (n, *slices, H, W): measured samples alone, coil by coil.

        Parameters
        ----------
        draw : callable
            From a shape to unit complex noise of it for each chain and slice,
            (n, *slices, *shape).
        """
        axis = self._axis
        shape = list(self._power.shape)
        shape[axis] = self._maps.shape[axis]
        root = torch.fft.ifftshift(self._power.expand(shape), dim=axis)
        root = root.to(self._maps.real.dtype).sqrt()
        across = self._maps.shape[-2 if axis == -1 else -1]
        pattern = (root > 0).transpose(-1, axis).reshape(-1, root.shape[axis])
        measured = pattern.any(0).nonzero().flatten()
        kept = root.index_select(axis, measured)
        total: torch.Tensor | None = None
        for coil in range(self._maps.shape[-3]):
            lines = (across, len(measured)) if axis == -1 else (len(measured), across)
            noise = draw(lines) * kept
            spectrum = noise.new_zeros((*noise.shape[:-2], *self._maps.shape[-2:]))
            spectrum.index_copy_(spectrum.ndim + axis, measured, noise)
            image = torch.fft.ifft(spectrum, dim=axis, norm="ortho")
            image.mul_(self._maps[..., coil, :, :].conj())
            total = image if total is None else total.add_(image)
        assert total is not None
        return total


def _averages(lines: torch.Tensor, group: int) -> torch.Tensor:
    """Mean of maps^H maps over some lines of each group, (slices, groups, W, W)."""
    n_slices, _, n_lines, n = lines.shape
    found = lines.new_zeros((n_slices, math.ceil(n_lines / group), n, n))
    for index in range(found.shape[1]):
        stop = min((index + 1) * group, n_lines)
        step = max(1, group // LINES_AVERAGED)
        part = lines[:, :, index * group + step // 2 : stop : step]
        if not part.shape[2]:
            part = lines[:, :, stop - 1 : stop]
        rows = part.reshape(n_slices, -1, n)  # coils and lines alike are summed over
        torch.matmul(rows.mH, rows, out=found[:, index]).div_(part.shape[2])
    return found


def _range(inside: torch.Tensor) -> tuple[int, int]:
    """First pixel and the one after the last where anything is."""
    pixels = inside.nonzero().flatten()
    return (int(pixels[0]), int(pixels[-1]) + 1) if len(pixels) else (0, 0)
