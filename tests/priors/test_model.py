"""The network prior: equivariance, sizes, preconditioning, errors."""

import math

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import NetworkPrior, UNetConfig
from mri_alps.priors.network import reflect_pad

FAN_IN = 16 * 9  # of a convolution of the network below


def make_prior(equivariant: bool = True, seed: int = 0) -> NetworkPrior:
    """A small network with every weight away from its special initial value."""
    torch.manual_seed(seed)
    config = UNetConfig((8, 16), (1, 1), (1, 1), 8, 16, equivariant)
    prior = NetworkPrior(config, sigma_data=0.4, sigma_min=0.01, sigma_max=10.0)
    for value in prior.parameters():
        value.data += 0.2 * torch.randn_like(value)
    prior.convolution_dtype = torch.float32
    return prior.eval().requires_grad_(False)


def make_images(*shape: int, seed: int = 0) -> torch.Tensor:
    return standard_normal(shape, torch.Generator().manual_seed(seed), torch.complex64)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("sigma", [0.01, 0.3, 10.0])
@pytest.mark.parametrize("angle", [0.7, math.pi / 2, -2.5])
def test_denoiser_commutes_with_a_global_phase(sigma, angle):
    prior, x = make_prior(), make_images(2, 24, 20)
    turn = torch.polar(torch.tensor(1.0), torch.tensor(angle))
    residual = prior.denoise(x, sigma) - x
    assert residual.abs().max() > 1e-4 * sigma  # the network does something
    found = prior.denoise(turn * x, sigma)
    assert_equal_to_rounding(found, turn * prior.denoise(x, sigma), FAN_IN)
    scale = x.abs().max()  # what the residual is a difference of
    assert_equal_to_rounding(found - turn * x, turn * residual, FAN_IN, scale)


def test_two_channel_ablation_does_not_commute_with_a_global_phase():
    prior, x = make_prior(equivariant=False), make_images(1, 24, 20)
    assert relative(prior.denoise(1j * x, 0.3), 1j * prior.denoise(x, 0.3)) > 1e-3


def test_both_variants_have_the_same_layout():
    complex_one, real_one = make_prior(True), make_prior(False)
    arithmetic = [
        sum(p.numel() for n, p in prior.named_parameters() if p.ndim == 4)
        for prior in (complex_one, real_one)
    ]
    # One real convolution of the doubled channels has twice the free weights.
    assert arithmetic[1] == 2 * arithmetic[0]


@pytest.mark.parametrize("shape", [(16, 16), (17, 23), (31, 8), (5, 3), (1, 1), (40, 36)])
def test_any_size(shape):
    result = make_prior().denoise(make_images(2, *shape), 0.2)
    assert result.shape == (2, *shape)
    assert result.dtype == torch.complex64
    assert torch.isfinite(torch.view_as_real(result)).all()


def test_images_of_a_batch_do_not_see_each_other():
    prior, x = make_prior(), make_images(3, 20, 24)
    sigma = torch.tensor([0.02, 0.4, 5.0])
    together = prior.denoise(x, sigma)
    for index in range(3):
        alone = prior.denoise(x[index : index + 1], sigma[index].item())
        assert_equal_to_rounding(together[index], alone[0], FAN_IN)


def test_score_is_the_denoiser_minus_the_image_over_the_variance():
    prior, x = make_prior(), make_images(2, 16, 16)
    sigma = torch.tensor([0.1, 0.5])
    expected = (prior.denoise(x, sigma) - x) / sigma[:, None, None] ** 2
    assert_equal_to_rounding(
        prior.score(x, sigma), expected, scale=(x.abs().amax() / sigma**2)[:, None, None]
    )
    assert_equal_to_rounding(prior.score(x, 0.5)[1], expected[1], scale=x.abs().amax() / 0.25)


def test_untrained_network_is_the_wiener_filter_of_its_preconditioning():
    """The exit convolution starts at zero, so D = c_skip x at first."""
    prior = NetworkPrior(UNetConfig((8,), (1,), (1,), 8, 16), 0.4, 0.01, 10.0)
    x = make_images(1, 12, 12)
    for sigma in (0.01, 0.4, 5.0):
        expected = x * 0.4**2 / (0.4**2 + sigma**2)
        assert_equal_to_rounding(prior.denoise(x, sigma), expected, n_summed=1)


def test_bfloat16_autocast_stays_close():
    prior, x = make_prior(), make_images(1, 32, 32)
    exact = prior.denoise(x, 0.3)
    prior.autocast_dtype = torch.bfloat16
    rounded = prior.denoise(x, 0.3)
    assert rounded.dtype == torch.complex64
    assert 0 < relative(rounded, exact) < 0.05


def test_reflection_continues_an_image():
    row = torch.arange(4.0)[None, :].expand(2, 4)
    assert reflect_pad(row, 5)[0].tolist() == [0, 1, 2, 3, 2]
    assert reflect_pad(row, 9)[0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert reflect_pad(row[:1, :1], 3).tolist() == [[0.0] * 3] * 3
    assert reflect_pad(row, 2) is row


def test_wrong_inputs_are_refused():
    prior = make_prior()
    with pytest.raises(DtypeError, match="complex"):
        prior.denoise(torch.ones(1, 8, 8), 0.1)
    with pytest.raises(ShapeError, match=r"\(8, 8\)"):
        prior.denoise(make_images(8, 8), 0.1)
    with pytest.raises(ShapeError, match="sigma"):
        prior.denoise(make_images(2, 8, 8), torch.ones(3))
    with pytest.raises(ConfigurationError, match="sigma_min"):
        NetworkPrior(UNetConfig(), 0.4, 1.0, 0.5)
    with pytest.raises(ConfigurationError, match="group_size"):
        UNetConfig(channels=(12, 16, 16, 16))
    with pytest.raises(ConfigurationError, match="encoder_blocks"):
        UNetConfig(channels=(8, 16))
