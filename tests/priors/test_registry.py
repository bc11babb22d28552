"""The priors inside the package."""

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.priors import available_priors, load_prior, registry


@pytest.mark.parametrize("name", available_priors())
def test_packaged_priors_are_complete(name):
    path = registry._WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size <= 12e6
    card = path.with_suffix(".md").read_text()
    assert "CC-BY" in card and "not for" in card
    prior = load_prior(name)
    assert prior.provenance["images_seen"] > 0
    assert len(prior.provenance["data"]["fingerprint"]) == 64
    assert prior.prior_spectrum is not None
    generator = torch.Generator().manual_seed(0)
    x = standard_normal((1, 40, 33), generator, torch.complex64)
    for sigma in (prior.sigma_min, 0.3, prior.sigma_max):
        # An empty image under noise: most of the noise goes.
        left = prior.denoise(sigma * x, sigma).abs().square().mean() / 2
        assert left < 0.3 * sigma**2


def test_default_prior_is_packaged():
    assert registry.DEFAULT_PRIOR in available_priors()
