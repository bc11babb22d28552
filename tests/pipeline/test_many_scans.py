"""Folders, patterns, parts of them; skipping, contained failures, the manifest."""

import contextlib
import json
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mri_alps.cli.run_settings import RunSettings
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.pipeline import ReconstructionConfiguration, load_reconstruction
from mri_alps.pipeline._overlap import AHEAD, overlap
from mri_alps.pipeline.identity import prior_identity, scan_identity
from mri_alps.pipeline.inputs import choose_part, find_scans
from mri_alps.pipeline.manifest import Manifest, read_manifest
from mri_alps.pipeline.reduction import SampledSlice
from mri_alps.pipeline.scan_job import RunContext, ScanJob, ScanOutcome
from mri_alps.pipeline.slice_store import WORK_FOLDER, SliceStore
from mri_alps.pipeline.volume import load_prior_for
from mri_alps.rawdata import read_raw
from tests.pipeline.tiny_scans import TINY, assert_same_file, write_tiny
from tests.waiting import LONG


@pytest.fixture
def folder(tmp_path):
    """Two scans that differ in size and number of slices, and a file that is none."""
    write_tiny(tmp_path / "in" / "a.h5", n_slices=2)
    write_tiny(tmp_path / "in" / "b.h5", n_slices=1, seed=1, shape=(44, 36), acquisition="AXT2")
    (tmp_path / "in" / "notes.txt").write_text("not a scan")
    return tmp_path / "in"


def test_a_folder_and_again(folder, tmp_path, run):
    out = tmp_path / "out"
    first = run("--verbose", "reconstruct", folder, "-o", out, *TINY)
    assert first.code == 0, first.err
    assert {p.name for p in out.iterdir()} == {"a.h5", "a.png", "b.h5", "b.png", "manifest.jsonl"}
    assert "cpu was busy" in first.err
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.h5")}
    again = run("reconstruct", folder, "-o", out, *TINY)
    assert again.code == 0
    assert "2 of 2 were finished before" in again.err
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.h5")} == before
    entries = read_manifest(out / "manifest.jsonl")
    assert [entry["status"] for entry in entries.values()] == ["skipped", "skipped"]
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["finished"] * 2 + ["skipped"] * 2
    assert lines[0]["n_slices"] == 2 and lines[0]["source"] == str(folder / "a.h5")


def test_other_settings_make_it_again_and_say_which(folder, tmp_path, run):
    scan, out = folder / "b.h5", tmp_path / "out"
    run("reconstruct", scan, "-o", out, *TINY)
    changed = run("reconstruct", scan, "-o", out, *TINY, "--seed", "3")
    assert "was made with other settings: seed None -> 3" in changed.err
    assert "busy" not in changed.err  # that is for --verbose
    assert load_reconstruction(out / "b.h5").attributes["seed"] == 3
    same = run("reconstruct", scan, "-o", out, *TINY, "--seed", "3", "--device", "cpu")
    assert "other settings" not in same.err and "finished before" in same.err
    write_tiny(scan, n_slices=1, seed=5)
    assert "changed since" in run("reconstruct", scan, "-o", out, *TINY, "--seed", "3").err


def test_failures_are_contained_and_listed(folder, tmp_path, run):
    bad = folder / "a.h5"
    with h5py.File(bad, "a") as file:
        file["kspace"][:, 0, 3, 16] = np.nan
    out = tmp_path / "out"
    finished = run("reconstruct", folder, "-o", out, *TINY)
    assert finished.code != 0
    assert "Not reconstructed" in finished.err and "NaN or Inf" in finished.err
    assert "1 of 2 inputs failed" in finished.err
    assert {p.name for p in out.iterdir()} == {"b.h5", "b.png", "manifest.jsonl"}
    entries = read_manifest(out / "manifest.jsonl")
    assert entries[str(bad)]["status"] == "failed" and "NaN" in entries[str(bad)]["reason"]
    assert entries[str(folder / "b.h5")]["status"] == "finished"


def test_only_one_process_works_on_a_scan(tmp_path):
    first, second = (SliceStore(tmp_path / "scan.h5", "0") for _ in range(2))
    with (
        first.locked(),
        pytest.raises(ConfigurationError, match="made by another process"),
        second.locked(),
    ):
        pass
    with second.locked():
        assert (tmp_path / WORK_FOLDER / "scan.h5.lock").is_file()
    assert not list(tmp_path.iterdir())


def test_a_scan_that_begins_as_another_ends_keeps_its_lock(tmp_path):
    """Whoever ends removes the folder of the locks if it is empty, at any moment."""
    ended = threading.Event()
    folder = tmp_path / WORK_FOLDER

    def keep_ending():
        while not ended.is_set():
            with contextlib.suppress(OSError):
                folder.rmdir()

    other = threading.Thread(target=keep_ending)
    other.start()
    try:
        for index in range(300):
            store = SliceStore(tmp_path / f"{index}.h5", "0")
            with store.locked():
                assert (folder / f"{index}.h5.lock").is_file()
    finally:
        ended.set()
        other.join()


