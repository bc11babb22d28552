"""Coil compression at each readout position: its bound, and that data and maps stay one model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_alps.calibration import (
    compress_rows,
    compression_matrix,
    prepare_slice,
    row_compression_matrices,
)
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import standard_normal
from mri_alps.operators import SenseOperator
from mri_alps.operators.rounding import assert_equal_to_rounding, rounding_error
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation

SHAPE = (48, 41)


def unit_maps(n_coils=12, shape=SHAPE):
    maps = torch.from_numpy(simulation.coils(n_coils, shape)).to(torch.complex64)
    inside = torch.from_numpy(np.abs(simulation.disc(shape)) > 0)
    return maps / maps.abs().square().sum(0).sqrt() * inside


def random_image(dtype=torch.complex64):
    return standard_normal(SHAPE, torch.Generator().manual_seed(1), dtype)


def compressed(maps, matrices):
    return (matrices.to(maps.dtype) @ maps.transpose(0, 1)).transpose(0, 1)


def largest_difference(first, second):
    """Norm of the difference of two normal operators, by power iteration."""
    x = random_image()
    for _ in range(60):
        x = x / x.norm()
        x = first.normal(x) - second.normal(x)
    return float(x.norm())


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-3])
def test_the_tolerance_bounds_the_change_of_the_operator(tolerance):
    maps, mask = unit_maps(), simulation.lines(SHAPE[1], 2, 9)[0]
    mask = torch.from_numpy(np.atleast_1d(mask))
    matrices = row_compression_matrices(maps, tolerance)
    n_virtual = matrices.shape[1]
    assert matrices.shape == (SHAPE[0], n_virtual, 12)
    whole = SenseOperator(maps, mask)
    found = largest_difference(whole, SenseOperator(compressed(maps, matrices), mask))
    assert found <= tolerance + rounding_error(maps.dtype, maps.numel())
    if n_virtual > 1:  # and no coil more than needed
        fewer = compressed(maps, matrices[:, :-1])
        left_out = (maps.abs().square().sum(0) - fewer.abs().square().sum(0)).max()
        assert left_out > tolerance


def test_rows_need_fewer_coils_than_the_whole_image():
    maps = unit_maps()
    matrices = row_compression_matrices(maps, 1e-3)
    n_virtual = matrices.shape[1]
    one = torch.from_numpy(compression_matrix(maps.numpy(), n_virtual)).to(torch.complex64)
    left_out = 1 - torch.tensordot(one, maps, dims=1).abs().square().sum(0)
    inside = maps.abs().square().sum(0) > 0.5
    assert n_virtual < 12
    assert float(left_out[inside].max()) > 5e-3


def test_without_loss_nothing_changes():
    maps, mask = unit_maps(5), torch.arange(SHAPE[1]) % 2 == 0
    matrices = row_compression_matrices(maps, 1e-15)
    assert matrices.shape == (SHAPE[0], 5, 5)
    found = SenseOperator(compressed(maps, matrices), mask).normal(random_image())
    assert_equal_to_rounding(found, SenseOperator(maps, mask).normal(random_image()))


def test_data_and_maps_stay_one_model():
    """Compressed k-space is what the compressed maps predict, but for what is left out."""
    maps, mask = unit_maps(), torch.arange(SHAPE[1]) % 3 == 0
    matrices = row_compression_matrices(maps, 1e-3)
    kspace = SenseOperator(maps, mask).forward(random_image())
    small = compress_rows(kspace, matrices)
    operator = SenseOperator(compressed(maps, matrices), mask)
    assert_equal_to_rounding(small, operator.forward(random_image()))
    assert_equal_to_rounding(small * mask, small)
    rest = operator.adjoint(small) - SenseOperator(maps, mask).adjoint(kspace)
    assert float(rest.norm() / random_image().norm()) <= 1e-3 + rounding_error(maps.dtype)


def test_white_noise_stays_white():
    matrices = row_compression_matrices(unit_maps(6, SHAPE), 1e-2)
    generator = torch.Generator().manual_seed(0)
    noise = standard_normal((6, *SHAPE), generator, torch.complex64)
    found = compress_rows(noise, matrices).reshape(matrices.shape[1], -1)
    covariance = found @ found.conj().T / found.shape[1] / 2
    np.testing.assert_allclose(covariance, np.eye(len(found)), atol=0.1)
    eye = torch.eye(matrices.shape[1], dtype=matrices.dtype)
    assert_equal_to_rounding(matrices @ matrices.mH, eye.expand(len(matrices), -1, -1))


def test_masks_that_leave_out_a_part_of_the_readout_are_refused():
    kspace, _, _, matrix = simulation.acquisition(6, (64, 48))
    points = np.random.default_rng(0).random((64, 48)) < 0.5
    points[20:44, 12:36] = True
    raw = raw_from_arrays((kspace * points)[None], points, noise_covariance=matrix)
    with pytest.raises(ConfigurationError, match=r"\d+ of 48 lines are measured in part: leave"):
        prepare_slice(raw, 0, row_compression_tolerance=1e-3)
    assert prepare_slice(raw, 0).compression is None


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1e-3, float("nan")])
def test_impossible_tolerances_are_refused(tolerance):
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        row_compression_matrices(unit_maps(3), tolerance)


def test_one_compression_at_a_time():
    kspace, _, _, matrix = simulation.acquisition(6, (64, 48))
    raw = raw_from_arrays(kspace[None], noise_covariance=matrix)
    with pytest.raises(ConfigurationError, match="no other coil compression"):
        prepare_slice(raw, 0, n_virtual_coils=3, row_compression_tolerance=1e-3)
