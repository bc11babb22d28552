"""Matrices that are whole numbers but for the rounding of a converter."""

from pathlib import Path

import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import Limit, make_header, parse_header

VIEW = (48.0, 40.0, 12.0)


def parse(matrix, recon=(48, 40, 12), limit=Limit(0, 39, 20)):
    limits = {"kspace_encoding_step_1": limit}
    return parse_header(make_header(matrix, recon, VIEW, VIEW, limits=limits), Path("f"))


def test_a_fraction_of_a_rounding_error_is_rounded_up_and_down():
    limit = Limit(0, 38.9999, 20.0001)
    encoding = parse((47.9998, 40.0002, 11.9996), (48, 40, 11.991), limit).encodings[0]
    assert encoding.encoded_matrix == encoding.recon_matrix == (48, 40, 12)
    assert encoding.limits["kspace_encoding_step_1"] == Limit(0, 39, 20)


@pytest.mark.parametrize(("axis", "size"), [("z", 11.98), ("z", 0.5), ("x", 47.5)])
def test_any_other_fraction_is_refused_by_name(axis, size):
    matrix = (48, 40, size) if axis == "z" else (size, 40, 12)
    with pytest.raises(InputFileError, match=f"encodedSpace/matrixSize/{axis} = {size}.*whole"):
        parse(matrix)


def test_a_fractional_limit_is_refused_by_name():
    with pytest.raises(InputFileError, match=r"kspace_encoding_step_1 = 20\.5"):
        parse((48, 40, 12), limit=Limit(0, 39, 20.5))
