"""Hands slices to workers and puts what comes back together, scan by scan."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError, MriAlpsError, describe_error
from mri_alps.pipeline._overlap import Occupation
from mri_alps.pipeline.cluster import _tasks as tasks
from mri_alps.pipeline.cluster.local import connect
from mri_alps.pipeline.identity import prior_identity
from mri_alps.pipeline.parts import scan_jobs
from mri_alps.pipeline.scans import Finish, Results

if TYPE_CHECKING:
    from distributed import Client, Future

    from mri_alps.pipeline.progress import Progress
    from mri_alps.pipeline.scan_job import RunContext, ScanJob, ScanOutcome

RETRIES = 3
"""A slice whose worker raised something unforeseen is tried so often again."""
_TASKS_PER_WORKER = 4  # two in progress, two to go on with
_SLICES_ON_GPU = 4


def reconstruct_on_cluster(
    sources: Sequence[Path],
    output: Path,
    context: RunContext,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    finish: Finish | None = None,
    report: Callable[[ScanOutcome], object] | None = None,
) -> Results:
    """Reconstruct scans with a local cluster or one that runs already.

    Every file is the same as from `reconstruct_scans` on one process with the same device and
    number of threads. Raw files and output folder must be seen by all machines under the same
    path.

    Parameters
    ----------
    sources, output, context, progress, finish, report
        As `reconstruct_scans` has them; the prior must be one that can be loaded by name.
    workers : int, optional
        Start so many processes on this machine.
    scheduler : str, optional
        Or join the cluster at this address.

    Returns
    -------
    Results
        Outcomes in the order in which the scans were finished; the occupation is that of all
        workers together, relative to their number.

    Raises
    ------
    ConfigurationError
        If neither or both are given, no scheduler answers, or the workers differ.
    """
    configuration = context.configuration
    if prior_identity(context.prior, context.prior_name).startswith("unknown"):
        raise ConfigurationError(
            "workers load the prior by its name or file, and this one has neither: give a name"
        )
    with connect(workers, scheduler, configuration.device, context.n_threads) as client:
        context.notify(f"Dask's dashboard is at {client.dashboard_link}")
        client.wait_for_workers(1)
        context = _like_the_workers(client, context)
        engine = Engine(client, output, context, progress, finish, report)
        return engine.run(sources)


def _like_the_workers(client: Client, context: RunContext) -> RunContext:
    environments = set(client.run(tasks.worker_environment, context.configuration).values())
    for what in ("device", "versions"):
        found = sorted({getattr(environment, what) for environment in environments})
        if len(found) > 1:
            raise ConfigurationError(
                f"the workers differ in their {what} ({', '.join(found)}): results would depend "
                "on who computes what, use workers of one kind"
            )
    threads = context.n_threads or min(environment.n_threads for environment in environments)
    device = torch.device(next(iter(environments)).device)
    return dataclasses.replace(context, n_threads=threads, device=device)


@dataclasses.dataclass
class _Scan:
    """A scan whose slices are out."""

    job: ScanJob
    # Slices of each task; none of that which makes the preview.
    waiting: dict[Future, tuple[int, ...]] = dataclasses.field(default_factory=dict)


class Engine:
    """Keeps a few tasks per worker in flight and assembles each scan when its slices are there.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
    output, context, progress, finish, report
        As `reconstruct_scans` has them.

    Attributes
    ----------
    computed : collections.Counter
        How often each (file name, slice) was computed and reported: once.
    """

    def __init__(
        self,
        client: Client,
        output: Path,
        context: RunContext,
        progress: Progress | None = None,
        finish: Finish | None = None,
        report: Callable[[ScanOutcome], object] | None = None,
    ):
        self.computed: Counter[tuple[str, int]] = Counter()
        self._client, self._output, self._context = client, output, context
        self._progress, self._finish, self._report = progress, finish, report
        self._scans: list[_Scan] = []
        self._outcomes: list[ScanOutcome] = []
        self._said: set[str] = set()
        self._n_slices = self._n_done = 0
        self._busy = 0.0

    def run(self, sources: Sequence[Path]) -> Results:
        """Reconstruct the scans.

        Parameters
        ----------
        sources : sequence of pathlib.Path
            Raw files.
        """
        from distributed import wait

        started = time.perf_counter()
        n_workers = 1
        jobs = scan_jobs(sources, self._output, self._context)
        try:
            while True:
                n_workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))
                more = self._fill(jobs, n_workers)
                futures = [future for scan in self._scans for future in scan.waiting]
                if not futures and not more:
                    break
                if futures:
                    wait(futures, return_when="FIRST_COMPLETED")
                self._collect()
                self._show(max(len(sources), len(self._outcomes) + len(self._scans)))
        finally:
            for scan in self._scans:  # left only by an interruption
                self._client.cancel(list(scan.waiting))
                scan.job.release()
        total = time.perf_counter() - started
        return Results(self._outcomes, Occupation(self._busy / n_workers, total))

    def _fill(self, jobs: Iterator[ScanJob], n_workers: int) -> bool:
        """Send out scans until every worker has something to go on with; False at the end."""
        while sum(len(scan.waiting) for scan in self._scans) < _TASKS_PER_WORKER * n_workers:
            job = next(jobs, None)
            if job is None:
                return False
            try:
                job.open()
            except Exception as error:  # noqa: BLE001 - one bad scan does not stop the others
                job.fail(error)
            if job.failure is not None or not job.missing:
                self._close(job)
                continue
            scan = _Scan(job)
            self._scans.append(scan)
            self._submit(scan, n_workers)
        return True

    def _submit(self, scan: _Scan, n_workers: int) -> None:
        job = scan.job
        task = self._task(job)
        # The noise of a scan is looked at once, by one worker, and handed to the others.
        calibrated = self._client.submit(tasks.calibrate, task, pure=False, retries=RETRIES)
        if self._context.show_preview is not None:
            shown = self._client.submit(
                tasks.preview_scan,
                task,
                job.indices,
                job.preview.identity,
                calibrated,
                pure=False,
                priority=1,
            )
            scan.waiting[shown] = ()
        size = _SLICES_ON_GPU if self._context.device.type == "cuda" else 1
        size = max(1, min(size, len(job.missing) // n_workers))
        for start in range(0, len(job.missing), size):
            indices = job.missing[start : start + size]
            future = self._client.submit(
                tasks.reconstruct_slices, task, indices, calibrated, pure=False, retries=RETRIES
            )
            scan.waiting[future] = indices
        self._n_slices += len(job.missing)

    def _task(self, job: ScanJob) -> tasks.ScanTask:
        return tasks.ScanTask(
            path=str(job.path.resolve()),
            target=str(job.target.resolve()),
            store_identity=job.store.identity,
            scan_identity=job.scan_hash,
            prior_identity=prior_identity(self._context.prior, self._context.configuration.prior),
            configuration=job.context.configuration,
            compute_settings=job.compute_settings,
        )

    def _collect(self) -> None:
        for scan in list(self._scans):
            for future in [future for future in scan.waiting if future.done()]:
                self._take(scan, future)
            if scan.job.failure is not None:
                # A preview that is being made is waited for, or it would outlive its scan.
                self._client.cancel([future for future, indices in scan.waiting.items() if indices])
                scan.waiting = {f: indices for f, indices in scan.waiting.items() if not indices}
            if not scan.waiting:
                self._scans.remove(scan)
                self._close(scan.job)

    def _take(self, scan: _Scan, future: Future) -> None:
        indices = scan.waiting.pop(future)
        if not indices:
            self._show_preview(scan.job, future)
            return
        try:
            receipt: tasks.Receipt = future.result()
        except Exception as error:  # noqa: BLE001 - one bad scan does not stop the others
            scan.job.fail(error)
            return
        for note in receipt.notes:
            if note not in self._said:
                self._said.add(note)
                self._context.notify(f"warning: {note}")
        self.computed.update((scan.job.path.name, index) for index in receipt.computed)
        scan.job.keep_batch(receipt.batch)
        self._busy += receipt.busy_seconds
        self._n_done += len(indices)
        for index, reason in receipt.failed:
            scan.job.fail_slice(index, MriAlpsError(reason))
        if receipt.error is not None:
            scan.job.fail(MriAlpsError(receipt.error))

    def _show_preview(self, job: ScanJob, future: Future) -> None:
        try:
            for note in future.result().notes:
                self._context.notify(note)
            job.preview.show()
        except Exception as error:  # noqa: BLE001 - the posterior does not depend on it
            self._context.notify(f"{job.name}: no preview is made: {describe_error(error)}")

    def _close(self, job: ScanJob) -> None:
        try:
            if job.failure is None:
                if not job.skipped:
                    job.assemble()
                if self._finish:
                    self._finish(job)
        except Exception as error:  # noqa: BLE001 - one bad scan does not stop the others
            job.fail(error)
        outcome = job.close()
        self._outcomes.append(outcome)
        if self._report:
            self._report(outcome)

    def _show(self, n_scans: int) -> None:
        if self._progress:
            name = f"scan {len(self._outcomes)} of {n_scans}, slices"
            self._progress.overall(name, self._n_done, self._n_slices)
