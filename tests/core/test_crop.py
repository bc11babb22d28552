"""The centre pixel stays the centre pixel."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from mri_alps.core.crop import center_crop, center_crop_or_pad, center_range


@pytest.mark.parametrize("length", [6, 7])
@pytest.mark.parametrize("size", [2, 3])
def test_index_half_goes_to_index_half(length, size):
    line = np.zeros((2, length))
    line[:, length // 2] = 1
    for found in (
        line[:, center_range(length, size)],
        center_crop(line, (size,)),
        center_crop(torch.from_numpy(line), (2, size)).numpy(),
        center_crop_or_pad(line, (2, size)),
    ):
        assert found.shape == (2, size) and (found[:, size // 2] == 1).all()
    assert center_crop_or_pad(line, (2, 9))[0, 4] == 1


def test_reading_raw_files_does_without_torch():
    """The child that opens foreign files starts and ends fast."""
    code = "import sys, mri_alps.rawdata; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
