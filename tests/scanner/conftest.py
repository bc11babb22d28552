"""A server in this process, one for all tests of a module."""

import dataclasses
from types import SimpleNamespace

import pytest
from mrd_scans import SETTINGS, in_thread

from mri_alps.reconstruction import ReconstructionConfiguration
from mri_alps.scanner.configuration import OnlineConfiguration
from mri_alps.scanner.limits import Limits
from mri_alps.scanner.receiver import SessionOptions
from mri_alps.scanner.server import MrdServer
from mri_alps.scanner.workers import InlineReconstructor

LIMITS = dataclasses.replace(Limits(), scan_bytes=2**24)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running server: `port`, `folder` of saved scans, `temporary` folder of the spools."""
    folder, temporary = tmp_path_factory.mktemp("scans"), tmp_path_factory.mktemp("temporary")
    defaults = OnlineConfiguration(ReconstructionConfiguration(**SETTINGS))
    options = SessionOptions(defaults, LIMITS, folder, temporary)
    running = MrdServer("127.0.0.1", 0, InlineReconstructor(), options, grace_seconds=5.0)
    thread = in_thread(running.serve)
    yield SimpleNamespace(port=running.port, folder=folder, temporary=temporary)
    running.stop()
    thread.join(60.0)
    assert not thread.is_alive()
    assert not list(temporary.iterdir())
