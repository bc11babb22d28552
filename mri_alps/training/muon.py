"""Muon for complex convolutions: steps along the gradient's nearest semi-unitary matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mri_alps.priors import ComplexConv2d

# Jordan et al.: a quintic whose iteration moves all singular values to 0.7 to 1.2, and quickly.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_STEP = 0.2  # root mean square of an update's entries, about AdamW's: one learning rate fits both
_MOMENTUM = 0.95


class Muon(torch.optim.AdamW):
    """Muon for the complex convolutions inside a network, AdamW for all else.

    AdamW scales every weight's step by itself. Muon replaces the gradient of a convolution, a
    complex matrix of output channels by taps, by U V^H of its singular value decomposition, so
    that all its directions are learnt at one pace, the rare ones too. A network's entrance and
    exit, its norms and its embedding of the level are AdamW's.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024
    (Nesterov momentum, Newton-Schulz iteration); Liu et al., "Muon is scalable for LLM training",
    arXiv 2502.16982, 2025, section 2.2 (size of the updates). Both have real matrices; the
    complex one of a `ComplexConv2d` is (weight_real + i weight_imag).

    Parameters
    ----------
    model : nn.Module
        Whose parameters are all trained.
    outermost : tuple of nn.Module
        Layers that are left to AdamW: the first and the last.
    dtype : torch.dtype
        Of the iteration's products: bfloat16 is enough where it is fast.
    **adamw
        Settings of `torch.optim.AdamW`; learning rate and weight decay are Muon's, too.
    """

    def __init__(
        self,
        model: nn.Module,
        outermost: tuple[nn.Module, ...],
        dtype: torch.dtype = torch.float32,
        **adamw: Any,
    ):
        super().__init__(model.parameters(), **adamw)
        self.dtype = dtype
        self.kernels = [
            (layer.weight_real, layer.weight_imag)
            for layer in model.modules()
            if isinstance(layer, ComplexConv2d) and layer not in outermost
        ]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take a step; gradients of Muon's own weights are gone after it."""
        settings = self.param_groups[0]
        for kernel in self.kernels:
            update = self._direction(kernel)
            size = settings["lr"] * _STEP * max(update.shape) ** 0.5
            for part, change in zip(kernel, (update.real, update.imag), strict=True):
                part.mul_(1 - settings["lr"] * settings["weight_decay"])
                part.sub_(size * change.view_as(part))
                part.grad = None  # AdamW passes over weights without
        return super().step(closure)

    def _direction(self, kernel: tuple[nn.Parameter, nn.Parameter]) -> torch.Tensor:
        """Take the gradient into the momentum and return their orthogonal direction, complex."""
        halves = []
        for part in kernel:
            assert part.grad is not None, "the loss depends on all weights"
            gradient = part.grad
            state = self.state[part]
            if not state:
                # AdamW's restoring asks every weight for its steps.
                state["step"] = torch.tensor(0.0)
                state["momentum"] = torch.zeros_like(part)
            state["step"] += 1
            state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
            halves.append(gradient.lerp(state["momentum"], _MOMENTUM).flatten(1).float())
        return nearest_semi_unitary(torch.complex(halves[0], halves[1]), self.dtype)


def nearest_semi_unitary(matrix: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return about U V^H of a matrix U S V^H: all its singular values become 0.7 to 1.2.

    Source: Jordan et al. 2024; the products are real ones of the blocks [[Re, -Im], [Im, Re]],
    of which half is kept.

    Parameters
    ----------
    matrix : torch.Tensor
        Complex (m, n); singular values below about 1e-3 of its norm stay smaller.
    dtype : torch.dtype
        Real, of the products.

    Returns
    -------
    torch.Tensor
        complex64 (m, n).
    """
    rows, columns = matrix.shape
    if rows > columns:
        return nearest_semi_unitary(matrix.mH, dtype).mH
    x = torch.cat([matrix.real, matrix.imag])
    x = (x / (torch.linalg.vector_norm(x) + 1e-12)).to(dtype)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        whole = _block(x)
        gram = whole @ whole[:rows].T
        x = a * x + _block(b * gram + c * (_block(gram) @ gram)) @ x
    real, imaginary = x.float().split(rows)
    return torch.complex(real, imaginary)


def _block(halves: torch.Tensor) -> torch.Tensor:
    """Make [[Re, -Im], [Im, Re]], (2 m, 2 n), of [Re, Im] one above the other, (2 m, n)."""
    real, imaginary = halves.chunk(2)
    return torch.cat([halves, torch.cat([-imaginary, real])], dim=1)
