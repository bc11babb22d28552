"""What is said where: quiet, verbose, colours, pipes."""

import json
import logging
from pathlib import Path

import pytest

from mri_alps.cli.terminal import bars_are_hidden, set_verbosity
from mri_alps.priors import load_prior

FAST = ("--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "4", "--slices", "0")


@pytest.fixture(autouse=True)
def normal_verbosity():
    yield
    set_verbosity()


def test_the_normal_level_has_notes(scan, tmp_path, run):
    finished = run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST)
    assert "mri-alps: " in finished.err and "fully sampled" in finished.err
    assert "data misfit" not in finished.err


def test_quiet_leaves_results_and_errors(scan, tmp_path, run):
    finished = run("--quiet", "reconstruct", scan.path, "-o", tmp_path / "out", *FAST)
    assert finished.code == 0 and finished.err == ""
    assert "scan.h5" in finished.out
    failed = run("-q", "inspect", tmp_path / "nothing.h5")
    assert failed.code == 1 and failed.err.startswith("mri-alps: error: ")


def test_verbose_says_what_is_done_on_the_way(scan, tmp_path, run):
    finished = run("--verbose", "reconstruct", scan.path, "-o", tmp_path / "out", *FAST)
    assert "slice 0: noise" in finished.err and "data misfit" in finished.err
    assert all(line.startswith("mri-alps: ") for line in finished.err.splitlines())


def test_a_programme_that_logs_hears_the_package(scan, tmp_path, caplog):
    import mri_alps

    with caplog.at_level(logging.DEBUG, logger="mri_alps"):
        mri_alps.reconstruct(scan.path, prior="gaussian", n_samples=2, n_evaluations=4)
    assert sum("data misfit" in record.message for record in caplog.records) == 2


def test_pipes_get_no_colours_and_no_bars(scan, tmp_path, run):
    run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST)
    finished = run("evaluate", tmp_path / "out", scan.path.parent)
    assert finished.code == 0 and "\x1b" not in finished.out + finished.err


def test_no_color_beats_a_terminal(scan, tmp_path, run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    finished = run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST)
    assert finished.code == 0
    assert not any(f"\x1b[{code}m" in finished.err for code in (31, 32, 33, 34, 35, 36))
    assert "\x1b[38" not in finished.err


def test_a_dry_run_as_json_has_an_object_per_input(scan, tmp_path, run):
    finished = run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST, "--dry-run", "--json")
    (plan,) = json.loads(finished.out)
    assert finished.code == 0 and not (tmp_path / "out").exists()
    assert plan["source"] == str(scan.path) and plan["shape"] == [80, 64] and plan["n_coils"] == 4
    assert (plan["n_slices"], plan["n_slices_in_file"]) == (1, 2)
    assert plan["output_bytes"] > 0 and plan["memory_bytes"] > 0 and plan["seconds"] > 0


def test_a_dry_run_as_json_survives_a_bad_input(scan, tmp_path, run):
    (scan.path.parent / "bad.h5").write_bytes(b"nothing")
    arguments = (scan.path.parent, "-o", tmp_path / "out", *FAST, "--dry-run", "--json")
    finished = run("reconstruct", *arguments)
    assert finished.code == 1 and "bad.h5" in finished.err
    assert [Path(plan["source"]).name for plan in json.loads(finished.out)] == ["scan.h5"]


def test_reconstruct_as_json_says_what_became_of_each_input(scan, tmp_path, run):
    (scan.path.parent / "bad.h5").write_bytes(b"nothing")
    arguments = (scan.path.parent, "-o", tmp_path / "out", *FAST, "--report", "--json")
    finished = run("reconstruct", *arguments)
    outcomes = {Path(found["source"]).name: found for found in json.loads(finished.out)}
    assert finished.code == 1
    assert outcomes["bad.h5"]["status"] == "failed" and outcomes["bad.h5"]["reason"]
    assert outcomes["scan.h5"]["status"] == "finished"
    assert outcomes["scan.h5"]["output"] == str(tmp_path / "out" / "scan.h5")
    assert (tmp_path / "out" / "scan.html").exists()


def test_demo_as_json(scan, tmp_path, run, monkeypatch):
    import importlib.resources

    from mri_alps.cli import demo

    monkeypatch.setattr(importlib.resources, "files", lambda _: tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / demo.DEMO_FILE).write_bytes(scan.path.read_bytes())
    monkeypatch.setattr(demo, "N_SAMPLES", 2)
    monkeypatch.setattr(demo, "N_EVALUATIONS", 3)
    monkeypatch.setattr(demo, "load_prior_for", lambda _: (load_prior("gaussian"), None))
    finished = run("demo", "-o", tmp_path / "out", "--json")
    scores = json.loads(finished.out)
    assert finished.code == 0 and Path(scores["output"]).exists()
    assert scores["report"] is None and Path(scores["picture"]).exists()
    assert scores["posterior_mean"]["PSNR"] > 0 and 0 <= scores["coverage"] <= 1
    assert scores["n_samples"] == 2 and scores["seconds"] > 0


@pytest.mark.parametrize(
    ("level", "forced", "hidden"), [({}, "1", False), ({"quiet": True}, "1", True), ({}, "", True)]
)
def test_bars_are_for_terminals_that_want_to_hear(monkeypatch, level, forced, hidden):
    monkeypatch.setenv("FORCE_COLOR", forced)
    set_verbosity(**level)
    assert bars_are_hidden() is hidden


def test_tables_of_failures_keep_their_sentences_in_a_pipe(scan, tmp_path, run, monkeypatch):
    for number in range(2):
        (scan.path.parent / f"a_bad_file_with_a_long_name_{number}.h5").write_bytes(b"nothing")
    monkeypatch.delenv("COLUMNS")
    finished = run("reconstruct", scan.path.parent, "-o", tmp_path / "out", *FAST)
    rows = [line for line in finished.err.splitlines() if "│" in line or "┃" in line]
    assert finished.code == 1 and max(map(len, rows)) > 100
