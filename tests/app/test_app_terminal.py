"""What is said where: quiet, verbose, colours, pipes."""

import logging

import pytest

from mri_alps.commands.terminal import set_verbosity

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
