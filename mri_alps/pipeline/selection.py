"""Which parts of a file, and which slices of them, are reconstructed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_alps.core.errors import ConfigurationError
from mri_alps.pipeline.trajectories import trajectory_options, with_chosen_shots
from mri_alps.rawdata import RawKSpace, Selection, read_raw

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration

SELECTING = ("dataset", "encoding", "contrast", "repetition", "phase", "set")
"""Settings that say which parts of a file are meant."""


def selection_of(configuration: ReconstructionConfiguration) -> Selection | None:
    """Return which part of a file the settings ask for, or None where they leave it open.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.

    Raises
    ------
    ConfigurationError
        If they ask for several.
    """
    chosen = choices_of(configuration)
    several = [n for n, values in chosen.items() if values == "all" or len(values) > 1]
    if several:
        raise ConfigurationError(
            f"{', '.join(several)} ask for several parts of a file, and one is opened here: give "
            "one value each, or reconstruct by the command line, which makes a file of each"
        )
    one = {name: values[0] for name, values in chosen.items()}
    return Selection(**one) if one else None


def open_scan(path: Path | str, configuration: ReconstructionConfiguration) -> RawKSpace:
    """Open the part of a raw file that the settings ask for.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.
    configuration : ReconstructionConfiguration
        The settings.

    Raises
    ------
    InputFileError
        If the file cannot be used.
    ConfigurationError
        If it does not have what is asked for; the message lists what it has.
    """
    options = trajectory_options(configuration)
    raw = read_raw(path, selection=selection_of(configuration), trajectory=options)
    return with_chosen_shots(raw, configuration)


def refuse_selection(configuration: ReconstructionConfiguration) -> None:
    """Refuse settings that choose a part of a file where the scan is opened already.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.

    Raises
    ------
    ConfigurationError
        If there is one.
    """
    options = trajectory_options(configuration)
    if options is not None:
        raise ConfigurationError(
            "trajectory, trajectory_units, golden_angle and matrix say how a file is read, and a "
            "scan was given that is opened already: give the path, or say it by "
            "read_raw(path, trajectory=TrajectoryOptions(...))"
        )
    if chosen := choices_of(configuration):
        raise ConfigurationError(
            f"{', '.join(chosen)} choose a part of a file, and a scan was given that is opened "
            "already: give the path, or choose by read_raw(path, selection=Selection(...))"
        )


def part_name(configuration: ReconstructionConfiguration) -> str:
    """Return what is added to a file's name for the part that the settings ask for, or "".

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.
    """
    return _words(choices_of(configuration))


def scan_name(raw: RawKSpace) -> str:
    """Return the name of a scan's file without suffix, and which part of the file it is.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    """
    counters = raw.provenance.get("counters", {})
    several = [n for n in SELECTING if len(counters.get(n, {}).get("available", ())) > 1]
    return Path(raw.path).stem + _words({name: [counters[name]["chosen"]] for name in several})


def _words(choices: dict[str, Any]) -> str:
    words = (
        f"_{name}-{values if values == 'all' else ','.join(map(str, values))}"
        for name, values in choices.items()
    )
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", "".join(words))


def choices_of(configuration: ReconstructionConfiguration) -> dict[str, Any]:
    """Return the settings that choose a part of a file: "all", or values.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.
    """
    values = {name: getattr(configuration, name) for name in SELECTING}
    return {name: value for name, value in values.items() if value is not None}


def chosen_slices(raw: RawKSpace, configuration: ReconstructionConfiguration) -> tuple[int, ...]:
    """Return the slices to reconstruct.

    Parameters
    ----------
    raw : RawKSpace
        For the number of slices.
    configuration : ReconstructionConfiguration
        For the choice.

    Raises
    ------
    ConfigurationError
        If a slice is asked for that the scan does not have.
    """
    if configuration.slices is None:
        return tuple(range(raw.n_slices))
    outside = [index for index in configuration.slices if not 0 <= index < raw.n_slices]
    if outside or not configuration.slices:
        raise ConfigurationError(
            f"{raw.path} has the slices 0 to {raw.n_slices - 1}, asked for was "
            f"{outside or 'none'}: change --slices"
        )
    return configuration.slices
