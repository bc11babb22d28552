"""What a worker does: the noise of a scan, or a few of its slices. No Dask in here.

Everything that a task is given is small. Scans are read from, and slices written to, a file
system that all machines share; what comes back is a receipt.

A worker has `THREADS_OF_A_WORKER` threads. While one draws samples, the other writes its last slice
and prepares its next, of whichever task and scan, and waits for its turn on the device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import (
    ConfigurationError,
    InputFileError,
    MriAlpsError,
    MriAlpsWarning,
    describe_error,
)
from mri_alps.pipeline._overlap import overlap
from mri_alps.pipeline._threads import use_threads
from mri_alps.pipeline.batches import choose_batch
from mri_alps.pipeline.identity import files_of, prior_identity, scan_identity
from mri_alps.pipeline.preview import ScanPreview
from mri_alps.pipeline.selection import chosen_slices, open_scan
from mri_alps.pipeline.self_calibration import self_calibrated
from mri_alps.pipeline.slice import SliceReconstructor, costs_one_slice
from mri_alps.pipeline.slice_store import ComputeSettings, SliceStore
from mri_alps.pipeline.volume import load_prior_for
from mri_alps.priors import DEFAULT_PRIOR
from mri_alps.rawdata import RawKSpace, with_field_of_view

if TYPE_CHECKING:
    import numpy as np

    from mri_alps.calibration import VolumeCalibration
    from mri_alps.pipeline import ReconstructionConfiguration
    from mri_alps.pipeline.reduction import LoadedSlice, SampledSlice
    from mri_alps.priors import ScoreModel
    from mri_alps.uncertainty import UncertaintyFactors

THREADS_OF_A_WORKER = 2
_PLACES = threading.BoundedSemaphore(THREADS_OF_A_WORKER)  # workers of others may have many threads
_READING = threading.Lock()
_SAMPLING = threading.Lock()


@dataclasses.dataclass(frozen=True)
class ScanTask:
    """What a worker has to know about a scan.

    Parameters
    ----------
    path : str
        The raw file, absolute.
    target : str
        The reconstruction's file, absolute: its slices are kept beside it.
    store_identity : str
        Which slices these are, see `SliceStore`.
    scan_identity, prior_identity : str
        What the worker must find under the same names.
    configuration : ReconstructionConfiguration
        The settings.
    compute_settings : ComputeSettings
        How the slices are computed; its batch is None where nobody chose one yet.
    """

    path: str
    target: str
    store_identity: str
    scan_identity: str
    prior_identity: str
    configuration: ReconstructionConfiguration
    compute_settings: ComputeSettings


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """Mask, noise, factors of uncertainty and samples drawn at a time, or why there are none."""

    mask: np.ndarray | None = None
    calibration: VolumeCalibration | None = None
    factors: UncertaintyFactors | None = None
    batch: int | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Receipt:
    """Which slices are safe on disk: `computed` now, or `found` from a worker that was lost.

    `batch` is how many samples were drawn at a time, `failed` are errors that cost one slice.
    """

    computed: tuple[int, ...] = ()
    found: tuple[int, ...] = ()
    busy_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None
    batch: int | None = None
    failed: tuple[tuple[int, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class WorkerEnvironment:
    """What a worker computes with."""

    device: str
    n_threads: int
    versions: str


def worker_environment(configuration: ReconstructionConfiguration) -> WorkerEnvironment:
    """Return what this process would compute with.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        Names the device.
    """
    import mri_alps

    return WorkerEnvironment(
        device=configuration.torch_device().type,
        n_threads=int(os.environ.get("MRI_ALPS_THREADS", torch.get_num_threads())),
        versions=f"mri_alps {mri_alps.__version__} with torch {torch.__version__}",
    )


def calibrate(task: ScanTask) -> Calibrated:
    """Find the mask and the noise of a scan, and how many samples fit the memory.

    What fits is recorded beside the slices, for the run that goes on if this one is killed.

    Parameters
    ----------
    task : ScanTask
        The scan.
    """
    with _notes() as notes:
        try:
            with _READING:
                use_threads(task.compute_settings.n_threads)
                raw = _open(task)
                prior, device = _prior(task.configuration, task.prior_identity)
                found = SliceReconstructor.of_scan(raw, task.configuration, prior, device)
            factors, batch = _factors(task, found), _batch(task, raw)
            return Calibrated(found.mask, found.calibration, factors, batch, tuple(notes))
        except MriAlpsError as error:
            return Calibrated(notes=tuple(notes), error=_sentence(error))


def reconstruct_slices(task: ScanTask, indices: tuple[int, ...], calibrated: Calibrated) -> Receipt:
    """Reconstruct a few slices, reading ahead and writing behind; safe to be repeated.

    Parameters
    ----------
    task : ScanTask
        The scan.
    indices : tuple of int
        Slices.
    calibrated : Calibrated
        From `calibrate`.

    Returns
    -------
    Receipt
        With the reason, as a sentence, where the scan cannot be reconstructed; what another
        attempt or another machine may cure is raised instead.
    """
    if calibrated.error is not None or calibrated.calibration is None:
        return Receipt(notes=calibrated.notes, error=calibrated.error)
    with _PLACES:
        receipt = _reconstruct(task, indices, calibrated, calibrated.calibration)
    # What calibration warned of comes back with the slices; the run says each sentence once.
    notes = tuple(dict.fromkeys((*calibrated.notes, *receipt.notes)))
    return dataclasses.replace(receipt, notes=notes)


def _reconstruct(
    task: ScanTask,
    indices: tuple[int, ...],
    calibrated: Calibrated,
    calibration: VolumeCalibration,
) -> Receipt:
    store = SliceStore(Path(task.target), task.store_identity)
    found = tuple(index for index in indices if store.has(index))
    missing = tuple(index for index in indices if index not in found)
    busy: list[float] = []
    failed: dict[int, str] = {}
    batch = calibrated.batch

    def attempt(step: Callable[[Any], Any], index: int, given: object) -> tuple[int, Any]:
        """Take a step with a slice, unless an earlier one failed: an error costs that slice."""
        if index in failed:
            return index, None
        try:
            return index, step(given)
        except Exception as error:
            if not costs_one_slice(error):
                raise
            failed[index] = describe_error(error)
            return index, None

    with _notes() as notes:
        try:
            with _READING:
                raw = _open(task)
                prior, device = _prior(task.configuration, task.prior_identity)
            reconstructor = SliceReconstructor(
                raw,
                task.configuration,
                prior,
                device,
                calibrated.mask,
                calibration,
                calibrated.factors,
            )

            def load(index: int) -> LoadedSlice:
                with _READING:
                    use_threads(task.compute_settings.n_threads)
                    return reconstructor.load(index)

            def sample(loaded: LoadedSlice) -> SampledSlice:
                nonlocal batch
                with _SAMPLING:
                    started = time.perf_counter()
                    use_threads(task.compute_settings.n_threads)
                    sampled = reconstructor.draw(loaded, batch=batch)
                    batch = sampled.batch  # smaller if memory ran out
                    busy.append(time.perf_counter() - started)
                return sampled

            def save(sampled: SampledSlice) -> None:
                store.write(reconstructor.reduce(sampled))

            overlap(
                (attempt(load, index, index) for index in missing),
                lambda item: attempt(sample, *item),
                lambda item: attempt(save, *item),
                ahead=1,
            )
        except MriAlpsError as error:
            return Receipt(found=found, notes=tuple(notes), error=_sentence(error))
    computed = tuple(index for index in missing if index not in failed)
    return Receipt(
        computed, found, sum(busy), tuple(notes), batch=batch, failed=tuple(failed.items())
    )


def preview_scan(
    task: ScanTask, indices: tuple[int, ...], identity: dict[str, str], calibrated: Calibrated
) -> Receipt:
    """Write the preview of a scan, beside its reconstruction-to-be.

    Parameters
    ----------
    task : ScanTask
        The scan.
    indices : tuple of int
        All slices of the reconstruction.
    identity : dict
        As `ScanPreview` takes it.
    calibrated : Calibrated
        From `calibrate`.

    Returns
    -------
    Receipt
        Its notes say why there is none, where there is none.
    """
    if calibrated.error is not None or calibrated.calibration is None:
        return Receipt()  # told by the slices
    said: list[str] = []
    preview = ScanPreview(Path(task.target), identity, said.append, lambda _: None)
    with _PLACES, _notes():  # warnings are told by the slices, too
        with _READING:
            raw = _open(task)
            prior, device = _prior(task.configuration, task.prior_identity)
            reconstructor = SliceReconstructor(
                raw, task.configuration, prior, device, calibrated.mask, calibrated.calibration
            )
        for index in preview.slices(indices):
            with _SAMPLING:
                use_threads(task.compute_settings.n_threads)
                preview.make(reconstructor, index, task.configuration.prior or DEFAULT_PRIOR)
    return Receipt(notes=tuple(said))


def _factors(task: ScanTask, reconstructor: SliceReconstructor) -> UncertaintyFactors | None:
    """Calibrate the uncertainty of the scan, once for all workers."""
    store = SliceStore(Path(task.target), task.store_identity)
    with _SAMPLING:
        use_threads(task.compute_settings.n_threads)
        indices = chosen_slices(reconstructor.raw, task.configuration)
        return self_calibrated(reconstructor, store, indices).factors


def _batch(task: ScanTask, raw: RawKSpace) -> int:
    """Return how many samples to draw at a time: the same for all slices of a scan."""
    if task.compute_settings.batch is not None:
        return task.compute_settings.batch
    prior, device = _prior(task.configuration, task.prior_identity)
    with _SAMPLING:
        count = task.configuration.n_samples
        sharing = int(os.environ.get("MRI_ALPS_SHARING", 1))
        batch = choose_batch(prior, raw.shape, raw.n_coils, count, device, sharing)
    store = SliceStore(Path(task.target), task.store_identity)
    store.record(dataclasses.replace(task.compute_settings, batch=batch))
    return batch


def _open(task: ScanTask) -> RawKSpace:
    changed = tuple(file.stat().st_mtime_ns for file in files_of(task.path))
    raw, identity = _opened(task.path, task.configuration, changed)
    if identity != task.scan_identity:
        raise InputFileError(
            f"{task.path} is not the same file as where the run was started: all machines must "
            "see the same folder"
        )
    return raw


@functools.lru_cache(maxsize=4)
def _opened(
    path: str, configuration: ReconstructionConfiguration, _changed: tuple[int, ...]
) -> tuple[RawKSpace, str]:
    """Open a scan as `ScanJob.open` does: trajectory, shots and size are the settings' to say."""
    raw = with_field_of_view(open_scan(path, configuration), configuration.field_of_view)
    return raw, scan_identity(raw)


