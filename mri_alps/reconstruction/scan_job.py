"""One scan on its way from a raw file to a reconstruction file, however often interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mri_alps
from mri_alps.calibration import VolumeCalibration, calibrate_volume
from mri_alps.errors import MriAlpsError
from mri_alps.rawdata import RawKSpace, read_raw
from mri_alps.reconstruction.configuration import ReconstructionConfiguration
from mri_alps.reconstruction.identity import (
    changed_settings,
    scan_identity,
    settings_hash,
    settings_identity,
)
from mri_alps.reconstruction.output import (
    ReconstructionWriter,
    check_target,
    output_path,
    read_attributes,
)
from mri_alps.reconstruction.provenance import attributes_of
from mri_alps.reconstruction.result import SliceReconstruction
from mri_alps.reconstruction.selection import chosen_slices
from mri_alps.reconstruction.slice import LoadedSlice, batch_of
from mri_alps.reconstruction.slice_store import Execution, SliceStore
from mri_alps.reconstruction.undersampling import undersampling_mask


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all scans of a run have in common.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.
    prior : ScoreModel
        The loaded prior.
    device : torch.device
        Where the samples are drawn.
    prior_name : str or None
        Under which the prior was loaded; None for an object of the caller's.
    n_threads : int or None
        CPU threads; None for what an interrupted run used, or else torch's own choice.
    overwrite : bool
        Reconstruct finished scans again.
    say : callable
        Told in one sentence what the user should know.
    check : callable
        Given each raw file before it is opened, raises if it should not be.
    """

    configuration: ReconstructionConfiguration
    prior: Any
    device: torch.device
    prior_name: str | None = None
    n_threads: int | None = None
    overwrite: bool = False
    say: Callable[[str], None] = lambda sentence: None
    check: Callable[[Path], None] = lambda path: None

    def execution(self) -> Execution:
        """Return how slices are computed where nothing is there to go on from."""
        return Execution(
            device=self.device.type,
            n_threads=self.n_threads or torch.get_num_threads(),
            batch=None,
            versions=f"mri_alps {mri_alps.__version__} with torch {torch.__version__}",
        )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Parameters
    ----------
    source : pathlib.Path
        The raw file.
    output : pathlib.Path or None
        The reconstruction, if there is one now.
    status : str
        "finished", "skipped" (was there already) or "failed".
    reason : str
        Why it failed.
    n_slices, n_resumed : int
        Slices of the reconstruction, and how many of them an earlier run had finished.
    seconds : float
        From opening the scan to its file.
    configuration_hash : str
        Of the settings.
    error : Exception or None
        What was raised.
    """

    source: Path
    output: Path | None
    status: str
    reason: str = ""
    n_slices: int = 0
    n_resumed: int = 0
    seconds: float = 0.0
    configuration_hash: str = ""
    error: Exception | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what a line of the manifest holds, as JSON can hold it."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del found["error"]
        found["seconds"] = round(self.seconds, 3)
        return found | {
            "source": str(self.source),
            "output": None if self.output is None else str(self.output),
        }


class ScanJob:
    """A scan to be reconstructed; nothing is read before `open`.

    Parameters
    ----------
    source : pathlib.Path or RawKSpace
        The scan.
    output : pathlib.Path
        Folder of the reconstruction.
    setup : Setup
        What all scans have in common.

    Attributes
    ----------
    raw : RawKSpace
        The opened scan.
    target : pathlib.Path
        The file to be made.
    indices, missing : tuple of int
        Slices of the reconstruction, and those of them that are still to be done.
    execution : Execution
        How they are to be computed.
    store : SliceStore
        Where its finished slices are.
    scan_hash : str
        See `scan_identity`.
    skipped : bool
        True if the reconstruction was there already.
    failure : Exception or None
        What went wrong first.
    """

    raw: RawKSpace
    store: SliceStore
    execution: Execution
    scan_hash: str

    def __init__(self, source: Path | RawKSpace, output: Path, setup: Setup):
        self._source = source
        self.path = Path(source.path if isinstance(source, RawKSpace) else source)
        self.target = output_path(self.path, Path(output))
        self.setup = setup
        self.indices: tuple[int, ...] = ()
        self.missing: tuple[int, ...] = ()
        self.skipped = False
        self.failure: Exception | None = None
        self._settings = settings_identity(setup.configuration, setup.prior, setup.prior_name)
        self._resources = contextlib.ExitStack()
        self._started = time.perf_counter()

    def open(self) -> None:
        """Open the scan, and find out what of it is done already.

        Raises
        ------
        MriAlpsError
            If the scan or the target cannot be used.
        """
        if isinstance(self._source, RawKSpace):
            raw = self._source
        else:
            self.setup.check(self._source)
            raw = read_raw(self._source)
        check_target(self.path, self.target)
        self.raw = raw
        self.indices = chosen_slices(raw, self.setup.configuration)
        self.scan_hash = scan_identity(raw)
        self._identity = {
            "configuration_hash": settings_hash(self._settings),
            "scan_hash": self.scan_hash,
        }
        self.store = SliceStore(self.target, settings_hash(self._identity))
        self._resources.enter_context(self.store.locked())
        self.store.clear_half_written()
        if self._is_finished():
            self.skipped = True
            self.store.remove()
            return
        if self.setup.overwrite:
            self.store.remove()
        self.execution = self._agreed(self.store.open(self.setup.execution(), self.setup.say))
        done = self.store.finished(self.setup.say)
        self.missing = tuple(index for index in self.indices if index not in done)
        if done and self.missing:
            self.setup.say(
                f"{self.target.name}: going on after {len(self.indices) - len(self.missing)} of "
                f"{len(self.indices)} slices"
            )

    def calibrate(self) -> tuple[np.ndarray | None, VolumeCalibration]:
        """Return the retrospective mask of the scan, and its noise."""
        mask = undersampling_mask(self.raw, self.setup.configuration)
        return mask, calibrate_volume(self.raw, mask)

    def batch(self, loaded: LoadedSlice) -> int:
        """Return how many samples to draw at a time: what an interrupted run did, or what fits.

        Parameters
        ----------
        loaded : LoadedSlice
            A slice of the scan.
        """
        if self.execution.batch is None:
            batch = batch_of(loaded, self.setup.prior, self.setup.configuration)
            self.execution = dataclasses.replace(self.execution, batch=batch)
            self.store.record(self.execution)
        assert self.execution.batch is not None
        return self.execution.batch

    def keep_batch(self, batch: int | None) -> None:
        """Draw the following slices as the last one, in smaller batches where memory ran out.

        Parameters
        ----------
        batch : int or None
            Of the last slice.
        """
        recorded = self.execution.batch
        if batch is not None and (recorded is None or batch < recorded):
            self.execution = dataclasses.replace(self.execution, batch=batch)
            self.store.record(self.execution)

    def fail(self, error: Exception) -> None:
        """Give up on this scan; the first reason counts.

        Parameters
        ----------
        error : Exception
            The reason.
        """
        if self.failure is None:
            self.failure = error

    def assemble(self) -> None:
        """Put the finished slices into the reconstruction's file.

        Raises
        ------
        InputFileError
            If a slice was lost.
        """
        with ReconstructionWriter(self.target, self.indices) as writer:
            for position, index in enumerate(self.indices):
                result = self.store.read(index)
                if position == 0:
                    writer.write_attributes(self._attributes(result))
                writer.write_slice(result)
        self.store.remove()

    def release(self) -> None:
        """Let other processes at the scan; what is finished of it stays."""
        self._resources.close()

    def close(self) -> Outcome:
        """Let go of the scan and return what became of it."""
        error = self.failure
        if error is not None and hasattr(self, "execution"):
            # Bad data stay bad; but what a full disk or a lost device cut short can go on.
            if isinstance(error, MriAlpsError) or not self.store.finished(self.setup.say):
                self.store.remove()
            else:
                self.setup.say(f"{self.target.name}: finished slices are kept for the next run")
        self.release()
        status = "failed" if error is not None else "skipped" if self.skipped else "finished"
        return Outcome(
            source=self.path,
            output=None if error is not None else self.target,
            status=status,
            reason="" if error is None else describe_error(error),
            n_slices=len(self.indices),
            n_resumed=len(self.indices) - len(self.missing) if not self.skipped else 0,
            seconds=time.perf_counter() - self._started,
            configuration_hash=settings_hash(self._settings),
            error=error,
        )

    def _is_finished(self) -> bool:
        if self.setup.overwrite or not self.target.exists():
            return False
        found = read_attributes(self.target)
        if found is None:
            self.setup.say(f"{self.target.name} is damaged and made again")
            return False
        if found.get("configuration_hash") != self._identity["configuration_hash"]:
            changes = changed_settings(found.get("settings", {}), self._settings)
            self.setup.say(f"{self.target.name} was made with other settings: {changes}")
            return False
        if found.get("scan_hash") != self._identity["scan_hash"]:
            self.setup.say(f"{self.path} changed since {self.target.name} was made from it")
            return False
        return True

    def _agreed(self, recorded: Execution) -> Execution:
        wanted = self.setup.execution()
        if recorded.device != wanted.device:
            self.setup.say(
                f"{self.target.name} was begun on {recorded.device} and goes on on "
                f"{wanted.device}: its slices are not computed in the same way"
            )
        if self.setup.n_threads not in (None, recorded.n_threads):
            self.setup.say(
                f"{self.target.name} was begun with {recorded.n_threads} threads and goes on with "
                f"{wanted.n_threads}: equal up to rounding"
            )
            return dataclasses.replace(recorded, n_threads=wanted.n_threads)
        return recorded

    def _attributes(self, first: SliceReconstruction) -> dict[str, Any]:
        configuration = self.setup.configuration
        return attributes_of(
            self.raw, self.setup.prior, configuration, first, self.setup.prior_name
        ) | {
            **self._identity,
            "settings": self._settings,
            "execution": dataclasses.asdict(self.execution),
        }


def describe_error(error: Exception) -> str:
    """Return an error as one sentence.

    Parameters
    ----------
    error : Exception
        Anything.
    """
    text = " ".join(str(error).split())
    return text if isinstance(error, MriAlpsError) else f"{type(error).__name__}: {text}"
