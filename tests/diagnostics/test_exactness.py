"""`verify`: an exact sampler passes, and one that is wrong in one respect fails for it."""

import json
from dataclasses import replace

import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.diagnostics.exact_gaussian import ExactGaussian, GaussianProblem
from mri_alps.diagnostics.exactness import Figure, verify_gaussian, verify_mixture
from mri_alps.operators import SenseOperator
from mri_alps.priors import GaussianMixturePrior, exact_posterior
from mri_alps.sampling.restarts import sample_alps

CPU = torch.device("cpu")
SMALL = GaussianProblem((24, 24), "lines", 4, n_coils=4)
N = 128
SHIPPED = []


def failing(verification):
    return {figure.name for figure in verification.figures if not figure.passed}


def shipped(task):
    """The package's samples of `SMALL`, drawn once: every test asks for the same ones."""
    SHIPPED[:] = SHIPPED or [sample_alps(task)]
    return SHIPPED[0]


def small(method=shipped):
    return verify_gaussian(SMALL, n_samples=N, n_draws=N, method=method)


@pytest.mark.parametrize("pattern", ["lines", "points"])
def test_the_known_answer_is_that_of_dense_algebra(pattern):
    problem = GaussianProblem((13, 12), pattern, 4, noise_std=0.02, n_coils=3)
    exact = ExactGaussian(problem, CPU)
    generator = torch.Generator().manual_seed(1)
    data = exact.measure(problem.prior.sample(1, problem.shape, generator)[0], generator)
    mean, draws = exact.solve(data, 200, generator)
    dense = exact_posterior(
        problem.prior,
        SenseOperator(problem.maps.to(torch.complex128), problem.mask),
        torch.fft.fftshift(data, dim=(-2, -1)),
        problem.noise_std,
    )
    images = torch.fft.fftshift(exact.image(torch.cat([mean[None], draws])), dim=(-2, -1))
    assert (images[0] - dense.mean).norm() < 1e-7 * dense.mean.norm()
    # Whitened by the dense factor, each of the draws' 156 complex values has the energy 2.
    root = dense.choleskys[0]
    white = torch.linalg.solve_triangular(root, images[1:].reshape(200, -1).T, upper=False)
    assert abs(white.abs().square().mean() / 2 - 1) < 5 / (156 * 200) ** 0.5
    ratio, error = exact.whitened_deviation(mean + draws)
    assert abs(ratio - 1) < 4 * error


def test_what_is_shipped_passes():
    assert not failing(small()) and not failing(verify_mixture())


def narrow(task):
    result = shipped(task)
    mean = result.samples.mean(0)
    return replace(result, samples=mean + 0.85 * (result.samples - mean))


def narrow_where_nothing_is_measured(task):
    result = shipped(task)
    frequencies = fftc(result.samples)
    mean = frequencies.mean(0)
    scale = torch.where(SMALL.unmeasured_low, 0.8, 1.0)
    return replace(result, samples=ifftc(mean + scale * (frequencies - mean)))


def too_wide_where_measured(task):
    """The data's noise taken for larger than it is: only every third direction is measured."""
    problem = replace(task.problem, noise_std=task.problem.noise_std * 1.15)
    return sample_alps(replace(task, problem=problem))


def off_center(task):
    result = shipped(task)
    return replace(result, samples=result.samples + 0.1 * result.samples.std(0))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (narrow, {"deviation, all frequencies", "coverage of 90 % intervals"}),
        (narrow_where_nothing_is_measured, {"deviation, unmeasured low"}),
        (too_wide_where_measured, {"deviation, whitened"}),
        (off_center, {"error of the mean"}),
    ],
)
def test_a_wrong_sampler_fails_for_what_is_wrong(method, expected):
    assert expected <= failing(small(method))


def test_wrong_shares_of_the_modes_fail():
    def method(task):
        prior = task.score_model
        wrong = GaussianMixturePrior(
            prior.weights.flip(0), prior.means, prior.powers, prior.sigma_min
        )
        return sample_alps(replace(task, score_model=wrong))

    assert "weights, total variation" in failing(
        verify_mixture(n_samples=N, n_evaluations=20, method=method)
    )


def test_what_is_no_number_fails():
    assert not Figure("error of the mean", float("nan"), 0.0, 1.15).passed


@pytest.mark.parametrize(
    "wrong", [{"pattern": "spiral"}, {"acceleration": 0}, {"noise_std": 0.0}, {"shape": (4, 96)}]
)
def test_a_problem_that_is_none_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=f"GaussianProblem: found {name}="):
        GaussianProblem(**wrong)


@pytest.mark.parametrize(("method", "code"), [(shipped, 0), (narrow, 1)])
def test_the_command(run, monkeypatch, method, code):
    from mri_alps.cli import verify

    found = small(method)
    monkeypatch.setattr(verify, "verify_exactness", lambda device, seed: iter([found]))
    table = run("verify", "--device", "cpu")
    assert table.code == code, table.err
    assert ("FAIL" in table.out) == bool(code) and "deviation, unmeasured low" in table.out
    finished = run("verify", "--device", "cpu", "--seed", "3", "--json")
    assert finished.code == code
    found = json.loads(finished.out)
    assert found["device"] == "cpu" and found["seed"] == 3
    (problem,) = found["problems"]
    assert problem["passed"] == (not code) and problem["name"] == SMALL.name
    if code:
        assert finished.err.count("\n") == 1
        assert "not those of the posterior: deviation, all frequencies 0.8" in finished.err


@pytest.mark.slow
def test_the_real_command_passes_on_this_machine(run):
    finished = run("verify", "--device", "cpu", "--json")
    assert finished.code == 0, finished.err
    problems = json.loads(finished.out)["problems"]
    assert [p["name"].split(",")[0] for p in problems] == ["Gaussian"] * 3 + ["mixture of 4"]
    for problem in problems[:3]:
        assert "96x96" in problem["name"] and problem["n_evaluations"] == 20
        assert {f["name"] for f in problem["figures"]} >= {"deviation, unmeasured low"}
