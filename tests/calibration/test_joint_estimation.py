from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_alps.calibration import calibration_scale, estimate_sensitivity_maps, prepare_slice
from mri_alps.calibration.joint_estimation import _Product, complete_center
from mri_alps.core.crop import center_crop
from mri_alps.core.errors import InputFileError
from mri_alps.core.solvers import inner_product
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation


def scan(shape, n_center):
    """A scan of 8 coils with few central lines, 3x, and maps of all of its samples."""
    kspace, _, _, matrix = simulation.acquisition(8, shape, 0.005)
    mask = simulation.lines(shape[1], 3, n_center)
    raw = raw_from_arrays((kspace * mask)[None], mask, noise_covariance=matrix)
    return raw, kspace, mask


def test_the_adjoint_is_that_of_the_derivative():
    generator = torch.Generator().manual_seed(0)
    x, d, r = (torch.randn(n, 9, 8, generator=generator, dtype=torch.complex128) for n in (4, 4, 3))
    window = torch.rand(9, 8, generator=generator, dtype=torch.float64)
    model = _Product(torch.rand(9, 8, generator=generator) > 0.4, 3.0, window)
    start = model.at(x)
    left = inner_product(model.derivative(d), r, 3)
    torch.testing.assert_close(left, inner_product(d, model.adjoint(r), 3))
    step = 1e-6
    difference = (model.at(x + step * d) - start) / step
    model.at(x)
    torch.testing.assert_close(difference, model.derivative(d), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "n_center"), [((64, 72), 4), ((63, 71), 5), ((64, 72), 7)])
def test_maps_of_few_lines_are_those_of_all(shape, n_center):
    raw, kspace, _ = scan(shape, n_center)
    found = prepare_slice(raw, 0)
    white = np.tensordot(found.whitening, kspace, axes=1)
    block = center_crop(white, (32, 32))
    expected = estimate_sensitivity_maps(block, shape, noise_std=1.0)
    alignment = (expected.conj() * found.sensitivity_maps).sum(0).abs()
    inside = torch.as_tensor(np.abs(simulation.disc(shape)) > 0.1)
    assert alignment[inside].median() > 0.995
    assert alignment[inside].mean() > 0.99
    assert found.scale == pytest.approx(calibration_scale(block, expected), rel=0.05)
    assert "joint estimation" in found.info["sensitivity_maps"]


def test_measured_samples_stay_and_the_others_come_near_the_truth():
    _, kspace, mask = scan((64, 72), 5)
    whole = torch.as_tensor(kspace)
    points = torch.as_tensor(mask).expand(64, 72)
    found = complete_center(whole * points, points)
    truth, known = center_crop(whole, (32, 32)), center_crop(points, (32, 32))
    torch.testing.assert_close(found[:, known], truth[:, known])
    missing = truth[:, ~known]
    assert (found[:, ~known] - missing).abs().square().sum() < 0.05 * missing.abs().square().sum()


def test_three_lines_are_refused_in_a_sentence():
    raw, _, _ = scan((64, 72), 3)
    with pytest.raises(InputFileError, match=r"centre of 64x3 .* at least 4x4: scan with"):
        prepare_slice(raw, 0)
