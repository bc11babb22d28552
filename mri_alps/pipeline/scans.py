"""Many scans, one after the other, on one device: one that fails does not stop the others."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from mri_alps.pipeline._overlap import Occupation, overlap
from mri_alps.pipeline._threads import use_threads
from mri_alps.pipeline.parts import scan_jobs
from mri_alps.pipeline.scan_job import RunContext, ScanJob, ScanOutcome

if TYPE_CHECKING:
    from mri_alps.pipeline.progress import Progress
    from mri_alps.pipeline.reduction import LoadedSlice, SampledSlice
    from mri_alps.rawdata import RawKSpace

_LOGGER = logging.getLogger(__name__)

Finish = Callable[[ScanJob], object]


class Results(NamedTuple):
    """Outcomes in the order of the inputs, and how busy the device was."""

    outcomes: list[ScanOutcome]
    occupation: Occupation


@dataclasses.dataclass
class _Item:
    """A step of a scan: `begins` and `ends` mark its first and last, others carry a slice.

    `failed` says that the slice could not even be loaded.
    """

    job: ScanJob
    loaded: LoadedSlice | None = None
    sampled: SampledSlice | None = None
    failed: bool = False
    begins: bool = False
    ends: bool = False


def reconstruct_scans(
    sources: Iterable[Path | RawKSpace],
    output: Path,
    context: RunContext,
    progress: Progress | None = None,
    finish: Finish | None = None,
    report: Callable[[ScanOutcome], object] | None = None,
) -> Results:
    """Reconstruct scans into files of a folder.

    While the device draws samples of one slice, the next is read and calibrated and the last one
    written, across scans too. Finished slices are safe on disk, finished files are skipped.

    Parameters
    ----------
    sources : iterable of pathlib.Path or RawKSpace
        The scans.
    output : pathlib.Path
        Folder, which exists.
    context : RunContext
        Configuration, prior, device.
    progress : Progress, optional
        Told of every slice and every step.
    finish : callable, optional
        Called for each scan whose file is there, to draw its picture for example.
    report : callable, optional
        Told of each outcome as it is known.

    Returns
    -------
    Results
        One outcome per input, or per part of it: of what a file has several of, each part is a
        scan of its own.
    """
    run = _Run(context, progress, finish, report)
    steps = run.steps(scan_jobs(sources, output, context))
    try:
        occupation = overlap(steps, run.sample, run.save)
    finally:
        run.abandon()
    return Results(run.outcomes, occupation)


class _Run:
    """The three stages of `reconstruct_scans`; each method runs in a thread of its own."""

    def __init__(
        self,
        context: RunContext,
        progress: Progress | None,
        finish: Finish | None,
        report: Callable[[ScanOutcome], object] | None,
    ):
        self.outcomes: list[ScanOutcome] = []
        self._context, self._progress = context, progress
        self._finish, self._report = finish, report
        self._open: list[ScanJob] = []

    def steps(self, jobs: Iterator[ScanJob]) -> Iterator[_Item]:
        """Read and calibrate, slice by slice."""
        for job in jobs:
            self._open.append(job)
            try:
                job.open()
                yield _Item(job, begins=True)
                if job.missing:
                    use_threads(job.compute_settings.n_threads)
                    job.calibrate()
                # In this thread, so that nothing of the samples is calibrated beside it.
                for index in job.preview.slices(job.indices) if job.missing else ():
                    job.preview.make(job.reconstructor, index, job.context.prior_name)
                    yield _Item(job)  # an interruption need not wait for the next
                for index in job.missing:
                    if job.failure is not None:
                        break
                    try:
                        loaded = job.reconstructor.load(index)
                    except Exception as error:  # noqa: BLE001 - a bad slice stops no other
                        job.fail_slice(index, error)
                        yield _Item(job, failed=True)
                        continue
                    yield _Item(job, loaded)
                    del loaded  # before the next takes its memory
            except Exception as error:  # noqa: BLE001 - one bad scan does not stop the others
                job.fail(error)
            yield _Item(job, ends=True)

    def sample(self, item: _Item) -> _Item:
        """Draw samples."""
        job = item.job
        if item.begins and self._progress and job.missing:
            self._progress.start_scan(job.name, len(job.missing))
        if item.loaded is not None and job.failure is None:
            if torch.get_num_threads() != job.compute_settings.n_threads:
                torch.set_num_threads(job.compute_settings.n_threads)
            try:
                job.self_calibrate()
                item.sampled = job.reconstructor.draw(
                    item.loaded, self._progress, job.batch(item.loaded)
                )
                job.keep_batch(item.sampled.batch)
            except Exception as error:  # noqa: BLE001 - a bad slice stops no other
                job.fail_slice(item.loaded.index, error)
            if self._progress:
                self._progress.finish_slice()
        if item.failed and self._progress:
            self._progress.finish_slice()
        return item

    def save(self, item: _Item) -> None:
        """Write the slice, and at the end of a scan its file."""
        job = item.job
        if item.sampled is not None:  # whatever went wrong since it was drawn
            try:
                job.store.write(job.reconstructor.reduce(item.sampled))
            except Exception as error:  # noqa: BLE001 - a bad slice stops no other
                job.fail_slice(item.sampled.loaded.index, error)
        try:
            if item.ends and job.failure is None:
                if not job.skipped:
                    job.assemble()
                if self._finish:
                    self._finish(job)
        except Exception as error:  # noqa: BLE001 - one bad scan does not stop the others
            job.fail(error)
        if item.ends:
            outcome = job.close()
            self._open.remove(job)
            self.outcomes.append(outcome)
            if self._report:
                self._report(outcome)

    def abandon(self) -> None:
        """Let go of the scans that an interruption left; their slices stay."""
        for job in self._open:
            job.release()
