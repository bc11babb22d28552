"""What one connection may ask for: sizes, memory, time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mri_alps.errors import MriAlpsError
from mri_alps.rawdata.header import MAX_HEADER_BYTES, Encoding

if TYPE_CHECKING:  # receiving and saving need no torch
    from mri_alps.reconstruction import ReconstructionConfiguration

GIB = 2**30


class LimitExceeded(MriAlpsError):
    """A connection sent more, or took longer, than it may."""


class MemoryExceeded(MriAlpsError):
    """The reconstruction of a scan would take more memory than a connection may have."""


@dataclass(frozen=True)
class Limits:
    """Limits of one connection.

    Parameters
    ----------
    text_bytes, header_bytes, acquisition_bytes, image_bytes : int
        Longest message of each kind; checked against what a message claims, before anything is
        allocated.
    n_acquisitions : int
        Acquisitions of a scan; their headers are held in memory, 340 bytes each.
    scan_bytes : int
        Samples of a scan, which wait on disk.
    memory_bytes : int
        Estimated memory of the reconstruction of one slice.
    idle_seconds : float
        How long nothing may come while a scan is not complete.
    reconstruction_seconds : float
        How long all the work on one scan may take.
    send_seconds : float
        How long a client that has sent everything may refuse to take a reply.
    """

    text_bytes: int = 2**20
    header_bytes: int = MAX_HEADER_BYTES
    acquisition_bytes: int = 64 * 2**20
    image_bytes: int = GIB
    n_acquisitions: int = 1_000_000
    scan_bytes: int = 32 * GIB
    memory_bytes: int = 16 * GIB
    idle_seconds: float = 600.0
    reconstruction_seconds: float = 4 * 3600.0
    send_seconds: float = 60.0


def check_memory(
    encoding: Encoding,
    n_coils: int,
    configuration: ReconstructionConfiguration,
    limits: Limits,
) -> None:
    """Refuse a scan whose slices would take more memory than a connection may have.

    Parameters
    ----------
    encoding : Encoding
        For the matrix.
    n_coils : int
        Receiver channels.
    configuration : ReconstructionConfiguration
        For the number of samples.
    limits : Limits
        For the limit.

    Raises
    ------
    MemoryExceeded
        The sentence says how much and what to change.
    """
    from mri_alps.reconstruction.resources import memory_bytes

    x, y, z = encoding.encoded_matrix
    shape = (y, z) if z > 1 else (x, y)
    needed = memory_bytes(shape, n_coils, configuration.n_samples)
    if z > 1:  # the volume itself: mean, standard deviation, samples
        needed += 8 * x * y * z * (2 + configuration.n_samples)
    if needed > limits.memory_bytes:
        raise MemoryExceeded(
            f"{n_coils} coils of {x} x {y} x {z} with {configuration.n_samples} samples would take "
            f"about {needed / GIB:.3g} GiB of memory, a connection may have "
            f"{limits.memory_bytes / GIB:.3g}: ask for fewer samples (n_samples), or start the "
            "server with a higher --memory-limit"
        )
