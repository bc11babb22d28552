"""The U-Net: complex and phase-equivariant, or plain two-channel as the ablation."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import Whole, setting, settings
from mri_alps.priors.complex_layers import (
    ComplexConv2d,
    MagnitudeGate,
    RealGate,
    fill_normal,
)

_PER_LEVEL = "a whole number per level"


@settings
class UNetConfig:
    """Layout of a `UNet`."""

    channels: tuple[Whole, ...] = setting(
        "Complex channels per level, finest first; each level halves the resolution.",
        default=(16, 24, 48, 80),
        values=_PER_LEVEL,
    )
    encoder_blocks: tuple[Whole, ...] = setting(
        "Residual blocks per level, finest first.", default=(1, 2, 2, 2), values=_PER_LEVEL
    )
    decoder_blocks: tuple[Whole, ...] = setting(
        "The same on the way up. The coarsest level's follow its encoder blocks directly.",
        default=(1, 2, 2, 2),
        values=_PER_LEVEL,
    )
    group_size: Whole = setting(
        "Channels that share a norm; divides every entry of channels.", default=8, at_least=1
    )
    embedding_size: Whole = setting("Size of the noise level's embedding.", default=64, at_least=1)
    equivariant: bool = setting(
        "Complex layers, or plain real ones of the same layout and arithmetic.", default=True
    )

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.encoder_blocks) == len(self.decoder_blocks) > 0:
            raise ConfigurationError(
                "a U-Net needs as many encoder_blocks and decoder_blocks as channels, found "
                f"{self.channels}, {self.encoder_blocks} and {self.decoder_blocks}"
            )
        if any(count % self.group_size or count <= 0 for count in self.channels):
            raise ConfigurationError(
                f"every level's channels {self.channels} must be a positive multiple of "
                f"group_size {self.group_size}"
            )

    @property
    def stride(self) -> int:
        """Image sizes must be multiples of this (the score model pads)."""
        return 2 ** len(self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as JSON-able values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


class UNet(nn.Module):
    """Residual U-Net with additive skips, pixel-unshuffle by 2 at the entrance.

    Parameters
    ----------
    config : UNetConfig
        Layout.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        channels = config.channels
        self.embedding = LevelEmbedding(config.embedding_size)
        self.entrance = _convolution(config, 3 * 4, channels[0], 3)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, count in enumerate(channels):
            self.encoder.append(
                _Blocks([ResidualBlock(config, count) for _ in range(config.encoder_blocks[level])])
            )
            self.decoder.append(
                _Blocks([ResidualBlock(config, count) for _ in range(config.decoder_blocks[level])])
            )
            if level + 1 < len(channels):
                self.down.append(_convolution(config, 4 * count, channels[level + 1], 1))
                self.up.append(_convolution(config, channels[level + 1], 4 * count, 1))
        self.exit_gate = _gate(config, channels[0])
        self.exit = _convolution(config, channels[0], 4, 3, gain=0.0)

    def forward(
        self, x: torch.Tensor, level: torch.Tensor, noise_power: torch.Tensor
    ) -> torch.Tensor:
        """Apply the network.

        Parameters
        ----------
        x : torch.Tensor
            Real (n, 2, H, W): real and imaginary part; H and W multiples of `config.stride`.
        level : torch.Tensor
            (n,), natural logarithm of sigma.
        noise_power : torch.Tensor
            (n,), variance per real component of the noise in `x`.

        Returns
        -------
        torch.Tensor
            Real (n, 2, H, W).
        """
        embedding = self.embedding(level)
        x = self.entrance(_unshuffle(local_views(x, noise_power)))
        skips = []
        for index, blocks in enumerate(self.encoder):
            x = blocks(x, embedding)
            if index < len(self.down):
                skips.append(x)
                x = self.down[index](_unshuffle(x))
        for index in reversed(range(len(self.decoder))):
            if index < len(self.up):
                x = _shuffle(self.up[index](x)) + skips[index]
            x = self.decoder[index](x, embedding)
        return _shuffle(self.exit(self.exit_gate(x, embedding)))


