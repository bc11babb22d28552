"""Random streams that belong to a sample, not to a batch.

A stream is addressed by (seed, slice, sample): the noise of a sample is the same whatever
batch it is drawn in, in whatever order, so results do not depend on batch size. Samples of one
group share theirs such that it sums to zero.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch


def stream_seed(seed: int, *address: int) -> int:
    """Return the 63-bit seed of the stream at `address` under `seed`.

    Parameters
    ----------
    seed : int
        The run's seed.
    *address : int
        For example slice index and sample index.
    """
    text = ",".join(str(int(part)) for part in (seed, *address))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def standard_normal(
    shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Draw normal noise with unit variance per real component.

    Parameters
    ----------
    shape : sequence of int
        Shape of the noise.
    generator : torch.Generator
        Source of randomness; its device is the noise's device.
    dtype : torch.dtype
        Real or complex. torch's own complex `randn` has variance 1/2 per real component; this
        one has 1.
    """
    if not dtype.is_complex:
        return torch.randn(tuple(shape), generator=generator, dtype=dtype, device=generator.device)
    real = torch.float64 if dtype == torch.complex128 else torch.float32
    pair = torch.randn((*shape, 2), generator=generator, dtype=real, device=generator.device)
    return torch.view_as_complex(pair)


ANTITHETIC_GROUP = 4
"""Samples whose noise sums to zero: their mean is free of what the noise does to first order."""


class NoiseStreams:
    """A stream of standard normal noise for each chain of a batch.

    Antithetic: samples 0 to 3 of a slice are a group, 4 to 7 the next. From the independent noises
    z_i of a group each of its samples gets sqrt(4/3) (z_i - mean of the four), standard normal by
    itself, with a correlation of -1/3 to the others (antithetic variates, Hammersley and Morton,
    Proc Camb Philos Soc 52:449, 1956, for four in place of two). Where a sampler's output is near
    linear in its noise, the mean of the four has next to no Monte-Carlo error.

    Parameters
    ----------
    seed : int
        The run's seed.
    samples : sequence of int
        Index of each sample in the run.
    slices : sequence of int
        Index of each slice in the volume.
    device : torch.device
        Where the noise is drawn.
    attempt : int
        Counts restarts: a restarted chain gets fresh noise.
    antithetic : bool
        Whether noise sums to zero over each group of samples; else all is independent.
    """

    def __init__(
        self,
        seed: int,
        samples: Sequence[int],
        slices: Sequence[int],
        device: torch.device,
        attempt: int = 0,
        antithetic: bool = False,
    ):
        self._size = ANTITHETIC_GROUP if antithetic else 1
        self._groups: list[tuple[list[torch.Generator], list[tuple[int, int]]]] = []
        for column, k in enumerate(slices):
            wanted: dict[int, list[tuple[int, int]]] = {}
            for row, i in enumerate(samples):
                member = (i % self._size, row * len(slices) + column)
                wanted.setdefault(i // self._size, []).append(member)
            for group, members in wanted.items():
                indices = range(group * self._size, (group + 1) * self._size)
                addresses = [(k, i, attempt) for i in indices]
                self._groups.append(([_stream(seed, a, device) for a in addresses], members))
        self._n_chains = len(samples) * len(slices)

    def __len__(self) -> int:
        return self._n_chains

    def normal(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Draw the next noise of every chain, shape (samples * slices, *shape), unit variance.

        Parameters
        ----------
        shape : sequence of int
            Shape of one chain's noise.
        dtype : torch.dtype
            Real or complex; unit variance per real component.
        """
        noise: list[torch.Tensor] = [torch.empty(0)] * self._n_chains
        for generators, members in self._groups:
            drawn = [standard_normal(shape, generator, dtype) for generator in generators]
            if self._size > 1:
                center = sum(drawn[1:], start=drawn[0]) / self._size
                root = math.sqrt(self._size / (self._size - 1))
                drawn = [root * (one - center) for one in drawn]
            for member, position in members:
                noise[position] = drawn[member]
        return torch.stack(noise)


def _stream(seed: int, address: tuple[int, ...], device: torch.device) -> torch.Generator:
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *address))
