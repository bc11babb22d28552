"""Weights of measured samples: noise against noise and model error together."""

import math

import pytest
import torch

from mri_alps.calibration.line_weights import (
    SPREAD_WIDTH,
    sampling_weights,
    spread_over_lines,
)
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import standard_normal

NOISE = 0.1


def scan():
    """Four coils; line 5 has a hundred times the noise as its signal, all others have none."""
    generator = torch.Generator().manual_seed(1)
    kspace = NOISE * standard_normal((4, 400, 9), generator, torch.complex64)
    kspace[..., 5] += 100 * NOISE
    mask = torch.tensor([True, False, True, False, False, True, False, False, True])
    return kspace * mask, mask


def test_a_line_of_strong_signal_is_trusted_less():
    kspace, mask = scan()
    weights = sampling_weights(kspace, mask, NOISE, 0.05)
    assert weights.shape == mask.shape and weights.dtype == torch.float32
    # per real component the signal is 100 / sqrt(2) times the noise
    expected = 1 / (1 + 0.05**2 * 100**2 / 2) ** 0.5
    assert float(weights[5]) == pytest.approx(expected, rel=1e-2)
    assert float(weights[[0, 2, 8]].min()) > 0.999
    assert bool((weights[~mask] == 1).all())


def test_points_have_weights_of_their_own():
    kspace, mask = scan()
    points = mask.expand(400, 9)
    weights = sampling_weights(kspace, points, NOISE, 0.05)
    assert weights.shape == (400, 9)
    assert float(weights[:, 5].max()) < 0.4 < 0.9 < float(weights[:, 0].min())


def test_no_error_no_weights():
    kspace, mask = scan()
    assert bool((sampling_weights(kspace, mask, NOISE, 0.0) == 1).all())


@pytest.mark.parametrize("error", [-0.1, float("nan")])
def test_an_impossible_error_is_told(error):
    kspace, mask = scan()
    with pytest.raises(ConfigurationError, match="maps_error"):
        sampling_weights(kspace, mask, NOISE, error)


def test_a_strong_line_takes_trust_from_those_beside():
    mask = torch.zeros(61, dtype=torch.bool)
    mask[20:41] = True  # all lines around the strong one, and one far away
    mask[0] = True
    weights = torch.ones(61)
    weights[30] = 0.01
    spread = spread_over_lines(weights, mask)
    assert spread.shape == mask.shape and spread.dtype == torch.float32
    assert bool((spread[~mask] == 1).all())
    allowance = spread.double().pow(-2) - 1
    # The kernel's sum over all lines is pi W / 2, but for its tails.
    total = math.pi * SPREAD_WIDTH / 2
    assert float(allowance[30]) == pytest.approx(1e4 / total, rel=1e-2)
    for distance in (1, 4, 8):
        expected = 1e4 / total / (1 + (distance / SPREAD_WIDTH) ** 2) ** 2
        for side in (30 - distance, 30 + distance):
            assert float(allowance[side]) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("width", [32, 45])
def test_a_level_allowance_stays(width):
    """Up to both ends, and where lines were not measured between."""
    mask = torch.zeros(width, dtype=torch.bool)
    mask[::5] = True
    weights = torch.where(mask, torch.tensor(0.5), torch.tensor(1.0))
    assert torch.allclose(spread_over_lines(weights, mask), weights, rtol=1e-5)
