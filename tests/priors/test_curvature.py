"""The largest curvature of a log density, by power iteration."""

import torch

from mri_alps.priors.curvature import largest_curvature


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
