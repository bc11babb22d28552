"""MRD streams as files: the same scan as in HDF5, and nothing in them is trusted."""

import os
import struct
import tracemalloc

import ismrmrd
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.rawdata import Selection, read_raw
from mri_alps.rawdata.ismrmrd import kinds
from tests.rawdata.mrd_messages import acquisition_message, message, text
from tests.rawdata.rawdata_helpers import (
    header,
    lines,
    make_acquisition,
    random_complex,
    write_acquisitions,
)

HEADER = header((8, 6, 1))


def acquisitions():
    noise = make_acquisition(random_complex(3, 2, 64), ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    return [noise, *lines(random_complex(0, 2, 8, 6))]


@pytest.fixture
def stream(tmp_path):
    """Everything that a scanner sends: configuration, header, lines, a waveform, an image."""
    waveform = ismrmrd.Waveform.from_array(np.zeros((2, 7), np.uint32))
    image = ismrmrd.Image.from_array(np.ones((3, 4), np.float32))
    image_body = bytes(image.getHead()) + struct.pack("<Q", 5) + b"attrs" + image.data.tobytes()
    first, *others = map(acquisition_message, acquisitions())
    parts = [
        message(kinds.CONFIG_FILE, b"default.xml".ljust(1024, b"\0")),
        text(kinds.HEADER, HEADER),
        first,
        message(kinds.WAVEFORM, bytes(waveform.getHead()) + waveform.data.tobytes()),
        text(kinds.TEXT, b"hello"),
        message(kinds.IMAGE, image_body),
        *others,
        message(kinds.CLOSE),
    ]
    path = tmp_path / "meas.ismrmrd"
    path.write_bytes(b"".join(parts))
    return path


def test_a_stream_is_the_scan_that_it_is_as_hdf5(tmp_path, stream):
    write_acquisitions(tmp_path / "same.h5", HEADER, acquisitions())
    found, expected = read_raw(stream), read_raw(tmp_path / "same.h5")
    np.testing.assert_array_equal(found.read_slice(0), expected.read_slice(0))
    np.testing.assert_array_equal(found.read_slice(0), random_complex(0, 2, 8, 6))
    np.testing.assert_array_equal(found.noise_covariance, expected.noise_covariance)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.provenance["warnings"] == expected.provenance["warnings"]


def test_a_trajectory_before_the_samples_is_read_over(tmp_path):
    made = lines(random_complex(0, 2, 8, 6))
    for line in made:
        line.resize(8, 2, trajectory_dimensions=2)
    for row, line in enumerate(made):
        line.data[:] = random_complex(0, 2, 8, 6)[:, :, row]
    path = tmp_path / "t.mrd"
    path.write_bytes(text(kinds.HEADER, HEADER) + b"".join(map(acquisition_message, made)))
    np.testing.assert_array_equal(read_raw(path).read_slice(0), random_complex(0, 2, 8, 6))


def test_a_cut_stream_keeps_its_whole_lines_and_says_so(stream):
    os.truncate(stream, stream.stat().st_size - 3)  # within the last line
    raw = read_raw(stream)
    np.testing.assert_array_equal(raw.mask[0, 0], [True] * 5 + [False])
    assert any("6 whole acquisitions" in note for note in raw.provenance["warnings"])


def test_a_stream_that_is_cut_after_it_was_opened(stream):
    raw = read_raw(stream)
    os.truncate(stream, stream.stat().st_size - 10)
    with pytest.raises(InputFileError, match="changed while"):
        raw.read_slice(0)


def huge_line():
    head = make_acquisition(np.zeros((1, 4), np.complex64)).getHead()
    head.number_of_samples = head.active_channels = 65535
    return message(kinds.ACQUISITION, bytes(head))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (text(kinds.HEADER, HEADER) + message(kinds.CLOSE), "without acquisition"),
        (text(kinds.HEADER, HEADER) + huge_line(), "without acquisition"),
        (text(kinds.CONFIG_TEXT, b"{}") + message(kinds.CLOSE), "without header"),
        (text(kinds.HEADER, HEADER) * 2, "two headers"),
        (text(kinds.HEADER, HEADER) + message(kinds.IMAGE, b"\xff" * 206), "data type 65535"),
        (text(kinds.HEADER, HEADER) + message(0), "unknown kind 0"),
    ],
)
def test_damaged_streams_are_refused_by_one_sentence(tmp_path, content, what):
    path = tmp_path / "damaged.mrd"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputFileError, match=what) as caught:
        read_raw(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22  # 32 GiB are claimed
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and "MRD stream" in str(caught.value)


def test_a_stream_has_no_names_to_choose_from(stream):
    with pytest.raises(ConfigurationError, match="one measurement"):
        read_raw(stream, selection=Selection(dataset="dataset_2"))
    assert read_raw(stream, selection=Selection(repetition=0)).n_slices == 1
