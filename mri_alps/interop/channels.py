"""deepinv's layout of complex data: real tensors (B, 2, ...), real part first."""

from __future__ import annotations

import torch

from mri_alps.core.errors import ShapeError


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
    return torch.view_as_complex(x.movedim(1, -1).contiguous())


def complex_to_channels(x: torch.Tensor) -> torch.Tensor:
    """Return real (B, 2, ...) for complex (B, ...).

    Parameters
    ----------
    x : torch.Tensor
        Complex (B, ...).
    """
    return torch.view_as_real(x.resolve_conj()).movedim(-1, 1)
