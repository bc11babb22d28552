"""The contract of `sample_posterior`: reproducibility, budgets, callbacks, errors, robustness."""

import json
import math

import h5py
import pytest
import torch

from mri_alps import sample_posterior
from mri_alps.core.errors import (
    ConfigurationError,
    DivergenceError,
    DtypeError,
    MriAlpsWarning,
    ShapeError,
)
from mri_alps.operators import SenseOperator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.sampling import PosteriorSamples, estimate_prior_spectrum
from mri_alps.sampling.initial import InitialEstimate
from tests.sampling.posterior_bed import FlippedOutside, coil_maps, line_mask, make_prior, measure

SHAPE, NOISE = (8, 8), 0.3


class Counted:
    def __init__(self, prior):
        self.prior, self.calls = prior, 0
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max

    def score(self, x, sigma):
        self.calls += 1
        return self.prior.score(x, sigma)

    def denoise(self, x, sigma):
        self.calls += 1
        return self.prior.denoise(x, sigma)


@pytest.fixture(scope="module")
def bed():
    prior = make_prior(8, SHAPE)
    operator = SenseOperator(coil_maps(3, SHAPE), line_mask(8, 3, 2))
    measurement = measure(prior, operator, NOISE, torch.Generator().manual_seed(2))
    spectrum = estimate_prior_spectrum(prior, SHAPE, dtype=torch.complex128)
    return prior, operator, measurement.data, spectrum


def draw(bed, seed=4, **options):
    prior, operator, data, spectrum = bed
    settings = dict(n_samples=6, n_evaluations=12, prior_spectrum=spectrum)
    settings.update(options)
    generator = torch.Generator().manual_seed(seed)
    return sample_posterior(prior, operator, data, NOISE, generator=generator, **settings)


def test_a_seed_decides_the_samples(bed):
    torch.testing.assert_close(draw(bed).samples, draw(bed).samples, rtol=0, atol=0)
    assert not torch.allclose(draw(bed).samples, draw(bed, seed=5).samples)


@pytest.mark.parametrize("method", ["alps", "xgp1", "csgm", "dps"])
@pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")
def test_samples_do_not_depend_on_the_batch(bed, method):
    whole = draw(bed, method=method).samples
    first = draw(bed, method=method, n_samples=2).samples
    rest = draw(bed, method=method, n_samples=4, first_sample=2).samples
    assert_equal_to_rounding(torch.cat([first, rest]), whole)


def test_setup_is_counted_apart_and_can_be_handed_on(bed):
    counted = Counted(bed[0])
    result = draw((counted, *bed[1:]), prior_spectrum=None, n_samples=2)
    assert result.setup_evaluations > 0
    assert counted.calls == result.setup_evaluations + result.n_evaluations
    again = draw(bed, prior_spectrum=result.prior_spectrum, n_samples=2)
    assert_equal_to_rounding(again.samples, result.samples)


def test_callback_sees_every_step_and_can_stop(bed):
    seen = []
    draw(bed, callback=lambda info: seen.append((info.step, info.sigma)))
    assert [step for step, _ in seen] == list(range(1, 13))
    levels = [sigma for _, sigma in seen]
    assert levels == sorted(levels, reverse=True) and levels[-1] == bed[0].sigma_min
    result = draw(bed, callback=lambda info: "stop" if info.step == 5 else None)
    assert result.n_evaluations == 5


def test_a_method_can_be_a_callable(bed):
    result = draw(bed, method=lambda task: PosteriorSamples(torch.ones(task.n_samples, 2), 1))
    assert len(result.samples) == 6


class Explodes(Counted):
    def score(self, x, sigma):
        return 1e6 * (1 + x)


class ReturnsNan(Counted):
    def score(self, x, sigma):
        return x * float("nan")


@pytest.mark.parametrize("model", [Explodes, ReturnsNan])
def test_a_score_that_explodes_is_an_error_and_no_image(bed, model):
    with pytest.raises(DivergenceError, match=r"level .*step") as caught:
        draw((model(bed[0]), *bed[1:]))
    assert caught.value.step >= 0 and caught.value.level >= 0
    assert not caught.value.magnitude < 25


def test_a_score_wrong_outside_the_shell_never_yields_nonsense(bed):
    model = FlippedOutside(bed[0])
    result = draw((model, *bed[1:]), n_samples=200, n_evaluations=60)
    assert not bool(model.outside(result.samples, model.sigma_min).any())


class OnlyFisher:
    """Too little: the sampler also reads the levels, the curvature and Stein's identity."""

    def fisher(self, sigma, shape):
        return torch.full(shape, 1 / (1 + sigma**2), dtype=torch.float64)


def bad(bed, **changes):
    prior, operator, data, spectrum = bed
    arguments = dict(score_model=prior, operator=operator, data=data, noise_std=NOISE)
    arguments.update(prior_spectrum=spectrum, n_samples=2, n_evaluations=5)
    arguments.update(changes)
    return sample_posterior(**arguments)


