"""Two tasks beside each other on a worker: one prepares while the other samples."""

import dataclasses
import itertools
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from mri_alps.core.errors import MriAlpsWarning
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.pipeline.identity import prior_identity
from mri_alps.pipeline.scan_job import RunContext, ScanJob
from mri_alps.pipeline.slice import SliceReconstructor
from mri_alps.pipeline.volume import load_prior_for, reconstruct_to_file
from tests.pipeline.tiny_scans import assert_same_file, write_tiny
from tests.waiting import LONG

pytest.importorskip("distributed")

from mri_alps.pipeline.cluster import _tasks as tasks

CONFIGURATION = ReconstructionConfiguration(
    prior="gaussian", n_samples=2, n_evaluations=4, mask="equispaced", acceleration=2.0,
    center_fraction=0.4, device="cpu",
)  # fmt: skip
N_SLICES = 4


@pytest.fixture
def job(tmp_path):
    """A scan that is open, and nothing of it done."""
    scan = write_tiny(tmp_path / "in" / "scan.h5", n_slices=N_SLICES)
    prior, device = load_prior_for(CONFIGURATION)
    (tmp_path / "out").mkdir()
    job = ScanJob(scan, tmp_path / "out", RunContext(CONFIGURATION, prior, device, "gaussian", 1))
    job.open()
    yield job
    job.release()


@pytest.fixture
def task(job):
    return tasks.ScanTask(
        str(job.path), str(job.target), job.store.identity, job.scan_hash,
        prior_identity(job.context.prior, "gaussian"), CONFIGURATION, job.compute_settings,
    )  # fmt: skip


def run_side_by_side(task, parts):
    calibrated = tasks.calibrate(task)
    with ThreadPoolExecutor(len(parts)) as pool:
        futures = [pool.submit(tasks.reconstruct_slices, task, p, calibrated) for p in parts]
        return [future.result(timeout=LONG) for future in futures]


def test_the_next_task_is_prepared_while_this_one_samples(task, monkeypatch):
    loaded, real_load, real_draw = [], SliceReconstructor.load, SliceReconstructor.draw
    prepared_meanwhile = threading.Event()

    def load(road, index):
        result = real_load(road, index)
        loaded.append(index)
        if len(loaded) == 2:
            prepared_meanwhile.set()
        return result

    def draw(*arguments, **batch):
        # The first to sample does not end before the other's slice is ready.
        assert prepared_meanwhile.wait(LONG)
        return real_draw(*arguments, **batch)

    monkeypatch.setattr(SliceReconstructor, "load", load)
    monkeypatch.setattr(SliceReconstructor, "draw", draw)
    receipts = run_side_by_side(task, [(0,), (1,)])
    assert [receipt.computed for receipt in receipts] == [(0,), (1,)]


@pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")  # of so small a scan
def test_samples_are_drawn_one_slice_at_a_time_to_the_same_bits(task, job, tmp_path, monkeypatch):
    spans, real_draw = [], SliceReconstructor.draw

    def draw(*arguments, **batch):
        began = time.perf_counter()
        result = real_draw(*arguments, **batch)
        spans.append((began, time.perf_counter()))
        return result

    monkeypatch.setattr(SliceReconstructor, "draw", draw)
    # Three tasks where two have a place: the third waits.
    started = time.perf_counter()
    receipts = run_side_by_side(task, [(0, 3), (1,), (2,)])
    ended = time.perf_counter()
    assert sorted(sum((r.computed for r in receipts), ())) == list(range(N_SLICES))
    spans.sort()
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    measured = sum(receipt.busy_seconds for receipt in receipts)
    # Waiting for one's turn does not count as busy: turns that follow each other take no more
    # than all of the time.
    assert sum(end - began for began, end in spans) <= measured <= ended - started
    job.keep_batch(receipts[0].batch)
    job.assemble()
    alone = reconstruct_to_file(job.path, tmp_path / "alone", CONFIGURATION)
    assert_same_file(job.target, alone)


def test_no_more_tasks_have_a_place_than_a_worker_has_threads(task, monkeypatch):
    inside, most, lock, full = 0, [0], threading.Lock(), threading.Event()
    real = tasks._reconstruct

    def reconstruct(*arguments):
        nonlocal inside
        with lock:
            inside += 1
            most[0] = max(most[0], inside)
            if inside == tasks.THREADS_OF_A_WORKER:
                full.set()
        assert full.wait(LONG)  # all places are taken, before anybody leaves
        result = real(*arguments)
        with lock:
            inside -= 1
        return result

    monkeypatch.setattr(tasks, "_reconstruct", reconstruct)
    run_side_by_side(task, [(0,), (1,), (2,), (3,)])
    assert most[0] == tasks.THREADS_OF_A_WORKER


def test_warnings_reach_all_tasks_and_python_is_left_as_it_was():
    before = warnings.showwarning
    with tasks._notes() as first:
        with tasks._notes() as second:
            warnings.warn("both hear this", MriAlpsWarning, stacklevel=1)
            warnings.warn("nobody hears this", UserWarning, stacklevel=1)
        warnings.warn("one hears this", MriAlpsWarning, stacklevel=1)
    assert first == ["both hear this", "one hears this"] and second == ["both hear this"]
    assert warnings.showwarning is before


def test_all_slices_of_a_scan_are_drawn_in_the_batch_that_was_recorded_first(
    task, job, monkeypatch
):
    seen, real_draw = [], SliceReconstructor.draw

    def draw(*arguments, **batch):
        seen.append(batch["batch"])
        return real_draw(*arguments, **batch)

    monkeypatch.setattr(SliceReconstructor, "draw", draw)
    monkeypatch.setattr(tasks, "choose_batch", lambda *_: 1)
    calibrated = tasks.calibrate(task)
    assert calibrated.batch == 1
    # A run that goes on finds it, however much memory is free by then.
    monkeypatch.setattr(tasks, "choose_batch", lambda *_: 2)
    going_on = job.store.open(job.context.compute_settings(), print)
    assert going_on.batch == 1
    assert tasks.calibrate(dataclasses.replace(task, compute_settings=going_on)).batch == 1
    receipt = tasks.reconstruct_slices(task, (0, 1), calibrated)
    assert seen == [1, 1] and receipt.batch == 1
