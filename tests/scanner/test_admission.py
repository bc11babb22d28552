"""Who may come in: deadlines, shares, and places that scans keep."""

import contextlib
import re
import socket
import subprocess
import sys

import ismrmrd
import psutil
import pytest
from ismrmrd.serialization import ProtocolDeserializer

from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.scanner import channel as channel_module
from mri_alps.scanner._admission import Admission, Place
from mri_alps.scanner.channel import SocketChannel, Stopped, Vanished
from mri_alps.scanner.configuration import OnlineConfiguration
from mri_alps.scanner.limits import LimitExceeded
from mri_alps.scanner.receiver import SessionOptions
from mri_alps.scanner.server import MrdServer
from mri_alps.scanner.settings import Limits, ServerSettings
from mri_alps.scanner.workers import InlineReconstructor
from tests.scanner.mrd_scans import SETTINGS, Client, errors, exchange, in_thread, scan, slice_lines


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_header_must_come_in_time():
    clock = Clock()
    admission = Admission(4, False, 30.0, clock)
    slow, quick = admission.admit("a"), admission.admit("a")
    quick.has_header = True
    clock.now = 30.5
    assert "no header came within 30 s" in slow.stop_reason() and quick.stop_reason() is None


def test_bytes_that_drip_do_not_hold_off_the_deadline():
    clock = Clock()
    seat = Admission(4, False, 30.0, clock).admit("a")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = SocketChannel(ours, Limits(), seat.stop_reason, clock)
        theirs.sendall(b"abc")
        assert channel.read(1) == b"a"
        clock.now = 31.0
        with pytest.raises(Stopped, match="no header"):
            channel.read(1)


def test_silence_within_a_scan_ends_it():
    clock = iter(range(0, 10**6, 400)).__next__  # 400 s pass between two looks
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = SocketChannel(ours, Limits(), clock=clock)
        with pytest.raises(LimitExceeded, match="nothing came for 600 s"):
            channel.read(1)


def test_a_client_that_takes_nothing_is_given_up():
    clock = iter(range(0, 10**6, 40)).__next__
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = SocketChannel(ours, Limits(), clock=clock)
        with pytest.raises(Vanished, match="took no reply for 60 s"):
            channel.send(bytes(2**24))


def test_new_connections_take_the_place_of_the_oldest_without_a_header():
    admission = Admission(4, False, 30.0)
    seats = [admission.admit(address) for address in "abcd"]
    seats[0].has_header = True
    seats.append(admission.admit("e"))
    assert [seat.stop_reason() is None for seat in seats] == [True, False, True, True, True]
    for address in "fgh":
        admission.admit(address)
    assert seats[0].stop_reason() is None  # only those without a header went
    with pytest.raises(LimitExceeded, match="too many connections"):
        seats[1].begin()


def test_an_address_cannot_push_others_out():
    admission = Admission(4, False, 30.0)
    other = admission.admit("scanner")
    crowd = [admission.admit("crowd") for _ in range(50)]
    assert other.stop_reason() is None
    assert [seat.stop_reason() is None for seat in crowd[-3:]] == [False, True, True]
    more = [admission.admit("more") for _ in range(50)]
    assert other.stop_reason() is None and more[-1].stop_reason() is None


def test_scans_that_have_begun_keep_their_places_and_more_are_saved():
    admission = Admission(2, True, 30.0)
    places = []
    for address in "aabbcc":
        seat = admission.admit(address)
        with contextlib.suppress(LimitExceeded):
            places.append((address, seat.begin()))
    assert places == [
        ("a", Place.RECONSTRUCTING),
        ("a", Place.SAVING),  # half of two places is one
        ("b", Place.RECONSTRUCTING),
        ("b", Place.SAVING),
    ]
    for address in "cdefgh":
        admission.admit(address)
    seat = admission.admit("c")
    with pytest.raises(LimitExceeded, match="come again later"):
        seat.begin()


def test_places_are_given_back():
    admission = Admission(1, False, 30.0)
    for _ in range(3):
        seat = admission.admit("a")
        assert seat.begin() is Place.RECONSTRUCTING
        seat.leave()
        seat.leave()


def test_connections_of_one_byte_do_not_lock_the_scanner_out(server):
    with contextlib.ExitStack() as held:
        for _ in range(64):
            client = held.enter_context(Client(server.port))
            client.socket.sendall(b"\1")
        images, texts = exchange(server.port, scan())
    assert len(images) == 2 and not errors(texts)


@contextlib.contextmanager
def full_server(save_raw):
    """A server with one place, taken by a scan that has begun."""
    defaults = OnlineConfiguration(ReconstructionConfiguration(**SETTINGS))
    settings = ServerSettings(port=0, save_raw=save_raw, max_connections=1, grace=5)
    running = MrdServer(InlineReconstructor(), SessionOptions(defaults, server=settings))
    thread = in_thread(running.serve)
    lines = scan()
    with Client(running.port) as client:
        client.begin()
        client.send(*lines)
        for item in ProtocolDeserializer(client.stream).deserialize():
            if not isinstance(item, str):
                break  # an image: it has begun
        yield running.port
        client.close()
    running.stop()
    thread.join(30.0)
    assert not thread.is_alive()


def test_a_scan_is_saved_when_every_place_is_taken(tmp_path):
    with full_server(tmp_path) as port:
        images, texts = exchange(port, scan(2))
        assert not images and "only saved" in errors(texts)[0]
        name = re.search(r"as (\S+)\.h5", errors(texts)[0])[1]
        with ismrmrd.Dataset(str(tmp_path / f"{name}.h5"), mode="r") as dataset:
            assert dataset.number_of_acquisitions() == len(scan(2))


def test_without_a_folder_it_is_told_to_come_again():
    with full_server(None) as port:
        images, texts = exchange(port, slice_lines())
        assert not images and "come again later" in errors(texts)[0]


def test_a_client_that_goes_on_sending_is_read_until_it_ends(monkeypatch):
    """Closing with unread data resets a connection, and the reply is lost."""
    monkeypatch.setattr(channel_module, "_LINGER_SECONDS", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        channel = SocketChannel(listener.accept()[0], Limits())
    with client:
        channel.send(b"why")
        channel.abort()
        assert channel.read(1) == b""
        closing = in_thread(channel.close)
        assert client.recv(10) == b"why" and client.recv(10) == b""
        closing.join(0.5)
        assert closing.is_alive()
    closing.join(60)
    assert not closing.is_alive()


def listening(process):
    """Addresses that a process and its children listen on, or take datagrams at."""
    first = psutil.Process(process)
    tree = [first, *first.children(recursive=True)]
    sockets = [each for one in tree for each in one.net_connections(kind="inet")]
    datagrams = socket.SOCK_DGRAM
    served = [s for s in sockets if s.status == psutil.CONN_LISTEN or s.type == datagrams]
    return len(tree), [(s.type, *s.laddr) for s in served]


def test_serve_listens_on_the_loopback_only(tmp_path):
    command = [
        sys.executable,
        "-m",
        "mri_alps.cli.app",
        "serve",
        "--port",
        "0",
        "--prior",
        "gaussian",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        for line in process.stderr:
            if match := re.search(r"MRD server on \S+ port (\d+)", line):
                break
        images, _ = exchange(int(match[1]), scan(), extra=['{"n_samples": 2, "n_evaluations": 4}'])
        n_processes, found = listening(process.pid)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert len(images) == 2 and n_processes > 1  # the worker is looked at as well
    assert found == [(socket.SOCK_STREAM, "127.0.0.1", int(match[1]))]
