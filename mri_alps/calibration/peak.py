"""Where the largest samples of k-space are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NEAR = 2
"""Samples that the peak of k-space may be off: the echo is never quite where it should be."""


def distance_from_center(kspace: torch.Tensor) -> tuple[int, int]:
    """Return how far the largest measured sample lies from the centre, (readout, phase encode).

    Parameters
    ----------
    kspace : torch.Tensor
        Complex (coils, H, W), DC expected at N // 2.

    Returns
    -------
    tuple of int
        In samples; 0 along an axis where it is no farther than `NEAR`.
    """
    height, width = kspace.shape[-2:]
    row, column = divmod(int(kspace.abs().square().sum(0).argmax()), width)
    shift = (row - height // 2, column - width // 2)
    return tuple(n if abs(n) > NEAR else 0 for n in shift)  # type: ignore[return-value]
