"""Scanners and their servers: the MRD protocol, a server, a client, and plugins for others.

Nothing is imported here, so that ``mri_alps.scanner.ismrmrd_server`` can be found by servers
that know nothing of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.scanner._sent_part import SentPart
    from mri_alps.scanner.channel import FileChannel
    from mri_alps.scanner.client import save_images, send_scan
    from mri_alps.scanner.configuration import (
        OnlineConfiguration,
        SendingConfiguration,
        configure,
    )
    from mri_alps.scanner.pictures import write_reply_picture
    from mri_alps.scanner.receiver import SessionOptions
    from mri_alps.scanner.server import MrdServer
    from mri_alps.scanner.session import ScanSession
    from mri_alps.scanner.settings import Limits, ServerSettings
    from mri_alps.scanner.workers import InlineReconstructor, WorkerPool

_HOME_OF = {
    "FileChannel": "mri_alps.scanner.channel",
    "InlineReconstructor": "mri_alps.scanner.workers",
    "Limits": "mri_alps.scanner.settings",
    "MrdServer": "mri_alps.scanner.server",
    "OnlineConfiguration": "mri_alps.scanner.configuration",
    "ScanSession": "mri_alps.scanner.session",
    "SendingConfiguration": "mri_alps.scanner.configuration",
    "SentPart": "mri_alps.scanner._sent_part",
    "ServerSettings": "mri_alps.scanner.settings",
    "SessionOptions": "mri_alps.scanner.receiver",
    "WorkerPool": "mri_alps.scanner.workers",
    "configure": "mri_alps.scanner.configuration",
    "save_images": "mri_alps.scanner.client",
    "send_scan": "mri_alps.scanner.client",
    "write_reply_picture": "mri_alps.scanner.pictures",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
