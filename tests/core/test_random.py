"""Noise has unit variance per real component and belongs to a chain, not to a batch."""

import pytest
import torch

from mri_alps.core.random import NoiseStreams, standard_normal, stream_seed

N = 200_000
BOUND = 5 / (2 * N) ** 0.5  # five standard errors of a standard deviation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_variance_is_one_per_real_component(dtype):
    noise = standard_normal((N,), torch.Generator().manual_seed(0), dtype)
    assert noise.dtype == dtype
    components = torch.view_as_real(noise).T if dtype.is_complex else noise[None]
    for component in components:
        assert float(component.std()) == pytest.approx(1, abs=BOUND)
        assert float(component.mean()) == pytest.approx(0, abs=5 / N**0.5)
    if dtype.is_complex:
        correlation = float((components[0] * components[1]).mean())
        assert correlation == pytest.approx(0, abs=5 / N**0.5)


def test_noise_depends_on_the_generator_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = standard_normal((5,), torch.Generator().manual_seed(3), torch.complex64)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    second = standard_normal((5,), torch.Generator().manual_seed(3), torch.complex64)
    assert torch.equal(first, second)


def make_streams(samples, slices=(0,), seed=7, **options):
    return NoiseStreams(seed, samples, slices, torch.device("cpu"), **options)


@pytest.mark.parametrize("antithetic", [False, True])
def test_a_chain_has_the_same_noise_in_any_batch_and_order(antithetic):
    options = {"antithetic": antithetic}
    together = make_streams([0, 1, 5], [2, 3], **options)
    reordered = make_streams([5, 0], [3], **options)
    alone = make_streams([1], [2], **options)
    for _ in range(3):
        a = together.normal((4, 5), torch.complex64)
        b = reordered.normal((4, 5), torch.complex64)
        c = alone.normal((4, 5), torch.complex64)
        assert a.shape == (6, 4, 5)
        assert torch.equal(a[5], b[0])
        assert torch.equal(a[1], b[1])
        assert torch.equal(a[2], c[0])
    assert len(together) == 6


def test_chains_differ_and_go_on():
    streams = make_streams([0, 1], [0, 1])
    first, second = (streams.normal((100,), torch.float64) for _ in range(2))
    others = (make_streams([0], seed=8), make_streams([0], attempt=1))
    rows = [*first, *second, *(other.normal((100,), torch.float64)[0] for other in others)]
    correlation = torch.corrcoef(torch.stack(rows)) - torch.eye(len(rows))
    assert correlation.abs().max() < 0.5


def test_antithetic_noise_sums_to_zero_in_groups_and_is_standard_normal_by_itself():
    n = 20_000
    noise = make_streams(range(6), [0, 1], antithetic=True).normal((n,), torch.float64)
    noise = noise.reshape(6, 2, n)
    rounding = 8 * torch.finfo(torch.float64).eps * float(noise.abs().max())
    assert float(noise[:4].sum(0).abs().max()) < rounding
    assert float(noise[4:].sum(0).abs().max()) > 1  # two of the next group's four
    expected = torch.eye(6) - (1 - torch.eye(6)) / 3
    expected[:4, 4:] = expected[4:, :4] = 0
    for k in range(2):
        # A covariance of n pairs scatters by sqrt((1 + rho^2) / n) at most; n = 20,000.
        assert float((noise[:, k] @ noise[:, k].T / n - expected).abs().max()) < 5 * (2 / n) ** 0.5
    assert float((noise[0, 0] @ noise[0, 1]).abs() / n) < 5 / n**0.5
    # A normal's fourth moment is 3, that of n values scatters by sqrt(96 / n).
    assert float((noise[0, 0] ** 4).mean() - 3) == pytest.approx(0, abs=5 * (96 / n) ** 0.5)


def test_stream_seeds_are_stable_distinct_and_fit_a_generator():
    # A changed value would change everyone's reproducible results.
    assert stream_seed(0, 1, 2) == 4529435921577843265
    seeds = {stream_seed(s, i, j) for s in range(5) for i in range(20) for j in range(20)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert stream_seed(1, 23) != stream_seed(12, 3)
    torch.Generator().manual_seed(max(seeds))
