"""``mri-alps send``: stream an ISMRMRD file to an MRD server and save the images."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Annotated, Optional

import typer

from mri_alps.cli.terminal import bars_are_hidden, err, out, print_message


def send(
    file: Annotated[Path, typer.Argument(help="ISMRMRD file.")],
    host: Annotated[str, typer.Option(help="Of the server.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of the server.")] = 9002,
    config: Annotated[
        str,
        typer.Option(help='Name, or JSON such as \'{"parameters": {"n_samples": 8}}\'.'),
    ] = "mri_alps",
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer resolves this at run time
        typer.Option("--output", "-o", help="HDF5 for the images. Left out: FILE with _images.h5."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds without a sign of life of the server.")
    ] = 3600.0,
) -> None:
    """Stream a scan to an MRD server as a scanner would, and save the images it sends.

    The images go to one HDF5 in the ISMRMRD layout, a group image_<series> per
    series, with a PNG beside it. What the server says goes to standard error.

    mri-alps send scan.h5 --port 9002 -o images.h5
    """
    from mri_alps.scanner import save_images, send_scan, write_reply_picture

    output = output or file.with_name(f"{file.stem}_images.h5")
    if output.exists() and file.exists() and output.samefile(file):
        print_message(
            f"the images would overwrite the scan {file}: give --output another name", "error"
        )
        raise typer.Exit(1)
    with _Progress() as progress:
        reply = send_scan(file, host, port, config, progress, timeout=timeout)
    if not reply.images:
        reason = "; ".join(reply.errors) or "it sent no image and gave no reason"
        print_message(
            f"the server at {host} port {port} did not reconstruct {file}: {reason}", "error"
        )
        raise typer.Exit(1)
    for line in save_images(reply, output):
        out().print(line)
    picture = output.with_suffix(".png")
    write_reply_picture(reply, picture)
    out().print(f"{output}\n{picture}", soft_wrap=True)
    if reply.errors or not reply.is_closed:
        print_message("the answer is not complete: see what the server said", "error")
        raise typer.Exit(1)


class _Progress:
    """A bar of what is sent, and what the server says; see `SendProgress`."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=err(),
            disable=bars_are_hidden(),
        )
        self._sent = self._bars.add_task("acquisitions sent", total=None)
        self._received = self._bars.add_task("images received", total=None)

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def sent(self, done: int, total: int) -> None:
        """`done` of `total` acquisitions are sent."""
        self._bars.update(self._sent, completed=done, total=total)

    def said(self, text: str) -> None:
        """The server says something."""
        print_message(f"server: {text}")

    def received(self, image: object) -> None:
        """An image came."""
        self._bars.advance(self._received)
