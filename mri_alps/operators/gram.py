"""A^H A of the SENSE operator."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mri_alps.fourier import fftc, ifftc

Gram = Callable[[torch.Tensor], torch.Tensor]


def make_gram(maps: torch.Tensor, mask: torch.Tensor) -> Gram:
    """Return the map x -> A^H A x for x of shape (N, *domain_shape)."""

    def gram(x: torch.Tensor) -> torch.Tensor:
        kspace = fftc(maps * x.unsqueeze(-3)) * mask.unsqueeze(-3)
        return (maps.conj() * ifftc(kspace)).sum(-3)

    return gram
