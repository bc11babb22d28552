"""Public functions x wrong values: an error of ours that names the argument, never another."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

import mri_alps
from mri_alps.calibration import calibrate_volume
from mri_alps.core.errors import MriAlpsError, PluginError
from mri_alps.core.plugins import guarded
from mri_alps.evaluation import evaluate_folder, write_report
from mri_alps.operators import IdentityOperator
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file
from mri_alps.priors import GaussianPrior, from_deepinv

DEMO = Path(mri_alps.__file__).parent / "data" / "demo_brain.h5"
DATA = torch.ones(4, 4, dtype=torch.complex64)
GAUSSIAN = GaussianPrior.power_law()
WRONG = ("x", float("nan"), float("-inf"), -0.5, 10**400, (), {}, object(), b"x", 1j, np.zeros(3))
FITTING = {  # what of these makes sense after all, by its place in WRONG
    "method": "x", "prior": "x", "mask": "x", "sensitivity_maps": "x", "device": "x",
    "slices": (), "name_or_path": "x", "path": "x", "initial": "x", "calibration": "x",
    "dataset": "x", "trajectory": "x", "golden_angle": -0.5,
}  # fmt: skip
SAMPLING = dict(
    score_model=GAUSSIAN, operator=IdentityOperator((4, 4)), data=DATA, noise_std=1.0, n_samples=1,
    n_evaluations=2,
)  # fmt: skip
MASK = dict(kind="gaussian", shape=(16, 16), acceleration=2.0)


@pytest.fixture(scope="module")
def raw():
    return mri_alps.read_raw(DEMO)


def is_fitting(name, value):
    return isinstance(value, (str, tuple, float)) and FITTING.get(name) == value


def check(call, name, values=WRONG):
    for value in values:
        if is_fitting(name, value):
            continue
        with pytest.raises(MriAlpsError) as caught:
            call(**{name: value})
        message = str(caught.value)
        assert "\n" not in message and len(message) < 600, message


@pytest.mark.parametrize("name", ReconstructionConfiguration.__dataclass_fields__)
def test_settings_of_a_reconstruction(name):
    check(ReconstructionConfiguration, name)


@pytest.mark.parametrize("name", inspect.signature(mri_alps.sample_posterior).parameters)
def test_sample_posterior(name):
    check(lambda **changed: mri_alps.sample_posterior(**SAMPLING | changed), name)


@pytest.mark.parametrize("name", inspect.signature(mri_alps.make_mask).parameters)
def test_make_mask(name):
    check(lambda **changed: mri_alps.make_mask(**MASK | changed), name)


@pytest.mark.parametrize(
    "name",
    sorted(set(inspect.signature(mri_alps.prepare_slice).parameters)),
)
def test_prepare_slice(raw, name):
    check(lambda **changed: mri_alps.prepare_slice(**{"raw": raw, "index": 0} | changed), name)


@pytest.mark.parametrize("name", ["raw", "mask", "noise_std", "noise_covariance"])
def test_calibrate_volume(raw, name):
    check(lambda **changed: calibrate_volume(**{"raw": raw} | changed), name)


def test_names_and_paths(tmp_path):
    check(mri_alps.load_prior, "name_or_path", (*WRONG, None))
    check(lambda device: mri_alps.load_prior("gaussian", device), "device", (*WRONG[1:], None))
    check(mri_alps.read_raw, "path", (*WRONG, None))
    check(mri_alps.load_reconstruction, "path", (*WRONG, None))
    check(mri_alps.reconstruct, "source", (*WRONG, None))
    check(lambda path: evaluate_folder(path, path), "path", (*WRONG, None))
    check(write_report, "reconstruction", (*WRONG, None))
    check(lambda output: reconstruct_to_file(DEMO, output), "output", (*WRONG[1:], None))
    check(
        lambda configuration: reconstruct_to_file(DEMO, tmp_path / "out", configuration),
        "configuration",
    )
    assert not (tmp_path / "out").exists()


def test_the_largest_whole_number_is_named():
    with pytest.raises(MriAlpsError, match=r"first_slice=9223.*from 0 to 2\^63 - 1"):
        mri_alps.sample_posterior(**SAMPLING, first_slice=2**63)


def test_values_that_fit_are_taken(tmp_path):
    settings = ReconstructionConfiguration(
        prior=tmp_path / "prior", n_samples=np.int64(3), acceleration=np.float32(2), slices=[1, 2]
    )
    assert settings.prior == str(tmp_path / "prior") and settings.slices == (1, 2)
    assert "slices" in dataclasses.replace(settings, acceleration=3, seed=2**40).to_json()
    assert mri_alps.make_mask("gaussian", np.array([16, 16]), np.float64(2)).shape == (1, 16)


class BrokenPrior:
    """Somebody's prior that fails where it is told to."""

    sigma_min, sigma_max = 0.01, 10.0

    def __init__(self, answer=None):
        self.answer = answer

    def score(self, x, sigma):
        if self.answer is None:
            raise KeyError("weights\nare lost")
        return self.answer

    denoise = score


class BrokenOperator(IdentityOperator):
    """Somebody's operator that fails where it is told to."""

    def __init__(self, where):
        super().__init__((4, 4))
        setattr(self, where, self.fail)

    def fail(self, x):
        raise ZeroDivisionError("where is it")


def broken_method(task):
    raise IndexError("off by one")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"score_model": BrokenPrior()}, "BrokenPrior failed .KeyError"),
        ({"score_model": BrokenPrior("x")}, "score model returned a str"),
        ({"score_model": BrokenPrior(torch.ones(3))}, "score model returned"),
        ({"score_model": BrokenPrior(), "method": "dps"}, "BrokenPrior failed"),
        ({"operator": BrokenOperator("adjoint")}, "BrokenOperator failed .ZeroDivisionError"),
        ({"operator": BrokenOperator("normal")}, "BrokenOperator failed"),
        ({"operator": BrokenOperator("forward"), "method": "dps"}, "BrokenOperator failed"),
        ({"method": broken_method}, "broken_method failed .IndexError"),
        ({"method": lambda task: None}, "returned a NoneType"),
    ],
)
def test_code_from_outside_that_fails_is_named(changed, named):
    with pytest.raises(MriAlpsError, match=named) as caught:
        mri_alps.sample_posterior(**SAMPLING | changed)
    assert "\n" not in str(caught.value)


def test_a_wrapped_denoiser_that_fails_is_named():
    def denoiser(x, sigma):
        raise AttributeError("no layers")

    with pytest.raises(PluginError, match="denoiser failed"):
        from_deepinv(denoiser, 0.01, 1.0).denoise(DATA[None], 0.1)


def test_a_lack_of_memory_and_our_own_errors_are_left_alone():
    for error in (MemoryError(), RuntimeError("CUDA out of memory"), PluginError("once")):
        with pytest.raises(type(error)) as caught, guarded("the prior", BrokenPrior()):
            raise error
        assert caught.value is error
    with pytest.raises(KeyError), guarded("the prior", GAUSSIAN):
        raise KeyError("a fault of ours is not called somebody else's")
