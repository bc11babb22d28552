"""What one connection may ask for: messages, sizes, memory, time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mri_alps.core.errors import MriAlpsError
from mri_alps.rawdata import MAX_HEADER_BYTES, Encoding
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner.settings import GIB, Limits, Quota

if TYPE_CHECKING:  # receiving and saving need no torch
    from collections.abc import Mapping

    from mri_alps.pipeline import ReconstructionConfiguration

MIB = 2**20


class LimitExceeded(MriAlpsError):
    """A connection sent more, or took longer, than it may."""


class MemoryExceeded(MriAlpsError):
    """The reconstruction of a scan would take more memory than a connection may have."""


_SCAN = 2**63  # only the length of the scan counts
QUOTAS: Mapping[int, Quota] = {
    kinds.CONFIG_FILE: Quota(16, 1024, 16 * 1024),
    kinds.CONFIG_TEXT: Quota(16, MIB, 2 * MIB),
    kinds.HEADER: Quota(1, MAX_HEADER_BYTES, MAX_HEADER_BYTES),
    kinds.TEXT: Quota(100_000, MIB, 64 * MIB),
    kinds.CLOSE: Quota(1, 0, 0),
    kinds.ACQUISITION: Quota(1_000_000, 64 * MIB, _SCAN),
    kinds.EMPTY: Quota(10_000, 0, 0),
    kinds.WAVEFORM: Quota(1_000_000, 64 * MIB, _SCAN),
    kinds.IMAGE: Quota(10_000, 256 * MIB, _SCAN),
}
"""Every kind of message has a row; any other identifier ends the connection.

Texts that hold a configuration count as configurations too. Headers of acquisitions are held in
memory, 340 bytes each.
"""
_REMEDIES = {
    kinds.HEADER: "open a connection for each scan",
    kinds.CONFIG_FILE: "send one configuration",
    kinds.CONFIG_TEXT: "send one configuration",
}


class Meter:
    """Counts what comes over one connection.

    Parameters
    ----------
    limits : Limits
        What may come.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._counts: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()

    def count(self, kind: int, n_bytes: int = 0) -> None:
        """Count a message, before its body is read.

        Parameters
        ----------
        kind : int
            One of `QUOTAS`.
        n_bytes : int
            Size that it claims.

        Raises
        ------
        LimitExceeded
            If it is one too many, or its kind or the scan becomes too long.
        """
        quota = self._limits.quotas[kind]
        name = "acquisition without samples" if kind == kinds.EMPTY else kinds.NAMES[kind]
        remedy = _REMEDIES.get(kind, "send the scan in parts")
        self._counts[kind] += 1
        self._bytes[kind] += n_bytes
        if self._counts[kind] > quota.number:
            raise LimitExceeded(
                f"{self._counts[kind]:,} messages of the kind {name!r} came over one connection, "
                f"at most {quota.number:,} are taken: {remedy}"
            )
        if self._bytes[kind] > quota.bytes_all:
            raise LimitExceeded(
                f"messages of the kind {name!r} have more than {quota.bytes_all:,} bytes together: "
                f"{remedy}"
            )
        if self._bytes.total() > self._limits.scan_bytes:
            raise LimitExceeded(
                f"the scan is longer than {self._limits.scan_limit:.3g} GiB: send it in "
                "parts, or start the server with a higher --scan-limit"
            )


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
    from mri_alps.pipeline import memory_bytes

    x, y, z = encoding.encoded_matrix
    shape = (y, z) if z > 1 else (x, y)
    needed = memory_bytes(shape, n_coils, configuration.n_samples)
    if z > 1:  # the volume itself: mean, standard deviation, samples
        needed += 8 * x * y * z * (2 + configuration.most_samples)
    if needed > limits.memory_bytes:
        raise MemoryExceeded(
            f"{n_coils} coils of {x} x {y} x {z} with {configuration.most_samples} samples would "
            f"take about {needed / GIB:.3g} GiB of memory, a connection may have "
            f"{limits.memory_limit:.3g}: ask for fewer samples (n_samples), or start the "
            "server with a higher --memory-limit"
        )
