"""The benchmark of rivals: each does on a Gaussian bed what is known of it; its file and table."""

import dataclasses
import functools
import json
import math
from pathlib import Path

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.inverse_problem.problem import make_problem
from mri_alps.operators import SenseOperator
from mri_alps.priors import GaussianPrior
from mri_alps.priors.exact import exact_posterior
from mri_alps.sampling import CountedScore, sample_posterior
from mri_alps.sampling.diffusion import ancestral_step

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE = (12, 10)
NOISE_STD = 0.1
SAMPLERS = ("DPS", "PiGDM", "DiffPIR", "DDS", "score-MRI", "csgm")


@pytest.fixture
def rivals(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import rivals_samplers

    return rivals_samplers


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import benchmark_rivals

    return benchmark_rivals


def noise(*shape, seed=0, dtype=torch.complex128):
    return standard_normal(shape, torch.Generator().manual_seed(seed), dtype)


def white(power=1.0):
    """Independent pixels, whose posterior given a noisy image is Gaussian with variance r^2."""
    return GaussianPrior(power * torch.ones(SHAPE), sigma_min=0.02, sigma_max=20.0)


def sense(every=2, n_coils=2):
    """Lines of two coils; of one coil A A^H is the identity on what was measured."""
    maps = noise(n_coils, *SHAPE, seed=5)
    maps = maps / maps.abs().square().sum(0).sqrt()
    mask = torch.arange(SHAPE[1]) % every == 0
    return SenseOperator(maps, mask)


def bed(prior, operator, seed=1):
    """A truth of the prior, measured, as a problem."""
    truth = prior.sample(1, SHAPE, torch.Generator().manual_seed(seed), torch.complex128)[0]
    clean = operator.forward(truth)
    data = clean + NOISE_STD * noise(*clean.shape, seed=seed + 1) * operator.measured
    return make_problem(operator, data, NOISE_STD)


def draw(prior, problem, method, n_samples, n_evaluations, **setting):
    return sample_posterior(
        prior,
        problem.operator,
        problem.data,
        float(problem.noise_std),
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        method=functools.partial(method, **setting),
        generator=torch.Generator().manual_seed(3),
    ).samples


def matrix(operator):
    basis = torch.eye(math.prod(SHAPE), dtype=torch.complex128).reshape(-1, *SHAPE)
    return operator.forward(basis).flatten(1).T


def test_ddim_with_all_noise_new_is_the_ancestral_step(rivals):
    x, mean, z = (noise(4, *SHAPE, seed=seed) for seed in (1, 2, 3))
    found = rivals.ddim_step(x, mean, 0.7, 0.4, 1.0, z)
    torch.testing.assert_close(found, ancestral_step(x, mean, 0.7**2, 0.4**2, z))
    # And without new noise it keeps the direction to the denoised image.
    torch.testing.assert_close(
        rivals.ddim_step(x, mean, 0.7, 0.35, 0.0, z), mean + 0.5 * (x - mean)
    )


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("sample_dds", {"gamma": 1e-9, "eta": 0.0}),
        ("sample_dds", {"gamma": 1e-9, "eta": 1.0}),
        ("sample_diffpir", {"weight": 1e12, "zeta": 0.0}),
        ("sample_pigdm", {"scale": 0.0}),
        ("sample_score_mri", {"consistency": 0.0, "snr": 0.1}),
    ],
)
def test_without_weight_of_the_data_they_draw_from_the_prior(rivals, name, setting):
    prior = white(0.5)
    problem = bed(prior, sense())
    samples = draw(prior, problem, getattr(rivals, name), 30, 300, **setting)
    values = torch.view_as_real(samples)
    # 30 x 240 values: standard errors 0.0083 of the mean, 1.7 % of the variance; the steps of 300
    # levels leave 2 to 4 % (DDIM in coarse steps is narrower, Langevin's corrector wider).
    assert abs(float(values.mean())) < 0.035
    assert float(values.var()) == pytest.approx(0.5, rel=0.09)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("sample_dds", {"gamma": 1e6, "n_iterations": 60}),
        ("sample_diffpir", {"weight": 1e-6, "n_iterations": 60}),
        ("sample_score_mri", {}),
    ],
)
def test_with_all_weight_on_the_data_they_meet_them(rivals, name, setting):
    prior = white()
    problem = bed(prior, sense(n_coils=1))
    samples = draw(prior, problem, getattr(rivals, name), 2, 40, **setting)
    residual = problem.data - problem.forward(samples)
    assert float(residual.abs().max()) < 1e-4
    # What was not measured stays free.
    assert float((samples[0] - samples[1]).abs().max()) > 0.1


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_pigdm_guides_by_the_likelihood_where_its_assumption_is_true(rivals, sigma):
    """Of independent pixels p(image | noisy image) is Gaussian with the variance it supposes."""
    prior, operator = white(), sense()
    problem, x = bed(prior, operator), noise(2, *SHAPE, seed=9)
    variance = sigma**2 / (1 + sigma**2)
    mean, gradient = rivals.pigdm_gradient(
        problem, CountedScore(prior), x, sigma, variance, n_iterations=200
    )
    torch.testing.assert_close(mean, x / (1 + sigma**2))
    a = matrix(operator)
    a = a[a.abs().sum(1) > 0]
    y = problem.data.flatten()[problem.operator.measured.expand(problem.data.shape).flatten()]
    covariance = variance * a @ a.mH + NOISE_STD**2 * torch.eye(len(a))

    def log_likelihood(point):
        residual = y - (point.flatten() / (1 + sigma**2)) @ a.T
        return -0.5 * (residual.conj() @ torch.linalg.solve(covariance, residual)).real

    for point, found in zip(x, gradient, strict=True):
        point = point.clone().requires_grad_(True)
        (expected,) = torch.autograd.grad(log_likelihood(point), point)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SAMPLERS)
