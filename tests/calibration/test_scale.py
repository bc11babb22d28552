from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_alps.calibration import calibration_scale, estimate_sensitivity_maps, image_scale
from mri_alps.core.crop import center_crop
from mri_alps.core.errors import DtypeError, InputFileError, ShapeError
from mri_alps.operators.rounding import assert_equal_to_rounding
from tests.calibration import calibration_simulation as simulation


def test_scale_follows_the_image():
    image = simulation.disc((64, 80))
    assert_equal_to_rounding(
        image_scale(7.5 * image), 7.5 * image_scale(image), n_summed=image.size, dtype="float32"
    )
    assert_equal_to_rounding(
        image_scale(image * np.exp(1.3j)), image_scale(image), n_summed=image.size, dtype="float32"
    )


def test_a_flat_image_has_its_own_value_as_scale():
    image = np.zeros((90, 70), complex)
    image[15:75, 10:60] = 3
    assert image_scale(image) == pytest.approx(3, rel=0.08)


def test_training_and_inference_agree():
    kspace, image, coils, _ = simulation.acquisition(8, (96, 80), level=1e-3)
    maps = estimate_sensitivity_maps(center_crop(kspace, (24, 24)), (96, 80), noise_std=1e-3)
    known = image_scale((maps.numpy().conj() * image * coils).sum(0))
    for n_lines in (10, 16, 32):
        found = calibration_scale(center_crop(kspace, (96, n_lines)), maps)
        assert found == pytest.approx(known, rel=0.15 if n_lines == 10 else 0.03)


def test_more_lines_than_the_block_change_nothing():
    kspace, _, _, _ = simulation.acquisition(4, (64, 64))
    maps = estimate_sensitivity_maps(center_crop(kspace, (24, 24)), (64, 64))
    scales = [calibration_scale(center_crop(kspace, (n, n)), maps) for n in (16, 24, 64)]
    assert scales[0] == pytest.approx(scales[1]) == pytest.approx(scales[2])


def test_readout_oversampling_and_empty_margins_change_little():
    image = simulation.disc((64, 64))
    wide = np.zeros((128, 64), complex)
    wide[32:96] = image
    maps = torch.ones((1, 128, 64), dtype=torch.complex64)
    kspace = simulation.fft2c(wide)[None].astype(np.complex64)
    found = calibration_scale(center_crop(kspace, (64, 32)), maps, (2.0, 1.0))
    assert found == pytest.approx(image_scale(image), rel=0.03)


def test_resolution_changes_little():
    fine, coarse = simulation.disc((256, 256)), simulation.disc((128, 128))
    assert image_scale(fine) == pytest.approx(image_scale(coarse), rel=0.05)


def test_scale_refuses_what_has_none():
    with pytest.raises(DtypeError):
        image_scale(np.ones((8, 8)))
    with pytest.raises(ShapeError):
        image_scale(np.ones((2, 8, 8), complex))
    with pytest.raises(InputFileError, match="zero"):
        image_scale(np.zeros((8, 8), complex))