class LevelEmbedding(nn.Module):
    """Smooth features of the logarithm of the noise level.

    Parameters
    ----------
    size : int
        Number of features.
    """

    # Gaussian bumps over log(sigma): local, smooth, and flat beyond both ends.
    _FIRST, _LAST, _COUNT = math.log(0.003), math.log(50.0), 24

    centers: torch.Tensor

    def __init__(self, size: int):
        super().__init__()
        centers = torch.linspace(self._FIRST, self._LAST, self._COUNT, device="cpu")
        # On the device meta torch would load its compiler for a linspace.
        self.register_buffer("centers", centers.to(torch.empty(0).device), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(self._COUNT, size), nn.SiLU(), nn.Linear(size, size), nn.SiLU()
        )

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        """Embed `level` (n,), the logarithm of sigma, as (n, size)."""
        spacing = (self._LAST - self._FIRST) / (self._COUNT - 1)
        distance = (level[:, None].float() - self.centers) / (1.5 * spacing)
        return self.layers(torch.exp(-0.5 * distance.square()) * 2)


class ResidualBlock(nn.Module):
    """x + conv(gate(conv(gate(x)))), the last convolution small at the start.

    Parameters
    ----------
    config : UNetConfig
        Layout.
    channels : int
        Complex channels.
    """

    def __init__(self, config: UNetConfig, channels: int):
        super().__init__()
        self.gate1 = _gate(config, channels)
        self.conv1 = _convolution(config, channels, channels, 3)
        self.gate2 = _gate(config, channels)
        self.conv2 = _convolution(config, channels, channels, 3, gain=0.2)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Apply the block: x (n, 2 channels, H, W), embedding (n, size)."""
        y = self.conv1(self.gate1(x, embedding))
        return x + self.conv2(self.gate2(y, embedding))


class _Blocks(nn.ModuleList):
    """Residual blocks, one after another."""

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        for block in self:
            x = block(x, embedding)
        return x


def local_views(x: torch.Tensor, noise_power: torch.Tensor) -> torch.Tensor:
    """Stack an image with two views in which weak signal and noise have unit size.

    At small noise levels what the network must find, the noise, is a small part of its input.
    The views are the image and its local detail (the image less its 3 x 3 mean), both divided
    by sqrt(local mean square + noise_power); they turn with the image's phase.

    Parameters
    ----------
    x : torch.Tensor
        Real (n, 2, H, W).
    noise_power : torch.Tensor
        (n,), variance per real component of the noise in `x`.

    Returns
    -------
    torch.Tensor
        Real (n, 2 * 3, H, W), the real parts first.
    """
    floor = noise_power[:, None, None, None]

    def normalise(y: torch.Tensor) -> torch.Tensor:
        return y * torch.rsqrt(_local_mean(y.square().sum(1, keepdim=True)) + floor)

    return torch.stack([x, normalise(x), normalise(x - _local_mean(x))], 2).flatten(1, 2)


def _local_mean(x: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _gate(config: UNetConfig, channels: int) -> nn.Module:
    kind = MagnitudeGate if config.equivariant else RealGate
    return kind(channels, config.group_size, config.embedding_size)


def _convolution(
    config: UNetConfig, inputs: int, outputs: int, kernel_size: int, gain: float = 1.0
) -> nn.Module:
    if config.equivariant:
        return ComplexConv2d(inputs, outputs, kernel_size, gain)
    layer = nn.Conv2d(2 * inputs, 2 * outputs, kernel_size, padding=kernel_size // 2)
    with torch.no_grad():
        fill_normal(layer.weight, gain / math.sqrt(2 * inputs * kernel_size**2))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _unshuffle(x: torch.Tensor) -> torch.Tensor:
    # (n, 2 C, H, W) to (n, 2 * 4 C, H/2, W/2): channel c becomes 4 c .. 4 c + 3, so real and
    # imaginary halves stay halves.
    return functional.pixel_unshuffle(x, 2)


def _shuffle(x: torch.Tensor) -> torch.Tensor:
    return functional.pixel_shuffle(x, 2)
