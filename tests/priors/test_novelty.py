"""Foreign images are noticed, familiar ones are not."""

import math
import warnings

import pytest
import torch

from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.random import standard_normal
from mri_alps.priors import GaussianPrior, NetworkPrior, UNetConfig
from mri_alps.priors.novelty import (
    LEVELS,
    NOVELTY_KEY,
    log_errors,
    measure_novelty,
    reference_errors,
)


@pytest.fixture
def prior() -> NetworkPrior:
    """Untrained: a Wiener filter for white images of standard deviation 0.4."""
    return NetworkPrior(UNetConfig((8,), (1,), (1,), 8, 16), 0.4, 0.01, 10.0)


def image(size: float, seed: int) -> torch.Tensor:
    return size * standard_normal((48, 40), torch.Generator().manual_seed(seed), torch.complex64)


def test_errors_are_those_of_the_wiener_filter(prior):
    for value, sigma in zip(log_errors(prior, image(0.4, 0)), LEVELS, strict=True):
        # Pixels above a tenth of the largest: nearly all, slightly brighter than average.
        assert value == pytest.approx(math.log(0.16 / (0.16 + sigma**2)), abs=0.12)


def test_only_images_that_are_denoised_worse_are_reported(prior):
    prior.provenance = {
        NOVELTY_KEY: reference_errors(prior, [image(0.4, seed) for seed in range(1, 9)])
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measure_novelty(prior, image(0.4, 20)) < 3
        assert measure_novelty(prior, image(0.2, 21)) < 3
    with pytest.warns(MriAlpsWarning, match="unlike those"):
        assert measure_novelty(prior, image(4.0, 22)) > 4


def test_priors_without_reference_have_no_opinion(prior):
    assert measure_novelty(prior, image(9.0, 0)) is None
    assert measure_novelty(GaussianPrior, image(9.0, 0)) is None
