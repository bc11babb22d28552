"""The compiled network against the plain one."""

import copy
import pickle
import warnings

import numba
import numpy as np
import pytest
import torch
from torch.nn import functional

from mri_alps.core.random import standard_normal
from mri_alps.priors import NetworkPrior, UNetConfig, fused, load_prior
from mri_alps.priors.fused import _kernels, _unet, _winograd

# Sums over 9 x 16 products and over all pixels, in other orders, through 10 layers.
ROUNDING = 2e-5
BFLOAT16 = 2.0**-8
SHAPES = [(16, 16), (17, 23), (31, 8), (5, 3), (1, 1), (40, 36), (2, 64)]


def make_prior(config: UNetConfig | None = None, seed: int = 0) -> NetworkPrior:
    torch.manual_seed(seed)
    config = config or UNetConfig((8, 16, 24), (1, 0, 2), (2, 1, 0), 8, 16)
    prior = NetworkPrior(config, sigma_data=0.4, sigma_min=0.01, sigma_max=10.0)
    for value in prior.parameters():
        value.data += 0.1 * torch.randn_like(value)
    prior.convolution_dtype = torch.float32
    return prior.eval().requires_grad_(False)


def plain(prior: NetworkPrior, x: torch.Tensor, sigma) -> torch.Tensor:
    """What the layers themselves say: weights of which gradients are asked are not packed."""
    twin = copy.deepcopy(prior).requires_grad_(True)
    assert twin._fused_unet(x) is None
    with torch.no_grad():
        return twin.denoise(x, sigma)


def make_images(*shape: int, seed: int = 0) -> torch.Tensor:
    return standard_normal(shape, torch.Generator().manual_seed(seed), torch.complex64)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.01, 0.3, 10.0])
def test_it_is_the_plain_network_to_rounding(shape, sigma):
    prior, x = make_prior(), make_images(2, *shape)
    assert prior._fused_unet(x) is not None
    found, expected = prior.denoise(x, sigma), plain(prior, x, sigma)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert relative(found - x, expected - x) < ROUNDING


@pytest.mark.parametrize("group_size", [4, 8, 16])
def test_groups_of_other_sizes(group_size):
    prior = make_prior(UNetConfig((16, 32), (1, 1), (1, 1), group_size, 8))
    x = make_images(1, 24, 20)
    assert relative(prior.denoise(x, 0.2) - x, plain(prior, x, 0.2) - x) < ROUNDING


def test_a_level_for_each_image():
    prior, x = make_prior(), make_images(3, 20, 24)
    sigma = torch.tensor([0.02, 0.4, 5.0])
    assert relative(prior.denoise(x, sigma), plain(prior, x, sigma)) < ROUNDING


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neighbours_in_a_batch_change_no_bit(dtype):
    prior, x = make_prior(), make_images(3, 20, 24)
    prior.convolution_dtype = dtype
    together = prior.denoise(x, 0.3)
    for index in range(3):
        assert torch.equal(together[index], prior.denoise(x[index : index + 1], 0.3)[0])


def test_bfloat16_changes_what_its_precision_says():
    prior, x = make_prior(), make_images(1, 32, 40)
    exact = prior.denoise(x, 0.3) - x
    prior.convolution_dtype = torch.bfloat16
    error = float((prior.denoise(x, 0.3) - x - exact).norm() / exact.norm())
    assert BFLOAT16 / 10 < error < 4 * BFLOAT16


def test_bfloat16_on_the_packaged_network_is_small_beside_what_it_finds():
    """Rounding of the score, relative to the score (0.006 to 0.024), at every noise level."""
    prior, image = load_prior("brain-small"), make_images(1, 48, 40)
    for sigma in (0.01, 0.1, 1.0, 10.0):
        x = 0.5 + sigma * image
        prior.convolution_dtype = torch.float32
        exact = prior.score(x, sigma)
        prior.convolution_dtype = torch.bfloat16
        assert float((prior.score(x, sigma) - exact).norm() / exact.norm()) < 0.04


def test_changed_weights_are_seen():
    prior, x = make_prior(), make_images(1, 16, 16)
    before = prior.denoise(x, 0.3)
    with torch.no_grad():
        for value in prior.parameters():
            value.mul_(1.5)
    after = prior.denoise(x, 0.3)
    assert relative(after, before) > 1e-3
    assert relative(after, plain(prior, x, 0.3)) < ROUNDING
    prior.load_state_dict(make_prior(seed=1).state_dict())
    assert relative(prior.denoise(x, 0.3), plain(prior, x, 0.3)) < ROUNDING


