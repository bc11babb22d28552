"""deepinv's layout of complex data: real tensors (B, 2, ...), real part first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.errors import ShapeError
from mri_alps.priors import complex_layers

if TYPE_CHECKING:
    import torch


def channels_to_complex(x: torch.Tensor) -> torch.Tensor:
    """Return complex (B, ...) for real (B, 2, ...).

    Parameters
    ----------
    x : torch.Tensor
        Real (B, 2, ...).

    Raises
    ------
    ShapeError
        If the second axis has another length than 2.
    """
    if x.ndim < 2 or x.shape[1] != 2 or x.is_complex():
        raise ShapeError(
            f"found {x.dtype} of shape {tuple(x.shape)}, expected real (B, 2, ...): complex images "
            "with real and imaginary part as channels"
        )
    return complex_layers.channels_to_complex(x)[:, 0]


def complex_to_channels(x: torch.Tensor) -> torch.Tensor:
    """Return real (B, 2, ...) for complex (B, ...).

    Parameters
    ----------
    x : torch.Tensor
        Complex (B, ...).
    """
    return complex_layers.complex_to_channels(x[:, None])
