"""Hostile and broken clients; after each the server still serves a good scan."""

import re
import signal
import struct
import subprocess
import sys
import threading

import h5py
import ismrmrd
import numpy as np
import psutil
import pytest
from ismrmrd.serialization import ConfigFile, ProtocolDeserializer

from mri_alps.core.errors import MriAlpsError
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner import protocol
from mri_alps.scanner.protocol import MessageReader, ProtocolError
from mri_alps.scanner.settings import Limits
from tests.scanner.mrd_scans import (
    Client,
    check_good_scan,
    errors,
    exchange,
    header_xml,
    noise_line,
    scan,
)
from tests.waiting import LONG, until

ENDLESS = 100_000  # evaluations: minutes on the fastest machine


def raw_exchange(port, data, half_close=True):
    """Send bytes and return what the server says."""
    with Client(port) as client:
        client.socket.sendall(data)
        if half_close:
            client.socket.shutdown(1)
        return client.receive()


def wire(acquisitions, header=None):
    header = header or header_xml()
    start = protocol.config_file_message("mri_alps")
    start += struct.pack("<HI", kinds.HEADER, len(header)) + header
    return [start, *(protocol.acquisition_message(item) for item in acquisitions)]


def reader_of(data):
    stream = memoryview(data)
    place = 0

    def read(count):
        nonlocal place
        part = bytes(stream[place : place + count])
        place += len(part)
        return part

    return MessageReader(read, Limits())


def read_all(data):
    reader, count = reader_of(data), 0
    while (message := reader.next()) is not None:
        count += 1
        if message.kind == kinds.IMAGE:
            protocol.as_image(message.value)
    return count


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(server, seed):
    data = np.random.default_rng(seed).bytes(50_000)
    images, texts = raw_exchange(server.port, data)
    assert not images and len(errors(texts)) == 1 and "MRD" in errors(texts)[0]
    check_good_scan(server.port)


def test_random_bodies_after_valid_identifiers():
    rng = np.random.default_rng(0)
    for kind in kinds.NAMES:
        for _ in range(50):
            data = struct.pack("<H", kind) + rng.bytes(int(rng.integers(0, 3000)))
            try:
                read_all(data)
            except MriAlpsError as error:
                assert len(str(error)) > 20


def test_truncation_at_every_byte():
    image = ismrmrd.Image.from_array(np.ones((3, 2), np.float32))
    image.attribute_string = ismrmrd.Meta({"a": "b"}).serialize()
    small = ismrmrd.Acquisition.from_array(np.ones((2, 3), np.complex64))
    waveform = ismrmrd.Waveform.from_array(np.zeros((1, 3), np.uint32))
    messages = [
        protocol.config_file_message("x"),
        protocol.text_message("{}", kinds.CONFIG_TEXT),
        protocol.text_message("<a/>", kinds.HEADER),
        protocol.acquisition_message(small),
        struct.pack("<H", kinds.WAVEFORM) + waveform.to_bytes(),
        protocol.image_message(image),
        protocol.close_message(),
    ]
    data = b"".join(messages)
    ends = set(np.cumsum([0, *map(len, messages)]).tolist())
    assert read_all(data) == len(messages)
    for length in range(len(data)):
        if length in ends:
            read_all(data[:length])
        else:
            with pytest.raises(ProtocolError, match="ended within"):
                read_all(data[:length])


