"""A^H A of the soft-SENSE operator without forming centred k-space.

The identities are those of `mri_alps.operators._gram`: shifts cancel, and so does the transform
along an axis on which the mask does not depend. The transforms are of the coil images, the sum over
all sets, so further sets cost products only.
"""

from __future__ import annotations

import torch

from mri_alps.operators.lines._structure import line_axis

# Bytes of coil images held at a time, as in `_gram`: in a core's cache on the CPU.
_CPU_CHUNK_BYTES = 1 << 20
_DEVICE_CHUNK_BYTES = 1 << 28


class SetsGram:
    """The map x -> A^H A x for x of shape (N, sets, H, W).

    Parameters
    ----------
    maps : torch.Tensor
        Complex, (sets, coils, H, W).
    power : torch.Tensor
        Real, mask times squared weights, (H or 1, W or 1), in centred order.
    """

    def __init__(self, maps: torch.Tensor, power: torch.Tensor):
        self._maps, axis = maps, line_axis(power)
        if axis == -1:
            power = power[:1]
        elif axis == -2:
            power = power[:, :1]
        self._axes = (-2, -1) if axis is None else (axis,)
        full = [n if a in self._axes else 1 for a, n in zip((-2, -1), maps.shape[-2:], strict=True)]
        power = torch.fft.ifftshift(power.expand(full), dim=self._axes) / power.expand(full).numel()
        # The weights conjugate, and conj(ifft(s)) = fft(conj(s)) / N, as in `_gram`.
        self._weights = torch.stack([power, -power], -1).to(maps.dtype.to_real())

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x."""
        out = torch.zeros_like(x, memory_format=torch.contiguous_format)
        on_host = x.device.type == "cpu"
        budget = _CPU_CHUNK_BYTES if on_host else _DEVICE_CHUNK_BYTES
        n_images = 1 if on_host else max(len(x), 1)
        for images, target in zip(x.split(n_images), out.split(n_images), strict=True):
            step = max(1, budget // max(images[:, 0].numel() * images.element_size(), 1))
            for maps in self._maps.split(step, 1):
                self._add(images, maps, target)
        return out.conj_physical_()

    def _add(self, images: torch.Tensor, maps: torch.Tensor, target: torch.Tensor) -> None:
        """Add what some of the coils contribute."""
        coil_images = images[:, 0, None] * maps[0]
        for index in range(1, len(maps)):
            coil_images.addcmul_(images[:, index, None], maps[index])
        spectrum = torch.fft.fftn(coil_images, dim=self._axes)
        torch.view_as_real(spectrum).mul_(self._weights)
        filtered = torch.fft.fftn(spectrum, dim=self._axes)
        for index in range(len(maps)):
            torch.mul(filtered, maps[index], out=coil_images)
            target[:, index] += coil_images.sum(1)
