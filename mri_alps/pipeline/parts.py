"""Every part of a file that is meant, as a scan of its own."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsWarning
from mri_alps.pipeline.scan_job import RunContext, ScanJob, Siblings
from mri_alps.pipeline.selection import SELECTING, choices_of, open_scan, part_name
from mri_alps.rawdata import RawKSpace, list_parts, with_field_of_view

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration

_TOLD = 12


def scan_jobs(
    sources: Iterable[Path | RawKSpace], output: Path, context: RunContext
) -> Iterator[ScanJob]:
    """Yield a job for each scan, or for each part of it that is meant.

    Parameters
    ----------
    sources : iterable of pathlib.Path or RawKSpace
        Files, and scans that are opened already.
    output : pathlib.Path
        Folder of the reconstructions.
    context : RunContext
        What all scans have in common; each part has its own choice in it.
    """
    targets: set[Path] = set()
    for source in sources:
        if isinstance(source, RawKSpace):
            yield ScanJob(source, output, context)
            continue
        try:
            parts = parts_of(source, context.configuration, context.list_parts)
        except Exception as error:  # noqa: BLE001 - one bad file does not stop the others
            job = ScanJob(source, output, context)
            job.refusal = error
            yield job
            continue
        if len(parts) > 1:
            context.notify(describe_parts(source, parts))
        siblings = Siblings(len(parts))
        for part in parts:
            own = dataclasses.replace(context, configuration=part)
            job = ScanJob(source, output, own, siblings)
            job.is_optional = is_unasked(part, context.configuration)
            if job.target in targets:
                job.refusal = ConfigurationError(
                    f"{job.target} would be written for two of the inputs: reconstruct them into "
                    "different folders"
                )
            targets.add(job.target)
            yield job


def open_parts(path: Path, configuration: ReconstructionConfiguration) -> list[RawKSpace]:
    """Open each part of a file that is meant, with the field of view that the settings give.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    configuration : ReconstructionConfiguration
        The settings.

    Raises
    ------
    MriAlpsError
        If a part that was asked for cannot be opened, or none can.

    Warns
    -----
    MriAlpsWarning
        If there are several, or one that was not asked for cannot be opened.
    """
    parts = parts_of(path, configuration)
    if len(parts) > 1:
        warnings.warn(describe_parts(path, parts), MriAlpsWarning, stacklevel=2)
    opened, failures = [], []
    for part in parts:
        try:
            opened.append(with_field_of_view(open_scan(path, part), part.field_of_view))
        except InputFileError as error:
            if not is_unasked(part, configuration):
                raise
            failures.append(error)
            said = f"{part_name(part)[1:]} is left out: {error}"
            if len(failures) < len(parts):
                warnings.warn(said, MriAlpsWarning, stacklevel=2)
    if not opened:
        raise failures[0]
    return opened


def is_unasked(part: ReconstructionConfiguration, asked: ReconstructionConfiguration) -> bool:
    """Return whether a part is meant only because nothing else was asked for.

    Parameters
    ----------
    part : ReconstructionConfiguration
        From `parts_of`.
    asked : ReconstructionConfiguration
        What it was made from.
    """
    explicit = {name for name, values in choices_of(asked).items() if values != "all"}
    return not set(choices_of(part)) <= explicit


def parts_of(
    path: Path,
    configuration: ReconstructionConfiguration,
    list_them: Callable[[Path, Mapping[str, Any]], list[dict[str, Any]]] = list_parts,
) -> list[ReconstructionConfiguration]:
    """Return the settings of each part of a file that is meant: one at least.

    Of what a file has several of, all are meant where nothing is asked for.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    configuration : ReconstructionConfiguration
        The settings.
    list_them : callable
        Lists what there is, as `list_parts` does.

    Returns
    -------
    list of ReconstructionConfiguration
        With one value for each setting that chooses; the settings themselves where the file has
        one part. What is asked for and not there is among them: it is refused when it is opened.
    """
    asked = choices_of(configuration)
    parts = list_them(path, asked)
    for name in [n for n, v in asked.items() if v == "all" and not any(n in p for p in parts)]:
        one: dict[str, Any] = {name: None}  # all there is
        configuration = dataclasses.replace(configuration, **one)
        del asked[name]
    names = list(dict.fromkeys(part["dataset"] for part in parts if "dataset" in part))
    if "dataset" in asked and asked["dataset"] != "all":
        asked["dataset"] = tuple(_name(text, names) for text in asked["dataset"])
    missing = _missing(asked, parts)
    if missing:
        return [dataclasses.replace(configuration, **missing)]
    meant = [
        part
        for part in parts
        if all(values == "all" or part[name] in values for name, values in asked.items())
    ]
    found = [_settings_of(part, parts, asked, configuration) for part in meant]
    return list({part_name(each): each for each in found}.values())


def _missing(asked: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a choice that leads to what is asked for and not there; none if all is there."""
    one: dict[str, Any] = dict.fromkeys(asked)
    for name in (name for name in SELECTING if asked.get(name, "all") != "all"):
        there = {part.get(name) for part in parts}
        absent = [value for value in asked[name] if value not in there]
        one[name] = (absent or asked[name])[0]
        if absent:
            return one
        parts = [part for part in parts if part[name] in asked[name]]
    return {}


def _name(text: str, names: Sequence[str]) -> str:
    """Return the measurement that a name means, or a number counted from 0."""
    if text in names or not text.isdecimal() or int(text) >= len(names):
        return text
    return names[int(text)]


def _settings_of(
    part: dict[str, Any],
    parts: list[dict[str, Any]],
    asked: dict[str, Any],
    configuration: ReconstructionConfiguration,
) -> ReconstructionConfiguration:
    same = [each for each in parts if each.get("dataset") == part.get("dataset")]
    chosen = {
        name: part[name]
        for name in SELECTING
        if name in part
        and (
            name in asked or len({p.get(name) for p in (parts if name == "dataset" else same)}) > 1
        )
    }
    return dataclasses.replace(configuration, **chosen)


def describe_parts(path: Path, parts: Sequence[ReconstructionConfiguration]) -> str:
    """Say which parts of a file are meant.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    parts : sequence of ReconstructionConfiguration
        From `parts_of`, several.
    """
    names = [part_name(part)[1:] for part in parts]
    shown = ", ".join(names[:_TOLD]) + (
        f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    )
    return (
        f"{path} has several parts, of which {len(parts)} are meant, each for itself: {shown} "
        f"({', '.join('--' + name for name in SELECTING)} choose)"
    )
