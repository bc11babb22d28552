"""Settings of the server: where it listens, and what one connection may ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import NamedTuple

from mri_alps.core.settings import Text, Unbounded, Whole, setting, settings

GIB = 2**30
_GROUP = "Limits of a connection"


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


def _default_quotas() -> Mapping[int, Quota]:
    from mri_alps.scanner.limits import QUOTAS  # imports the readers, which `--help` need not

    return QUOTAS


@settings
class Limits:
    """Limits of one connection.

    Parameters
    ----------
    quotas : Mapping
        Number and size of the messages of each kind; checked against what a message claims,
        before anything is allocated.
    """

    memory_limit: Unbounded = setting(
        "GiB, estimated, for the work on a slice.", default=16.0, group=_GROUP, above=0
    )
    scan_limit: Unbounded = setting(
        "GiB of a scan, all messages together; samples wait on disk.",
        default=32.0,
        group=_GROUP,
        above=0,
    )
    image_limit: Whole = setting(
        "Images of a scan: slices times repetitions, contrasts, phases and sets.",
        default=2**15,
        group=_GROUP,
        at_least=1,
    )
    time_limit: Unbounded = setting(
        "Seconds of work on a scan.", default=14400.0, group=_GROUP, above=0
    )
    header_limit: Unbounded = setting(
        "Seconds from the connection to the header.", default=30.0, group=_GROUP, above=0
    )
    idle_limit: Unbounded = setting(
        "Seconds without data in an open scan.", default=600.0, group=_GROUP, above=0
    )
    send_limit: Unbounded = setting(
        "Seconds that a client which has sent everything may refuse to take a reply.",
        default=60.0,
        group=_GROUP,
        above=0,
    )
    quotas: Mapping[int, Quota] = field(default_factory=_default_quotas)

    @property
    def scan_bytes(self) -> int:
        """Bytes of all messages of a scan."""
        return _bytes_of(self.scan_limit)

    @property
    def memory_bytes(self) -> int:
        """Estimated memory of the reconstruction of one slice."""
        return _bytes_of(self.memory_limit)


def _bytes_of(gibibytes: float) -> int:
    return math.ceil(min(gibibytes * GIB, 2.0**62))


@settings
class ServerSettings:
    """Where a server listens, what it keeps, and how much it does at the same time."""

    host: Text = setting("Address to listen on.", default="127.0.0.1")
    port: Whole = setting("0 for any that is free.", default=9002, at_least=0, at_most=65535)
    save_raw: Text | None = setting(
        "Keep every scan as an ISMRMRD file in this folder, before any work on it.",
        default=None,
        metavar="FOLDER",
    )
    workers: Whole = setting("Slices that are worked on at the same time.", default=1, at_least=1)
    max_connections: Whole = setting(
        "Scans that are worked on; as many more are only saved.",
        default=64,
        group=_GROUP,
        at_least=1,
    )
    grace: Unbounded = setting(
        "Seconds that running scans have left after SIGTERM.", default=20.0, above=0
    )

    @property
    def folder(self) -> Path | None:
        """Where scans are kept."""
        return None if self.save_raw is None else Path(self.save_raw).resolve()
