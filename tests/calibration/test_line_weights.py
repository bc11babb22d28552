"""Weights of measured samples: noise against noise and model error together."""

import pytest
import torch

from mri_alps.calibration.line_weights import sampling_weights
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