def test_gradients_go_through_the_plain_network():
    prior, x = make_prior(), make_images(1, 16, 16).requires_grad_()
    value = prior.denoise(x, 0.3).abs().square().sum()
    value.backward()
    assert x.grad.abs().max() > 0
    assert relative(prior.denoise(x.detach(), 0.3), prior.denoise(x, 0.3).detach()) < ROUNDING
    push = torch.func.jvp(lambda z: prior.denoise(z, 0.3), (x.detach(),), (x.detach(),))[1]
    assert push.abs().max() > 0


def test_a_copy_and_another_process_pack_their_own():
    prior, x = make_prior(), make_images(1, 16, 16)
    expected = prior.denoise(x, 0.3)
    for twin in (copy.deepcopy(prior), pickle.loads(pickle.dumps(prior))):
        assert twin._fused is None
        assert torch.equal(twin.denoise(x, 0.3), expected)


def test_without_numba_the_plain_network_runs(monkeypatch):
    prior, x = make_prior(), make_images(1, 16, 16)
    expected = prior.denoise(x, 0.3)
    fused.load_kernels.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "mri_alps.priors.fused._kernels", None)
    try:
        with pytest.warns(RuntimeWarning, match="cannot be compiled"):
            found = prior.denoise(x, 0.3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it is said once
            prior.denoise(x, 0.3)
    finally:
        fused.load_kernels.cache_clear()
    assert relative(found, expected) < ROUNDING


@pytest.mark.parametrize(
    "values", [[1.0, -1.5, 3.14159, 1e-30, 65504.0], [1.00390625, 1.01171875, 0.0]]
)
def test_rounding_to_bfloat16_is_torchs(values):
    kernels = _unet.load_kernels()
    x = torch.tensor(values).repeat(2)[None].repeat(4, 1)
    found = np.zeros((1, 4 * x.shape[1]), np.uint16)
    kernels.halve(x.numpy(), 2, found)
    expected = x.repeat(1, 1).flatten().bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert found.flatten().tolist() == expected.tolist()


@pytest.mark.parametrize("kind", ["nbi", "nbc"])  # the index, and the code
def test_a_damaged_cache_of_compiled_code_is_told_and_passed_over(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    values, sums = np.ones((3, 4), np.float32), np.zeros(2)
    _kernels.compiled(_kernels.power)(values, sums)
    files = list(tmp_path.rglob(f"*.{kind}"))
    assert files
    for file in files:
        file.write_bytes(b"")
    sums[:] = 0
    power = _kernels.compiled(_kernels.power)
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        power(values, sums)
    assert np.array_equal(sums, [6, 6])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        power(values, sums)


@pytest.mark.parametrize("shape", [(12, 12), (13, 40), (64, 3), (1, 150), (50, 47)])
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (5, 33), (160, 24)])
def test_winograds_convolution_is_the_plain_one(shape, inputs, outputs, monkeypatch):
    monkeypatch.setattr(_winograd, "TILES_AT_ONCE", 30)  # in parts, the last one smaller
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator)
    x = torch.randn(shape[0] * shape[1], inputs, generator=generator)
    image = x.double().view(*shape, inputs).permute(2, 0, 1)
    expected = functional.conv2d(image, weight.double(), padding=1).flatten(1).T
    found = _winograd.Convolution(weight)(x, shape)
    # Rounding is 10 to 25 units of the last place for 24 to 160 inputs.
    unit = torch.finfo(torch.float32).eps
    assert float((found - expected).norm() / expected.norm()) < 64 * unit


def test_it_is_used_where_threads_are_few_alone(monkeypatch):
    prior, x = make_prior(UNetConfig((16, 32), (1, 1), (1, 1), 8, 8)), make_images(1, 48, 40)
    calls, convolve = [], _winograd.Convolution.__call__
    monkeypatch.setattr(
        _winograd.Convolution,
        "__call__",
        lambda *arguments: calls.append(arguments) or convolve(*arguments),
    )
    monkeypatch.setattr(_unet, "MOST_THREADS", torch.get_num_threads())
    few = prior.denoise(x, 0.3)
    assert len(calls) == 5
    calls.clear()
    monkeypatch.setattr(_unet, "MOST_THREADS", torch.get_num_threads() - 1)
    many = prior.denoise(x, 0.3)
    assert not calls
    assert relative(few - x, many - x) < ROUNDING
