"""A larger network starts as exactly the function of the smaller one, and learns from there."""

import dataclasses

import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import standard_normal
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors.growth import take_weights
from mri_alps.priors.network import NetworkPrior
from mri_alps.priors.unet import UNetConfig

SMALL = UNetConfig((8, 16), (1, 1), (1, 2), embedding_size=16)
LARGER = {
    "a level": UNetConfig((8, 16, 8), (1, 1, 2), (1, 2, 1), embedding_size=16),
    "encoder blocks": UNetConfig((8, 16), (1, 3), (1, 2), embedding_size=16),
    "decoder blocks": UNetConfig((8, 16), (1, 1), (2, 3), embedding_size=16),
    "all": UNetConfig((8, 16, 24, 8), (2, 2, 1, 1), (2, 2, 1, 1), embedding_size=16),
}
OTHER = {
    "fewer blocks": UNetConfig((8, 16), (1, 1), (1, 1), embedding_size=16),
    "fewer levels": UNetConfig((8,), (1,), (1,), embedding_size=16),
    "wider": UNetConfig((16, 16), (1, 1), (1, 2), embedding_size=16),
    "another embedding": UNetConfig((8, 16), (1, 1), (1, 2), embedding_size=32),
    "no equivariance": dataclasses.replace(SMALL, equivariant=False),
}


def network(config: UNetConfig, seed: int) -> NetworkPrior:
    """A network whose layers all do something."""
    torch.manual_seed(seed)
    model = NetworkPrior(config, 0.4, 0.01, 10.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def noisy(seed: int = 0) -> torch.Tensor:
    return standard_normal((2, 48, 32), torch.Generator().manual_seed(seed), torch.complex64)


@pytest.mark.parametrize("equivariant", [True, False])
@pytest.mark.parametrize("kind", LARGER)
def test_the_larger_network_computes_the_same(kind, equivariant):
    small = network(dataclasses.replace(SMALL, equivariant=equivariant), 0)
    large = network(dataclasses.replace(LARGER[kind], equivariant=equivariant), 1)
    x = noisy()
    assert not torch.allclose(large.denoise(x, 0.5), small.denoise(x, 0.5), atol=1e-2)
    take_weights(large, small)
    assert_equal_to_rounding(large.denoise(x, 0.5), small.denoise(x, 0.5))


@pytest.mark.parametrize("kind", LARGER)
def test_what_was_added_learns(kind):
    """The layers that start at zero have gradients, those behind them as soon as they moved."""
    large = network(LARGER[kind], 1)
    take_weights(large, network(SMALL, 0))
    x, level = noisy(), torch.tensor([0.5, 0.5])
    for _ in range(2):
        large.zero_grad()
        large(x, level).abs().square().sum().backward()
        with torch.no_grad():
            for parameter in large.parameters():
                parameter.sub_(1e-4 * parameter.grad)
    for name, parameter in large.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", OTHER)
def test_other_layouts_are_refused(kind):
    model = network(OTHER[kind], 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigurationError, match="layout"):
        take_weights(model, network(SMALL, 0))
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