def test_errors_name_what_is_wrong(bed):
    data = bed[2]
    broken = data.clone()
    broken[0, 0, 0] = float("nan")
    cases = [
        (ShapeError, "data has shape", dict(data=data[:, :4])),
        (DtypeError, "complex", dict(data=data.real)),
        (DtypeError, "torch.Tensor", dict(data=data.numpy())),
        (ConfigurationError, "NaN", dict(data=broken)),
        (ConfigurationError, "noise_std", dict(noise_std=0.0)),
        (ConfigurationError, "noise_std", dict(noise_std=float("nan"))),
        (ConfigurationError, "noise_std", dict(noise_std=-1.0)),
        (ShapeError, "noise_std", dict(noise_std=torch.tensor([0.1, 0.2, 0.3]))),
        (ConfigurationError, "method", dict(method="alp")),
        (ConfigurationError, "n_samples", dict(n_samples=0)),
        (ConfigurationError, "n_evaluations", dict(n_evaluations=1)),
        (ConfigurationError, "denoise", dict(score_model=object())),
        (ConfigurationError, "forward", dict(operator=object())),
        (ShapeError, "initial", dict(initial=InitialEstimate(torch.zeros(3, 3), sigma=0.1))),
        (ConfigurationError, "InitialEstimate", dict(initial=torch.zeros(SHAPE))),
        (ConfigurationError, "sigma", dict(method="xgp2")),
        (ConfigurationError, "PriorSpectrum", dict(prior_spectrum=OnlyFisher())),
    ]
    for error, words, changes in cases:
        with pytest.raises(error, match=words):
            bad(bed, **changes)


class LosesOne(Counted):
    """NaN for the second chain of several, and for whatever is tried again alone."""

    def score(self, x, sigma):
        score = super().score(x, sigma).clone()
        score[min(1, len(x) - 1)] = float("nan")
        return score


@pytest.mark.parametrize("method", ["alps", "xgp1", "csgm"])
@pytest.mark.filterwarnings("ignore:.*admissible schedule")
def test_a_chain_that_diverges_costs_itself(bed, method):
    whole = draw(bed, method=method)
    with pytest.warns(MriAlpsWarning, match="only 5 of 6 samples are used"):
        result = draw((LosesOne(bed[0]), *bed[1:]), method=method, first_sample=0)
    assert result.lost == (1,) and result.failure is not None
    torch.testing.assert_close(result.samples, whole.samples[[0, 2, 3, 4, 5]], rtol=0, atol=0)
    if method == "alps":
        assert all(math.isfinite(level["score_energy"]) for level in result.diagnostics["levels"])


def test_half_of_the_chains_have_to_be_left(bed):
    model = LosesOne(bed[0])
    with pytest.raises(DivergenceError, match="1 of 2 chains"):
        draw((model, *bed[1:]), n_samples=2)  # one sample has no deviation
    with pytest.warns(MriAlpsWarning, match="only 2 of 3"):
        assert len(draw((model, *bed[1:]), n_samples=3).samples) == 2
    result = draw((model, *bed[1:]), n_samples=1, first_sample=7, allow_lost=True)
    assert result.lost == (7,) and len(result.samples) == 0


def test_no_chain_is_begun_anew_after_a_callback_has_stopped_the_run(bed):
    model, seen = Counted(LosesOne(bed[0])), []

    def stop(info):
        seen.append(info.step)
        return "stop" if info.step == 4 else None

    result = draw((model, *bed[1:]), n_samples=4, callback=stop, allow_lost=True)
    assert result.lost == (1,)
    assert model.calls == len(seen) == 4


class InHalfPrecision(Counted):
    """As a network under autocast answers."""

    def score(self, x, sigma):
        return super().score(x, sigma).to(torch.complex32)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_a_score_in_half_precision_is_taken_in_that_of_the_chains(bed):
    operator, data = bed[1].to(torch.complex64), bed[2].to(torch.complex64)
    result = draw((InHalfPrecision(bed[0]), operator, data, bed[3]))
    exact = draw((bed[0], operator, data, bed[3]))
    assert result.samples.dtype == torch.complex64
    torch.testing.assert_close(result.samples, exact.samples, rtol=0, atol=0.02)


def test_samples_are_saved_drawn_and_shown_in_a_line(bed, tmp_path):
    result = draw(bed)
    with h5py.File(result.save(tmp_path / "samples.h5")) as file:
        torch.testing.assert_close(torch.from_numpy(file["samples"][()]), result.samples)
        assert file.attrs["seed"] == result.seed and file.attrs["n_evaluations"] == 12
        assert json.loads(file.attrs["diagnostics"])["levels"]
    assert "\n" not in repr(result) and "6 samples of 8x8" in repr(result)
    figure = result.plot(n_samples=3)
    figure.savefig(tmp_path / "shown.png")
    assert len(figure.axes) == 2 * 6  # an image and its colours each
    with pytest.raises(ConfigurationError, match="have no slice 1"):
        result.plot(1)
    with pytest.raises(ConfigurationError, match="expected a path"):
        result.save("a\0b")
