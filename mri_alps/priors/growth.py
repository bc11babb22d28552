"""A larger network that starts as exactly the function of a smaller one.

Levels and blocks are added where they change nothing at first: an added block is the identity
because its last convolution is zero, and what comes up from an added level is zero because the
convolution that brings it up is. Both learn from the first step on. It is the idea of Chen,
Goodfellow and Shlens, "Net2Net", ICLR 2016, for residual networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    from mri_alps.priors.network import NetworkPrior
    from mri_alps.priors.unet import UNetConfig


def take_weights(model: NetworkPrior, smaller: NetworkPrior) -> None:
    """Give `model` the weights of `smaller`, so that both compute the same.

    Parameters
    ----------
    model : NetworkPrior
        Its weights are replaced. Its layout is that of `smaller`, or has further levels at the
        coarse end or further blocks in a level.
    smaller : NetworkPrior
        Where the weights come from.

    Raises
    ------
    ConfigurationError
        If the layout of `model` is no extension of that of `smaller`.

    Notes
    -----
    Images whose size has to be padded to another multiple by the larger network differ slightly.
    """
    _require_extension(model.config, smaller.config)
    known = smaller.state_dict()
    weights = {name: known.get(name, value) for name, value in model.state_dict().items()}
    missing = known.keys() - weights.keys()
    if missing or any(weights[name].shape != value.shape for name, value in known.items()):
        raise ConfigurationError(
            f"the initial weights belong to a network of another layout: {smaller.config}"
        )
    model.load_state_dict(weights)
    for part in ("encoder", "decoder"):
        before = getattr(smaller.config, f"{part}_blocks")
        for level, count in enumerate(before):
            for block in list(getattr(model.unet, part)[level])[count:]:
                _set_to_zero(block.conv2)
    if len(model.config.channels) > len(smaller.config.channels):
        _set_to_zero(model.unet.up[len(smaller.config.channels) - 1])


def _require_extension(config: UNetConfig, smaller: UNetConfig) -> None:
    count = len(smaller.channels)
    same = (
        config.channels[:count] == smaller.channels
        and config.group_size == smaller.group_size
        and config.embedding_size == smaller.embedding_size
        and config.equivariant == smaller.equivariant
    )
    blocks = zip(
        config.encoder_blocks + config.decoder_blocks[:count],
        smaller.encoder_blocks + (0,) * (len(config.channels) - count) + smaller.decoder_blocks,
        strict=True,
    )
    if not same or any(found < needed for found, needed in blocks):
        raise ConfigurationError(
            f"a network of the layout {config} cannot start from weights of another layout, "
            f"{smaller}: it may have further levels after those, or more blocks in a level, with "
            "all else the same"
        )


@torch.no_grad()
def _set_to_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()
