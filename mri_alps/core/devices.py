"""Where torch computes."""

from __future__ import annotations

import torch

from mri_alps.core.errors import ConfigurationError


def find_device(name: object) -> torch.device:
    """Return the device of this name on this machine.

    Parameters
    ----------
    name : str or torch.device
        For example "cpu", "cuda" or "cuda:1".

    Raises
    ------
    ConfigurationError
        If there is no such device, or not on this machine.
    """
    try:
        device = torch.device(name) if isinstance(name, (str, torch.device)) else None
    except RuntimeError:
        device = None
    if device is None:
        raise ConfigurationError(f"unknown device {name!r}: use cpu, cuda or cuda:0")
    if device.type == "mps":
        raise ConfigurationError(
            f"device {str(name)!r} was asked for, but the sampler has sums and factors in double "
            "precision, which torch does not have on Apple's GPUs: use --device cpu"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(
            f"device {str(name)!r} was asked for and this machine has "
            f"{torch.cuda.device_count()} CUDA devices: use --device cpu or auto"
        )
    return device


def runs_on_host(x: torch.Tensor) -> bool:
    """Return whether numpy sees the values of a tensor and reading one is no waiting.

    Parameters
    ----------
    x : torch.Tensor
        A subclass of tensor (torch's fake tensors, those that stand in for a device) does not.
    """
    return x.device.type == "cpu" and type(x) is torch.Tensor
