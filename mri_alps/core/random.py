"""Random streams that belong to a sample, not to a batch.

A stream is addressed by (seed, slice, sample): the noise of a sample is the same whatever
batch it is drawn in, in whatever order, so results do not depend on batch size.
"""

from __future__ import annotations

import hashlib
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


class NoiseStreams:
    """One independent stream of standard normal noise for each chain of a batch.

    Parameters
    ----------
    seed : int
        The run's seed.
    addresses : sequence of tuple of int
        One address per chain, for example (slice index, sample index).
    device : torch.device
        Where the noise is drawn.
    """

    def __init__(self, seed: int, addresses: Sequence[tuple[int, ...]], device: torch.device):
        self._generators = []
        for address in addresses:
            generator = torch.Generator(device=device)
            generator.manual_seed(stream_seed(seed, *address))
            self._generators.append(generator)

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Draw the next noise of every chain, shape (chains, *shape), unit variance.

        Parameters
        ----------
        shape : sequence of int
            Shape of one chain's noise.
        dtype : torch.dtype
            Real or complex; unit variance per real component.
        """
        return torch.stack([standard_normal(shape, g, dtype) for g in self._generators])
