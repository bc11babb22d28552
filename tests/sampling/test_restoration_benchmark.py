"""The benchmark of restoration: its rivals' singular vectors, its scores, one small row."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.operators import BlurOperator, SenseOperator, gaussian_kernel
from mri_alps.operators.rounding import assert_equal_to_rounding

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import benchmark_restoration

    return benchmark_restoration


def noise(*shape):
    return standard_normal(shape, torch.Generator().manual_seed(0), torch.complex64)


@pytest.mark.parametrize("name", ["box", "pixels", "gaussian blur", "4x smaller", "motion blur"])
def test_singular_vectors_give_the_normal_operator(benchmark, name):
    operator = benchmark.make_operator(name, 16)
    basis = benchmark.rivals.SingularBasis(operator)
    x = noise(2, 16, 16)
    found = basis.back(basis.values**2 * basis.into(x))
    assert_equal_to_rounding(found, operator.normal(x), x[0].numel(), scale=1.0)
    assert_equal_to_rounding(basis.back(basis.into(x)), x, x[0].numel(), scale=1.0)
    lengths = [y.abs().square().sum() for y in (x, basis.into(x))]
    assert float(lengths[0]) == pytest.approx(float(lengths[1]), rel=1e-5)  # V is unitary


def test_an_operator_without_known_singular_vectors_is_refused(benchmark):
    from mri_alps.core.errors import ConfigurationError

    mirrored = BlurOperator(gaussian_kernel(1.0), (16, 16), "reflect")
    for operator in (mirrored, SenseOperator(noise(2, 16, 16), torch.ones(16, dtype=torch.bool))):
        with pytest.raises(ConfigurationError, match="expected inpainting, a circular blur"):
            benchmark.rivals.SingularBasis(operator)


def test_the_score_is_that_of_the_definition(benchmark):
    from restoration_case import ranked_probability_score

    samples, truth = noise(5, 3), noise(1, 3)[0]
    pairs = [abs(a - b) for a in samples.real for b in samples.real]
    pairs += [abs(a - b) for a in samples.imag for b in samples.imag]
    between = float(torch.stack(pairs).sum()) / (2 * 5 * 5 * 2 * 3)
    errors = torch.cat([(samples - truth).real.abs(), (samples - truth).imag.abs()])
    expected = float(errors.mean()) - between
    assert ranked_probability_score(samples, truth.numpy()) == pytest.approx(expected, rel=1e-5)


def test_a_row_has_finite_figures_of_every_method(benchmark, capsys):
    arguments = "--prior gaussian --size 16 --images 1 --samples 4 --evaluations 10"
    results = benchmark.main([*arguments.split(), "--noise", "0.1", "--problems", "4x smaller"])
    (rows,) = results.values()
    assert set(rows) == {"alps", "DPS", "DiffPIR", "DDRM", "PnP-DM"}
    for title, row in rows.items():
        assert all(math.isfinite(row[key]) for key in ("PSNR", "CRPS", "coverage", "spread"))
        assert set(row["setting"]) == set(benchmark.GRIDS[title][1])
    # What is smooth is measured here; an image of zeros has 9 dB.
    assert min(row["PSNR"] for row in rows.values()) > 11
    assert len([line for line in capsys.readouterr().out.splitlines() if "4x smaller" in line]) == 2


@pytest.mark.parametrize("method", ["DPS", "DiffPIR", "DDRM", "PnP-DM"])
@pytest.mark.parametrize("evaluations", [2, 9])
def test_rivals_keep_to_their_evaluations(benchmark, method, evaluations):
    from mri_alps.sampling import sample_posterior

    prior, images = benchmark.load_bed("gaussian", 1, 16, None)
    counted = []
    denoise = prior.denoise
    prior.denoise = lambda x, sigma: (counted.append(len(x)), denoise(x, sigma))[1]
    operator = benchmark.make_operator("pixels", 16)
    result = sample_posterior(
        prior,
        operator,
        operator.forward(images[0]),
        0.1,
        n_samples=3,
        n_evaluations=evaluations,
        method=benchmark.GRIDS[method][0],
    )
    assert bool(torch.isfinite(result.samples.abs()).all())
    assert 0 < result.n_evaluations == len(counted) <= evaluations


def test_natural_images_without_weights_are_skipped_with_the_reason(benchmark, capsys):
    assert benchmark.main(["--prior", "drunet"]) == {}
    assert "deepinv ships no weights of DRUNet" in capsys.readouterr().out


def test_coverage_and_spread_of_draws_of_the_truths_own_law(benchmark):
    generator = torch.Generator().manual_seed(3)
    truth, samples = 5 + noise(64, 64), 5 + standard_normal((8, 64, 64), generator, torch.complex64)
    found = benchmark.figures(samples, truth)
    # 64 x 64 pixels: one standard error of a share of 0.9 is 0.005.
    assert found["coverage"] == pytest.approx(0.9, abs=0.02)
    assert found["spread"] == pytest.approx(1.0, abs=0.03)
    assert np.isnan(found["LPIPS"])
