"""Loss, schedule, averaging, recipe, spectrum, sampler of a run: against closed forms."""

import math

import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import standard_normal
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.training._pictures import draw_samples
from mri_alps.training._spectrum import (
    RadialMean,
    frequency_grid,
    level_grid,
    radial_spectrum,
)
from mri_alps.training.config import TrainingConfig
from mri_alps.training.loss import denoising_loss
from mri_alps.training.schedule import AveragedWeights, learning_rate
from mri_alps.training.validation import evaluate_denoiser

VARIANCE = 0.25  # of a white Gaussian prior, per real component


def wiener(x, sigma):
    sigma = torch.as_tensor(sigma).reshape(-1, 1, 1)
    return x * VARIANCE / (VARIANCE + sigma**2)


def white(n: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return math.sqrt(VARIANCE) * standard_normal((n, size, size), generator, torch.complex64)


def test_loss_of_the_optimal_denoiser_is_one_at_every_level():
    """sigma_data^2 = VARIANCE: the weighted error of the Wiener filter is exactly 1."""
    sigma = torch.tensor([0.01, 0.3, 1.0, 20.0])
    generator = torch.Generator().manual_seed(5)
    losses = denoising_loss(wiener, white(4, 200), sigma, math.sqrt(VARIANCE), generator)
    # 80,000 squared Gaussians per level: a relative standard deviation of 0.5 %.
    assert torch.allclose(losses, torch.ones(4), atol=0.025)
    wasteful = denoising_loss(lambda x, s: x, white(4, 200), sigma, 0.5, generator)
    assert wasteful[3] > 10


def test_validation_scores_of_the_optimal_denoiser():
    images = list(white(3, 128))
    scores = evaluate_denoiser(wiener, images, (0.05, 0.5), math.sqrt(VARIANCE))
    for score in scores:
        assert score.loss == pytest.approx(1.0, abs=0.03)
        error = 2 * VARIANCE * score.sigma**2 / (VARIANCE + score.sigma**2)
        peaks = [10 * math.log10(x.abs().max().square() / error) for x in images]
        assert score.psnr == pytest.approx(sum(peaks) / 3, abs=0.1)


def test_learning_rate_warms_up_stays_and_decays():
    recipe = TrainingConfig(steps=100, warmup_steps=10, decay_steps=40, learning_rate=2.0)
    rates = [learning_rate(step, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == pytest.approx(2.0)
    assert set(rates[9:61]) == {2.0}
    assert rates[80] == pytest.approx(1.0)  # half of the half cosine
    assert 0 < rates[99] < 0.01
    assert rates[60:] == sorted(rates[60:], reverse=True)


def test_average_follows_the_power_function():
    """Weights w_t = t average to sum t^(e+1) / sum t^e for large t."""
    layer = torch.nn.Linear(1, 1, bias=False)
    average = AveragedWeights(layer, exponent=6.94)
    for step in range(1, 2001):
        layer.weight.data.fill_(float(step))
        average.update(layer, step)
    expected = 2000 * (6.94 + 1) / (6.94 + 2)
    assert average.weights["weight"].item() == pytest.approx(expected, rel=2e-3)


def test_recipe_survives_json_and_refuses_nonsense(tmp_path):
    recipe = TrainingConfig(steps=7, validation_groups=("a*",))
    assert TrainingConfig(**recipe.to_dict()) == recipe
    with pytest.raises(ConfigurationError, match="colour"):
        TrainingConfig(colour="red")
    plan = {"size": 16, "batch_size": 8, "sigma_min": 0.1, "sigma_max": 0.5}
    for wrong, words in (
        ({"steps": 0}, "^steps is 0, expected a whole number of at least 1"),
        ({"unet": {"group_size": 0}}, "unet.group_size is 0: "),
        ({"unet": {"colour": "red"}}, "unet.colour is 'red': "),
        ({"unet": {"group_size": 7}}, "must be a positive multiple of group_size 7"),
        ({"unet": 3}, "unet is 3: "),
        ({"plans": [plan | {"share": -1}]}, "plans.0.share is -1: "),
        ({"plans": [{"size": 16}]}, "plans.0.batch_size: "),
        ({"plans": [plan | {"sigma_min": 1}]}, "sigma_min < sigma_max"),
        ({"plans": []}, "at least one crop plan"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            TrainingConfig(**wrong)
    (tmp_path / "r.json").write_text("[1]")
    with pytest.raises(ConfigurationError, match="JSON object"):
        TrainingConfig.entries(tmp_path / "r.json")


def test_spectrum_of_a_white_prior_is_flat_and_exact():
    images = [*white(6, 64), *white(4, 45, seed=1)]
    sigmas = level_grid(0.02, 5.0, 5)
    found = radial_spectrum(WhitePrior(), images, sigmas)
    # The prior at sigma_min, 0.02, stands for the prior itself.
    added = sigmas**2 - 0.02**2
    base = VARIANCE + 0.02**2
    score_power = 1 / (base + added)
    error_power = base * added / (base + added)
    assert found.score_power.shape == found.error_power.shape == (5, 40)
    counter = RadialMean(frequency_grid())
    for image in images:
        counter.add(image)
    broad = slice(10, 36)
    deviation = counter.count[broad].rsqrt()  # of a mean of squared complex Gaussians
    for power, expected in ((found.score_power, score_power), (found.error_power, error_power)):
        ratio = power[1:, broad] / expected[1:, None]
        assert ((ratio - 1).abs() / deviation).max() < 4.5
        assert (ratio.mean(1) - 1).abs().max() < 0.02
    assert found.error_power[0].max() < 1e-9
    assert found.image_power[broad].mean().item() == pytest.approx(VARIANCE, rel=0.02)
    # It is Gaussian, and its Hessian is its Fisher information.
    assert found.excess.max() < 0.02 * 2 * 64**2
    assert found.curvature.tolist() == pytest.approx([1.0] * 5, abs=0.25)


class WhitePrior:
    """The white Gaussian prior as a score model."""

    sigma_min, sigma_max = 0.02, 5.0

    def denoise(self, x, sigma):
        return wiener(x, sigma)

    def score(self, x, sigma):
        return -x / (VARIANCE + torch.as_tensor(sigma).reshape(-1, 1, 1) ** 2)


def test_spectrum_finds_the_frequency_of_a_wave():
    size, cycles = 64, 10
    wave = torch.exp(2j * math.pi * cycles / size * torch.arange(size)).expand(size, size)
    mean = RadialMean(frequency_grid())
    mean.add(wave.to(torch.complex64))
    power = mean.mean()
    peak = mean.frequencies[power.argmax()].item()
    assert abs(peak - cycles / size) < 0.02
    # All of the energy is in one sample: size^2 / 2 per real component.
    assert_equal_to_rounding(
        mean.total.sum().item(), size**2 / 2, n_summed=size**2, dtype="float32"
    )


def test_samples_of_a_gaussian_prior_have_its_variance():
    generator = torch.Generator().manual_seed(2)
    samples = draw_samples(wiener, (4, 64, 64), 0.01, 50.0, 200, generator)
    variance = torch.view_as_real(samples).var().item()
    # The stepwise-constant denoiser overestimates slightly; it vanishes with the step.
    assert variance == pytest.approx(VARIANCE, rel=0.06)
