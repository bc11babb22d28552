"""A^H A of the SENSE operator without forming k-space.

Two identities do most of the work. With F the centred transform along any axes and m a mask,
F^H m F is a circular convolution, which commutes with shifts, so every image-domain shift
cancels: F^H m F = U^H ifftshift(m) U with U the plain FFT, for even and odd lengths alike. And
where m does not depend on an axis, the transform along it cancels against its adjoint.

`make_gram` is the one place that chooses an implementation; another kernel is plugged in there.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch

from mri_alps.operators._lengths import largest_prime_factor, round_length
from mri_alps.operators.lines._structure import line_axis

# Bytes of coil images held at a time: they stay in a core's cache on the CPU, and are bounded
# but large enough to fill the device on a GPU.
_CPU_CHUNK_BYTES = 1 << 20
_DEVICE_CHUNK_BYTES = 1 << 28
# Above this prime factor the FFT of a length W is slower than one of a round length >= 2 W - 1
# (measured with MKL: 356 = 4 * 89 takes 44 ms where 384 takes 7 and 720 takes 16).
_AWKWARD_PRIME = 40


class Gram(Protocol):
    """The map x -> A^H A x for x of shape (N, *domain_shape), contiguous or not."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x in a new tensor of the shape of `x`."""
        ...


def make_gram(maps: torch.Tensor, mask: torch.Tensor) -> Gram:
    """Choose the fastest Gram operator for these maps and this mask.

    Parameters
    ----------
    maps : torch.Tensor
        Complex, (coils, H, W) or (B, coils, H, W).
    mask : torch.Tensor
        Boolean, with as many dimensions as an image, broadcastable to one.
    """
    _keep_freed_memory()
    if bool((mask == 1).all()):
        return DiagonalGram(maps)
    axis = line_axis(mask)
    if axis == -1:
        return LineGram(maps, mask[..., 0, :])
    if axis == -2:
        return TransposedGram(LineGram(maps.transpose(-1, -2), mask[..., 0]))
    return PlaneGram(maps, mask)