def test_shards_are_everything_once(folder, tmp_path, run):
    out = tmp_path / "out"
    run("reconstruct", folder, "-o", out, *TINY, "--shard", "1/2")
    assert {p.name for p in out.glob("*.h5")} == {"a.h5"}
    run("reconstruct", str(folder / "*.h5"), "-o", out, *TINY, "--shard", "2/2")
    assert {p.name for p in out.glob("*.h5")} == {"a.h5", "b.h5"}
    assert {p.name for p in out.glob("*.jsonl")} == {f"manifest-{i}-of-2.jsonl" for i in (1, 2)}


def test_damaged_slices_are_found_and_done_again(folder, tmp_path, run, monkeypatch):
    scan = folder / "a.h5"
    run("reconstruct", scan, "-o", tmp_path / "whole", *TINY)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:

        def stop(self):
            raise OSError("as if killed before the end")

        patch.setattr(ScanJob, "assemble", stop)
        run("reconstruct", scan, "-o", out, *TINY)
    damaged, short = sorted((out / WORK_FOLDER).rglob("slice_*.npz"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    short.write_bytes(short.read_bytes()[:100])
    (damaged.parent / ".slice_half.tmp").write_bytes(b"half")
    finished = run("reconstruct", scan, "-o", out, *TINY)
    assert finished.code == 0
    assert "slice 0 is damaged" in finished.err and "slice 1 is damaged" in finished.err
    assert_same_file(out / "a.h5", tmp_path / "whole" / "a.h5")
    assert not (out / WORK_FOLDER).exists()


def test_a_damaged_result_is_made_again(folder, tmp_path, run):
    out = tmp_path / "out"
    run("reconstruct", folder / "b.h5", "-o", out, *TINY)
    with h5py.File(out / "b.h5") as file:
        offset = file["reconstruction"].id.get_chunk_info(0).byte_offset
    content = bytearray((out / "b.h5").read_bytes())
    content[offset + 40] ^= 255
    (out / "b.h5").write_bytes(content)
    finished = run("reconstruct", folder / "b.h5", "-o", out, *TINY)
    assert finished.code == 0 and "b.h5 is damaged and made again" in finished.err
    assert np.isfinite(load_reconstruction(out / "b.h5").reconstruction).all()


def test_threads_of_the_first_run_are_used_again(folder, tmp_path, monkeypatch, run):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:

        def stop(self):
            raise OSError("as if killed before the end")

        patch.setattr(ScanJob, "assemble", stop)
        run("reconstruct", folder / "b.h5", "-o", out, *TINY, "--threads", "1")
    (record,) = (out / WORK_FOLDER).rglob("execution.json")
    compute_settings = json.loads(record.read_text())
    assert (compute_settings["n_threads"], compute_settings["batch"]) == (1, 2)
    record.write_text(json.dumps({**compute_settings, "n_threads": 2}))
    assert run("reconstruct", folder / "b.h5", "-o", out, *TINY).code == 0
    attributes = load_reconstruction(out / "b.h5").attributes
    assert attributes["execution"]["n_threads"] == 2
    assert attributes["self_calibration"] == "off"


def test_two_processes_do_not_work_on_one_scan(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    configuration = ReconstructionConfiguration(prior="gaussian", n_samples=2, n_evaluations=4)
    context = RunContext(configuration, *load_prior_for(configuration))
    first, second = ScanJob(folder / "b.h5", out, context), ScanJob(folder / "b.h5", out, context)
    first.open()
    with pytest.raises(ConfigurationError, match="another process"):
        second.open()
    first.release()
    third = ScanJob(folder / "b.h5", out, context)
    third.open()
    third.release()


def test_the_mask_of_each_file_is_seeded_by_its_name(tmp_path, run):
    from fastmri.data.subsample import EquispacedMaskFractionFunc

    for name in ("file1000.h5", "file1001.h5", "file1003.h5"):
        write_tiny(tmp_path / "in" / name, n_slices=1)
    run("reconstruct", tmp_path / "in", "-o", tmp_path / "out", *TINY)
    found = []
    for name in ("file1000.h5", "file1001.h5", "file1003.h5"):
        mask_function = EquispacedMaskFractionFunc([0.4], [2])
        expected, _ = mask_function((1, 40, 32, 2), seed=tuple(map(ord, name)))
        mask = load_reconstruction(tmp_path / "out" / name).mask
        np.testing.assert_array_equal(mask.squeeze(), expected.numpy().squeeze().astype(bool))
        found.append(mask.tobytes())
    assert len(set(found)) > 1  # the seeds were chosen to tell names apart


def test_no_more_than_a_few_slices_are_in_memory(tmp_path, run, monkeypatch):
    alive, most = set(), [0]
    original = SampledSlice.__init__

    def counted(self, *arguments, **options):
        original(self, *arguments, **options)
        token = object()
        alive.add(token)
        most[0] = max(most[0], len(alive))
        import weakref

        weakref.finalize(self, alive.discard, token)

    monkeypatch.setattr(SampledSlice, "__init__", counted)
    write_tiny(tmp_path / "in" / "a.h5", n_slices=12)
    assert run("reconstruct", tmp_path / "in" / "a.h5", "-o", tmp_path / "out", *TINY).code == 0
    assert 1 <= most[0] <= AHEAD + 2


class TestOverlap:
    def test_order_and_results(self):
        seen = []
        overlap(iter(range(20)), lambda x: x * x, seen.append)
        assert seen == [x * x for x in range(20)]

    def test_stages_run_beside_each_other(self):
        made, begun, last, met = threading.Event(), threading.Event(), threading.Event(), []

        def produce():
            for x in range(6):
                if x == 1:
                    met.append(begun.wait(LONG))  # item 0 is worked on before item 1 is made
                if x == 2:
                    made.set()
                yield x

        def work(x):
            if x == 0:
                begun.set()
                met.append(made.wait(LONG))  # two more are made before item 0 is done
            if x == 3:
                last.set()
            return x

        def consume(x):
            if x == 1:
                met.append(last.wait(LONG))  # the rest is worked on while this one is written

        occupation = overlap(produce(), work, consume)
        assert met == [True] * 3
        assert 0 < occupation.busy_seconds <= occupation.total_seconds

    def test_no_more_items_than_promised(self):
        made, done, most = [0], [0], [0]
        lock = threading.Lock()

        def produce():
            for x in range(40):
                with lock:
                    made[0] += 1
                    most[0] = max(most[0], made[0] - done[0])
                yield x

        def consume(_):
            time.sleep(0.002)
            with lock:
                done[0] += 1

        overlap(produce(), lambda x: x, consume)
        assert most[0] <= 2 * AHEAD + 3

    @pytest.mark.parametrize("stage", ["produce", "work", "consume"])
    def test_an_error_ends_it_and_finished_work_is_kept(self, stage):
        kept = []

        def produce():
            for x in range(9):
                if stage == "produce" and x == 4:
                    raise KeyboardInterrupt
                yield x

        def work(x):
            if stage == "work" and x == 4:
                raise KeyboardInterrupt
            return x

        def consume(x):
            if stage == "consume" and x == 4:
                raise KeyboardInterrupt
            kept.append(x)

        with pytest.raises(KeyboardInterrupt):
            overlap(produce(), work, consume)
        assert kept[:4] == [0, 1, 2, 3]


def test_inputs_are_found(folder, tmp_path):
    assert find_scans([folder]) == [folder / "a.h5", folder / "b.h5"]
    assert find_scans([folder / "b.h5", folder]) == [folder / "b.h5", folder / "a.h5"]
    assert find_scans([f"{tmp_path}/**/[b-z].h5"]) == [folder / "b.h5"]
    assert find_scans(["anything"]) == [Path("anything")]  # its reader says what is wrong
    with pytest.raises(InputFileError, match="no file fits"):
        find_scans([f"{folder}/*.mat"])
    with pytest.raises(InputFileError, match="directory without raw data"):
        find_scans([tmp_path])


def test_parts():
    scans = [Path(str(i)) for i in range(7)]
    assert choose_part(scans, 3) == scans[:3]
    parts = [choose_part(scans, None, (i, 3)) for i in (1, 2, 3)]
    assert sorted(scan for part in parts for scan in part) == scans
    assert RunSettings(shard=" 2/ 5").shard == (2, 5) and RunSettings().shard is None
    for text in ("2", "a/b", "-1/2", "0/2", "3/2"):
        with pytest.raises(ConfigurationError, match="expected a part such as 1/4"):
            RunSettings(shard=text)
    with pytest.raises(ConfigurationError, match=r"limit is 0, expected .* at least 1"):
        RunSettings(limit=0)


def test_a_manifest_survives_a_torn_line(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.write(ScanOutcome(Path("a"), None, "failed", "why"))
    with manifest.path.open("a") as file:
        file.write('{"source": "b", "sta')
    manifest.write(ScanOutcome(Path("c"), tmp_path / "c.h5", "finished", n_slices=3))
    assert list(read_manifest(manifest.path)) == ["a", "c"]


def test_identities(folder):
    configuration = ReconstructionConfiguration(prior="gaussian")
    prior, _ = load_prior_for(configuration)
    assert prior_identity(prior) == prior_identity(load_prior_for(configuration)[0])
    assert prior_identity(object()) != prior_identity(object())  # nobody knows what it is
    assert prior_identity(object(), "registered") == prior_identity(object(), "registered")
    a, b = read_raw(folder / "a.h5"), read_raw(folder / "b.h5")
    assert scan_identity(a) == scan_identity(read_raw(folder / "a.h5")) != scan_identity(b)
