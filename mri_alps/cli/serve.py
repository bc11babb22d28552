"""``mri-alps serve`` and ``mri-alps stream``: reconstruct scans as they come in."""

from __future__ import annotations

import dataclasses
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mri_alps.cli.terminal import print_message

if TYPE_CHECKING:
    from mri_alps.scanner import SessionOptions

_SCAN = "Reconstruction, where the client says nothing else"
_LIMITS = "Limits of a connection"

_Prior = Annotated[
    Optional[str],  # noqa: UP045 - typer resolves this at run time
    typer.Option(help="Built-in prior or a checkpoint.", rich_help_panel=_SCAN),
]
_Samples = Annotated[int, typer.Option(help="Posterior samples per slice.", rich_help_panel=_SCAN)]
_Evaluations = Annotated[
    int, typer.Option(help="Evaluations of the prior per sample.", rich_help_panel=_SCAN)
]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.", rich_help_panel=_SCAN)]
_DataType = Annotated[
    str, typer.Option(help="Of the images sent: float32 or uint16.", rich_help_panel=_SCAN)
]
_SaveRaw = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Keep every scan as an ISMRMRD file in this folder, before any work on it."),
]
_Memory = Annotated[
    float,
    typer.Option(help="GiB, estimated, for the work on a slice.", rich_help_panel=_LIMITS),
]
_Scan = Annotated[float, typer.Option(help="GiB of samples in a scan.", rich_help_panel=_LIMITS)]
_Time = Annotated[float, typer.Option(help="Seconds of work on a scan.", rich_help_panel=_LIMITS)]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 9002,
    save_raw: _SaveRaw = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Slices that are worked on at the same time.")
    ] = 1,
    prior: _Prior = None,
    n_samples: _Samples = 8,
    n_evaluations: _Evaluations = 100,
    device: _Device = "auto",
    data_type: _DataType = "float32",
    max_connections: Annotated[
        int,
        typer.Option(
            min=1, help="Scans that are worked on; more are only saved.", rich_help_panel=_LIMITS
        ),
    ] = 64,
    memory_limit: _Memory = 16.0,
    scan_limit: _Scan = 32.0,
    time_limit: _Time = 14400.0,
    idle_limit: Annotated[
        float,
        typer.Option(help="Seconds without data in an open scan.", rich_help_panel=_LIMITS),
    ] = 600.0,
    grace: Annotated[
        float, typer.Option(help="Seconds that running scans have left after SIGTERM.")
    ] = 20.0,
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
    options = _options(locals() | {"idle_seconds": idle_limit})
    with WorkerPool(workers) as pool:
        server = MrdServer(host, port, pool, options, max_connections, grace)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        print_message(f"MRD server on {host} port {server.port}; end it with Ctrl-C or SIGTERM")
        if save_raw is None:
            print_message("scans are not kept: name a folder with --save-raw to keep them")
        server.serve()
    print_message("the server has ended")


def stream(
    config: Annotated[
        str, typer.Option(help="Configuration where the stream has none: a name or JSON.")
    ] = "mri_alps",
    save_raw: _SaveRaw = None,
    prior: _Prior = None,
    n_samples: _Samples = 8,
    n_evaluations: _Evaluations = 100,
    device: _Device = "auto",
    data_type: _DataType = "float32",
    memory_limit: _Memory = 16.0,
    scan_limit: _Scan = 32.0,
    time_limit: _Time = 14400.0,
) -> None:
    """Reconstruct one scan from standard input to standard output, in the MRD protocol.

    As a link in a chain of programs that speak it, such as ismrmrd_hdf5_to_stream
    and ismrmrd_stream_to_hdf5. Messages also go to standard error.

    ismrmrd_hdf5_to_stream -i scan.h5 --use-stdout | mri-alps stream > images.mrd
    """
    import os

    from mri_alps.scanner import FileChannel, InlineReconstructor, ScanSession, configure

    _log_to_terminal()
    options = _options(locals())
    options = dataclasses.replace(options, defaults=configure([config], options.defaults))
    stopped: list[str] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append("stopped by a signal"))
    target = os.dup(1)
    os.dup2(2, 1)  # nothing but messages may reach the standard output
    channel = FileChannel(0, target, lambda: stopped[0] if stopped else None)
    if not ScanSession(channel, InlineReconstructor(), options).run():
        raise typer.Exit(1)


def _options(given: dict[str, Any]) -> SessionOptions:
    """Return the options of a session; checks what can be checked before a scan comes."""
    from mri_alps.pipeline import ReconstructionConfiguration, load_prior_for, prepare_directory
    from mri_alps.scanner import (
        Limits,
        OnlineConfiguration,
        SessionOptions,
        bytes_of,
        check_positive,
    )

    idle_seconds = given.get("idle_seconds", float("inf"))
    limits = Limits(
        memory_bytes=bytes_of("--memory-limit", given["memory_limit"]),
        scan_bytes=bytes_of("--scan-limit", given["scan_limit"]),
        reconstruction_seconds=check_positive("--time-limit", given["time_limit"]),
        idle_seconds=check_positive("--idle-limit", idle_seconds),
    )
    names = ("prior", "n_samples", "n_evaluations", "device")
    reconstruction = ReconstructionConfiguration(**{name: given[name] for name in names})
    defaults = OnlineConfiguration(reconstruction, data_type=given["data_type"])
    load_prior_for(reconstruction)  # a misspelt prior is found now, not by the first scan
    if given["save_raw"] is not None:
        prepare_directory(given["save_raw"])
    folder = given["save_raw"]
    return SessionOptions(defaults, limits, None if folder is None else folder.resolve())


class _TerminalHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        kind = {logging.WARNING: "warning", logging.ERROR: "error"}.get(record.levelno, "")
        print_message(self.format(record), kind)


def _log_to_terminal() -> None:
    logger = logging.getLogger("mri_alps.scanner")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_TerminalHandler()]
