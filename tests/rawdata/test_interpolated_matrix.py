"""Scanners that interpolate: fields of view, and not the recon matrix, decide the crop."""

import numpy as np
import pytest

from mri_alps.pipeline.provenance import pixel_aspect
from mri_alps.rawdata import Limit, make_header, read_raw, write_fastmri
from tests.rawdata.rawdata_helpers import (
    center_crop,
    fft_centered,
    ifft_centered,
    lines,
    random_complex,
    write_acquisitions,
)

ENCODED, VIEW = (48, 20, 1), (460.0, 204.0, 7.5)


def text(recon, recon_view, encoded_view=VIEW):
    limits = {"kspace_encoding_step_1": Limit(0, 19, 10)}
    return make_header(ENCODED, recon, encoded_view, recon_view, limits=limits)


def opened(path, header, kspace):
    write_acquisitions(path, header, lines(kspace))
    return read_raw(path)


def test_the_image_covers_the_recon_field_of_view(tmp_path):
    image = random_complex(0, 2, 48, 20)
    raw = opened(tmp_path / "s.h5", text((48, 36, 1), (230.0, 194.0, 5.0)), fft_centered(image))
    assert raw.crop == (24, 19) and raw.shape == (24, 20)
    np.testing.assert_allclose(
        ifft_centered(raw.read_slice(0)), center_crop(image, 24, 1), atol=1e-5
    )
    np.testing.assert_allclose(raw.pixel_spacing, (460 / 48, 204 / 20))
    assert pixel_aspect(raw) == pytest.approx((460 / 48) / (204 / 20))
    said = " ".join(raw.provenance["processing"])
    assert "24 x 19" in said and "230 x 194 mm" in said and "48 x 36 is interpolated" in said


def test_partitions_that_are_interpolated(tmp_path):
    view = (48.0, 20.0, 12.0)
    text_3d = make_header((48, 20, 12), (48, 20, 24), view, (48.0, 20.0, 8.0))
    partitions = [
        line
        for step in range(12)
        for line in lines(random_complex(step, 1, 48, 20), kspace_encode_step_2=step)
    ]
    write_acquisitions(tmp_path / "v.h5", text_3d, partitions)
    raw = read_raw(tmp_path / "v.h5")
    assert raw.axes == ("phase_encode", "partition") and raw.crop == (20, 8)
    assert "20 x 8 mm; its matrix 20 x 24 is interpolated" in str(raw.provenance["processing"])


def test_of_a_recon_matrix_that_is_smaller_than_its_field_of_view(tmp_path):
    header = text((12, 10, 1), (230.0, 204.0, 5.0))
    assert opened(tmp_path / "s.h5", header, random_complex(0, 1, 48, 20)).crop == (24, 20)


@pytest.mark.parametrize(
    ("recon_view", "encoded_view"),
    [
        ((231.0, 204.9, 5.0), VIEW),  # rounding
        ((0.23, 0.204, 5.0), VIEW),  # metres beside millimetres
        ((230.0, 204.0, 5.0), (0.0, 0.0, 0.0)),  # none for the encoded matrix
    ],
)
def test_the_recon_matrix_decides_where_fields_of_view_say_nothing_else(
    tmp_path, recon_view, encoded_view
):
    header = text((24, 20, 1), recon_view, encoded_view)
    raw = opened(tmp_path / "s.h5", header, random_complex(0, 1, 48, 20))
    assert raw.crop == (24, 20)
    assert "interpolated" not in str(raw.provenance["processing"])


def test_in_fastmris_layout_unless_there_are_reference_images(tmp_path):
    kspace = random_complex(0, 1, 2, 48, 20)
    header = text((48, 36, 1), (230.0, 194.0, 5.0))
    write_fastmri(tmp_path / "a.h5", kspace, header=header)
    assert read_raw(tmp_path / "a.h5").crop == (24, 19)
    reference = np.ones((1, 48, 20), np.float32)
    write_fastmri(tmp_path / "b.h5", kspace, header=header, reconstruction=reference)
    assert read_raw(tmp_path / "b.h5").crop == (48, 20)
