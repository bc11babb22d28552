"""``mri-alps send``: stream an ISMRMRD file to an MRD server and save the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mri_alps.cli.settings_options import takes_settings
from mri_alps.cli.terminal import bars_are_hidden, err, out, print_message
from mri_alps.pipeline import SELECTING, ReconstructionConfiguration

if TYPE_CHECKING:
    from mri_alps.scanner import SentPart


@takes_settings(ReconstructionConfiguration, only=SELECTING)
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
    *,
    configuration: ReconstructionConfiguration,
) -> None:
    """Stream a scan to an MRD server as a scanner would, and save the images it sends.

    The images go to one HDF5 in the ISMRMRD layout, a group image_<series> per
    series, with a PNG beside it. What the server says goes to standard error. Of a
    file with several measurements, each is sent by itself; contrasts, repetitions,
    phases and sets are all sent unless some are chosen.

    mri-alps send scan.h5 --port 9002 -o images.h5
    """
    from mri_alps.pipeline import describe_parts, parts_of

    parts = parts_of(file, configuration)
    measurements = sent_parts(parts, configuration)
    if len(measurements) > 1:
        print_message(describe_parts(file, parts))
    whole = True
    for name, part in measurements.items():
        given = output or file.with_name(f"{file.stem}_images.h5")
        target = given.with_name(f"{given.stem}{name}{given.suffix}")
        whole &= _send(file, target, host, port, config, timeout, part)
    if not whole:
        print_message("the answer is not complete: see what the server said", "error")
        raise typer.Exit(1)


def sent_parts(
    parts: Sequence[ReconstructionConfiguration], asked: ReconstructionConfiguration
) -> dict[str, SentPart]:
    """Return what is sent by itself, a measurement or encoding space each, by its name.

    Parameters
    ----------
    parts : sequence of ReconstructionConfiguration
        From `parts_of`.
    asked : ReconstructionConfiguration
        What they were made from.
    """
    from mri_alps.pipeline import part_name
    from mri_alps.scanner import SentPart

    counters = {
        name: values
        for name in ("contrast", "repetition", "phase", "set")
        if isinstance(values := getattr(asked, name), tuple)
    }
    found: dict[tuple[str | None, int | None], None] = {}
    for part in parts:
        dataset = part.dataset[0] if part.dataset else None
        encoding = part.encoding[0] if part.encoding and asked.encoding is not None else None
        found[dataset, None if encoding is None else int(encoding)] = None
    return {
        "" if len(found) == 1 else part_name(_naming(dataset, encoding)): SentPart(
            dataset, encoding, counters
        )
        for dataset, encoding in found
    }


def _naming(dataset: str | None, encoding: int | None) -> ReconstructionConfiguration:
    return ReconstructionConfiguration(
        dataset=None if dataset is None else (dataset,),
        encoding=None if encoding is None else (encoding,),
    )


def _send(
    file: Path, output: Path, host: str, port: int, config: str, timeout: float, part: SentPart
) -> bool:
    """Send a measurement and save the answer; return whether it is complete."""
    from mri_alps.scanner import save_images, send_scan, write_reply_picture

    if output.exists() and file.exists() and output.samefile(file):
        print_message(
            f"the images would overwrite the scan {file}: give --output another name", "error"
        )
        raise typer.Exit(1)
    with _Progress() as progress:
        reply = send_scan(file, host, port, config, progress, timeout=timeout, part=part)
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
    return reply.is_closed and not reply.errors


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
