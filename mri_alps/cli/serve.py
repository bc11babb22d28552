"""``mri-alps serve`` and ``mri-alps stream``: reconstruct scans as they come in."""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from mri_alps.cli.settings_options import takes_settings
from mri_alps.cli.terminal import print_message
from mri_alps.core.settings import description
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.scanner import (
    Limits,
    OnlineConfiguration,
    SendingConfiguration,
    ServerSettings,
    configure,
)

if TYPE_CHECKING:
    from mri_alps.scanner import SessionOptions

_ONLINE = ("prior", "n_samples", "n_evaluations", "device", "send_samples", "data_type")


@takes_settings(
    *(ReconstructionConfiguration, SendingConfiguration, ServerSettings, Limits),
    only=(*_ONLINE, *description(ServerSettings), *description(Limits)),
)
def serve(
    reconstruction: ReconstructionConfiguration,
    sending: SendingConfiguration,
    settings: ServerSettings,
    limits: Limits,
) -> None:
    """Reconstruct scans that come in over the network, as an MRD (ISMRMRD) server.

    A client sends a configuration (the name mri_alps, or JSON such as
    {"parameters": {"n_samples": 8}}), the ISMRMRD header and the acquisitions as
    they are measured. Slices are reconstructed as soon as they are complete;
    posterior mean and standard deviation come back as two series. Whoever can
    reach the port can use the server: keep it within the scanner's own network.

    mri-alps serve --save-raw scans

    mri-alps send scan.h5
    """
    from mri_alps.scanner import MrdServer, WorkerPool

    _log_to_terminal()
    options = _options(reconstruction, sending, settings, limits)
    with WorkerPool(settings.workers) as pool:
        server = MrdServer(pool, options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        print_message(
            f"MRD server on {settings.host} port {server.port}; end it with Ctrl-C or SIGTERM"
        )
        if settings.save_raw is None:
            print_message("scans are not kept: name a folder with --save-raw to keep them")
        server.serve()
    print_message("the server has ended")


@takes_settings(
    *(ReconstructionConfiguration, SendingConfiguration, ServerSettings, Limits),
    only=(*_ONLINE, "save_raw", "memory_limit", "scan_limit", "time_limit"),
    defaults={"idle_limit": math.inf},  # a pipe ends when its writer does
)
def stream(
    reconstruction: ReconstructionConfiguration,
    sending: SendingConfiguration,
    settings: ServerSettings,
    limits: Limits,
    config: Annotated[
        str, typer.Option(help="Configuration where the stream has none: a name or JSON.")
    ] = "mri_alps",
) -> None:
    """Reconstruct one scan from standard input to standard output, in the MRD protocol.

    As a link in a chain of programs that speak it, such as ismrmrd_hdf5_to_stream
    and ismrmrd_stream_to_hdf5. Messages also go to standard error.

    ismrmrd_hdf5_to_stream -i scan.h5 --use-stdout | mri-alps stream > images.mrd
    """
    import os

    from mri_alps.scanner import FileChannel, InlineReconstructor, ScanSession

    _log_to_terminal()
    options = _options(reconstruction, sending, settings, limits)
    options = dataclasses.replace(options, defaults=configure([config], options.defaults))
    stopped: list[str] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append("stopped by a signal"))
    target = os.dup(1)
    os.dup2(2, 1)  # nothing but messages may reach the standard output
    channel = FileChannel(0, target, lambda: stopped[0] if stopped else None)
    if not ScanSession(channel, InlineReconstructor(), options).run():
        raise typer.Exit(1)


def _options(
    reconstruction: ReconstructionConfiguration,
    sending: SendingConfiguration,
    settings: ServerSettings,
    limits: Limits,
) -> SessionOptions:
    """Return the options of a session; checks what can be checked before a scan comes."""
    from mri_alps.pipeline import load_prior_for, prepare_directory
    from mri_alps.scanner import SessionOptions

    load_prior_for(reconstruction)  # a misspelt prior is found now, not by the first scan
    if settings.folder is not None:
        prepare_directory(settings.folder)
    return SessionOptions(OnlineConfiguration(reconstruction, sending), limits, settings)


class _TerminalHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        kind = {logging.WARNING: "warning", logging.ERROR: "error"}.get(record.levelno, "")
        print_message(self.format(record), kind)


def _log_to_terminal() -> None:
    logger = logging.getLogger("mri_alps.scanner")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_TerminalHandler()]
