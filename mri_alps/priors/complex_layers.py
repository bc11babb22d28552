"""Layers that commute with a global phase: what a complex network is built of.

A complex feature map of C channels travels as a real tensor of 2 C channels, the C real parts
first, then the C imaginary parts: real convolutions and their fast kernels apply directly.
Every layer here satisfies f(exp(i t) x) = exp(i t) f(x): convolutions have no bias, gates and
norms see magnitudes only.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

_SMALLEST_POWER = 1e-8  # keeps the magnitude differentiable at zero


def complex_to_channels(x: torch.Tensor) -> torch.Tensor:
    """Stack real and imaginary parts: complex (n, C, H, W) to real (n, 2 C, H, W).

    Parameters
    ----------
    x : torch.Tensor
        Complex.
    """
    return torch.cat([x.real, x.imag], dim=1)


def channels_to_complex(x: torch.Tensor) -> torch.Tensor:
    """Undo `complex_to_channels`: real (n, 2 C, H, W) to complex (n, C, H, W).

    Parameters
    ----------
    x : torch.Tensor
        Real, an even number of channels.
    """
    real, imaginary = x.chunk(2, dim=1)
    return torch.complex(real.contiguous(), imaginary.contiguous())


def fill_normal(weight: torch.Tensor, std: float) -> torch.Tensor:
    """Return `weight` with normal numbers of the deviation `std` in it.

    On the device meta, where a network is made for its shapes alone, nothing is done:
    torch would load its compiler for it, which takes a second.

    Parameters
    ----------
    weight : torch.Tensor
        Changed.
    std : float
        Standard deviation.
    """
    return weight if weight.is_meta else weight.normal_(std=std)


class ComplexConv2d(nn.Module):
    """Complex convolution without bias, run as one real convolution.

    The real convolution has the weight [[Wr, -Wi], [Wi, Wr]]. Padding is by zeros and keeps
    the size when the stride is 1.

    Parameters
    ----------
    in_channels, out_channels : int
        Complex channels.
    kernel_size : int
        Odd.
    gain : float
        Standard deviation of an output for unit inputs at initialisation; 0 starts the layer
        at zero.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, gain: float = 1):
        super().__init__()
        # Half the variance in each of Wr and Wi: a complex weight of unit variance in all.
        std = gain / math.sqrt(2 * in_channels * kernel_size**2)
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight_real = nn.Parameter(fill_normal(torch.empty(shape), std))
        self.weight_imag = nn.Parameter(fill_normal(torch.empty(shape), std))
        self.padding = kernel_size // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve.

        Parameters
        ----------
        x : torch.Tensor
            Real (n, 2 in_channels, H, W).

        Returns
        -------
        torch.Tensor
            Real (n, 2 out_channels, H, W).
        """
        return functional.conv2d(x, self.real_weight(), padding=self.padding)

    def real_weight(self) -> torch.Tensor:
        """Return the real convolution's weight, (2 out_channels, 2 in_channels, k, k)."""
        upper = torch.cat([self.weight_real, -self.weight_imag], dim=1)
        lower = torch.cat([self.weight_imag, self.weight_real], dim=1)
        return torch.cat([upper, lower])


class MagnitudeGate(nn.Module):
    """Root-mean-square norm over groups of channels, then a gate on the normalised magnitude.

    With r the root mean square of a group's magnitudes, the output is
    x/r * scale * sigmoid(slope * |x|/r + shift); the noise level changes all three.

    Parameters
    ----------
    channels : int
        Complex channels.
    group_size : int
        Channels that share one r; `channels` must be a multiple.
    embedding_size : int
        Size of the noise level's embedding, which adds to log(scale), log(slope) and shift.
    """

    def __init__(self, channels: int, group_size: int, embedding_size: int):
        super().__init__()
        self.channels, self.group_size = channels, group_size
        self.slope = nn.Parameter(torch.full((channels,), 1.5))
        self.shift = nn.Parameter(torch.full((channels,), -1.0))
        self.from_level = nn.Linear(embedding_size, 3 * channels)
        nn.init.zeros_(self.from_level.weight)
        nn.init.zeros_(self.from_level.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Norm and gate: x real (n, 2 channels, H, W), embedding (n, embedding_size)."""
        n, _, height, width = x.shape
        pair = x.view(n, 2, self.channels, height, width)
        power = pair.square().sum(1)
        mean = power.view(n, self.channels // self.group_size, -1).mean(2)
        inverse_rms = torch.rsqrt(mean + _SMALLEST_POWER)
        inverse_rms = inverse_rms.repeat_interleave(self.group_size, dim=1)
        log_scale, log_slope, level_shift = self.from_level(embedding).chunk(3, dim=1)
        slope = (self.slope * log_slope.exp() * inverse_rms)[:, :, None, None]
        shift = (self.shift + level_shift)[:, :, None, None]
        scale = (log_scale.exp() * inverse_rms * 2)[:, :, None, None]
        magnitude = (power + _SMALLEST_POWER).sqrt()
        gate = torch.sigmoid(torch.addcmul(shift, magnitude, slope)) * scale
        return (pair * gate[:, None]).view_as(x)


class RealGate(nn.Module):
    """What `MagnitudeGate` is, for channels that are plain real numbers (the ablation).

    Parameters
    ----------
    channels, group_size : int
        Counted as for `MagnitudeGate`, so that both variants have the same layout: there are
        2 `channels` real ones.
    embedding_size : int
        Size of the noise level's embedding.
    """

    def __init__(self, channels: int, group_size: int, embedding_size: int):
        super().__init__()
        self.n_groups = channels // group_size
        self.slope = nn.Parameter(torch.full((2 * channels,), 1.5))
        self.shift = nn.Parameter(torch.zeros(2 * channels))
        self.from_level = nn.Linear(embedding_size, 6 * channels)
        nn.init.zeros_(self.from_level.weight)
        nn.init.zeros_(self.from_level.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Norm and gate: x real (n, 2 channels, H, W), embedding (n, embedding_size)."""
        log_scale, log_slope, level_shift = self.from_level(embedding).chunk(3, dim=1)
        x = functional.group_norm(x, self.n_groups)
        shift = (self.shift + level_shift)[:, :, None, None]
        slope = (self.slope * log_slope.exp())[:, :, None, None]
        gate = torch.sigmoid(torch.addcmul(shift, x, slope))
        return x * gate * (log_scale.exp() * 2)[:, :, None, None]
