"""What listens while the package works: the loopback address only, and no stranger is served."""

import socket
import ssl
import subprocess
import sys

import psutil
import pytest

from tests.pipeline.tiny_scans import TINY, write_tiny


def listening(process=None):
    """Return (address, port) of every listening socket of a process and its descendants."""
    process = process or psutil.Process()
    tree = [process, *process.children(recursive=True)]
    return {
        tuple(connection.laddr)
        for each in tree
        for connection in each.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def is_served(address):
    """Whether a port greets one who speaks TLS without a certificate; Dask greets first."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(address) as plain, context.wrap_socket(plain) as stranger:
            return stranger.recv(1) != b""
    except (ssl.SSLError, ConnectionError):
        return False


def test_sockets_on_all_addresses_are_found():
    before = listening()
    with socket.create_server(("", 0)) as server:
        assert listening() - before == {("0.0.0.0", server.getsockname()[1])}


# Dask's own clean-up of its sockets is not ours to judge.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_workers_listen_on_loopback_and_turn_strangers_away(tmp_path, run, monkeypatch):
    pytest.importorskip("distributed")
    from mri_alps.pipeline.cluster.engine import Engine

    seen, real, before = {}, Engine.run, listening()

    def look_and_run(engine, sources):
        engine._client.wait_for_workers(2)
        workers = engine._client.scheduler_info(n_workers=-1)["workers"]
        seen["addresses"] = [engine._client.scheduler.address, *workers]
        seen["addresses"] += [worker["nanny"] for worker in workers.values()]
        seen["sockets"] = listening() - before
        ports = [int(address.rsplit(":", 1)[1]) for address in seen["addresses"]]
        seen["open"] = [port for port in ports if is_served(("127.0.0.1", port))]
        return real(engine, sources)

    monkeypatch.setattr(Engine, "run", look_and_run)
    scan = write_tiny(tmp_path / "in" / "scan.h5", n_slices=2)
    out = tmp_path / "out"
    done = run("reconstruct", scan, "-o", out, *TINY, "--device", "cpu", "--workers", 2)
    assert done.code == 0, done.err
    assert (out / "scan.h5").exists()
    # A scheduler, two workers and two nannies, and the pages of the first three.
    assert len(set(seen["addresses"])) == 5 and len(seen["sockets"]) >= 8
    assert all(address.startswith("tls://127.0.0.1:") for address in seen["addresses"])
    assert {address for address, _ in seen["sockets"]} == {"127.0.0.1"}
    assert seen["open"] == []


def test_the_server_for_scanners_listens_on_loopback(tmp_path):
    command = [sys.executable, "-m", "mri_alps.cli.app", "serve", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            assert "MRD server" in server.stderr.readline()
            found = listening(psutil.Process(server.pid))
        finally:
            server.terminate()
            server.stderr.read()
    assert {address for address, _ in found} == {"127.0.0.1"}
