"""One scan on its way from a raw file to a reconstruction file, however often interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import mri_alps
from mri_alps.core.errors import InputFileError, describe_error
from mri_alps.pipeline.failures import describe_failures, failures_as_attributes
from mri_alps.pipeline.identity import (
    changed_settings,
    scan_identity,
    settings_hash,
    settings_identity,
)
from mri_alps.pipeline.interpolation import interpolation_attributes
from mri_alps.pipeline.output import (
    ReconstructionWriter,
    check_target,
    output_path,
    read_attributes,
)
from mri_alps.pipeline.preview import ScanPreview
from mri_alps.pipeline.provenance import attributes_of
from mri_alps.pipeline.result import SliceReconstruction, read_slices, representative
from mri_alps.pipeline.selection import chosen_slices, open_scan, part_name, selection_of
from mri_alps.pipeline.self_calibration import self_calibrated
from mri_alps.pipeline.slice import SliceReconstructor, costs_one_slice
from mri_alps.pipeline.slice_store import ComputeSettings, SliceStore
from mri_alps.pipeline.trajectories import trajectory_options, with_chosen_shots
from mri_alps.rawdata import (
    AS_ASKED,
    RawKSpace,
    Selection,
    TrajectoryOptions,
    list_parts,
    notes_of,
    with_field_of_view,
)

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.pipeline.reduction import LoadedSlice
    from mri_alps.priors import ScoreModel


@dataclasses.dataclass(frozen=True)
class RunContext:
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
    notify : callable
        Told in one sentence what the user should know.
    check : callable
        Given each raw file, which part of it is meant and how it was sampled, before it is opened;
        raises if it should not be.
    list_parts : callable
        Says which parts a raw file has, as `mri_alps.rawdata.list_parts` does.
    show_preview : callable, optional
        Told of each scan's preview whenever it is written; none is made if left out.
    """

    configuration: ReconstructionConfiguration
    prior: ScoreModel
    device: torch.device
    prior_name: str | None = None
    n_threads: int | None = None
    overwrite: bool = False
    notify: Callable[[str], None] = lambda _: None
    check: Callable[[Path, Selection | None, TrajectoryOptions | None], None] = lambda *_: None
    list_parts: Callable[[Path, Mapping[str, Any]], list[dict[str, Any]]] = list_parts
    show_preview: Callable[[Path], object] | None = None

    def compute_settings(self) -> ComputeSettings:
        """Return how slices are computed where nothing is there to go on from."""
        return ComputeSettings(
            device=self.device.type,
            n_threads=self.n_threads or torch.get_num_threads(),
            batch=None,
            versions=f"mri_alps {mri_alps.__version__} with torch {torch.__version__}",
        )


