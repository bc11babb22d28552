"""Several sets of maps: the operator, its parts, and what it refuses."""

import pytest
import torch

from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.operators import SenseOperator, SoftSenseOperator
from mri_alps.operators.conformance import check_operator
from mri_alps.operators.rounding import rounding_error

DTYPES = [torch.complex64, torch.complex128]
SIZES = [(8, 6), (7, 9), (6, 7), (9, 4)]


def make(size, dtype, kind="lines", n_sets=2, weighted=False, n_coils=3):
    generator = torch.Generator().manual_seed(5)
    maps = standard_normal((n_sets, n_coils, *size), generator, dtype)
    maps[1:, :, :, : size[1] // 2] = 0  # where one set is enough
    shape = {"lines": (size[1],), "rows": (size[0], 1), "points": size, "all": (size[1],)}[kind]
    mask = torch.rand(shape, generator=generator) < (1.0 if kind == "all" else 0.5)
    weights = None
    if weighted:
        weights = 0.3 + torch.rand(shape, generator=generator, dtype=dtype.to_real())
    return SoftSenseOperator(maps, mask, weights)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["lines", "rows", "points", "all"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_passes_the_checks(dtype, size, kind, weighted):
    check_operator(make(size, dtype, kind, weighted=weighted), dtype)


@pytest.mark.parametrize("n_sets", [1, 3])
def test_any_number_of_sets(n_sets):
    check_operator(make((7, 6), torch.complex64, n_sets=n_sets), torch.complex64)


def test_coils_in_several_chunks(monkeypatch):
    monkeypatch.setattr("mri_alps.operators._sets_gram._CPU_CHUNK_BYTES", 2 * 8 * 7 * 6)
    check_operator(make((7, 6), torch.complex64, n_coils=5), torch.complex64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_the_sum_of_its_parts(dtype):
    operator = make((8, 7), dtype, "points", weighted=True)
    x = standard_normal((2, 2, 8, 7), torch.Generator().manual_seed(1), dtype)
    expected = sum(part.forward(x[:, s]) for s, part in enumerate(operator.parts))
    limit = rounding_error(dtype, expected.numel())
    assert (operator.forward(x) - expected).norm() < limit * expected.norm()
    one = SenseOperator(operator.sensitivity_maps[0], operator.mask, operator.weights)
    alone = operator.forward(torch.stack([x[:, 0], torch.zeros_like(x[:, 0])], 1))
    assert (alone - one.forward(x[:, 0])).norm() < limit * expected.norm()


def test_the_fourier_diagonal_is_that_of_the_dense_matrix():
    operator = make((5, 6), torch.complex128)
    basis = torch.eye(60, dtype=torch.complex128).reshape(60, 2, 5, 6)
    images = torch.fft.ifftshift(basis, dim=(-2, -1))
    images = torch.fft.fftshift(torch.fft.ifftn(images, dim=(-2, -1), norm="ortho"), dim=(-2, -1))
    expected = (images.conj() * operator.normal(images)).sum((1, 2, 3)).real
    torch.testing.assert_close(operator.normal_fourier_diagonal().flatten(), expected)


def test_precision_and_what_was_not_measured():
    operator = make((8, 6), torch.complex64).to(torch.float64)
    assert operator.dtype == torch.complex128 and operator.n_sets == 2 and operator.n_coils == 3
    y = standard_normal((3, 8, 6), torch.Generator().manual_seed(2), torch.complex128)
    spoilt = y.masked_fill(~operator.measured, complex("nan"))
    torch.testing.assert_close(operator.adjoint(spoilt), operator.adjoint(y))


def test_what_does_not_fit_is_refused():
    mask = torch.ones(6, dtype=torch.bool)
    with pytest.raises(ShapeError, match="of one set SenseOperator takes"):
        SoftSenseOperator(torch.zeros(3, 8, 6, dtype=torch.complex64), mask)
    with pytest.raises(DtypeError, match="expected a complex64"):
        SoftSenseOperator(torch.zeros(2, 3, 8, 6), mask)
    with pytest.raises(ShapeError, match="broadcasts to"):
        SoftSenseOperator(torch.zeros(2, 3, 8, 5, dtype=torch.complex64), mask)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["lines", "rows", "all"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_line_factors_are_those_of_the_normal_operator(dtype, kind, weighted):
    operator = make((8, 7), dtype, kind, 3, weighted)
    factors = operator.line_factors()
    x = standard_normal((2, 3, 8, 7), torch.Generator().manual_seed(1), dtype)
    nothing = factors.values.new_zeros(())
    found = factors.filter(x, None, factors.values, factors.values, (nothing, nothing))
    expected = operator.normal(x)
    assert (found - expected).norm() < 10 * rounding_error(dtype, 24) * expected.norm()
    # Noise is filtered with the same vectors, and what has no map by its own weight.
    one = torch.ones_like(factors.values)
    both = factors.filter(x, x, one, 2 * one, (nothing + 1, nothing + 2))
    assert (both - 3 * x).norm() < 10 * rounding_error(dtype, 24) * x.norm()


def test_points_have_no_line_factors():
    assert make((8, 7), torch.complex64, "points").line_factors() is None


def test_line_factors_of_smooth_maps_in_single_precision_are_finite():
    """Lines of two sets have few eigenvalues that are not nearly zero: LAPACK returns NaN."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 56), torch.linspace(-1, 1, 64), indexing="ij")
    maps = torch.stack([torch.exp(-2 * (x - c / 5) ** 2 - y**2 + 1j * c * x) for c in range(12)])
    mask = torch.arange(64) % 4 == 0
    operator = SoftSenseOperator(maps.reshape(2, 6, 56, 64).to(torch.complex64), mask)
    factors = operator.line_factors()
    assert factors.values.isfinite().all()
    z = standard_normal((1, 2, 56, 64), torch.Generator().manual_seed(1), torch.complex64)
    nothing = factors.values.new_zeros(())
    found = factors.filter(z, None, factors.values, factors.values, (nothing, nothing))
    torch.testing.assert_close(found, operator.normal(z), atol=1e-3, rtol=1e-3)