def test_their_means_are_near_the_posteriors(benchmark, name):
    """With some setting of its grid and 150 evaluations each is nearer than A^H y by far."""
    prior, operator = white(), sense()
    problem = bed(prior, operator)
    exact = exact_posterior(prior, operator, problem.data, NOISE_STD)
    method = benchmark.methods()[name]
    errors = []
    for setting in method.settings():
        samples, count, _ = method.run(_Case(problem), prior, 16, 150, 5, **setting)
        assert 0 < count <= 16 * 150
        errors.append(float((samples.mean(0) - exact.mean).abs().square().mean().sqrt()))
    spread = float(exact.std.square().mean().sqrt())
    blunder = float((problem.back_projection - exact.mean).abs().square().mean().sqrt())
    # 16 exact samples would be off by a quarter of the spread; csgm has 50 levels of 3 steps.
    assert min(errors) < (0.9 if name == "csgm" else 0.45) * spread
    assert min(errors) < 0.5 * blunder


class _Case:
    """As much of a case as samplers ask for."""

    def __init__(self, problem):
        self.acquisition = _Acquisition(problem)
        self.noise_std = NOISE_STD


@dataclasses.dataclass
class _Acquisition:
    problem: object
    weights: object = 1

    def operator(self):
        return self.problem.operator

    def data(self):
        return self.problem.data


def test_intervals_of_the_right_law_hold_what_they_say_and_cost_what_they_must(benchmark):
    from rivals_case import intervals

    operator = SenseOperator(torch.ones(1, 64, 64, dtype=torch.complex128), torch.ones(64) > 0)
    case = _Left(operator, 3 * noise(1, 64, 64, seed=1))
    samples = operator.adjoint(3 * noise(200, 1, 64, 64, seed=2))
    coverage, score = intervals(case, samples)
    assert coverage == pytest.approx(0.9, abs=0.012)  # 8,192 values: 3.6 standard errors
    # Of a normal law the score is 2 * 20 * density at the 95 % quantile, in standard deviations.
    assert score == pytest.approx(100 * 2 * 20 * 0.103136 / 1.0, rel=0.02)
    narrow = intervals(case, operator.adjoint(noise(200, 1, 64, 64, seed=2)))
    wide = intervals(case, operator.adjoint(9 * noise(200, 1, 64, 64, seed=2)))
    assert narrow[0] < 0.5 and wide[0] > 0.99
    assert min(narrow[1], wide[1]) > 1.2 * score


def test_the_score_of_few_samples_is_that_of_many_and_least_for_the_right_law(benchmark):
    from rivals_case import fair_score

    operator = SenseOperator(torch.ones(1, 64, 64, dtype=torch.complex128), torch.ones(64) > 0)
    case = _Left(operator, 3 * noise(1, 64, 64, seed=1))

    def score(std, n):
        return fair_score(case, operator.adjoint(std * noise(n, 1, 64, 64, seed=2)))

    # Of a normal law it is sigma / sqrt(pi); 8,192 values: one standard error is 0.8 %.
    assert score(3, 100) == pytest.approx(100 / math.sqrt(math.pi), rel=0.03)
    assert score(3, 3) == pytest.approx(100 / math.sqrt(math.pi), rel=0.05)
    assert min(score(2, 3), score(4.5, 3)) > score(3, 3)


