"""A server in this process, one for all tests of a module."""

import contextlib
import dataclasses
from types import SimpleNamespace

import pytest

from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.scanner.configuration import OnlineConfiguration
from mri_alps.scanner.receiver import SessionOptions
from mri_alps.scanner.server import MrdServer
from mri_alps.scanner.settings import Limits, ServerSettings
from mri_alps.scanner.workers import InlineReconstructor
from tests.scanner.mrd_scans import SETTINGS, in_thread
from tests.waiting import LONG

LIMITS = dataclasses.replace(Limits(), idle_limit=LONG, send_limit=LONG, scan_limit=2**-6)


@contextlib.contextmanager
def running_server(tmp_path_factory, limits):
    """A running server: `port`, `folder` of saved scans, `temporary` folder of the spools."""
    folder, temporary = tmp_path_factory.mktemp("scans"), tmp_path_factory.mktemp("temporary")
    defaults = OnlineConfiguration(ReconstructionConfiguration(**SETTINGS))
    settings = ServerSettings(port=0, save_raw=folder, grace=5)
    options = SessionOptions(defaults, limits, settings, temporary)
    running = MrdServer(InlineReconstructor(), options)
    thread = in_thread(running.serve)
    yield SimpleNamespace(port=running.port, folder=folder, temporary=temporary)
    running.stop()
    thread.join(LONG)
    assert not thread.is_alive()
    assert not list(temporary.iterdir())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that waits for its clients, however slow the machine is."""
    with running_server(tmp_path_factory, LIMITS) as server:
        yield server


@pytest.fixture
def impatient_server(tmp_path_factory):
    """A server that gives a client up that sends or takes nothing for a moment."""
    limits = dataclasses.replace(LIMITS, idle_limit=1, send_limit=1)
    with running_server(tmp_path_factory, limits) as server:
        yield server


@pytest.fixture
def run_main(capsys):
    from mri_alps.cli.app import main

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run
