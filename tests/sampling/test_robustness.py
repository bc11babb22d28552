"""Theorem 1.1 by experiment: a score that is wrong rarely and hugely, annealed and not."""

import importlib
import math
from functools import partial
from pathlib import Path

import pytest
import torch

from mri_alps.operators import SenseOperator
from mri_alps.priors import GaussianPrior
from mri_alps.sampling import sample_posterior
from mri_alps.sampling.xgp import XgpConfiguration, sample_xgp1
from tests.sampling import robustness_bed as bed

VARIANCE, STRENGTH, N, EVALUATIONS = 0.1, 10.0, 500, 1000
# The expected distance of N exact samples' histogram from the law, and a share's standard error.
CHANCE = math.sqrt(bed.BINS / (2 * math.pi * N))
DEVIATION = math.sqrt(0.25 / N)


def l4_error(prior, error, n=200_000):
    """The error's L4 norm relative to the score's, by counting."""
    radius = prior.sample(n, torch.Generator().manual_seed(5)).norm(dim=1).double()
    size = error.strength * radius * (radius < error.radius)
    return float((size.pow(4).mean() / (prior.pull(radius) * radius).pow(4).mean()) ** 0.25)


@pytest.mark.parametrize("name", ["gaussian", "ball"])
def test_the_prior_is_what_it_says_and_the_error_as_large_as_asked_for(name):
    prior = bed.RadialPrior.named(name, 8)
    x = prior.sample(N * 20, torch.Generator().manual_seed(0))
    energy = x.square().sum(1)
    assert abs(energy.mean() - 8) < 5 * energy.std() / math.sqrt(len(x))
    # Stein: E x . s(x) = -d for any density, so the score belongs to the samples.
    product = -prior.pull(x.norm(dim=1).double()) * energy
    assert abs(product.mean() + 8) < 5 * product.std() / math.sqrt(len(x))
    error = bed.RareError.of_size(prior, 1.0, STRENGTH)
    assert l4_error(prior, error) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("dimension, size", [(32, 0.5), (64, 0.1)])
def test_annealing_survives_a_rare_huge_error_that_plain_langevin_does_not(dimension, size):
    prior = bed.RadialPrior.named("ball", dimension)
    error = bed.RareError.of_size(prior, size, STRENGTH)
    assert error.probability < 1e-4
    assert error.log_exponential_moment(prior) > 1000
    wrong = bed.compare(prior, error, VARIANCE, EVALUATIONS, N)
    assert wrong["annealed"].total_variation < 2 * CHANCE
    assert wrong["plain"].total_variation > wrong["annealed"].total_variation + 5 * DEVIATION
    assert wrong["plain"].caught > wrong["annealed"].caught + 5 * DEVIATION


def test_with_the_exact_score_both_are_right_and_only_plain_langevin_leaves_the_shell():
    prior = bed.RadialPrior.named("ball", 32)
    exact = bed.compare(prior, bed.RareError(), VARIANCE, EVALUATIONS, N)
    assert max(outcome.total_variation for outcome in exact.values()) < 2 * CHANCE
    assert exact["plain"].lowest < 0.62 < 0.95 < exact["annealed"].lowest


def test_in_one_dimension_annealing_makes_no_difference():
    prior = bed.RadialPrior.named("gaussian", 1)
    both = bed.compare(prior, bed.RareError.of_size(prior, 0.3, STRENGTH), VARIANCE, EVALUATIONS, N)
    assert max(outcome.total_variation for outcome in both.values()) < 2 * CHANCE


@pytest.mark.filterwarnings("ignore:the admissible schedule")
def test_on_an_image_only_langevin_without_annealing_is_caught():
    shape, n = (16, 16), 12
    prior = GaussianPrior(torch.ones(shape), sigma_min=0.02)
    model = bed.RarelyWrongScore(prior, shape, STRENGTH, 0.65)
    generator = torch.Generator().manual_seed(0)
    assert model.relative_error(generator) < 0.03
    maps = torch.ones(n, 1, *shape, dtype=torch.complex64)
    operator = SenseOperator(maps, torch.ones(shape, dtype=torch.bool))
    data = operator.forward(prior.sample(n, shape, generator))
    data = data + math.sqrt(VARIANCE) * bed.draw_noise(data.shape, generator)
    caught = {}
    for name, method, n_evaluations in (
        ("plain", partial(sample_xgp1, configuration=XgpConfiguration(annealed=False)), 400),
        ("annealed", partial(sample_xgp1, configuration=XgpConfiguration()), 400),
        ("alps", "alps", 20),
    ):
        found = sample_posterior(
            model,
            operator,
            data,
            math.sqrt(VARIANCE),
            n_samples=1,
            n_evaluations=n_evaluations,
            method=method,
            generator=generator,
        ).samples[0]
        caught[name] = bed.image_distance(model, operator, found, data, VARIANCE)[1]
    assert caught == {"plain": pytest.approx(1, abs=0.2), "annealed": 0, "alps": 0}


@pytest.mark.filterwarnings("ignore:.*admissible schedule")
def test_the_benchmark_prints_its_table_of_images(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    benchmark = importlib.import_module("benchmark_robustness")
    monkeypatch.setattr(benchmark, "SHARES", (0.0,))
    benchmark.images(2, 20, 3)
    assert capsys.readouterr().out.splitlines()[-1].startswith("| 0 | ")