class _Left:
    def __init__(self, operator, data):
        self.full_operator, self.data, self.noise_std = operator, data, 1e-6
        self.left_out = torch.ones(data.shape[1:], dtype=torch.bool)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """One quick run for all tests of the file and the table."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(BENCHMARKS))
    patch.setenv("OMP_NUM_THREADS", "1")
    import benchmark_rivals

    path = tmp_path_factory.mktemp("rivals") / "quick.jsonl"
    arguments = ["--quick", "--output", str(path)]
    lines = benchmark_rivals.main(arguments)
    yield benchmark_rivals, arguments, path, lines
    patch.undo()


def test_a_quick_run_has_every_method(quick):
    benchmark, _, _, lines = quick
    results = [line for line in lines.values() if line["stage"] == "result"]
    assert {line["method"] for line in results} == set(benchmark.methods())
    for line in results:
        assert math.isfinite(line["PSNR"]) and math.isfinite(line["misfit"])
        assert ("coverage" in line) == benchmark.methods()[line["method"]].is_sampler
    best = {line["method"]: line["PSNR"] for line in results if line["for"] != "CRPS"}
    # Seven levels of csgm are too few for this.
    names = [name for name in (*SAMPLERS, "DPIR") if name != "csgm"]
    assert min(best[name] for name in names) > best["zero-filled"]
    ours = next(line for line in results if line["method"] == "mri_alps")
    # The truth is the prior's draw; 4 samples, one slice.
    assert 0.8 < ours["coverage"] < 0.97 and 0.8 < ours["misfit"] < 1.2


def test_a_run_goes_on_where_it_was_stopped(quick, capsys):
    benchmark, arguments, path, lines = quick
    whole = path.read_text().splitlines()
    path.write_text("\n".join(whole[:-1]) + "\n" + whole[-1][:40])  # killed while it wrote
    again = benchmark.main(arguments)
    added = [json.loads(text) for text in path.read_text().splitlines()[len(whole) :]]
    assert again.keys() == lines.keys()
    last = json.loads(whole[-1])
    same = {k: v for k, v in last.items() if k != "seconds"}
    assert {k: v for k, v in added[-1].items() if k != "seconds"} == same
    table = capsys.readouterr().out
    assert "| mri_alps, 20 |" in table and "| DDS, 20" in table


def test_unknown_methods_are_refused(benchmark, tmp_path):
    from mri_alps.core.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="expected methods among zero-filled"):
        benchmark.main(["--output", str(tmp_path / "x.jsonl"), "--methods", "PnP"])


def test_the_table_marks_the_best_and_names_what_a_row_was_tuned_for(benchmark):
    from rivals_table import by_scan, markdown, summary

    common = {"scan": "a", "acceleration": 4.0, "evaluations": 40, "setting": {"eta": 0.5}}
    lines = [
        {**common, "method": "DDS", "for": "PSNR", "PSNR": 30.0, "interval_score": 9.0},
        {**common, "method": "DDS", "for": "CRPS", "PSNR": 29.0, "interval_score": 7.0},
        {**common, "method": "mri_alps", "for": "", "setting": {}, "PSNR": 31.0, "note": "x"},
    ]
    rows = markdown(lines).splitlines()
    assert "a, 4x" in rows
    first, second, third = rows[-3:]
    assert first.startswith("| DDS, 40 (for PSNR) | 30.00 |") and "eta 0.5" in first
    assert "**7.0**" in second and "(for CRPS)" in second
    assert third.startswith("| mri_alps, 40 | **31.00** |") and third.endswith("| x |")
    eight = {**lines[2], "acceleration": 8.0, "PSNR": 25.0}
    first, second = summary([*lines, eight]).splitlines()[-2:]
    assert first.startswith("| DDS, 40 | 29.00 /  |")
    assert second.startswith("| mri_alps, 40 | 31.00 / 25.00 |")
    heading, _, first, second = by_scan([*lines, {**eight, "scan": "b.h5"}]).splitlines()[-4:]
    assert heading == "| method | a, 4x | b, 8x |"
    assert first == "| DDS, 40 | 29.00 |  |" and second == "| mri_alps, 40 | 31.00 | 25.00 |"
