"""Centre block and acceleration of masks."""

import numpy as np
import pytest

from mri_alps.core.errors import ShapeError
from mri_alps.masks import make_mask
from mri_alps.rawdata import center_block, pattern_name, raw_from_arrays
from mri_alps.rawdata.sampling_pattern import measured_range, net_acceleration


def brute_force(mask):
    """Area of the largest centred block."""
    best = 0
    for height in range(1, mask.shape[0] + 1):
        for width in range(1, mask.shape[1] + 1):
            top = mask.shape[0] // 2 - height // 2
            left = mask.shape[1] // 2 - width // 2
            if mask[top : top + height, left : left + width].all():
                best = max(best, height * width)
    return best


@pytest.mark.parametrize("shape", [(9, 8), (8, 9), (1, 12), (7, 7)])
def test_center_block_against_brute_force(shape):
    rng = np.random.default_rng(0)
    for density in (0.3, 0.8, 0.95, 1.0):
        for _ in range(20):
            mask = rng.random(shape) < density
            block = center_block(mask)
            assert block[0] * block[1] == brute_force(mask)
            top, left = (n // 2 - b // 2 for n, b in zip(shape, block, strict=True))
            assert mask[top : top + block[0], left : left + block[1]].all()


def test_center_block_of_lines():
    mask = np.zeros((10, 144), bool)
    mask[:, 48:96] = True
    assert center_block(mask) == (10, 48)
    mask[:, 72] = False
    assert center_block(mask) == (0, 0)
    with pytest.raises(ShapeError, match="readout, phase_encode"):
        center_block(mask[0])


def test_acceleration_and_range():
    mask = np.zeros((1, 1, 20), bool)
    mask[..., 4:16:3] = True
    assert net_acceleration(mask) == 5
    assert net_acceleration(mask, 4, 16) == 3
    assert measured_range(mask) == (4, 14)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("equispaced", "regular lines"),
        ("equispaced-offset", "regular lines"),
        ("partial-fourier", "regular lines"),
        ("random", "irregular lines"),
        ("gaussian", "irregular lines"),
        ("poisson-lines", "irregular lines"),
        ("poisson", "points"),
        ("radial", "points"),
    ],
)
def test_patterns_have_a_name_whoever_drew_them(kind, name):
    for acceleration, width in ((4, 372), (8, 320)):
        mask = make_mask(kind, (64, width), acceleration=acceleration, center_fraction=0.04, seed=1)
        assert pattern_name(np.broadcast_to(mask, (64, width))) == name
    assert pattern_name(np.ones((4, 6), bool)) == "regular lines"


def test_arrays_in_memory():
    kspace = np.ones((2, 3, 4, 5), np.complex64)
    mask = np.array([True, False, True, True, False])
    raw = raw_from_arrays(kspace, mask, crop=(4, 9))
    assert raw.mask.shape == (1, 1, 5) and raw.crop == (4, 5)
    np.testing.assert_array_equal(raw.read_slice(1), kspace[1] * mask)
    with pytest.raises(ShapeError, match="does not fit"):
        raw_from_arrays(kspace, mask[:4])
    with pytest.raises(ShapeError, match="complex"):
        raw_from_arrays(kspace.real)
