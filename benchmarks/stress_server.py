"""Floods and kills of ``mri-alps serve``: memory, descriptors, disk, and what is lost.

Every part starts a server of its own on a free port of 127.0.0.1, with a temporary folder, and
ends both; nothing else is touched, and every part is bounded in bytes and in time. Run it as
``python benchmarks/stress_server.py [broken texts empty last bytes kills]``; all parts take
about ten minutes. Speaks to the server by the protocol only, so that versions can be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import ismrmrd
import numpy as np
import psutil
from ismrmrd.serialization import ProtocolSerializer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.scanner.mrd_scans import exchange, header_xml, noise_line, scan, slice_lines

FLOOD_SECONDS = 60.0
N_BROKEN = 500
LINE_BYTES = 342 + 8 * 8 * 1024
CHECK = """
import sys, ismrmrd, numpy as np
with ismrmrd.Dataset(sys.argv[1], "dataset", mode="r") as dataset:
    n = dataset.number_of_acquisitions()
    for i in range(n):
        line = dataset.read_acquisition(i)
        if sys.argv[2] == "stream":
            assert line.scan_counter == i and (line.data == i).all(), i
print(n)
"""


class Server:
    """A server process; use as a context manager."""

    def __init__(self, folder: Path):
        command = [sys.executable, "-m", "mri_alps.cli.app", "serve", "--port", "0"]
        command += ["--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "4"]
        command += ["--save-raw", str(folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if match := re.search(r"MRD server on \S+ port (\d+)", line):
                self.port = int(match[1])
                break
        # Nobody reads the log: it must not fill the pipe.
        self._reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()

    @property
    def memory(self) -> float:
        """Resident memory of the server's own process in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    @property
    def descriptors(self) -> int:
        """Open files and sockets."""
        return psutil.Process(self.process.pid).num_fds()

    @property
    def worker_memory(self) -> float:
        """Resident memory of the processes that reconstruct, in MB."""
        workers = psutil.Process(self.process.pid).children()
        return sum(worker.memory_info().rss for worker in workers) / 1e6


def message(item: object) -> bytes:
    """Return one message as bytes."""
    import io

    stream = io.BytesIO()
    ProtocolSerializer(stream).serialize(item)
    return stream.getvalue()


def begin() -> bytes:
    """Return the start of a scan."""
    return message(ismrmrd.xsd.CreateFromDocument(header_xml()))


def pour(port: int, start: bytes, piece: bytes, count: int) -> tuple[int, list[str]]:
    """Send `start` and `count` times `piece`; return how many went, and what the server said."""
    said: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := connection.recv(2**16):
                said.append(part)

    sent, deadline = 0, time.monotonic() + FLOOD_SECONDS
    with socket.create_connection(("127.0.0.1", port), timeout=FLOOD_SECONDS) as connection:
        thread = threading.Thread(target=listen, args=(connection,), daemon=True)
        thread.start()
        with contextlib.suppress(OSError):
            connection.sendall(start)
            while sent < count and time.monotonic() < deadline:
                connection.sendall(piece)
                sent += 1
            connection.sendall(b"\4\0")
        thread.join(FLOOD_SECONDS)
    return sent, re.findall(r"ERROR[^\0]{0,160}", b"".join(said).decode("latin-1"))[:1]


def broken(server: Server) -> object:
    """Send 500 scans that are cut or changed somewhere, and random bytes."""
    generator = random.Random(1)
    good = begin() + b"".join(map(message, scan()))
    for number in range(N_BROKEN):
        data = bytearray(good[: generator.randrange(1, len(good))])
        if number % 3 == 1:
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        elif number % 3 == 2:
            data = bytearray(generator.randbytes(generator.randrange(1, 4000)))
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        with connection, contextlib.suppress(OSError):
            connection.sendall(data)
    return N_BROKEN


def texts(server: Server) -> object:
    """Send 75 MB of configuration texts."""
    text = message(ismrmrd.serialization.ConfigText('{"a": "' + "x" * 50_000 + '"}'))
    return pour(server.port, begin() + message(noise_line()) + text, text, 1500)


def texts_before_data(server: Server) -> object:
    """Send 75 MB of configuration texts before any acquisition."""
    text = message(ismrmrd.serialization.ConfigText('{"a": "' + "x" * 50_000 + '"}'))
    return pour(server.port, begin(), text, 1500)


def empty(server: Server) -> object:
    """Send 237,000 acquisitions without samples."""
    line = ismrmrd.Acquisition.from_array(np.zeros((4, 0), np.complex64))
    return pour(server.port, begin(), message(line) * 100, 2370)


