"""What was sent is kept: whatever kind of data it is, and whenever the server is killed."""

import os
import struct

import ismrmrd
import numpy as np
import pytest
from filelock import lock_descriptor
from ismrmrd.serialization import ConfigFile

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner import _saving as saving
from mri_alps.scanner import protocol
from mri_alps.scanner._saving import RawSaver, convert, read_stream, recover_scans
from mri_alps.scanner.protocol import ReceivedAcquisition
from tests.scanner.mrd_scans import Client, errors, exchange, header_xml, scan


def newest(folder):
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def waveform(number):
    data = np.arange(14, dtype=np.uint32).reshape(2, 7) + number
    return ismrmrd.Waveform.from_array(data, scan_counter=number, waveform_id=1)


def image(number, shape=(3, 4), dtype=np.float32, series=5):
    made = ismrmrd.Image.from_array(np.full(shape, number, dtype))
    made.image_series_index = series
    made.attribute_string = ismrmrd.Meta({"number": str(number)}).serialize()
    return made


def test_waveforms_and_images_are_saved_with_the_scan(server):
    waveforms = [waveform(number) for number in range(70)]
    images = [
        image(0),
        image(1),
        image(2, (5, 6)),
        image(3, dtype=np.complex64),
        image(4, series=6),
    ]
    acquisitions = scan()
    mixed = [*waveforms[:3], *acquisitions[:5], *images, *waveforms[3:], *acquisitions[5:]]
    answer, texts = exchange(server.port, mixed)
    assert len(answer) == 2 and not errors(texts)
    with ismrmrd.Dataset(str(newest(server.folder)), mode="r") as dataset:
        assert dataset.number_of_acquisitions() == len(acquisitions)
        assert dataset.read_acquisition(7) == acquisitions[7]
        assert dataset.number_of_waveforms() == 70
        for number, expected in enumerate(waveforms):
            assert dataset.read_waveform(number) == expected
        places = [("image_5", 0), ("image_5", 1), ("image_5_1", 0), ("image_5_2", 0)]
        for (group, number), expected in zip([*places, ("image_6", 0)], images, strict=True):
            found = dataset.read_image(group, number)
            np.testing.assert_array_equal(found.data, expected.data)
            assert found.meta == expected.meta


def test_texts_that_are_no_utf8_cost_nothing_of_the_scan(server):
    """Repaired texts are longer than those that came, and than the limits of those."""
    texts = [ConfigFile("mri_alps")] * 16
    odd = b"\xff" * 2**20
    with Client(server.port) as client:
        client.send(*texts)
        client.socket.sendall(struct.pack("<HI", kinds.CONFIG_TEXT, len(odd)) + odd)
        client.begin()
        client.send(image(0), *scan())
        client.close()
        _, said = client.receive()
    assert "is unknown" in errors(said)[0]
    with ismrmrd.Dataset(str(newest(server.folder)), mode="r") as dataset:
        assert dataset.number_of_acquisitions() == len(scan())


@pytest.mark.parametrize("item", [waveform(1), image(1), scan()[0]], ids=lambda i: type(i).__name__)
def test_data_before_the_header_are_refused(server, item):
    with Client(server.port) as client:
        client.send(item)
        client.close()
        _, texts = client.receive()
    assert "before the header" in errors(texts)[0]


def test_the_file_is_on_the_disk_before_the_close_message(server, monkeypatch):
    synced, real = [], os.fsync

    def record(handle):
        real(handle)
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))

    monkeypatch.setattr(os, "fsync", record)
    exchange(server.port, scan())
    assert synced[-1] == str(server.folder)  # the name
    assert synced[-2].startswith(f"{server.folder}/.{newest(server.folder).name}")  # the content


def small_stream(folder, n_lines=3, closed=True):
    """A stream as a killed server leaves it: path, and the ends of its messages."""
    lines = [
        ismrmrd.Acquisition.from_array(np.full((2, 3), k, np.complex64)) for k in range(n_lines)
    ]
    parts = [protocol.text_message("{}", kinds.CONFIG_TEXT), protocol.header_message(header_xml())]
    parts += [protocol.acquisition_message(line) for line in lines]
    parts += [protocol.close_message()] * closed
    path = folder / "scan_incomplete.mrd"
    path.write_bytes(b"".join(parts))
    return path, np.cumsum([len(part) for part in parts])


def test_a_stream_can_be_read_wherever_it_was_cut(tmp_path):
    path, ends = small_stream(tmp_path)
    for length in range(ends[-1], ends[1], -1):
        os.truncate(path, length)
        assert len(list(read_stream(path))) == np.searchsorted(ends, length, side="right")


@pytest.mark.parametrize("cut", [0, 1, 2, 100])
def test_what_a_killed_server_left_becomes_a_file(tmp_path, cut):
    path, ends = small_stream(tmp_path)
    os.truncate(path, ends[-1] - cut)
    (tmp_path / ".scan_incomplete.h5.abc.tmp").write_bytes(b"killed while the file was made")
    (saved,) = recover_scans(tmp_path)
    assert saved.name == ("scan.h5" if cut == 0 else "scan_incomplete.h5")
    assert list(tmp_path.iterdir()) == [saved]
    with ismrmrd.Dataset(str(saved), mode="r") as dataset:
        assert dataset.number_of_acquisitions() == (2 if cut == 100 else 3)
        assert (dataset.read_acquisition(1).data == 1).all()
        assert dataset.read_xml_header() == header_xml()


def test_a_stream_without_data_leaves_no_file(tmp_path):
    path, _ = small_stream(tmp_path, n_lines=0)
    assert convert(path, {kinds.HEADER}) is None and not list(tmp_path.iterdir())


def test_a_scan_that_another_server_receives_is_left_alone(tmp_path):
    saver = RawSaver(tmp_path, "scan", protocol.header_message(header_xml()))
    assert recover_scans(tmp_path) == [] and saver.path.exists()
    saver.add(protocol.Message(kinds.ACQUISITION, ReceivedAcquisition.from_ismrmrd(scan()[0])))
    assert saver.finish(is_complete=True).name == "scan.h5"


def test_what_was_flushed_survives_when_the_file_cannot_be_made(tmp_path, monkeypatch):
    saver = RawSaver(tmp_path, "scan", protocol.header_message(header_xml()))
    saver.add(protocol.Message(kinds.ACQUISITION, ReceivedAcquisition.from_ismrmrd(scan()[0])))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saving, "write_scan", full)
        with pytest.raises(InputFileError, match="No space left"):
            saver.finish(is_complete=True)
    (saved,) = recover_scans(tmp_path)
    assert saved.name == "scan.h5"


def test_the_stream_is_written_as_it_comes(tmp_path):
    saver = RawSaver(tmp_path, "scan", protocol.header_message(header_xml()))
    with saver.path.open("rb") as file:
        assert not lock_descriptor(file.fileno(), blocking=False)
    saver.flush()
    assert [message.kind for message in read_stream(saver.path)] == [kinds.HEADER]
    assert saver.finish(is_complete=True) is None
