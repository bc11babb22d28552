"""Eigenvectors of A^H A for masks of whole lines: functions of A^H A, line by line."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch

from mri_alps.core import devices
from mri_alps.operators.fused import LANES, ROWS
from mri_alps.operators.fused._threads import in_threads, work_space
from mri_alps.operators.lines._structure import line_axis, line_blocks

# Adjacent lines that share the range of their pixels: few, so that little of it is empty.
_LINES_ON_CPU = 8
# Pixels of all lines from which the compiled kernel pays for loading it.
_COMPILED_SIZE = 1 << 14


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
        self._parts: _Batched | _Packed = _Batched()
        image = maps[..., 0, :, :]
        if on_cpu and image.numel() >= _COMPILED_SIZE:
            kernel = _load_kernel(maps.dtype)
            if kernel is not None:
                n_rows = image[..., 0].numel() if axis == -1 else image[..., 0, :].numel()
                n_most = n_rows * 2 * round_up(self._n_pixels) * round_up(self._n_pixels, ROWS)
                self._parts = _Packed(kernel, maps, n_most)
        values, slices = [maps.real.new_zeros(0)], [torch.zeros(0, dtype=torch.long)]
        for block in line_blocks(maps, mask, n_lines, positions):
            eigenvalues, vectors = _eigh(block.matrices)
            start = (block.slice_index * self._n_lines + block.first_line) * self._n_pixels
            self._parts.add(vectors.mT, start + block.first_pixel, self._n_pixels)
            values.append(eigenvalues.clamp_min(0).flatten())
            slices.append(torch.full((eigenvalues.numel(),), block.slice_index))
        self.values = torch.cat(values)
        self.slice_of_value = torch.cat(slices).to(maps.device)
        self._parts.finish()

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


def round_up(n: int, step: int = LANES) -> int:
    """Return `n` rounded up to a multiple of `step`.

    Parameters
    ----------
    n, step : int
        A size, and how much of it the kernel works on at a time.
    """
    return -(-n // step) * step


class _Batched:
    """The pure-torch form: a product of matrices for each block of lines.

    Eigenvectors are stored once, as rows, and read as they are: a product with their conjugates
    is the conjugate of one with the conjugated image.
    """

    def __init__(self) -> None:
        self._blocks: list[tuple[torch.Tensor, slice, tuple[int, int, int]]] = []
        self._count = 0

    def add(self, rows: torch.Tensor, start: int, stride: int) -> None:
        n_lines, n, _ = rows.shape
        values = slice(self._count, self._count + n_lines * n)
        self._blocks.append((rows.resolve_conj().contiguous(), values, (start, stride, n)))
        self._count = values.stop

    def finish(self) -> None:
        """Nothing is left to do."""

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
            _window(result, place, len(rows)).copy_(rows.mT @ coefficients)


def _window(lines: torch.Tensor, place: tuple[int, int, int], n_lines: int) -> torch.Tensor:
    """View of a block's pixels, (lines, pixels, n)."""
    start, stride, n = place
    return lines.as_strided((n_lines, n, len(lines)), (stride, 1, lines.shape[1]), start)


def _analyse(rows: torch.Tensor, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    product = (rows @ x.conj().resolve_conj()).conj()
    return weights.reshape(*rows.shape[:2], 1) * product


class _Packed:
    """The compiled form: eigenvectors planar, padded to whole vectors, in one piece of memory."""

    def __init__(self, kernel: Callable[..., None], maps: torch.Tensor, n_most: int):
        self._kernel = kernel
        # Pages that are never written to take no memory; numpy asks for large ones.
        kind = np.float64 if maps.dtype == torch.complex128 else np.float32
        self._vectors = torch.from_numpy(np.empty(n_most, dtype=kind))
        self._rows: list[list[int]] = []
        self._start = self._count = self._widest = 0

    def add(self, rows: torch.Tensor, start: int, stride: int) -> None:
        n_lines, n, _ = rows.shape
        width, height = round_up(n), round_up(n, ROWS)
        stop = self._start + n_lines * height * 2 * width
        # (line, row, part, pixel) as (line, row / 4, pixel / 8, row, part, pixel)
        planar = rows.new_zeros((n_lines, height, 2, width), dtype=self._vectors.dtype)
        planar[:, :n, :, :n] = torch.view_as_real(rows.resolve_conj()).movedim(-1, -2)
        tiled = planar.reshape(n_lines, height // ROWS, ROWS, 2, width // LANES, LANES)
        target = self._vectors[self._start : stop].reshape(tiled.movedim(4, 2).shape)
        target.copy_(tiled.movedim(4, 2))
        for line in range(n_lines):
            first = self._start + line * height * 2 * width
            self._rows.append([2 * (start + line * stride), n, first, self._count + line * n])
        self._start, self._count = stop, self._count + n_lines * n
        self._widest = max(self._widest, width)

    def finish(self) -> None:
        self._table = np.array(self._rows, dtype=np.int64).reshape(-1, 4)

    def filter(
        self,
        x: torch.Tensor,
        noise: torch.Tensor | None,
        product: torch.Tensor,
        shift: torch.Tensor,
        result: torch.Tensor,
    ) -> None:
        n_images, size = x.shape
        n_lines = len(self._table)
        n_threads = max(1, min(torch.get_num_threads(), n_lines))
        edges = [n_lines * k // n_threads for k in range(n_threads + 1)]
        arrays = [
            torch.view_as_real(a).reshape(-1).numpy()
            for a in (x, x if noise is None else noise, result)
        ]
        weights = [a.contiguous().numpy() for a in (product, shift)]
        strides = np.arange(n_images) * (2 * size)
        vectors = self._vectors.numpy()

        def run(k: int) -> None:
            work = work_space(4 * ROWS + n_images * 6 * self._widest, vectors.dtype)
            self._kernel(
                *arrays,
                vectors,
                self._table,
                *weights,
                work,
                strides,
                *edges[k : k + 2],
                noise is not None,
            )

        in_threads(run, n_threads)


def _load_kernel(dtype: torch.dtype) -> Callable[..., None] | None:
    """Return the compiled kernel, or None where it cannot be had: slower, not wrong."""
    try:
        from mri_alps.operators.fused._compiled import factor_kernel

        kernel = factor_kernel()
        nothing = work_space(4 * ROWS, np.dtype(np.float64 if dtype.itemsize == 16 else np.float32))
        table, none = np.zeros((0, 4), dtype=np.int64), np.zeros(0, dtype=np.int64)
        kernel(*[nothing] * 4, table, *[nothing] * 3, none, 0, 0, True)  # compiles
    except Exception as error:  # noqa: BLE001 - numba is absent or does not work here
        warnings.warn(
            f"the kernel of the line preconditioner cannot be compiled ({type(error).__name__}: "
            f"{error}); the slower pure-torch path is used",
            RuntimeWarning,
            stacklevel=4,
        )
        return None
    return kernel
