"""Temporary files of killed writers are removed by the next one; those of living ones are not."""

import multiprocessing
import os
import signal

import pytest

from mri_alps.core.atomic import atomic_path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")


def be_killed(path):
    with atomic_path(path) as temporary:
        temporary.write_text("half of it")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    target, other = tmp_path / "result.h5", tmp_path / "other.h5"
    for path in (target, other):
        child = multiprocessing.get_context("fork").Process(target=be_killed, args=(path,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2 and not target.exists()
    mine = tmp_path / ".result.h5.notes.tmp"
    mine.write_text("not ours")
    with atomic_path(target) as living:
        living.write_text("first")
        with atomic_path(target) as second:  # a writer that lives is left alone
            second.write_text("second")
        assert living.exists()
    assert target.read_text() == "first"
    names = {path.name for path in tmp_path.iterdir()}
    assert {target.name, mine.name} < names and len(names) == 3
    assert any(name.startswith(".other.h5.") for name in names)  # until other.h5 is written


def test_where_folders_cannot_be_opened_files_are_flushed_all_the_same(tmp_path, monkeypatch):
    """As on Windows, which opens no folder and flushes only what is open for writing."""
    flushed, opened, really_open = [], [], os.open

    def as_windows_opens(path, flags, *rest, **options):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied")
        opened.append(flags & os.O_RDWR)
        return really_open(path, flags, *rest, **options)

    monkeypatch.setattr("mri_alps.core.atomic._IS_WINDOWS", True)
    monkeypatch.setattr("mri_alps.core.atomic.os.open", as_windows_opens)
    monkeypatch.setattr("mri_alps.core.atomic.os.fsync", flushed.append)
    with atomic_path(tmp_path / "result.h5") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "result.h5").read_text() == "whole"
    assert len(flushed) == 1 and opened[-1] == os.O_RDWR
