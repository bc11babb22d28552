"""The complex U-Net as it runs without gradients on the CPU.

The arithmetic of `mri_alps.priors.unet.UNet` in another order of memory: channels last, so that
convolutions read what lies side by side; a pass of compiled code for all between two of them; and
pixel-shuffles folded into those passes. Convolutions multiply in bfloat16 where the processor has
instructions for that (sums are float32, and so is the image that the residual blocks add to), and
elsewhere by Winograd's algorithm, where it is faster.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch.nn import functional

from mri_alps.core.devices import runs_on_host
from mri_alps.core.lazy import undisturbed_imports

if TYPE_CHECKING:
    from mri_alps.priors.fused._kernels import Kernels
    from mri_alps.priors.fused._winograd import Convolution
    from mri_alps.priors.unet import UNet

_MULTIPLIES_BFLOAT16 = ("avx512bf16", "amx-bf16")
FEWEST_PIXELS, FEWEST_OUTPUTS = 144, 16
"""Of a convolution that Winograd's algorithm is faster for."""
MOST_THREADS = 2
"""Above, plain convolutions are faster, which use them all."""


@cache
def fast_dtype() -> torch.dtype:
    """Return the type that convolutions are fastest in on this processor and exact enough in."""
    import llvmlite.binding

    features = llvmlite.binding.get_host_cpu_features()
    has = any(features.get(name, False) for name in _MULTIPLIES_BFLOAT16)
    return torch.bfloat16 if has else torch.float32


@cache
def load_kernels() -> Kernels | None:
    """Return the compiled kernels, or None where numba is absent or broken: slower, not wrong."""
    try:
        with undisturbed_imports():
            from mri_alps.priors.fused._kernels import kernels

            found = kernels()
            found.power(np.zeros((1, 2), np.float32), np.zeros(1))  # compiles
    except Exception as error:  # noqa: BLE001
        warnings.warn(
            f"the network's kernels cannot be compiled ({type(error).__name__}: {error}); the "
            "slower pure-torch path is used",
            RuntimeWarning,
            stacklevel=4,
        )
        return None
    return found


def may_be_fused(x: torch.Tensor) -> bool:
    """Tell whether images are plain ones on the CPU of which no derivative is asked.

    Parameters
    ----------
    x : torch.Tensor
        Complex64.
    """
    if not runs_on_host(x) or x.dtype != torch.complex64 or x.numel() == 0:
        return False
    if torch.compiler.is_compiling() or (x.requires_grad and torch.is_grad_enabled()):
        return False
    return not _transforms_active() and torch.autograd.forward_ad._current_level < 0


# Not public, but what torch.autograd.Function.apply itself looks at.
_transforms_active: Callable[[], bool] = getattr(
    torch._C, "_are_functorch_transforms_active", lambda: True
)


_Weight: TypeAlias = "tuple[torch.Tensor, Convolution | None]"  # plain, and by Winograd's algorithm


