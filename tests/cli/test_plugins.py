"""Names that other packages register are as good as our own; nothing is installed here."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.plugins import PRIORS, SAMPLERS, load_plugin, plugin_names
from mri_alps.core.random import standard_normal
from mri_alps.operators import MatrixOperator
from mri_alps.pipeline import load_reconstruction
from mri_alps.priors import GaussianPrior, load_prior
from mri_alps.sampling import sample_posterior
from mri_alps.sampling.methods import METHODS, find_method

EXAMPLE = Path(__file__).parent / "example_plugin"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    yield
    sys.modules.pop("mri_alps_example", None)


def test_names_are_found_without_importing_the_package(example):
    assert {"white", "ready-made"} <= set(plugin_names(PRIORS))
    assert "exact-normal-equations" in plugin_names(SAMPLERS)
    assert "mri_alps_example" not in sys.modules


def test_the_example_is_not_installed():
    assert "white" not in plugin_names(PRIORS)
    with pytest.raises(ConfigurationError, match="no installed package registers 'white'"):
        load_plugin(PRIORS, "white")


def test_a_registered_prior_and_sampler_serve_the_command_line(example, scan, run, tmp_path):
    options = ("--n-samples", "4")  # fully sampled: white noise is no prior to interpolate with
    chosen = ("--prior", "white", "--method", "exact-normal-equations")
    finished = run("reconstruct", scan.path, "-o", tmp_path / "out", *chosen, *options)
    assert finished.code == 0, finished.err
    found = load_reconstruction(tmp_path / "out" / "scan.h5")
    assert found.attributes["prior"] == "white"
    assert found.attributes["configuration"]["method"] == "exact-normal-equations"
    truth = np.abs(scan.truth[:, 8:72])
    error = np.linalg.norm(found.reconstruction - truth) / np.linalg.norm(truth)
    assert error < 0.2


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--workers", "1")])
def test_a_registered_prior_that_fails_is_named(example, scan, run, tmp_path, more):
    if more and more[0] == "--workers":
        pytest.importorskip("distributed")
    finished = run("reconstruct", scan.path, "-o", tmp_path / "out", "--prior", "failing", *more)
    assert finished.code == 1
    assert "FailingPrior failed (ZeroDivisionError" in finished.err, finished.err
    assert "Traceback" not in finished.err


def test_the_registered_sampler_is_exact(example):
    """The example is code that people will copy: its samples have the posterior's moments."""
    generator = torch.Generator().manual_seed(0)
    matrix = standard_normal((4, 6), generator, torch.complex64)
    operator, data = MatrixOperator(matrix), standard_normal((4,), generator, torch.complex64)
    found = sample_posterior(
        load_prior("white"),
        operator,
        data,
        0.5,
        n_samples=4000,
        method="exact-normal-equations",
        generator=generator,
    ).samples
    precision = matrix.mH @ matrix / 0.25 + torch.eye(6)
    mean = torch.linalg.solve(precision, matrix.mH @ data / 0.25)
    covariance = torch.linalg.inv(precision)
    standard_error = (covariance.diagonal().real / 4000).sqrt()
    assert ((found.mean(0) - mean).abs() < 5 * standard_error).all()
    centred = found - found.mean(0)
    sample_covariance = centred.mT @ centred.conj() / 2 / 4000
    assert (sample_covariance - covariance).abs().max() < 0.1 * covariance.abs().max()


def test_a_prior_may_be_an_object_or_a_function_of_the_device(example):
    assert load_prior("white", "cpu").device == "cpu"
    assert load_prior("ready-made").sigma_max == 10.0


def test_our_own_names_cannot_be_taken(example):
    assert isinstance(load_prior("gaussian"), GaussianPrior)
    assert find_method("alps") is METHODS["alps"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-prior", "is a int: expected a score model"),
        ("broken", "mri-alps-example registers 'broken'.*AttributeError"),
    ],
)
def test_a_prior_that_is_none_is_named(example, name, words):
    with pytest.raises(ConfigurationError, match=words):
        load_prior(name)


def test_a_sampler_that_is_none_is_named(example):
    with pytest.raises(ConfigurationError, match=r"'no-sampler'.*expected a function"):
        find_method("no-sampler")


def test_unknown_names_list_the_registered_ones(example):
    with pytest.raises(InputFileError, match="white"):
        load_prior("whyte")
    with pytest.raises(ConfigurationError, match="exact-normal-equations"):
        find_method("exact")


def test_two_packages_with_the_same_name(example, tmp_path, monkeypatch):
    folder = tmp_path / "other-2.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2.0\n")
    (folder / "entry_points.txt").write_text("[mri_alps.priors]\nwhite = other:prior\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="mri-alps-example and other both register"):
        load_prior("white")
