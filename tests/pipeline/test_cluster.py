"""Two worker processes: the same files as one process, also when a worker is killed."""

import json
import os
import signal
import threading

import h5py
import numpy as np
import pytest

import mri_alps
from mri_alps.core.errors import ConfigurationError, MriAlpsWarning
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.pipeline.identity import prior_identity
from mri_alps.pipeline.manifest import read_manifest
from mri_alps.pipeline.scan_job import RunContext, ScanJob
from mri_alps.pipeline.slice_store import WORK_FOLDER
from mri_alps.pipeline.volume import load_prior_for
from mri_alps.rawdata import kspace_to_cfl, write_cfl
from tests.pipeline.simulated_scan import simulate
from tests.pipeline.tiny_scans import TINY, assert_same_file, write_tiny
from tests.waiting import until

pytest.importorskip("distributed")

from mri_alps.pipeline.cluster import _tasks as tasks
from mri_alps.pipeline.cluster.engine import Engine, reconstruct_on_cluster
from mri_alps.pipeline.cluster.local import connect, worker_environments

# Dask's own clean-up of a killed worker's sockets is not ours to judge.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SETTINGS = dict(
    prior="gaussian", n_samples=2, n_evaluations=4, mask="equispaced", acceleration=2.0,
    center_fraction=0.4, device="cpu", self_calibration="scan",
)  # fmt: skip
CALIBRATED = (*TINY, "--self-calibration", "scan")


def make_context(**options):
    configuration = ReconstructionConfiguration(**SETTINGS)
    prior, device = load_prior_for(configuration)
    return RunContext(configuration, prior, device, "gaussian", n_threads=1, **options)


@pytest.fixture
def scans(tmp_path):
    return [
        write_tiny(tmp_path / "in" / f"scan{i}.h5", n_slices=n, seed=i)
        for i, n in enumerate((5, 4))
    ]


@pytest.fixture
def alone(scans, tmp_path, run):
    """The folder that one process makes."""
    out = tmp_path / "alone"
    chosen = (*CALIBRATED, "--device", "cpu", "--threads", 1)
    assert run("reconstruct", *scans, "-o", out, *chosen).code == 0
    for scan in scans:
        with h5py.File(out / scan.name) as file:
            assert json.loads(file.attrs["self_calibration"])["n_left_out"] > 0
    return out


def hold_after_two_slices(folder, killed):
    """Return what lets a worker sample no more once two slices are on disk, until one is killed."""

    def install():  # a function in a function is sent as it is: workers cannot import tests
        import time
        from pathlib import Path

        from mri_alps.pipeline.slice import SliceReconstructor

        real = SliceReconstructor.draw

        def draw(*arguments, **options):
            while len(list(Path(folder).rglob("slice_*.npz"))) >= 2:
                if Path(killed).exists():
                    break
                time.sleep(0.005)
            return real(*arguments, **options)

        SliceReconstructor.draw = draw

    return install


def kill_one(pids, folder, killed):
    """Kill a worker when two slices are on disk and no more are sampled."""
    until(lambda: len(list(folder.rglob("slice_*.npz"))) >= 2)
    os.kill(pids[0], signal.SIGKILL)
    killed.touch()