@dataclasses.dataclass(frozen=True)
class ScanOutcome:
    """What became of one input.

    Parameters
    ----------
    source : pathlib.Path
        The raw file.
    output : pathlib.Path or None
        The reconstruction, if there is one now.
    status : str
        "finished", "skipped" (was there already), "incomplete" (some of its slices failed and
        are NaN), "left out" (a part of a file that nobody asked for cannot be reconstructed, while
        others can) or "failed".
    reason : str
        Why it failed, or why the first of its slices did.
    failed_slices : dict
        From the slice to the reason why it failed.
    n_slices, n_resumed : int
        Slices of the reconstruction, and how many of them an earlier run had finished.
    seconds : float
        From opening the scan to its file.
    configuration_hash : str
        Of the settings.
    error : Exception or None
        What was raised.
    part : str
        Which part of the raw file, "" if it has but one.
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
    failed_slices: dict[int, str] = dataclasses.field(default_factory=dict)
    part: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the whole reconstruction is there, or was nobody's wish."""
        return self.status in ("finished", "skipped", "left out")

    def to_dict(self) -> dict[str, Any]:
        """Return what a line of the manifest holds, as JSON can hold it."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del found["error"]
        found["seconds"] = round(self.seconds, 3)
        return found | {
            "source": str(self.source),
            "output": None if self.output is None else str(self.output),
        }


@dataclasses.dataclass
class Siblings:
    """The parts of one file.

    Parameters
    ----------
    n_parts : int
        How many there are.
    n_left_out : int
        How many of them cannot be reconstructed, which nobody asked for.
    told : set of str
        What was said of one of them and holds for the others.
    """

    n_parts: int
    n_left_out: int = 0
    told: set[str] = dataclasses.field(default_factory=set)


class ScanJob:
    """A scan to be reconstructed; nothing is read before `open`.

    Parameters
    ----------
    source : pathlib.Path or RawKSpace
        The scan.
    output : pathlib.Path
        Folder of the reconstruction.
    context : RunContext
        What all scans have in common, and which part of the file this one is.
    siblings : Siblings, optional
        The parts of its file.

    Attributes
    ----------
    raw : RawKSpace
        The opened scan.
    target : pathlib.Path
        The file to be made.
    indices, missing : tuple of int
        Slices of the reconstruction, and those of them that are still to be done.
    compute_settings : ComputeSettings
        How they are to be computed.
    reconstructor : SliceReconstructor
        The road of its slices; there once it is calibrated.
    store : SliceStore
        Where its finished slices are.
    preview : ScanPreview
        What can be seen before the posterior is there.
    scan_hash : str
        See `scan_identity`.
    skipped : bool
        True if the reconstruction was there already.
    failure : Exception or None
        What went wrong first.
    failed_slices : dict
        Errors that cost one slice each, by its index.
    refusal : Exception or None
        Why it cannot be opened, where that is known before.
    is_optional : bool
        True for a part of a file that nobody asked for: it is left out if it cannot be opened.
    """

    raw: RawKSpace
    store: SliceStore
    preview: ScanPreview
    compute_settings: ComputeSettings
    reconstructor: SliceReconstructor
    scan_hash: str

    def __init__(
        self,
        source: Path | RawKSpace,
        output: Path,
        context: RunContext,
        siblings: Siblings | None = None,
    ):
        self.refusal: Exception | None = None
        self.is_optional = False
        self._siblings = siblings or Siblings(1)
        self._is_open = False
        self._source = source
        self.path = Path(source.path if isinstance(source, RawKSpace) else source)
        self.target = output_path(self.path, Path(output), part_name(context.configuration))
        self.context = context
        self.indices: tuple[int, ...] = ()
        self.missing: tuple[int, ...] = ()
        self.skipped = False
        self.failure: Exception | None = None
        self.failed_slices: dict[int, Exception] = {}
        self._self_calibrated = False
        self._settings = settings_identity(context.configuration, context.prior, context.prior_name)
        self._resources = contextlib.ExitStack()
        self._started = time.perf_counter()

    @property
    def name(self) -> str:
        """The file's name, and which part of it this is."""
        return f"{self.path.name} {part_name(self.context.configuration)[1:]}".strip()

    def open(self) -> None:
        """Open the scan, and find out what of it is done already.

        Raises
        ------
        MriAlpsError
            If the scan or the target cannot be used.
        """
        if self.refusal is not None:
            raise self.refusal
        if isinstance(self._source, RawKSpace):
            raw = with_chosen_shots(self._source, self.context.configuration)
        else:
            own = self.context.configuration
            self.context.check(self._source, selection_of(own), trajectory_options(own))
            raw = open_scan(self._source, self.context.configuration)
        check_target(self.path, self.target)
        raw = with_field_of_view(raw, self.context.configuration.field_of_view)
        self.raw, self._is_open = raw, True
        self.indices = chosen_slices(raw, self.context.configuration)
        self.scan_hash = scan_identity(raw)
        self._identity = {
            "configuration_hash": settings_hash(self._settings),
            "scan_hash": self.scan_hash,
        }
        self.store = SliceStore(self.target, settings_hash(self._identity))
        self._resources.enter_context(self.store.locked())
        self.preview = ScanPreview(
            self.target, self._identity, self.context.notify, self.context.show_preview
        )
        self.store.clear_half_written((self.target, self.preview.path))
        found = self._usable_attributes()
        if found is not None and "failed_slices" not in found:
            self.skipped = True
            self.store.remove()
            return
        if self.context.overwrite:
            self.store.remove()
        begun = self.context.compute_settings()
        if found is not None:
            try:
                begun = self._bring_back(found, begun)
            except (InputFileError, KeyError, ValueError, TypeError):
                self.context.notify(
                    f"{self.target.name} is damaged: what cannot be read is made again"
                )
        self.compute_settings = self._agreed(self.store.open(begun, self.context.notify))
        done = self.store.finished(self.context.notify)
        self.missing = tuple(index for index in self.indices if index not in done)
        if done and self.missing:
            self.context.notify(
                f"{self.target.name}: going on after {len(self.indices) - len(self.missing)} of "
                f"{len(self.indices)} slices"
            )

    def _tell(self) -> None:
        """Say what the reader did to the scan, but for what calibration warns of."""
        own = self.context.configuration
        finer = interpolation_attributes(self.raw, own)
        if own.interpolate:
            self.context.notify(
                f"{self.target.name}: {finer['interpolation']}"
                if finer
                else f"{self.path}: nothing is interpolated: the recon matrix is not finer than "
                "what was measured, or its pixels are not known"
            )
        for note in notes_of(self.raw, with_warnings=False):
            is_choice = self._siblings.n_parts > 1 and note.endswith(AS_ASKED)  # its name says it
            if not is_choice and note not in self._siblings.told:
                self._siblings.told.add(note)
                self.context.notify(f"{self.path}: {note}")

    def calibrate(self) -> None:
        """Make the retrospective mask of the scan, and look at its noise."""
        context = self.context
        self.reconstructor = SliceReconstructor.of_scan(
            self.raw, context.configuration, context.prior, context.device
        )

    def self_calibrate(self) -> None:
        """Calibrate the uncertainty on left-out samples, unless an interrupted run did."""
        if not self._self_calibrated:
            self.reconstructor = self_calibrated(self.reconstructor, self.store, self.indices)
            self._self_calibrated = True

    def batch(self, loaded: LoadedSlice) -> int:
        """Return how many samples to draw at a time: what an interrupted run did, or what fits.

        Parameters
        ----------
        loaded : LoadedSlice
            A slice of the scan.
        """
        if self.compute_settings.batch is None:
            batch = self.reconstructor.batch_of(loaded)
            self.compute_settings = dataclasses.replace(self.compute_settings, batch=batch)
            self.store.record(self.compute_settings)
        assert self.compute_settings.batch is not None
        return self.compute_settings.batch

    def keep_batch(self, batch: int | None) -> None:
        """Draw the following slices as the last one, in smaller batches where memory ran out.

        Parameters
        ----------
        batch : int or None
            Of the last slice.
        """
        recorded = self.compute_settings.batch
        if batch is not None and (recorded is None or batch < recorded):
            self.compute_settings = dataclasses.replace(self.compute_settings, batch=batch)
            self.store.record(self.compute_settings)

    def fail(self, error: Exception) -> None:
        """Give up on this scan; the first reason counts.

        Parameters
        ----------
        error : Exception
            The reason.
        """
        if self.failure is None:
            self.failure = error

    def fail_slice(self, index: int, error: Exception) -> None:
        """Give up on one slice, or on the scan where the error is none of a slice.

        Parameters
        ----------
        index : int
            The slice.
        error : Exception
            The reason.
        """
        if costs_one_slice(error):
            self.failed_slices[index] = error
        else:
            self.fail(error)

    def assemble(self) -> None:
        """Put the finished slices into the reconstruction's file, and NaN for those that failed.

        Raises
        ------
        MriAlpsError
            If a slice was lost, or none is finished: then why the first of them failed.
        """
        reasons = self._reasons()
        finished = [index for index in self.indices if index not in reasons]
        if not finished:
            raise self.failed_slices[min(reasons)]
        shown = representative(map(self.store.read, finished))
        with ReconstructionWriter(self.target, self.indices) as writer:
            writer.write_attributes(self._attributes(shown) | failures_as_attributes(reasons))
            for index in self.indices:
                failed = index in reasons
                writer.write_slice(
                    shown.failed(index, reasons[index]) if failed else self.store.read(index)
                )
            reached = writer.reached()
        self.store.remove()
        if reached is not None:
            self.context.notify(f"{self.target.name}: {reached}")
        self._tell()  # not earlier: of a scan that is refused one sentence is said

    def release(self) -> None:
        """Let other processes at the scan; what is finished of it stays."""
        self._resources.close()

    def close(self) -> ScanOutcome:
        """Let go of the scan and return what became of it."""
        error = self.failure
        if error is not None and hasattr(self, "compute_settings"):
            if not self.store.finished(self.context.notify):
                self.store.remove()
            else:
                self.context.notify(
                    f"{self.target.name}: finished slices are kept for the next run"
                )
        if hasattr(self, "preview"):  # the scan was its own, and is done or cannot be
            self.preview.remove()
        self.release()
        status = "failed" if error is not None else "skipped" if self.skipped else "finished"
        if isinstance(error, InputFileError) and self.is_optional and not self._is_open:
            self._siblings.n_left_out += 1
            if self._siblings.n_left_out < self._siblings.n_parts:
                status = "left out"
        reason = "" if error is None else describe_error(error)
        reasons = self._reasons()
        if status == "finished" and reasons:
            status, reason = "incomplete", describe_failures(reasons)
        return ScanOutcome(
            source=self.path,
            output=None if error is not None else self.target,
            status=status,
            reason=reason,
            failed_slices=reasons,
            n_slices=len(self.indices),
            n_resumed=len(self.indices) - len(self.missing) if not self.skipped else 0,
            seconds=time.perf_counter() - self._started,
            configuration_hash=settings_hash(self._settings),
            error=error,
            part=part_name(self.context.configuration)[1:],
        )

    def _reasons(self) -> dict[int, str]:
        return {index: describe_error(error) for index, error in self.failed_slices.items()}

    def _bring_back(self, found: dict[str, Any], begun: ComputeSettings) -> ComputeSettings:
        """Take the good slices of a file with failed ones back into the store.

        Returns
        -------
        ComputeSettings
            How they were computed, as far as this program is still the same.
        """
        recorded = ComputeSettings(**json.loads(found["execution"]))
        if recorded.versions != begun.versions:
            self.context.notify(
                f"{self.target.name} has slices that failed and was made by {recorded.versions}, "
                f"this is {begun.versions}: all of it is made again"
            )
            return begun
        self.context.notify(f"{self.target.name} has slices that failed: they are tried again")
        self.store.open(recorded, self.context.notify)
        for result in read_slices(self.target):
            if not self.store.has(result.index):
                self.store.write(result)
        return recorded

    def _usable_attributes(self) -> dict[str, Any] | None:
        """Attributes of the target if it was made of the same scan with the same settings."""
        if self.context.overwrite or not self.target.exists():
            return None
        found = read_attributes(self.target)
        if found is None:
            self.context.notify(f"{self.target.name} is damaged and made again")
            return None
        if found.get("configuration_hash") != self._identity["configuration_hash"]:
            changes = changed_settings(found.get("settings", {}), self._settings)
            self.context.notify(f"{self.target.name} was made with other settings: {changes}")
            return None
        if found.get("scan_hash") != self._identity["scan_hash"]:
            self.context.notify(f"{self.path} changed since {self.target.name} was made from it")
            return None
        return found

    def _agreed(self, recorded: ComputeSettings) -> ComputeSettings:
        wanted = self.context.compute_settings()
        if recorded.device != wanted.device:
            self.context.notify(
                f"{self.target.name} was begun on {recorded.device} and goes on on "
                f"{wanted.device}: its slices are not computed in the same way"
            )
        if self.context.n_threads not in (None, recorded.n_threads):
            self.context.notify(
                f"{self.target.name} was begun with {recorded.n_threads} threads and goes on with "
                f"{wanted.n_threads}: equal up to rounding"
            )
            return dataclasses.replace(recorded, n_threads=wanted.n_threads)
        return recorded

    def _attributes(self, first: SliceReconstruction) -> dict[str, Any]:
        configuration = self.context.configuration
        return attributes_of(
            self.raw, self.context.prior, configuration, first, self.context.prior_name
        ) | {
            **self._identity,
            "settings": self._settings,
            "execution": dataclasses.asdict(self.compute_settings),
        }