@functools.lru_cache(maxsize=1)
def _prior(
    configuration: ReconstructionConfiguration, identity: str
) -> tuple[ScoreModel, torch.device]:
    prior, device = load_prior_for(configuration)
    if prior_identity(prior, configuration.prior) != identity:
        raise ConfigurationError(
            f"the prior {configuration.prior or 'by default'} is not the same as where the run "
            "was started: give --prior a file that all machines see, or install the same version"
        )
    return prior, device


class _Listeners:
    """Tells all tasks of this process of the package's warnings, whichever of them warned.

    What Python offers replaces the one way in which a process warns, so that two tasks beside
    each other would undo each other's. The run that sent the tasks says each warning once.
    """

    def __init__(self) -> None:
        self._lists: list[list[str]] = []
        self._lock = threading.Lock()
        self._installed = contextlib.ExitStack()

    @contextlib.contextmanager
    def listen(self) -> Iterator[list[str]]:
        """Collect warnings as long as the task lasts."""
        notes: list[str] = []
        with self._lock:
            if not self._lists:
                self._installed.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", MriAlpsWarning)
                warnings.showwarning = self._keep
            self._lists.append(notes)
        try:
            yield notes
        finally:
            with self._lock:
                self._lists[:] = [each for each in self._lists if each is not notes]
                if not self._lists:
                    self._installed.close()

    def _keep(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, MriAlpsWarning):
            for notes in list(self._lists):
                if str(message) not in notes:
                    notes.append(str(message))


_notes = _Listeners().listen


def _sentence(error: Exception) -> str:
    return f"{' '.join(str(error).split())} (on {socket.gethostname()})"
