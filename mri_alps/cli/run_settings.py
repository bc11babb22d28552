"""Which of the inputs a command works on, and by whom."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from mri_alps.core.settings import Text, Whole, setting, settings

OUTPUT = "Output"
MANY = "Many scans, many machines"


def part_of_all(value: object) -> Any:
    """Return (i, n) for a text ``i/n``; anything else as it is.

    Parameters
    ----------
    value : any
        A text, or a tuple.

    Raises
    ------
    ValueError
        If the text has another form.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", value)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(value)
    return int(match[1]), int(match[2])


@settings
class RunSettings:
    """Which part of the inputs is reconstructed, by whom, and what is printed."""

    report: bool = setting(
        "Write an HTML page of each result; keeps the samples, which it plays.",
        default=False,
        group=OUTPUT,
    )
    overwrite: bool = setting(
        "Begin from nothing, whatever is finished.", default=False, group=OUTPUT
    )
    preview: bool = setting(
        "First, within seconds, write a point estimate of up to eight slices by the same prior: "
        "NAME_preview.h5 and .png beside the result, without a deviation. They are removed when "
        "the posterior is there.",
        default=False,
        group=OUTPUT,
    )
    dry_run: bool = setting(
        "Only say sizes, memory and estimated time.", default=False, group=OUTPUT
    )
    as_json: bool = setting(
        "Print a JSON array, an object per input: what became of it, or its --dry-run.",
        default=False,
        group=OUTPUT,
        option="--json",
    )
    limit: Whole | None = setting(
        "The first so many inputs only.", default=None, group=MANY, at_least=1
    )
    shard: Annotated[tuple[Whole, Whole], BeforeValidator(part_of_all)] | None = setting(
        "The I-th of N parts of the inputs, for N machines that share a folder.",
        default=None,
        group=MANY,
        metavar="I/N",
        values="a part such as 1/4, from 1/N to N/N",
    )
    workers: Whole | None = setting(
        "So many processes on this machine, one per GPU or group of cores; they listen on "
        "127.0.0.1 only, behind TLS.",
        default=None,
        group=MANY,
        at_least=1,
    )
    scheduler: Text | None = setting(
        "Join a Dask cluster, for example tls://node1:8786, with the certificates that Dask's "
        "configuration names. Without TLS, everybody who reaches its ports runs code as you.",
        default=None,
        group=MANY,
        metavar="ADDRESS",
    )
    threads: Whole | None = setting(
        "CPU threads of a process; equal numbers give bit-identical results.",
        default=None,
        group=MANY,
        at_least=1,
    )

    @property
    def distributed(self) -> bool:
        """Whether other processes do the work."""
        return self.workers is not None or self.scheduler is not None
