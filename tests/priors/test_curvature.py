"""The largest curvature of a log density, by power iteration."""

import pytest
import torch

from mri_alps.priors import load_prior
from mri_alps.priors.curvature import largest_curvature
from mri_alps.sampling import estimate_prior_spectrum
from mri_alps.training._spectrum import radial_spectrum


def curvature(eigenvalues):
    """Of -1/2 sum_k e_k |x_k|^2, whose score is -e x."""
    e = torch.tensor(eigenvalues, dtype=torch.float64)
    x = torch.ones(2, len(e), dtype=torch.complex128)
    start = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    return largest_curvature(lambda y: -e * y, lambda y: y, x, -e * x, start, n_axes=1)


def test_the_largest_positive_eigenvalue_is_found():
    assert 0.95 * 5 < curvature([0.1, 0.2, 5.0]) <= 5 + 1e-9


def test_a_large_negative_one_does_not_hide_it():
    assert 0.9 * 5 < curvature([-4.0, 0.2, 5.0]) <= 5 + 1e-9
    assert curvature([-4.0, -1.0]) == 0.0


@pytest.mark.parametrize("measure", ["images", "draws"])
def test_spectra_are_measured_in_float32(measure):
    """Differences of a score in bfloat16 are its rounding: curvatures were ten times too large."""
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        prior = load_prior("brain-small")
        prior.convolution_dtype = dtype
        if measure == "images":
            image = torch.polar(torch.rand(32, 32, generator=torch.Generator().manual_seed(1)),
                                torch.zeros(32, 32))  # fmt: skip
            sigmas = torch.tensor([prior.sigma_min, 0.3, 3.0], dtype=torch.float64)
            found.append(radial_spectrum(prior, [image], sigmas))
        else:
            found.append(estimate_prior_spectrum(prior, (16, 16), n_images=2))
        assert prior.convolution_dtype == dtype
    assert torch.equal(found[0].curvature, found[1].curvature)
    assert torch.equal(found[0].score_power, found[1].score_power)
