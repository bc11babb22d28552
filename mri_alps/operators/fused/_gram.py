"""A^H A of the SENSE operator by the fused kernels, for tensors on the CPU."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mri_alps.core import devices
from mri_alps.operators.fused import ELEMENT, LANES
from mri_alps.operators.fused._tables import convolution, pack_maps, pad_to_lanes, plane_axes
from mri_alps.operators.fused._threads import in_threads, work_space

_IMAGES_BYTES = 1 << 18
"""Images that go through the coils together; they should stay in a core's second-level cache."""
_WORK_BYTES = 1 << 24
"""Work space of all threads together, for masks along both axes."""


class FusedGram:
    """x -> A^H A x by a kernel where it can be used, by `fallback` where not.

    The kernel takes plain tensors on the CPU. Everything else (other devices, fake tensors,
    compilation) goes to the fallback. Derivatives and `torch.func` are those of a self-adjoint
    linear map.

    Parameters
    ----------
    maps : torch.Tensor
        Complex, (coils, H, W) or (B, coils, H, W), on the CPU.
    mask : torch.Tensor
        Boolean, (H or 1, W or 1) or (B or 1, H or 1, W or 1), centred.
    axis : int or None
        Image axis along which the mask varies; None for both.
    make_fallback : callable
        Makes the pure-torch Gram operator, when it is first needed.
    """

    def __init__(
        self,
        maps: torch.Tensor,
        mask: torch.Tensor,
        axis: int | None,
        make_fallback: Callable[[], Callable[[torch.Tensor], torch.Tensor]],
    ):
        self._maps, self._mask, self._axis = maps, mask, axis
        self._make_fallback = make_fallback
        self._lock = threading.Lock()
        self._slices: list[Any] | None = None
        self._fallback: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x."""
        if not devices.runs_on_host(x) or torch.compiler.is_compiling():
            return self.fallback(x)
        if self._slices is None:
            self._prepare()
        if not self._slices:
            return self.fallback(x)
        return _SelfAdjoint.apply(x, self) if _is_traced(x) else self.apply(x)

    def fallback(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x by torch's own functions."""
        with self._lock:
            if self._fallback is None:
                self._fallback = self._make_fallback()
        return self._fallback(x)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x for x (N, *domain_shape), by the kernel."""
        assert self._slices
        make = torch.empty_like if all(part.fills for part in self._slices) else torch.zeros_like
        result = make(x, memory_format=torch.contiguous_format)
        x = x.detach().resolve_conj().resolve_neg()
        n_slices, size = len(self._slices), 2 * x.shape[-2:].numel()
        group = self._slices[0].group if x.is_contiguous() else 1
        for start in range(0, len(x), group):
            images, target = x[start : start + group].contiguous(), result[start : start + group]
            offsets = np.arange(len(images)) * (n_slices * size)
            for i, part in enumerate(self._slices):
                part.write(_flat(images), _flat(target), offsets + i * size)
        return result

    def _prepare(self) -> None:
        """Pack the maps; an empty list means that the kernel cannot be used."""
        with self._lock:
            if self._slices is not None:
                return
            try:
                self._slices = self._pack()
                shape = (1, *self._maps.shape[:-3], *self._maps.shape[-2:])
                self.apply(torch.zeros(shape, dtype=self._maps.dtype))  # compiles
            except Exception as error:  # noqa: BLE001 - numba is absent or broken
                warnings.warn(
                    f"the fused kernel for A^H A cannot be compiled ({type(error).__name__}: "
                    f"{error}); the slower pure-torch path is used",
                    RuntimeWarning,
                    stacklevel=4,
                )
                self._slices = []

    def _pack(self) -> list[Any]:
        maps = self._maps if self._maps.ndim == 4 else self._maps[None]
        masks = self._mask.reshape(-1, *self._mask.shape[-2:]).expand(len(maps), -1, -1)
        masks = torch.fft.ifftshift(masks.expand(-1, *maps.shape[-2:]), dim=(-2, -1))
        pairs = zip(maps, masks, strict=True)
        if self._axis is None:
            return [PlanePart(part, mask.numpy()) for part, mask in pairs]
        return [LinePart(part, mask.numpy(), self._axis) for part, mask in pairs]


def _is_traced(x: torch.Tensor) -> bool:
    """Tell whether a derivative or another transform may be asked for; tells it at no cost."""
    if x.requires_grad and torch.is_grad_enabled():
        return True
    return _transforms_active() or torch.autograd.forward_ad._current_level >= 0


# Not public, but what torch.autograd.Function.apply itself looks at.
_transforms_active: Callable[[], bool] = getattr(
    torch._C, "_are_functorch_transforms_active", lambda: True
)


class _SelfAdjoint(torch.autograd.Function):
    """The kernel, with its derivatives."""

    @staticmethod
    def forward(x: torch.Tensor, gram: FusedGram) -> torch.Tensor:
        return gram.apply(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.gram = inputs[1]

    @staticmethod
    def backward(ctx, gradient):
        return ctx.gram(gradient), None

    @staticmethod
    def jvp(ctx, tangent, _):
        return ctx.gram(tangent)

    @staticmethod
    def vmap(info, in_dims, x, gram):
        moved = x.movedim(in_dims[0], 0)
        return gram(moved.reshape(-1, *moved.shape[2:])).reshape(moved.shape), 0


class LinePart:
    """One slice whose mask varies along one axis."""

    def __init__(self, maps: torch.Tensor, mask: np.ndarray, axis: int):
        from mri_alps.operators.fused._compiled import line_kernel
        from mri_alps.operators.fused._kernel import Transform

        self._kernel, self._n_coils = line_kernel(), len(maps)
        width = maps.shape[-1]
        pattern, strides = (mask[0], (2 * width, 2)) if axis == -1 else (mask[:, 0], (2, 2 * width))
        maps = maps if axis == -1 else maps.transpose(-1, -2)
        dtype = _real_dtype(maps)
        lines = convolution(pattern, dtype)
        # Rows where all maps vanish, such as the margin of an oversampled readout, stay zero.
        rows = pad_to_lanes(np.flatnonzero((maps != 0).any(-1).any(0).numpy()))
        self._rows = np.where(rows < 0, -1, rows * strides[0])
        self.fills = int((rows >= 0).sum()) == maps.shape[-2]
        self._maps = _flat(pack_maps(maps, rows, lines.inputs))
        self._transform = Transform(**lines.fields(strides[1]))
        self._size, self._scratch, self._dtype = len(lines.inputs) * ELEMENT, lines.scratch, dtype
        self.group = max(1, _IMAGES_BYTES // (2 * self._size * dtype.itemsize))

    def write(self, images: np.ndarray, result: np.ndarray, offsets: np.ndarray) -> None:
        """Write A^H A of the images at `offsets` to the same place in `result`."""
        n_blocks = len(self._rows) // LANES
        n_threads = max(1, min(torch.get_num_threads(), n_blocks))
        n_work = (1 + 2 * len(offsets)) * self._size + self._scratch
        edges = [n_blocks * k // n_threads for k in range(n_threads + 1)]

        def run(k: int) -> None:
            self._kernel(
                images,
                result,
                offsets,
                self._maps,
                self._rows,
                self._transform,
                work_space(n_work, self._dtype),
                edges[k],
                edges[k + 1],
                self._n_coils,
            )

        in_threads(run, n_threads)


class PlanePart:
    """One slice whose mask varies along both axes."""

    group = 1
    fills = True

    def __init__(self, maps: torch.Tensor, mask: np.ndarray):
        from mri_alps.operators.fused._compiled import plane_kernel
        from mri_alps.operators.fused._kernel import Transform

        self._kernel, self._n_coils = plane_kernel(), len(maps)
        self._dtype = _real_dtype(maps)
        axes = plane_axes(mask, self._dtype)
        assert axes is not None
        along, across = axes
        width = mask.shape[-1]
        rows = pad_to_lanes(across.inputs)
        self._rows = np.where(rows < 0, -1, rows * 2 * width)
        self._maps = _flat(pack_maps(maps, rows, along.inputs))
        self._along, self._across = Transform(**along.fields(2)), Transform(**across.fields(2))
        self._order = (
            torch.from_numpy(np.argsort(across.inputs)),
            torch.from_numpy(np.argsort(along.inputs)),
        )
        lanes, stripes = len(rows) * width * 2, len(rows) * len(pad_to_lanes(along.inputs)) * 2
        self._total, self._n_work = (
            lanes,
            2 * lanes + stripes + len(pad_to_lanes(along.inputs)) * ELEMENT,
        )

    def write(self, images: np.ndarray, result: np.ndarray, offsets: np.ndarray) -> None:
        """Write A^H A of the images at `offsets` to the same place in `result`."""
        height, width = (len(order) for order in self._order)
        most = max(1, _WORK_BYTES // (self._n_work * self._dtype.itemsize))
        n_threads = min(torch.get_num_threads(), self._n_coils, most)
        edges = [self._n_coils * k // n_threads for k in range(n_threads + 1)]
        works = [work_space(self._n_work, self._dtype) for _ in range(n_threads)]
        for offset in offsets:

            def run(k: int, image: np.ndarray = images[offset:]) -> None:
                self._kernel(
                    image,
                    self._maps,
                    self._rows,
                    self._along,
                    self._across,
                    works[k],
                    edges[k],
                    edges[k + 1],
                    self._n_coils,
                )

            in_threads(run, n_threads)
            total = torch.from_numpy(works[0][: self._total])
            for work in works[1:]:
                total += torch.from_numpy(work[: self._total])
            image = total.reshape(-1, width, 2, LANES).permute(0, 3, 1, 2).reshape(-1, width, 2)
            target = torch.from_numpy(result[offset : offset + 2 * height * width])
            target.copy_(image[self._order[0]][:, self._order[1]].reshape(-1))


def _real_dtype(maps: torch.Tensor) -> np.dtype:
    return np.dtype(np.float64 if maps.dtype == torch.complex128 else np.float32)


def _flat(x: torch.Tensor) -> np.ndarray:
    return (torch.view_as_real(x) if x.is_complex() else x).reshape(-1).numpy()
