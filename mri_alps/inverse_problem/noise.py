"""Noise of a batch of chains: each sample of each slice has an address of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mri_alps.core.random import NoiseStreams

if TYPE_CHECKING:
    import torch

    from mri_alps.inverse_problem.problem import Problem


class ChainNoise:
    """Draws noise for chains (n, *domain_shape), addressed by slice and sample.

    Parameters
    ----------
    problem : Problem
        For shapes, types and device.
    seed : int
        The run's seed.
    samples : sequence of int
        Index of each sample in the run.
    attempt : int
        Counts restarts: a restarted chain gets fresh noise.
    first_slice : int
        Index in the volume of the first slice.
    drawn_on : torch.device, optional
        Where the noise is drawn, the problem's device if left out: the same seed gives other
        noise on another type of device.
    antithetic : bool
        Whether noise sums to zero over each group of samples, see `core.random.NoiseStreams`.
    """

    def __init__(
        self,
        problem: Problem,
        seed: int,
        samples: Sequence[int],
        attempt: int = 0,
        first_slice: int = 0,
        drawn_on: torch.device | None = None,
        antithetic: bool = False,
    ):
        self._problem = problem
        self.n = len(samples)
        slices = range(first_slice, first_slice + (problem.n_slices or 1))
        device = drawn_on or problem.device
        self._streams = NoiseStreams(seed, samples, slices, device, attempt, antithetic)

    def image(self) -> torch.Tensor:
        """Unit noise in the image domain, (n, *domain_shape)."""
        problem = self._problem
        noise = self._streams.normal(problem.image_shape, problem.dtype)
        return noise.reshape(self.n, *problem.domain_shape).to(problem.device)

    def of_shape(self, shape: Sequence[int]) -> torch.Tensor:
        """Unit complex noise of another shape for each slice, (n, *slices, *shape).

        Parameters
        ----------
        shape : sequence of int
            Of one slice's noise.
        """
        problem = self._problem
        noise = self._streams.normal(shape, problem.data.dtype)
        slices = () if problem.n_slices is None else (problem.n_slices,)
        return noise.reshape(self.n, *slices, *shape).to(problem.device)

    def data(self) -> torch.Tensor:
        """Unit noise in the data domain, (n, *data.shape)."""
        problem = self._problem
        noise = self._streams.normal(problem.data_shape, problem.data.dtype)
        return noise.reshape(self.n, *problem.data.shape).to(problem.device)