def last(server: Server) -> object:
    """Send 20,000 lines that each claim to be the last of the same slice."""
    (line,) = slice_lines(rows=[3])
    return pour(server.port, begin() + message(noise_line()), message(line) * 10, 2000)


def last_of_many(server: Server) -> object:
    """Send 20,000 lines that each claim to be the last of a slice of its own."""
    (line,) = slice_lines(rows=[3])
    lines = []
    for number in range(20_000):
        line.idx.slice = number
        lines.append(message(line))
    return pour(server.port, begin() + message(noise_line()), b"".join(lines), 1)


def one_byte(server: Server) -> object:
    """Hold 64 connections that sent one byte, and send a good scan."""
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            held = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            stack.enter_context(held).sendall(b"\1")
        try:
            images, said = exchange(server.port, scan())
        except Exception as error:
            return f"the good scan fails: {type(error).__name__}"
        return f"{len(images)} images of the good scan, {said[:1]}"


FLOODS = {
    "broken": [broken],
    "texts": [texts, texts_before_data],
    "empty": [empty],
    "last": [last, last_of_many],
    "bytes": [one_byte],
}


def measure(flood) -> None:  # type: ignore[no-untyped-def]
    """Print what a flood costs the server, and whether it serves a good scan afterwards."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        exchange(server.port, scan())
        time.sleep(3.0)
        before, files = server.memory, server.descriptors
        peaks, is_over = [before], threading.Event()

        def watch() -> None:
            while not is_over.wait(0.1):
                peaks.append(server.memory)

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.monotonic()
        outcome = flood(server)
        seconds = time.monotonic() - began
        time.sleep(5.0)
        is_over.set()
        watcher.join()
        disk = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        try:
            served = len(exchange(server.port, scan())[0]) == 2
        except Exception:
            served = False
        print(
            f"{flood.__name__:18s} memory {before:.0f} peak {max(peaks):.0f} after "
            f"{server.memory:.0f} MB, workers {server.worker_memory:.0f} MB, descriptors {files} "
            f"after {server.descriptors}, disk {disk:.1f} MB, {seconds:.1f} s, good scan after: "
            f"{served}; {outcome}",
            flush=True,
        )


def kill_scans(count: int) -> None:
    """Kill the server in the middle of scans; print what its files have lost."""
    generator = random.Random(2)
    lines = []
    for number in range(4000):
        line = ismrmrd.Acquisition.from_array(np.full((8, 1024), number, np.complex64))
        line.scan_counter = number
        lines.append(message(line))
    assert len(lines[0]) == LINE_BYTES
    unreadable = lost = changed = total = written = n_answered = 0
    answered: set[str] = set()  # scans whose close message was answered
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count + 1):
            with Server(folder) as server:
                deadline = time.monotonic() + 60  # it may make files of what the last one left
                while list(folder.glob("*.mrd")) and time.monotonic() < deadline:
                    time.sleep(0.1)
                for path in folder.iterdir():
                    kind = "answered" if path.name in answered else "stream"
                    command = [sys.executable, "-c", CHECK, str(path), kind]
                    done = subprocess.run(command, capture_output=True, text=True)
                    unreadable += done.returncode != 0
                    changed += "AssertionError" in done.stderr
                    n_lines = int(done.stdout) if done.returncode == 0 else 0
                    if kind == "answered":
                        n_answered += n_lines == len(scan())
                    else:
                        total += n_lines
                        lost += max(written - n_lines, 0)
                    path.unlink()
                if number == count:
                    break
                exchange(server.port, scan())  # what is loaded late is loaded then
                answered = {path.name for path in folder.iterdir()}
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
                data = begin() + b"".join(lines)
                kill = (server.process.send_signal, [signal.SIGKILL])
                threading.Timer(generator.uniform(0.05, 1.0), *kill).start()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(data)
                    server.process.wait(30)
            written = sum(
                (p.stat().st_size - 4000) // LINE_BYTES
                for p in folder.iterdir()
                if p.name not in answered
            )
    print(
        f"{count} kills: {n_answered} scans answered before are whole; {total} lines saved, "
        f"{unreadable} files unreadable, {changed} changed, "
        f"{lost * LINE_BYTES / 1e6:.1f} MB lost of what was written to disk"
    )


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[*FLOODS, "kills"])
    parser.add_argument("--kills", type=int, default=30)
    arguments = parser.parse_args()
    for part in arguments.parts:
        for flood in FLOODS.get(part, []):
            measure(flood)
        if part == "kills":
            kill_scans(arguments.kills)


if __name__ == "__main__":
    main()
