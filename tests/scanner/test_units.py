"""Which acquisitions a unit of a scanner is reconstructed from."""

import ismrmrd
import numpy as np
import pytest
from ismrmrd.hdf5 import acquisition_header_dtype

from mri_alps.rawdata import make_header, parse_header
from mri_alps.rawdata.ismrmrd import make_acquisition
from mri_alps.scanner._units import UnitTracker


def head_of(acquisition):
    return np.frombuffer(bytes(acquisition.getHead()), acquisition_header_dtype)[0]


@pytest.mark.parametrize("flag", [ismrmrd.ACQ_IS_PHASECORR_DATA, ismrmrd.ACQ_IS_NAVIGATION_DATA])
def test_phase_correction_lines_go_with_their_slice(tmp_path, flag):
    matrix, view = (8, 4, 1), (8.0, 4.0, 1.0)
    header = parse_header(make_header(matrix, matrix, view, view), tmp_path)
    units = UnitTracker(header, header.encodings[0], n_units=4)
    line, number, expected = np.ones((2, 8), np.complex64), 0, {0: [], 1: []}
    for index in (0, 1):
        for row in range(-1, 4):
            flags = [flag] if row < 0 else []
            made = make_acquisition(line, *flags, slice=index, kspace_encode_step_1=max(row, 0))
            units.add(number, head_of(made))
            if row >= 0 or flag == ismrmrd.ACQ_IS_PHASECORR_DATA:
                expected[index].append(number)
            number += 1
    found = {unit.slice: units.lines_for(unit, number).tolist() for unit in units.units}
    assert found == expected
