"""Other denoisers as score models, against a Gaussian prior's closed form."""

from types import SimpleNamespace

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import TwoChannelPrior, from_deepinv, from_diffusers

VARIANCE = 0.3  # of the Gaussian prior, per real component


def wiener(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return x * (VARIANCE / (VARIANCE + sigma**2))[:, None, None, None]


def diffusers_like(kind: str) -> tuple:
    """An exact UNet and its scheduler for the Gaussian prior, in diffusers' conventions."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alphas = torch.cumprod(1 - betas, 0)

    def unet(sample, timestep):
        # Interpolate sigma as a network that knows only t would have to.
        low = timestep.long().clamp(max=998)
        part = (timestep - low).double()
        logs = ((1 - alphas) / alphas).sqrt().log()
        sigma = (logs[low] * (1 - part) + logs[low + 1] * part).exp()
        signal = (1 + sigma**2).rsqrt()[:, None, None, None]
        sigma = sigma.to(sample.dtype)
        x = sample / signal
        clean = wiener(x, sigma)
        noise = (x - clean) / sigma[:, None, None, None]
        deviation = signal * sigma[:, None, None, None]
        outputs = {
            "epsilon": noise,
            "sample": clean,
            "v_prediction": signal * noise - deviation * clean,
        }
        return SimpleNamespace(sample=outputs[kind].to(sample.dtype))

    scheduler = SimpleNamespace(alphas_cumprod=alphas, config=SimpleNamespace(prediction_type=kind))
    return unet, scheduler


@pytest.mark.parametrize("sigma", [0.02, 0.5, 30.0])
@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_diffusers_unet_gives_the_exact_denoiser(kind, sigma):
    prior = from_diffusers(*diffusers_like(kind))
    assert prior.sigma_min < 0.011 and prior.sigma_max > 100
    x = torch.randn(2, 33, 20, dtype=torch.complex64)
    expected = x * VARIANCE / (VARIANCE + sigma**2)
    error = (prior.denoise(x, sigma) - expected).abs().max() / expected.abs().max()
    assert error < 2e-3 if sigma > 1 else error < 1e-4


def test_deepinv_denoiser_gives_the_exact_denoiser_and_score():
    prior = from_deepinv(wiener, 0.01, 5.0, size_multiple=8)
    x = torch.randn(3, 13, 10, dtype=torch.complex128)
    sigma = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    factor = (VARIANCE / (VARIANCE + sigma**2))[:, None, None]
    assert_equal_to_rounding(prior.denoise(x, sigma), x * factor)
    assert_equal_to_rounding(prior.score(x, sigma), -x / (VARIANCE + sigma**2)[:, None, None])
    assert_equal_to_rounding(prior.denoise(x, 0.5)[1], (x * factor)[1])


def test_sizes_are_padded_to_what_the_denoiser_accepts():
    seen = []

    def denoiser(x, sigma):
        seen.append(tuple(x.shape))
        return x

    TwoChannelPrior(denoiser, 0.1, 1.0, size_multiple=16).denoise(
        torch.ones(1, 17, 30, dtype=torch.complex64), 0.5
    )
    assert seen == [(1, 2, 32, 32)]


def test_misuse_is_refused():
    with pytest.raises(ConfigurationError, match="sigma_min"):
        from_deepinv(wiener, 2.0, 1.0)
    unet, scheduler = diffusers_like("epsilon")
    scheduler.config.prediction_type = "flow"
    with pytest.raises(ConfigurationError, match="flow"):
        from_diffusers(unet, scheduler)
    grey = from_deepinv(lambda x, sigma: x[:, :1], 0.1, 1.0)
    with pytest.raises(ShapeError, match="two channels"):
        grey.denoise(torch.ones(1, 8, 8, dtype=torch.complex64), 0.5)
    with pytest.raises(DtypeError, match="complex"):
        grey.denoise(torch.ones(1, 8, 8), 0.5)