def test_a_worker_is_killed_in_the_middle(scans, alone, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    context, reported = make_context(), []
    places = (out / WORK_FOLDER, tmp_path / "killed")
    with connect(2, None, "cpu", 1) as client:
        client.wait_for_workers(2)
        client.run(tasks.worker_environment, context.configuration)  # both have imported everything
        pids = list(client.run(os.getpid).values())
        client.run(hold_after_two_slices(*map(str, places)))
        killer = threading.Thread(target=kill_one, args=(pids, *places))
        killer.start()
        engine = Engine(client, out, context, report=reported.append)
        results = engine.run(scans)
        killer.join()
    assert [outcome.status for outcome in reported] == ["finished", "finished"]
    assert results.outcomes == reported
    # Factors included. Nothing is lost and nothing is in there twice; a slice that was safe on
    # disk when its worker died is found, not computed again.
    for scan in scans:
        assert_same_file(out / scan.name, alone / scan.name)
    assert max(engine.computed.values()) == 1
    assert {path.name for path in out.iterdir()} == {scan.name for scan in scans}


@pytest.mark.slow
def test_the_command_line_with_workers(scans, alone, tmp_path, run):
    out = tmp_path / "out"
    bad = scans[0].parent / "bad.h5"
    write_tiny(bad, n_slices=2)
    with h5py.File(bad, "a") as file:
        file["kspace"][1, 0, 3, 16] = np.nan
    finished = run(
        "reconstruct", scans[0].parent, "-o", out, *CALIBRATED, "--device", "cpu", "--workers", 2,
        "--threads", 1,
    )  # fmt: skip
    assert finished.code != 0
    assert "dashboard" in finished.err and "NaN or Inf" in finished.err
    assert "INFO" not in finished.err and "Traceback" not in finished.err
    for scan in scans:
        assert_same_file(out / scan.name, alone / scan.name)
        assert (out / scan.name).with_suffix(".png").exists()
    statuses = {name[-8:]: entry["status"] for name, entry in read_manifest(
        out / "manifest.jsonl"
    ).items()}  # fmt: skip
    assert statuses == {"n/bad.h5": "incomplete", "scan0.h5": "finished", "scan1.h5": "finished"}
    result = mri_alps.load_reconstruction(out / "bad.h5")
    assert list(result.failed_slices) == [1] and np.isfinite(result.reconstruction[0]).all()
    assert "(on " not in result.failed_slices[1]  # the file is the same whoever made it
    assert not (out / WORK_FOLDER).exists()


def test_tasks_can_be_repeated_and_check_what_they_find(scans, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    context = make_context()
    job = ScanJob(scans[0], out, context)
    job.open()
    task = tasks.ScanTask(
        str(scans[0]), str(job.target), job.store.identity, job.scan_hash,
        prior_identity(context.prior), context.configuration, job.compute_settings,
    )  # fmt: skip
    calibrated = tasks.calibrate(task)
    first = tasks.reconstruct_slices(task, (0, 1), calibrated)
    assert (first.computed, first.found, first.error) == ((0, 1), (), None)
    second = tasks.reconstruct_slices(task, (1, 2), calibrated)
    assert (second.computed, second.found) == ((2,), (1,))
    job.release()
    import dataclasses

    other = tasks.calibrate(dataclasses.replace(task, scan_identity="another"))
    assert "not the same file" in other.error
    assert tasks.reconstruct_slices(task, (3,), other).error == other.error
    wrong = dataclasses.replace(task, prior_identity="another")
    assert "the prior" in tasks.reconstruct_slices(wrong, (3,), calibrated).error


def make_task(path, out, **settings):
    """A scan that is open, and what a worker is told of it."""
    configuration = ReconstructionConfiguration(
        prior="gaussian", n_samples=2, n_evaluations=2, device="cpu", **settings
    )
    prior, device = load_prior_for(configuration)
    out.mkdir()
    job = ScanJob(path, out, RunContext(configuration, prior, device, "gaussian", n_threads=1))
    job.open()
    return job, tasks.ScanTask(
        str(job.path.resolve()), str(job.target), job.store.identity, job.scan_hash,
        prior_identity(prior, "gaussian"), configuration, job.compute_settings,
    )  # fmt: skip


def test_a_worker_opens_a_bart_pair_by_its_bare_name(tmp_path):
    kspace, _ = simulate(2, 0, (40, 32))
    base = tmp_path / "scan.v2"  # a dot is no suffix
    write_cfl(base, kspace_to_cfl(kspace.astype(np.complex64)))
    identities = set()
    for number, name in enumerate((base, base.with_name("scan.v2.cfl"))):
        job, task = make_task(name, tmp_path / f"out{number}", field_of_view=(160.0, 128.0))
        receipt = tasks.reconstruct_slices(task, (0,), tasks.calibrate(task))
        assert receipt.error is None and receipt.computed == (0,)
        identities.add(job.scan_hash)
        job.release()
    assert len(identities) == 1 and "unknown" not in identities.pop()


def test_a_worker_opens_shots_as_the_settings_say(tmp_path):
    pytest.importorskip("finufft")
    from tests.rawdata import trajectory_scans

    places = trajectory_scans.radial(40)
    samples = trajectory_scans.samples_at(places)
    ksp, traj = trajectory_scans.write_bart(tmp_path, samples, places)
    settings = dict(
        trajectory=str(traj), shots="30", correct_delays=True, acceleration=4,
        noise_std=(trajectory_scans.NOISE_STD,),
    )  # fmt: skip
    job, task = make_task(ksp, tmp_path / "out", **settings)
    calibrated = tasks.calibrate(task)
    assert calibrated.error is None
    with pytest.warns(MriAlpsWarning, match="--acceleration changes nothing"):
        job.calibrate()
    alone = job.reconstructor.calibration
    assert calibrated.calibration.delays_corrected and calibrated.calibration.delays == alone.delays
    receipt = tasks.reconstruct_slices(task, (0,), calibrated)
    assert (receipt.error, receipt.computed) == (None, (0,))
    assert any("--acceleration changes nothing" in note for note in receipt.notes)
    job.release()


def test_environments_share_the_machine_out(monkeypatch):
    monkeypatch.setattr("mri_alps.pipeline.cluster.local._cores", lambda: [0, 1, 2, 3, 4])
    monkeypatch.setattr("mri_alps.pipeline.cluster.local._visible_gpus", lambda: ["3", "5"])
    cpu = worker_environments(2, "cpu", None)
    assert [e["MRI_ALPS_CORES"] for e in cpu] == ["0,1", "2,3"]
    assert {e["OMP_NUM_THREADS"] for e in cpu} == {"2"}
    assert "CUDA_VISIBLE_DEVICES" not in cpu[0]
    assert {e["MRI_ALPS_SHARING"] for e in cpu} == {"2"}
    gpu = worker_environments(3, "auto", 1)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in gpu] == ["3", "5", "3"]
    assert {e["MRI_ALPS_SHARING"] for e in gpu} == {"2"}
    assert "MRI_ALPS_CORES" not in worker_environments(3, "cpu", 4)[0]
    with pytest.raises(ConfigurationError, match="a GPU of its own"):
        worker_environments(2, "cuda:1", None)


def test_what_makes_no_sense_is_said(scans, tmp_path):
    with pytest.raises(ConfigurationError, match="either"), connect(2, "tcp://x", "cpu", 1):
        pass
    unknown = RunContext(ReconstructionConfiguration(**SETTINGS), object(), None)
    with pytest.raises(ConfigurationError, match="by its name"):
        reconstruct_on_cluster(scans, tmp_path, unknown, workers=1)