@pytest.mark.parametrize("message", [0, 1, 2, 9])
@pytest.mark.parametrize("cut", ["at its start", "within"])
def test_truncated_scans(server, message, cut):
    parts = wire(scan())
    data = b"".join(parts[:message])
    if cut == "within":
        data += parts[message][: len(parts[message]) // 2]
    images, texts = raw_exchange(server.port, data)
    assert not images
    assert cut == "at its start" or "ended within" in errors(texts)[0]
    check_good_scan(server.port)


def test_a_header_that_claims_a_thousand_million_samples(server):
    header = header_xml().replace(b"<x>40</x>", b"<x>1000000000</x>", 1)
    images, texts = exchange(server.port, scan(), header=header.decode())
    assert not images and "1000000000" in errors(texts)[0]
    check_good_scan(server.port)


def claims():
    head = noise_line().getHead()
    head.number_of_samples, head.active_channels = 65535, 1024
    yield "acquisition", struct.pack("<H", kinds.ACQUISITION) + bytes(head)
    head.active_channels = 65535
    yield "coils", struct.pack("<H", kinds.ACQUISITION) + bytes(head)
    yield "text", struct.pack("<HI", kinds.TEXT, 2**32 - 1)
    yield "header", struct.pack("<HI", kinds.HEADER, 2**32 - 1)
    image = ismrmrd.Image.from_array(np.ones((3, 2), np.float32)).getHead()
    image.matrix_size[:] = [65535, 65535, 65535]
    start = struct.pack("<H", kinds.IMAGE) + bytes(image)
    yield "image", start + struct.pack("<Q", 0)
    yield "attributes", start + struct.pack("<Q", 2**63)


@pytest.mark.parametrize(("name", "data"), list(claims()), ids=[name for name, _ in claims()])
def test_claimed_sizes_are_not_allocated(server, name, data):
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(ProtocolError, match="claims"):
        read_all(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    images, texts = raw_exchange(server.port, data)
    assert not images and "claims" in errors(texts)[0]


def test_entities_are_not_expanded(server):
    bomb = '<!DOCTYPE a [<!ENTITY b "x">]><ismrmrdHeader>&b;</ismrmrdHeader>'
    images, texts = raw_exchange(
        server.port, protocol.text_message(bomb, kinds.HEADER) + protocol.close_message()
    )
    assert not images and "entities" in errors(texts)[0]
    image = ismrmrd.Image.from_array(np.ones((3, 2), np.float32))
    data = protocol.image_message(image)[:-24]  # without the 8 bytes of length and the pixels
    head = data[: 2 + 198]
    evil = b'<!DOCTYPE a [<!ENTITY b "x">]><ismrmrdMeta>&b;</ismrmrdMeta>'
    with pytest.raises(ProtocolError, match="entities"):
        read_all(head + struct.pack("<Q", len(evil)) + evil + bytes(24))


def test_a_client_that_vanishes_leaves_an_incomplete_scan(server):
    before = set(server.folder.iterdir())
    parts = wire(scan())
    with Client(server.port) as client:
        client.socket.sendall(b"".join(parts[:10]))

    def saved():
        found = set(server.folder.glob("*_incomplete.h5")) - before
        return [path for path in found if len(read_rows([path])) == 9]

    assert len(until(saved)) == 1
    check_good_scan(server.port)


def read_rows(paths):
    (path,) = paths
    try:
        with h5py.File(path, "r") as file:
            return file["dataset/data"][()]["head"]
    except OSError:  # the server has it open
        return []


def test_a_client_that_never_reads(server):
    config = ConfigFile("mri_alps")
    with Client(server.port) as client:
        client.socket.setsockopt(1, 8, 4096)
        client.begin(config)
        client.send('{"parameters": {"n_samples": 200, "send_samples": true}}')
        client.send(*scan())
        client.close()
        check_good_scan(server.port)  # others are served meanwhile


def test_a_client_that_stops_sending_is_told(impatient_server):
    parts = wire(scan())
    with Client(impatient_server.port) as client:
        client.socket.sendall(b"".join(parts[:7]))
        _, texts = client.receive()
    assert "nothing came for 1 s" in errors(texts)[0]
    # at once, so that a busy machine is not taken for a client that sends nothing
    data = b"".join([*parts, protocol.close_message()])
    images, texts = raw_exchange(impatient_server.port, data, half_close=False)
    assert len(images) == 2 and not errors(texts)


def test_a_scan_that_is_longer_than_the_limit(server):
    line = noise_line()
    with Client(server.port) as client:
        client.begin()
        client.send(*[line] * 300)  # 19 MB, 16 MiB are allowed
        client.close()
        _, texts = client.receive()
    assert "--scan-limit" in errors(texts)[0]
    check_good_scan(server.port)


def test_twenty_clients_at_once(server):
    answers = [None] * 20
    acquisitions = scan()

    def work(number):
        answers[number] = exchange(server.port, acquisitions)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    for images, texts in answers:
        assert len(images) == 2 and not errors(texts)
        np.testing.assert_array_equal(images[0].data, answers[0][0][0].data)


def start_server(tmp_path, *options):
    command = [sys.executable, "-m", "mri_alps.cli.app", "serve", "--port", "0"]
    command += ["--prior", "gaussian", "--save-raw", str(tmp_path / "scans"), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "MRD server on" in line:
            return process, int(line.split("port ")[1].split(";")[0])
    raise AssertionError("the server did not start")


def receive_until_at_work(client):
    """Return what the server sends until it tells of steps, or until a unit is done before that."""
    items = []
    for item in ProtocolDeserializer(client.stream).deserialize():
        items.append(item)
        if isinstance(item, str) and re.search(r"\d steps|done in", item):
            return items
    raise AssertionError(f"the server did not work: {items}")


@pytest.mark.slow
@pytest.mark.parametrize(("grace", "n_evaluations"), [(LONG, 800), (0.5, ENDLESS)])
def test_sigterm_during_work_finishes_or_saves(tmp_path, grace, n_evaluations):
    process, port = start_server(
        tmp_path, "--grace", str(grace), "--n-samples", "8", "--n-evaluations", str(n_evaluations)
    )
    try:
        with Client(port, timeout=LONG) as client:
            client.begin()
            client.send(*scan())
            client.close()
            before = receive_until_at_work(client)
            process.send_signal(signal.SIGTERM)
            images, texts = client.receive()
        assert process.wait(LONG) == 0
    finally:
        process.kill()
        process.stderr.close()
    images += [item for item in before if not isinstance(item, str)]
    assert len(images) == (0 if n_evaluations == ENDLESS else 2)
    assert ("shuts down" in " ".join(errors(texts))) == (n_evaluations == ENDLESS)
    (saved,) = (tmp_path / "scans").iterdir()
    assert len(read_rows([saved])) == len(scan())


@pytest.mark.slow
def test_a_worker_that_dies_takes_nobody_with_it(tmp_path):
    process, port = start_server(tmp_path, "--n-samples", "2", "--n-evaluations", str(ENDLESS))
    try:
        with Client(port, timeout=LONG) as client:
            client.begin()
            client.send(*scan())
            client.close()
            receive_until_at_work(client)
            for child in psutil.Process(process.pid).children():
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()
            images, texts = client.receive()
        assert not images and "ended unexpectedly" in errors(texts)[0]
        config = '{"parameters": {"n_evaluations": 4}}'
        images, texts = exchange(port, scan(), extra=[config])
        assert len(images) == 2 and not errors(texts)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