class DiagonalGram:
    """Everything is measured: F^H F = 1, and A^H A multiplies by sum_c |S_c|^2."""

    def __init__(self, maps: torch.Tensor):
        self.weight = maps.abs().square().sum(-3)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x."""
        return x * self.weight


class LineGram:
    """The mask varies along the last axis only: transforms along that axis alone.

    Rows of the other axis (the readout) are then independent. The maps are stored
    (readout, coil, phase encode), and as many rows at a time are worked on as fit the cache.
    Rows where all maps vanish, such as the margin of an oversampled readout, are skipped.

    Parameters
    ----------
    maps : torch.Tensor
        Complex, (coils, H, W) or (B, coils, H, W).
    mask : torch.Tensor
        Boolean, (W,) or (B or 1, W), in centred order.
    """

    def __init__(self, maps: torch.Tensor, mask: torch.Tensor):
        self.batched = maps.ndim == 4
        packed = (maps if self.batched else maps[None]).transpose(-2, -3)
        self.first_row, self.stop_row = _support(packed)
        self.maps = packed[:, self.first_row : self.stop_row].contiguous()  # (B, rows, coils, W)
        weights = _signed_mask(mask.reshape(-1, mask.shape[-1]), (-1,), maps.dtype)
        if largest_prime_factor(mask.shape[-1]) > _AWKWARD_PRIME:
            weights = _embed(weights)
        self.weights = weights.expand(len(self.maps), -1, -1)[:, None, None]  # (B, 1, 1, L, 2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x."""
        out = torch.zeros_like(x, memory_format=torch.contiguous_format)
        self.write(x, out)
        return out

    def write(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """Write A^H A x into `out`, which holds zeros and may be strided."""
        images, out = (x, out) if self.batched else (x[:, None], out[:, None])  # (N, B, H, W)
        rows = slice(self.first_row, self.stop_row)
        if _works_in_cache(x):
            for i, (maps, weights) in enumerate(zip(self.maps, self.weights, strict=True)):
                _line_chunks(images[:, i, rows], maps, weights, out[:, i, rows], _CPU_CHUNK_BYTES)
        else:
            _line_chunks(
                images[:, :, rows], self.maps, self.weights, out[:, :, rows], _DEVICE_CHUNK_BYTES
            )


class TransposedGram:
    """A `LineGram` of transposed images, for lines along the first image axis."""

    def __init__(self, gram: LineGram):
        self.gram = gram

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x."""
        out = torch.zeros_like(x, memory_format=torch.contiguous_format)
        self.gram.write(x.transpose(-1, -2), out.transpose(-1, -2))
        return out


class PlaneGram:
    """Any mask: plain transforms along all axes of a few coil images at a time.

    Parameters
    ----------
    maps : torch.Tensor
        Complex, (coils, H, W) or (B, coils, H, W).
    mask : torch.Tensor
        Boolean, or real weights between F and F^H, (H, W) or (B or 1, H, W), in centred order.
    n_axes : int
        Number of image axes; with 3, maps and mask have an axis more.
    """

    def __init__(self, maps: torch.Tensor, mask: torch.Tensor, n_axes: int = 2):
        self.batched = maps.ndim == n_axes + 2
        self.maps = maps if self.batched else maps[None]  # (B, coils, H, W)
        mask = mask.reshape(-1, *mask.shape[-n_axes:])
        mask = mask.expand(len(mask), *maps.shape[-n_axes:])
        weights = _signed_mask(mask, tuple(range(-n_axes, 0)), maps.dtype)
        self.weights = weights.expand(len(self.maps), *weights.shape[1:])  # (B, H, W, 2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x."""
        images = x if self.batched else x[:, None]  # (N, B, H, W)
        out = torch.zeros_like(images, memory_format=torch.contiguous_format)
        for i, (maps, weights) in enumerate(zip(self.maps, self.weights, strict=True)):
            if _works_in_cache(x):
                # Small images go together, as many as all their coil images fit in the cache.
                n_images = max(1, _CPU_CHUNK_BYTES // (maps.numel() * x.element_size()))
                chunks = zip(images[:, i].split(n_images), out[:, i].split(n_images), strict=True)
                for chunk, target in chunks:
                    _plane_coils(chunk, maps, weights, target, _CPU_CHUNK_BYTES)
            else:
                _plane_coils(images[:, i], maps, weights, out[:, i], _DEVICE_CHUNK_BYTES)
        return out.conj_physical_().reshape(x.shape)


def _works_in_cache(x: torch.Tensor) -> bool:
    return x.device.type == "cpu"


def _line_chunks(
    x: torch.Tensor, maps: torch.Tensor, weights: torch.Tensor, out: torch.Tensor, budget: int
) -> None:
    """Write A^H A x into `out` for x (N, ..., rows, W) and maps (..., rows, coils, W)."""
    n_rows, n_coils, width = maps.shape[-3:]
    length = weights.shape[-2]  # W, or longer for an embedded convolution
    if x.numel() == 0 or n_rows == 0:
        return
    row_bytes = x.shape[:-2].numel() * n_coils * width * x.element_size()
    if row_bytes > budget and len(x) > 1:
        n_images = max(1, len(x) * budget // row_bytes)
        for images, targets in zip(x.split(n_images), out.split(n_images), strict=True):
            _line_chunks(images, maps, weights, targets, budget)
        return
    step = min(n_rows, max(1, budget // row_bytes))
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        chunk = maps[..., rows, :, :]
        spectrum = torch.fft.fft(x[..., rows, None, :] * chunk, n=length)
        torch.view_as_real(spectrum).mul_(weights)
        # The weights conjugate, and conj(ifft(s)) = fft(conj(s)) / W: both transforms go
        # forward, and conj(S) is had by conjugating the sum over coils instead of the maps.
        product = torch.fft.fft(spectrum)[..., :width] * chunk
        out[..., rows, :] = product.sum(-2).conj_physical_()


def _plane_coils(
    x: torch.Tensor, maps: torch.Tensor, weights: torch.Tensor, out: torch.Tensor, budget: int
) -> None:
    """Add conj(A^H A x) to `out` for x (N, H, W) and maps (coils, H, W)."""
    if x.numel() == 0:
        return
    dim = tuple(range(1 - maps.ndim, 0))
    step = max(1, budget // (x.numel() * x.element_size()))
    for chunk in maps.split(step):
        spectrum = torch.fft.fftn(x[:, None] * chunk, dim=dim)
        torch.view_as_real(spectrum).mul_(weights)
        coil_images = torch.fft.fftn(spectrum, dim=dim)
        if len(chunk) == 1:
            out.addcmul_(coil_images[:, 0], chunk[0])
        else:
            out += coil_images.mul_(chunk).sum(1)


def _signed_mask(mask: torch.Tensor, axes: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return factors for (re, im) that mask, conjugate and normalise: (m, -m) / length."""
    length = math.prod(mask.shape[axis] for axis in axes)
    shifted = torch.fft.ifftshift(mask, dim=axes).to(dtype.to_real()) / length
    return torch.stack([shifted, -shifted], dim=-1)


def _embed(weights: torch.Tensor) -> torch.Tensor:
    """Return the weights (..., L, 2) that give the same convolution by transforms of length L.

    The circular convolution of length W is the Toeplitz matrix of its kernel at the lags
    -(W - 1) .. W - 1, and that is the corner of a circulant of any length L >= 2 W - 1.
    """
    width = weights.shape[-2]
    length = round_length(2 * width - 1)
    kernel = torch.fft.ifft(weights[..., 0].cpu().double())
    embedded = kernel.new_zeros((*kernel.shape[:-1], length))
    embedded[..., :width] = kernel
    embedded[..., length - width + 1 :] = kernel[..., 1:]
    # The kernel is Hermitian, so its spectrum is real.
    spectrum = torch.fft.fft(embedded).real.to(weights) * (width / length)
    return torch.stack([spectrum, -spectrum], dim=-1)


def _keep_freed_memory() -> None:
    """Let the C library keep freed chunks instead of returning each to the kernel.

    glibc raises its thresholds for that to the size of the largest block freed so far (up to
    32 MiB); until then every FFT output of a chunk is mapped and faulted in anew, which
    doubled the time of `normal`. The block is never touched, so it costs no memory.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def _support(packed: torch.Tensor) -> tuple[int, int]:
    """Return the first row and the one after the last where any map (B, H, C, W) is not zero."""
    rows = torch.nonzero((packed != 0).any(-1).any(-1).any(0)).flatten()
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
