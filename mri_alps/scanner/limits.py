"""What one connection may ask for: messages, sizes, memory, time."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mri_alps.core.errors import ConfigurationError, MriAlpsError
from mri_alps.rawdata import MAX_HEADER_BYTES, Encoding
from mri_alps.scanner import kinds

if TYPE_CHECKING:  # receiving and saving need no torch
    from mri_alps.pipeline import ReconstructionConfiguration

MIB, GIB = 2**20, 2**30


class LimitExceeded(MriAlpsError):
    """A connection sent more, or took longer, than it may."""


class MemoryExceeded(MriAlpsError):
    """The reconstruction of a scan would take more memory than a connection may have."""


class Quota(NamedTuple):
    """How much of one kind of message a connection may send.

    Parameters
    ----------
    number : int
        Of messages.
    bytes_each, bytes_all : int
        Of one message, and of all of the kind; of data, `Limits.scan_bytes` is the sum.
    """

    number: int
    bytes_each: int
    bytes_all: int


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


@dataclass(frozen=True)
class Limits:
    """Limits of one connection.

    Parameters
    ----------
    quotas : Mapping
        Number and size of the messages of each kind; checked against what a message claims,
        before anything is allocated.
    scan_bytes : int
        All messages of a connection together; samples wait on disk.
    n_units : int
        Images of a scan: slices times repetitions, contrasts, phases and sets.
    memory_bytes : int
        Estimated memory of the reconstruction of one slice.
    header_seconds : float
        How long a new connection may take to send its header.
    idle_seconds : float
        How long nothing may come while a scan is not complete.
    reconstruction_seconds : float
        How long all the work on one scan may take.
    send_seconds : float
        How long a client that has sent everything may refuse to take a reply.

    Raises
    ------
    ConfigurationError
        If one of them is not a positive number; the sentence names it.
    """

    quotas: Mapping[int, Quota] = field(default_factory=lambda: QUOTAS)
    scan_bytes: int = 32 * GIB
    n_units: int = 2**15
    memory_bytes: int = 16 * GIB
    header_seconds: float = 30.0
    idle_seconds: float = 600.0
    reconstruction_seconds: float = 4 * 3600.0
    send_seconds: float = 60.0

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            if entry.name != "quotas":
                check_positive(entry.name, getattr(self, entry.name))


def check_positive(name: str, value: object) -> float:
    """Return a number that a limit can be.

    Parameters
    ----------
    name : str
        Of the setting, for the error.
    value : object
        What was given.

    Raises
    ------
    ConfigurationError
        If it is not a number above zero.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or math.isnan(value) or value <= 0:  # type: ignore[arg-type, operator]
        raise ConfigurationError(f"{name} is {value!r}, expected a number above 0: change it")
    return value  # type: ignore[return-value]


def bytes_of(name: str, gibibytes: float) -> int:
    """Return a limit on bytes.

    Parameters
    ----------
    name : str
        Of the setting, for the error.
    gibibytes : float
        The limit; infinite for none.

    Raises
    ------
    ConfigurationError
        If it is not a number above zero.
    """
    return math.ceil(min(check_positive(name, gibibytes) * GIB, 2.0**62))


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
                f"the scan is longer than {self._limits.scan_bytes / GIB:.3g} GiB: send it in "
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
        needed += 8 * x * y * z * (2 + configuration.n_samples)
    if needed > limits.memory_bytes:
        raise MemoryExceeded(
            f"{n_coils} coils of {x} x {y} x {z} with {configuration.n_samples} samples would take "
            f"about {needed / GIB:.3g} GiB of memory, a connection may have "
            f"{limits.memory_bytes / GIB:.3g}: ask for fewer samples (n_samples), or start the "
            "server with a higher --memory-limit"
        )