class FusedUNet:
    """A U-Net's weights, packed, and what applies it to an image.

    One image at a time, which stays in a core's cache: its result cannot depend on its neighbours
    in a batch.

    Parameters
    ----------
    unet : UNet
        Equivariant, on the CPU, in float32. Later changes of its weights are not seen.
    kernels : Kernels
        From `load_kernels`.
    dtype : torch.dtype
        bfloat16 or float32, of the convolutions' inputs.
    """

    def __init__(self, unet: UNet, kernels: Kernels, dtype: torch.dtype):
        self.dtype, self._kernels = dtype, kernels
        self._embedding = unet.embedding
        self._group_size = unet.config.group_size
        self._gates: list[Any] = []
        self._entrance = self._packed(unet.entrance)
        self._encoder = [self._blocks(blocks) for blocks in unet.encoder]
        self._decoder = [self._blocks(blocks) for blocks in unet.decoder]
        self._down = [self._packed_down(layer) for layer in unet.down]
        self._up = [self._packed_up(layer) for layer in unet.up]
        self._exit_gate = self._gate(unet.exit_gate)
        self._exit = self._packed(unet.exit)
        self._lengths = [len(gate.slope) for gate in self._gates]
        rows = [
            torch.cat([g.from_level.weight, g.from_level.bias[:, None]], 1) for g in self._gates
        ]
        # All scales, then all slopes, then all shifts.
        self._from_level = torch.cat([own.chunk(3)[k] for k in range(3) for own in rows])
        self._slope = torch.cat([gate.slope for gate in self._gates])
        self._shift = torch.cat([gate.shift for gate in self._gates])

    def __call__(
        self, image: torch.Tensor, level: torch.Tensor, noise_power: torch.Tensor
    ) -> torch.Tensor:
        """Return what `UNet.forward` does, for one image.

        Parameters
        ----------
        image : torch.Tensor
            Complex64 (H, W), contiguous, sizes multiples of the U-Net's stride.
        level, noise_power : torch.Tensor
            (), as in `UNet.forward`.
        """
        shape, kernels = (image.shape[0], image.shape[1]), self._kernels
        gates, sums = self._gates_at(level), np.empty(0)
        half = (shape[0] // 2, shape[1] // 2)
        x = self._space(half[0] * half[1], 24)
        work = torch.empty((6, *shape)).numpy()
        kernels.views(torch.view_as_real(image).numpy(), np.float32(noise_power), work, _array(x))
        x = self._convolve(x, half, self._entrance).float()
        shape, skips = half, []
        for index, blocks in enumerate(self._encoder):
            sums = np.empty(x.shape[1] // 2)
            kernels.power(_array(x), sums)
            x = self._run(blocks, x, sums, shape, gates)
            if index < len(self._down):
                skips.append((x, shape))
                gathered = self._space(len(x) // 4, 4 * x.shape[1])
                kernels.halve(_array(x), shape[1], _array(gathered))
                shape = (shape[0] // 2, shape[1] // 2)
                x = (gathered @ self._down[index]).float()
        for index in reversed(range(len(self._decoder))):
            if index < len(self._up):
                change = x.to(self.dtype) @ self._up[index]
                x, shape = skips[index]
                sums = np.empty(x.shape[1] // 2)
                kernels.double(_array(x), shape[1], _array(change), sums)
            x = self._run(self._decoder[index], x, sums, shape, gates)
        gated = self._gated(self._exit_gate, x, sums, gates)
        result = torch.empty_like(image)
        values = self._convolve(gated, shape, self._exit)
        kernels.spread(_array(values), torch.view_as_real(result).numpy())
        return result

    def _run(
        self, blocks: list[Any], x: torch.Tensor, sums: np.ndarray, shape: Any, gates: Any
    ) -> torch.Tensor:
        """Residual blocks, added to x, whose sums of power are kept up to date."""
        power = self._kernels.power
        for gate1, conv1, gate2, conv2 in blocks:
            y = self._convolve(self._gated(gate1, x, sums, gates), shape, conv1)
            own = np.empty_like(sums)
            power(_array(y), own)
            change = self._convolve(self._gated(gate2, y, own, gates), shape, conv2)
            self._kernels.add(_array(x), _array(change), sums)
        return x

    def _gated(self, gate: Any, x: torch.Tensor, sums: np.ndarray, gates: Any) -> torch.Tensor:
        result = self._space(*x.shape)
        vectors = [values[gate] for values in gates]
        self._kernels.gate(_array(x), sums, self._group_size, *vectors, _array(result))
        return result

    def _gates_at(self, level: torch.Tensor) -> tuple[list[np.ndarray], ...]:
        """Slope, shift and scale of all gates at a noise level."""
        embedding = self._embedding(level.reshape(1))[0]
        found = torch.addmv(self._from_level[:, -1], self._from_level[:, :-1], embedding)
        log_scale, log_slope, shift = found.chunk(3)
        vectors = (self._slope * log_slope.exp(), self._shift + shift, log_scale.exp() * 2)
        edges = np.cumsum(self._lengths)[:-1]
        return tuple(np.split(values.numpy(), edges) for values in vectors)

    def _convolve(self, x: torch.Tensor, shape: Any, weight: _Weight) -> torch.Tensor:
        """(pixels, channels) to (pixels, channels), by a convolution of 3 x 3."""
        plain, winograd = weight
        is_faster = len(x) >= FEWEST_PIXELS and torch.get_num_threads() <= MOST_THREADS
        if winograd is not None and is_faster:
            return winograd(x, shape)
        image = x.view(1, *shape, -1).permute(0, 3, 1, 2)
        y = functional.conv2d(image, plain, padding=plain.shape[-1] // 2)
        return y.permute(0, 2, 3, 1).reshape(len(x), -1)

    def _space(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=self.dtype)

    def _blocks(self, blocks: Any) -> list[Any]:
        return [
            (
                self._gate(block.gate1),
                self._packed(block.conv1),
                self._gate(block.gate2),
                self._packed(block.conv2),
            )
            for block in blocks
        ]

    def _gate(self, gate: Any) -> int:
        """Keep a gate, and return its number."""
        self._gates.append(gate)
        return len(self._gates) - 1

    def _packed(self, layer: Any) -> _Weight:
        from mri_alps.priors.fused._winograd import Convolution

        weight = layer.real_weight()
        is_worth_it = self.dtype == torch.float32 and len(weight) >= FEWEST_OUTPUTS
        plain = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        return plain, Convolution(weight) if is_worth_it else None

    def _packed_down(self, layer: Any) -> torch.Tensor:
        """Matrix of a 1 x 1 convolution after `halve`."""
        weight = layer.real_weight()[..., 0, 0].to(self.dtype)
        return weight.unflatten(1, (-1, 4)).transpose(1, 2).flatten(1).t().contiguous()

    def _packed_up(self, layer: Any) -> torch.Tensor:
        """Matrix of a 1 x 1 convolution before `double`."""
        weight = layer.real_weight()[..., 0, 0].to(self.dtype)
        return weight.unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1).t().contiguous()


def _array(x: torch.Tensor) -> np.ndarray:
    return (x.view(torch.int16).numpy().view(np.uint16)) if x.dtype == torch.bfloat16 else x.numpy()
