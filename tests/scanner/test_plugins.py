"""`process` in other people's servers, the stream, the client command, OpenRecon's label."""

import importlib
import json
import os
import subprocess
import sys

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd.serialization import ProtocolDeserializer

from mri_alps.core.errors import ConfigurationError
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.rawdata.ismrmrd.writer import write_acquisitions
from mri_alps.scanner import ismrmrd_server, protocol
from mri_alps.scanner.channel import FileChannel
from mri_alps.scanner.configuration import OnlineConfiguration, configure
from mri_alps.scanner.receiver import SessionOptions
from mri_alps.scanner.session import ScanSession
from mri_alps.scanner.workers import InlineReconstructor
from tests.scanner.mrd_scans import ROWS, SETTINGS, exchange, header_xml, in_thread, scan
from tests.waiting import LONG

CONFIG = {"version": "1.1.0", "parameters": {k: str(v) for k, v in SETTINGS.items()}}


class Connection:
    """As python-ismrmrd-server has it: iteration ends with None."""

    def __init__(self, items):
        self.items, self.images, self.logs, self.n_closed = list(items), [], [], 0

    def __iter__(self):
        while self.items:
            yield self.items.pop(0)
        yield None

    def send_image(self, images):
        self.images += images if isinstance(images, list) else [images]

    def send_logging(self, level, contents):
        self.logs.append(f"{level} {contents}")

    def send_close(self):
        self.n_closed += 1


@pytest.mark.parametrize("config", [CONFIG, json.dumps(CONFIG)])
def test_process_by_configuration_name(config):
    name = "mri_alps.scanner.ismrmrd_server"
    module = importlib.import_module(name)  # what the server does with the configuration's name
    connection = Connection(scan(2))
    module.process(connection, config, ismrmrd.xsd.CreateFromDocument(header_xml()))
    assert [i.image_series_index for i in connection.images] == [1, 2, 1, 2], connection.logs
    assert connection.n_closed == 1


def test_process_says_what_is_wrong_and_closes():
    acquisitions = scan(rows=[row for row in ROWS if row % 2 == 0])
    connection = Connection(acquisitions)
    ismrmrd_server.process(connection, CONFIG, header_xml().decode())
    assert "calibration" in " ".join(connection.logs)
    connection = Connection(scan())
    ismrmrd_server.process(connection, CONFIG, header_xml(trajectory="radial"))
    assert "carry no trajectory" in " ".join(connection.logs) and not connection.images
    assert connection.n_closed == 1 and not connection.items  # read to the end


def test_the_module_is_found_without_torch():
    code = (
        "import sys, mri_alps.scanner.ismrmrd_server, mri_alps.scanner.gadgetron\n"
        "print({'torch', 'numpy', 'h5py', 'ismrmrd'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_pixels_that_writers_of_dicom_take():
    """The rules of mrd2dicom.py: 16-bit integers as they are, other pixels as raw bits."""
    connection = Connection(scan(2))
    ismrmrd_server.process(connection, CONFIG, header_xml().decode())
    metas = [ismrmrd.Meta.deserialize(image.attribute_string) for image in connection.images]
    assert len({meta["mri_alps_slope"] for meta in metas}) == 1  # mean and deviation, all slices
    exact = Connection(scan(2))
    asked = {"parameters": {**CONFIG["parameters"], "data_type": "float32"}}
    ismrmrd_server.process(exact, asked, header_xml().decode())
    for image, meta, other in zip(connection.images, metas, exact.images, strict=True):
        assert image.data.dtype == np.uint16 and image.data.max() > 16
        center, width = int(meta["WindowCenter"]), int(meta["WindowWidth"])
        assert center >= 1 and width == 2 * center and width <= image.data.max() + 1
        slope = float(meta["mri_alps_slope"])
        assert np.abs(slope * image.data - other.data).max() <= 0.501 * slope
        assert other.data.dtype == np.float32


def test_stream_through_pipes():
    header = header_xml()
    data = protocol.text_message(json.dumps(CONFIG), kinds.CONFIG_TEXT)
    data += protocol.text_message(header.decode(), kinds.HEADER)
    data += b"".join(map(protocol.acquisition_message, scan())) + protocol.close_message()
    source, feed = os.pipe()
    answer, target = os.pipe()

    def write():
        with open(feed, "wb") as stream:
            stream.write(data)

    def serve():
        ScanSession(FileChannel(source, target), InlineReconstructor(), SessionOptions()).run()
        os.close(target)
        os.close(source)

    threads = [in_thread(write), in_thread(serve)]
    with open(answer, "rb") as stream:
        items = list(ProtocolDeserializer(stream).deserialize())
    for thread in threads:
        thread.join(LONG)
    images = [item for item in items if isinstance(item, ismrmrd.Image)]
    assert [image.image_series_index for image in images] == [1, 2]


def test_send_saves_the_images(server, tmp_path, run_main):
    path = tmp_path / "scan.h5"
    write_acquisitions(path, header_xml(), scan(2))
    code, out, err = run_main("send", path, "--port", server.port)
    assert code == 0, err
    assert "series 1 ALPS_mean: 2 images of 32 x 32" in out and "server: INFO" in err
    expected, _ = exchange(server.port, scan(2))
    with h5py.File(tmp_path / "scan_images.h5", "r") as file:
        np.testing.assert_array_equal(file["dataset/image_1/data"][1], expected[2].data)
    assert (tmp_path / "scan_images.png").stat().st_size > 1000


def test_send_fails_with_a_reason_and_leaves_nothing(server, tmp_path, run_main):
    path = tmp_path / "scan.h5"
    write_acquisitions(path, header_xml(trajectory="spiral"), scan())
    for arguments, word in (
        (("send", path, "--port", server.port), "carry no trajectory"),
        (("send", path, "--port", 1), "no server at"),
        (("send", tmp_path / "no.h5"), "does not exist"),
        (("send", path, "--port", server.port, "-o", path), "overwrite"),
    ):
        code, _, err = run_main(*arguments)
        assert code == 1 and word in err.splitlines()[-1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["scan.h5"]


@pytest.mark.parametrize("prior", ["/etc/passwd", "../weights", "a.safetensors", 3, None, ["x"]])
def test_a_configuration_cannot_name_files(prior):
    with pytest.raises(ConfigurationError, match="expected one of"):
        configure([json.dumps({"parameters": {"prior": prior}})], OnlineConfiguration())


@pytest.mark.parametrize(
    "text",
    [
        "os",
        "{",
        "[1]",
        '{"parameters": 3}',
        '{"n_samples": 1e999}',
        '{"n_samples": true}',
        '{"n_samples": "NaN"}',
        '{"seed": -1}',
        '{"send_samples": 2}',
        '{"method": "os.system"}',
        "{" * 100_000,
    ],
)
def test_bad_configurations_are_one_sentence(text):
    with pytest.raises(ConfigurationError):
        configure([text], OnlineConfiguration())


def test_names_and_strings_are_taken():
    for name in ("mri_alps", "", "openrecon", "mri_alps.xml"):
        assert configure([name], OnlineConfiguration()) == OnlineConfiguration()
    found = configure(
        ['{"n_samples": "5", "seed": 3.0}', '{"parameters": {"seed": "4"}}'], OnlineConfiguration()
    )
    assert found.reconstruction == ReconstructionConfiguration(n_samples=5, seed=4)
