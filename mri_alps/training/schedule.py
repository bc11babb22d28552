"""Learning rate and averaging: functions of the step alone, so that a run can be resumed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from mri_alps.training.config import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, plateau, half-cosine decay to zero at `config.steps`.

    Parameters
    ----------
    step : int
        From 0.
    config : TrainingConfig
        Recipe.
    """
    rate = config.learning_rate
    if step < config.warmup_steps:
        return rate * (step + 1) / config.warmup_steps
    left = config.steps - step
    if config.decay_steps and left < config.decay_steps:
        return rate * 0.5 * (1 - math.cos(math.pi * max(left, 0) / config.decay_steps))
    return rate


class AveragedWeights:
    """Exponential moving average whose window grows with the run (a power function).

    Source: Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models",
    CVPR 2024, equation 121. Unlike a constant decay it needs no tuning to the run's length.

    Parameters
    ----------
    model : nn.Module
        Whose weights are averaged; the average starts as a copy.
    exponent : float
        gamma of the source.
    """

    def __init__(self, model: nn.Module, exponent: float):
        self.exponent = exponent
        self.weights = {
            name: value.detach().clone().float() for name, value in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` (counted from 1)."""
        keep = (1 - 1 / step) ** (self.exponent + 1)
        current = model.state_dict()
        average = list(self.weights.values())
        torch._foreach_lerp_(average, [current[n].float() for n in self.weights], 1 - keep)
