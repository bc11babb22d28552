"""What a worker does: the noise of a scan, or a few of its slices. No Dask in here.

Everything that a task is given is small. Scans are read from, and slices written to, a file
system that all machines share; what comes back is a receipt.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mri_alps.calibration import VolumeCalibration, calibrate_volume
from mri_alps.errors import ConfigurationError, InputFileError, MriAlpsError, MriAlpsWarning
from mri_alps.rawdata import RawKSpace, read_raw
from mri_alps.reconstruction import ReconstructionConfiguration
from mri_alps.reconstruction.identity import prior_identity, scan_identity
from mri_alps.reconstruction.overlap import overlap
from mri_alps.reconstruction.slice import (
    LoadedSlice,
    draw_samples,
    given_maps,
    load_slice,
    reduce_samples,
)
from mri_alps.reconstruction.slice_store import SliceStore
from mri_alps.reconstruction.threads import use_threads
from mri_alps.reconstruction.undersampling import undersampling_mask
from mri_alps.reconstruction.volume import load_prior_for


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
    n_threads : int
        CPU threads.
    """

    path: str
    target: str
    store_identity: str
    scan_identity: str
    prior_identity: str
    configuration: ReconstructionConfiguration
    n_threads: int


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """Mask and noise of a scan, or why there are none."""

    mask: np.ndarray | None = None
    calibration: VolumeCalibration | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Receipt:
    """Which slices are safe on disk: `computed` now, or `found` from a worker that was lost."""

    computed: tuple[int, ...] = ()
    found: tuple[int, ...] = ()
    busy_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class WorkerFacts:
    """What a worker computes with."""

    device: str
    n_threads: int
    versions: str


def worker_facts(configuration: ReconstructionConfiguration) -> WorkerFacts:
    """Return what this process would compute with.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        Names the device.
    """
    import mri_alps

    return WorkerFacts(
        device=configuration.torch_device().type,
        n_threads=int(os.environ.get("MRI_ALPS_THREADS", torch.get_num_threads())),
        versions=f"mri_alps {mri_alps.__version__} with torch {torch.__version__}",
    )


def calibrate(task: ScanTask) -> Calibrated:
    """Find the mask and the noise of a scan.

    Parameters
    ----------
    task : ScanTask
        The scan.
    """
    with _notes() as notes:
        try:
            use_threads(task.n_threads)
            raw = _open(task)
            mask = undersampling_mask(raw, task.configuration)
            return Calibrated(mask, calibrate_volume(raw, mask), tuple(notes))
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
        return Receipt(error=calibrated.error)
    calibration = calibrated.calibration
    store = SliceStore(Path(task.target), task.store_identity)
    found = tuple(index for index in indices if store.has(index))
    missing = tuple(index for index in indices if index not in found)
    with _notes() as notes:
        try:
            use_threads(task.n_threads)
            raw = _open(task)
            prior, device = _prior(task.configuration, task.prior_identity)

            def load(index: int) -> LoadedSlice:
                maps = given_maps(raw, index, task.configuration)
                return load_slice(raw, index, calibrated.mask, calibration, device, maps)

            occupation = overlap(
                map(load, missing),
                lambda loaded: draw_samples(loaded, prior, task.configuration),
                lambda sampled: store.write(reduce_samples(sampled, task.configuration)),
            )
        except MriAlpsError as error:
            return Receipt(found=found, notes=tuple(notes), error=_sentence(error))
    return Receipt(missing, found, occupation.busy_seconds, tuple(notes))


def _open(task: ScanTask) -> RawKSpace:
    raw, identity = _opened(task.path, os.stat(task.path).st_mtime_ns)
    if identity != task.scan_identity:
        raise InputFileError(
            f"{task.path} is not the same file as where the run was started: all machines must "
            "see the same folder"
        )
    return raw


@functools.lru_cache(maxsize=4)
def _opened(path: str, _changed: int) -> tuple[RawKSpace, str]:
    raw = read_raw(path)
    return raw, scan_identity(raw)


@functools.lru_cache(maxsize=1)
def _prior(configuration: ReconstructionConfiguration, identity: str) -> tuple[Any, torch.device]:
    prior, device = load_prior_for(configuration)
    if prior_identity(prior, configuration.prior) != identity:
        raise ConfigurationError(
            f"the prior {configuration.prior or 'by default'} is not the same as where the run "
            "was started: give --prior a file that all machines see, or install the same version"
        )
    return prior, device


@contextmanager
def _notes() -> Iterator[list[str]]:
    """Collect the package's warnings; the run that sent the task says them."""
    notes: list[str] = []

    def keep(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, MriAlpsWarning) and str(message) not in notes:
            notes.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", MriAlpsWarning)
        warnings.showwarning = keep
        yield notes


def _sentence(error: Exception) -> str:
    return f"{' '.join(str(error).split())} (on {socket.gethostname()})"
