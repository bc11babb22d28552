"""Eigenvectors of A^H A for masks of whole lines: functions of A^H A, line by line."""

from __future__ import annotations

import torch

from mri_alps.core import devices
from mri_alps.operators.lines._structure import line_axis, line_blocks

# Adjacent lines that share the range of their pixels: few, so that little of it is empty.
_LINES_ON_CPU = 8


class LineFactors:
    """A^H A = U L U^H, where A^H A couples only the pixels of one image line.

    Images are (n, *slices, H, W). Pixels outside the maps' support are eigenvectors to the
    eigenvalue zero. Eigenvectors are found up to phases and rotations, which differ from one
    library to the next: nothing here depends on them.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (coils, H, W) or (B, coils, H, W).
    mask : torch.Tensor
        Bool, or squared weights, as many axes as an image, varying along one image axis only.
    exact : bool
        Whether that is what A^H A has, not a mean.
    positions : torch.Tensor, optional
        See `line_blocks`; the mask is as long as its axis then.

    Attributes
    ----------
    exact : bool
        As given.
    values : torch.Tensor
        (V,) eigenvalues of all lines, not negative.
    slice_of_value : torch.Tensor
        (V,) slice to which each belongs.
    """

    def __init__(
        self,
        maps: torch.Tensor,
        mask: torch.Tensor,
        exact: bool = True,
        positions: torch.Tensor | None = None,
    ):
        self.exact = exact
        axis = line_axis(mask)
        assert axis is not None
        self._axis = axis
        self._n_lines, self._n_pixels = maps.transpose(-1, axis).shape[-2:]
        on_cpu = devices.runs_on_host(maps)
        n_lines = _LINES_ON_CPU if on_cpu else self._n_lines
        self._parts = _Parts()
        values, slices = [maps.real.new_zeros(0)], [torch.zeros(0, dtype=torch.long)]
        for block in line_blocks(maps, mask, n_lines, positions):
            eigenvalues, vectors = _eigh(block.matrices)
            start = (block.slice_index * self._n_lines + block.first_line) * self._n_pixels
            self._parts.add(vectors.mT, start + block.first_pixel, self._n_pixels)
            values.append(eigenvalues.clamp_min(0).flatten())
            slices.append(torch.full((eigenvalues.numel(),), block.slice_index))
        self.values = torch.cat(values)
        self.slice_of_value = torch.cat(slices).to(maps.device)

    def filter(
        self,
        x: torch.Tensor,
        noise: torch.Tensor | None,
        product: torch.Tensor,
        shift: torch.Tensor,
        outside: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Return U (product U^H x + shift U^H noise), in one pass over U.

        Parameters
        ----------
        x : torch.Tensor
            (n, *slices, H, W).
        noise : torch.Tensor or None
            Same shape; none is added if left out.
        product, shift : torch.Tensor
            (V,) weights.
        outside : pair of torch.Tensor
            Both weights outside the support, 0-dimensional.
        """
        lines, added = self._to_lines(x), None if noise is None else self._to_lines(noise)
        result = lines * outside[0]
        if added is not None:
            torch.add(result, added * outside[1], out=result)
        self._parts.filter(lines, added, product, shift, result)
        return self._from_lines(result, x)

    def _to_lines(self, x: torch.Tensor) -> torch.Tensor:
        """(n, *slices, H, W) to contiguous (n, slices * lines * pixels)."""
        return x.transpose(-1, self._axis).reshape(len(x), -1).resolve_conj().contiguous()

    def _from_lines(self, lines: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        shape = like.transpose(-1, self._axis).shape
        return lines.reshape(shape).transpose(-1, self._axis).contiguous()


def _eigh(matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues and vectors; in double precision where single precision does not converge.

    LAPACK's single-precision solver gives up on some matrices of rank well below their size, where
    its intermediate numbers underflow: lines along which smooth maps fade out, or lines of several
    sets of maps. It raises an error, or returns NaN.
    """
    try:
        values, vectors = torch.linalg.eigh(matrices)
    except torch.linalg.LinAlgError:
        pass
    else:
        if bool(values.isfinite().all() & torch.view_as_real(vectors).isfinite().all()):
            return values, vectors
    values, vectors = torch.linalg.eigh(matrices.to(torch.complex128))
    return values.to(matrices.real.dtype), vectors.to(matrices.dtype)


class _Parts:
    """A product of matrices for each block of lines.

    Eigenvectors are stored once, as rows, and read as they are: a product with their conjugates
    is the conjugate of one with the conjugated image. The few images stand left of the matrix, the
    order that is faster (by a seventh for 8 images, a third for 4).
    """

    def __init__(self) -> None:
        self._blocks: list[tuple[torch.Tensor, slice, tuple[int, int, int]]] = []
        self._count = 0

    def add(self, rows: torch.Tensor, start: int, stride: int) -> None:
        n_lines, n, _ = rows.shape
        values = slice(self._count, self._count + n_lines * n)
        self._blocks.append((rows.resolve_conj().contiguous(), values, (start, stride, n)))
        self._count = values.stop

    def filter(
        self,
        x: torch.Tensor,
        noise: torch.Tensor | None,
        product: torch.Tensor,
        shift: torch.Tensor,
        result: torch.Tensor,
    ) -> None:
        for rows, values, place in self._blocks:
            coefficients = _analyse(rows, _window(x, place, len(rows)), product[values])
            if noise is not None:
                added = _analyse(rows, _window(noise, place, len(rows)), shift[values])
                coefficients = coefficients + added
            _window(result, place, len(rows)).copy_(coefficients @ rows)


def _window(lines: torch.Tensor, place: tuple[int, int, int], n_lines: int) -> torch.Tensor:
    """View of a block's pixels, (lines, n, pixels)."""
    start, stride, n = place
    return lines.as_strided((n_lines, len(lines), n), (stride, lines.shape[1], 1), start)


def _analyse(rows: torch.Tensor, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    product = (x.conj().resolve_conj() @ rows.mT).conj()
    return weights.reshape(len(rows), 1, -1) * product
