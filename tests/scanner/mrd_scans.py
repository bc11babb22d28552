"""Small scans for the tests of the scanner, and a client that shares no code with ours."""

import contextlib
import socket
import threading

import ismrmrd
import numpy as np
from ismrmrd.serialization import ProtocolDeserializer, ProtocolSerializer

from mri_alps.rawdata.header import Limit, make_header
from mri_alps.rawdata.ismrmrd.writer import make_acquisition
from tests.waiting import LONG

SHAPE = (40, 32)
CROP = (32, 32)
N_COILS = 4
SETTINGS = {"prior": "gaussian", "n_samples": 2, "n_evaluations": 4}
ROWS = [row for row in range(SHAPE[1]) if row % 2 == 0 or 10 <= row < 22]
NOISE_STD = 0.02


def coil_images(index=0):
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, endpoint=False) for n in SHAPE), indexing="ij")
    image = (np.hypot(y / 0.5, x / 0.7) < 1) - 0.4 * (np.hypot(y - 0.1, x - 0.1 * index) < 0.25)
    angles = 2 * np.pi * np.arange(N_COILS) / N_COILS
    maps = [np.exp(-((y - np.sin(a)) ** 2 + (x - np.cos(a)) ** 2) / 1.5 + 1j * a) for a in angles]
    return image * np.stack(maps)


def kspace_of(index=0, seed=0, strength=1):
    """A slice's k-space, the signal times `strength`; the noise is that of the noise scan."""
    rng = np.random.default_rng([seed, index])
    images = np.fft.ifftshift(coil_images(index), axes=(-2, -1))
    kspace = np.fft.fftshift(np.fft.fft2(images, norm="ortho"), axes=(-2, -1))
    noise = rng.standard_normal((2, *kspace.shape)) * NOISE_STD
    return (strength * kspace + noise[0] + 1j * noise[1]).astype(np.complex64)


def header_xml(trajectory="cartesian", matrix=None, protocol="tiny", **limits):
    x, y = SHAPE
    return make_header(
        matrix or (x, y, 1),
        (*CROP, 1),
        (250.0, 200.0, 5.0),
        (200.0, 200.0, 5.0),
        limits={"kspace_encoding_step_1": Limit(0, y - 1, y // 2), **limits},
        n_coils=N_COILS,
        trajectory=trajectory,
        protocol=protocol,
    )


def noise_line(seed=5):
    rng = np.random.default_rng(seed)
    noise = (rng.standard_normal((2, N_COILS, 2000)) * NOISE_STD).astype(np.float32)
    flag = ismrmrd.ACQ_IS_NOISE_MEASUREMENT
    return make_acquisition(noise[0] + 1j * noise[1], flag, sample_time_us=5.0)


def slice_lines(index=0, rows=ROWS, kspace=None, flagged=True, **fields):
    """The lines of one slice as a scanner flags them."""
    kspace = kspace_of(index) if kspace is None else kspace
    directions = {"read_dir": (0, 1, 0), "phase_dir": (1, 0, 0), "slice_dir": (0, 0, -1)}
    lines = [
        make_acquisition(
            kspace[:, :, row],
            kspace_encode_step_1=row,
            slice=index,
            position=(1.0, 2.0, -5.0 * index),
            sample_time_us=5.0,
            **{**directions, **fields},
        )
        for row in rows
    ]
    if flagged:
        lines[-1].setFlag(ismrmrd.ACQ_LAST_IN_SLICE)
    return lines


def scan(n_slices=1, **options):
    """Acquisitions of a whole scan, noise first."""
    lines = [noise_line()]
    for index in range(n_slices):
        lines += slice_lines(index, **options)
    lines[-1].setFlag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    return lines


class Client:
    """An MRD client made of the ismrmrd package's own serialisation."""

    def __init__(self, port, timeout=LONG):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.stream = self.socket.makefile("rwb")
        self.serializer = ProtocolSerializer(self.stream)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # the server may be gone before all was sent
            self.stream.close()  # the connection lives as long as its stream
        self.socket.close()

    def send(self, *items):
        for item in items:
            self.serializer.serialize(item)
        self.stream.flush()

    def begin(self, config=None, header=None):
        if config is not None:
            self.send(config)
        self.send(ismrmrd.xsd.CreateFromDocument(header or header_xml()))

    def close(self):
        self.serializer.close()

    def receive(self):
        """Return (images, texts), up to the close message."""
        images, texts = [], []
        for item in ProtocolDeserializer(self.stream).deserialize():
            (texts if isinstance(item, str) else images).append(item)
        return images, texts


def exchange(port, acquisitions, config=None, header=None, extra=()):
    """Send a scan and return (images, texts)."""
    with Client(port) as client:
        client.begin(config, header)
        client.send(*extra, *acquisitions)
        client.close()
        return client.receive()


def check_good_scan(port):
    """The server still serves a good scan."""
    images, texts = exchange(port, scan())
    assert [image.image_series_index for image in images] == [1, 2], texts
    assert not errors(texts)


def errors(texts):
    return [text for text in texts if text.startswith("ERROR")]


def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
