"""A client sends a part of a file."""

import h5py
import ismrmrd
import numpy as np
import pytest

from mri_alps.cli.send import sent_parts
from mri_alps.core.errors import InputFileError
from mri_alps.pipeline import ReconstructionConfiguration, parts_of
from mri_alps.rawdata import make_header, parse_header
from mri_alps.rawdata.ismrmrd import make_acquisition, write_acquisitions
from mri_alps.scanner import SentPart
from mri_alps.scanner._sent_part import open_part

NOISE, CALIBRATION = ismrmrd.ACQ_IS_NOISE_MEASUREMENT, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION


@pytest.fixture
def scan(tmp_path):
    header = make_header((8, 4, 1), (8, 4, 1), (8.0, 4.0, 1.0), (8.0, 4.0, 1.0))
    end = header.index(b"</encoding>") + len(b"</encoding>")
    start = header.index(b"<encoding>")
    second = header[start:end].replace(b"<x>8</x>", b"<x>6</x>")
    line = np.ones((2, 8), np.complex64)
    lines = [make_acquisition(line, NOISE), make_acquisition(line, CALIBRATION)]
    lines += [
        make_acquisition(line, contrast=contrast, encoding_space_ref=space)
        for space in (0, 1)
        for contrast in (0, 1, 2)
    ]
    path = tmp_path / "scan.h5"
    write_acquisitions(path, header[:end] + second + header[end:], lines)
    return path


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (SentPart(), range(8)),
        (SentPart(counters={"contrast": (0, 2)}), [0, 1, 2, 4, 5, 7]),
        (SentPart(encoding=0, counters={"contrast": (1,)}), [0, 1, 3]),
        (SentPart(encoding=1), [0, 5, 6, 7]),
    ],
)
def test_lines_of_a_part(scan, part, expected):
    header, lines = open_part(scan, part)
    assert lines.tolist() == list(expected)
    encodings = parse_header(header, scan).encodings
    assert len(encodings) == (2 if part.encoding is None else 1)
    if part.encoding is not None:
        assert encodings[0].encoded_matrix[0] == (8, 6)[part.encoding]


def test_what_a_header_does_not_have_is_refused(scan):
    with pytest.raises(InputFileError, match="2 encoding spaces and lines of number 5"):
        open_part(scan, SentPart(encoding=5))


def asked(path, **choice):
    configuration = ReconstructionConfiguration(**choice)
    return sent_parts(parts_of(path, configuration), configuration)


def test_measurements_and_encodings_are_sent_each_by_itself(scan):
    assert asked(scan) == {"": SentPart()}
    assert asked(scan, contrast="0-1") == {"": SentPart(counters={"contrast": (0, 1)})}
    assert asked(scan, encoding="all") == {
        f"_encoding-{space}": SentPart(encoding=space) for space in (0, 1)
    }
    with h5py.File(scan, "a") as file:
        file.copy("dataset", "other")
    assert asked(scan, contrast="1") == {
        f"_dataset-{name}": SentPart(dataset=name, counters={"contrast": (1,)})
        for name in ("dataset", "other")
    }
