"""Functions of A^H A by the eigenvectors of its lines, against A^H A; both forms of the product."""

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.operators import SenseOperator
from mri_alps.operators.lines import factors as line_factors
from mri_alps.operators.lines.factors import LineFactors
from mri_alps.operators.rounding import assert_equal_to_rounding

DTYPES = [torch.complex64, torch.complex128]


def make_operator(shape, axis=-1, n_slices=None, dtype=torch.complex128, seed=0, own_masks=False):
    """Maps that vanish outside a slanted region, so that lines have ranges of their own."""
    generator = torch.Generator().manual_seed(seed)
    batch = () if n_slices is None else (n_slices,)
    maps = standard_normal((*batch, 3, *shape), generator, dtype)
    row, column = torch.arange(shape[0])[:, None], torch.arange(shape[1])[None]
    inside = (column >= row // 3) & (column < shape[1] - row // 4) & (row != 2) & (row < 17)
    inside[0, shape[1] // 2] = False  # a hole
    if axis == -2:
        inside = inside.flip(0) | (row == 1)
    mask = torch.arange(shape[axis]) % 3 == 1
    mask[-1] = True
    if own_masks:
        mask = torch.stack([mask, mask.roll(1)])
        mask = mask[:, None] if axis == -1 else mask[:, :, None]
    elif axis == -2:
        mask = mask[:, None]
    return SenseOperator(maps * inside, mask)


def images(operator, n=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return standard_normal((n, *operator.domain_shape), generator, operator.dtype)


CASES = [
    {"shape": (9, 8)},
    {"shape": (20, 13)},
    {"shape": (11, 1), "axis": -1},
    {"shape": (13, 20), "axis": -2},
    {"shape": (9, 12), "n_slices": 2},
    {"shape": (9, 12), "n_slices": 2, "own_masks": True},
    {"shape": (12, 7), "n_slices": 2, "own_masks": True, "axis": -2},
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_eigenvalues_rebuild_the_normal_operator(case, dtype):
    operator = make_operator(**case, dtype=dtype)
    factors = LineFactors(operator.sensitivity_maps, operator.mask)
    x, zero = images(operator), torch.zeros((), dtype=dtype.to_real())
    expected = operator.normal(x)
    found = factors.filter(x, None, factors.values, factors.values, (zero, zero))
    error = (found - expected).norm()
    assert_equal_to_rounding(error, 0.0, n_summed=max(case["shape"]), scale=expected.norm())
    assert found.is_contiguous() and found.shape == x.shape


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_pass_adds_filtered_noise(case):
    operator = make_operator(**case)
    factors = LineFactors(operator.sensitivity_maps, operator.mask)
    x, noise = images(operator), images(operator, seed=5)
    product, shift = 1 / (1 + factors.values), (2 + factors.values).sqrt()
    a, b = torch.tensor(0.7).double(), torch.tensor(0.3).double()
    expected = factors.filter(x, None, product, product, (a, a))
    expected = expected + factors.filter(noise, None, shift, shift, (b, b))
    found = factors.filter(x, noise, product, shift, (a, b))
    assert_equal_to_rounding(found, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_multiply_as_functions_of_the_operator_do(case):
    operator = make_operator(**case)
    factors = LineFactors(operator.sensitivity_maps, operator.mask)
    x, one = images(operator), torch.ones(()).double()
    same = torch.ones_like(factors.values)
    assert_equal_to_rounding(factors.filter(x, None, same, same, (one, one)), x)
    root, inverse = (1 + factors.values).sqrt(), 1 / (1 + factors.values)
    y = factors.filter(x, None, root, root, (one, one))
    y = factors.filter(y, None, root, root, (one, one))
    assert_equal_to_rounding(y, x + operator.normal(x))
    assert_equal_to_rounding(factors.filter(y, None, inverse, inverse, (one, one)), x)


def test_any_blocks_give_the_same_root(monkeypatch):
    """Eigenvectors are not unique, functions of the operator are."""
    operator, found = make_operator((20, 13)), []
    x, one = images(operator), torch.ones(()).double()
    for n_lines in (8, 20):
        monkeypatch.setattr(line_factors, "_LINES_ON_CPU", n_lines)
        factors = LineFactors(operator.sensitivity_maps, operator.mask)
        weights = (1 + factors.values).rsqrt()
        found.append(factors.filter(x, x.conj(), weights, weights, (one, one)))
    assert_equal_to_rounding(found[1], found[0])


def test_only_the_support_is_stored_and_values_know_their_slice():
    operator = make_operator((20, 13), n_slices=2)
    factors = LineFactors(operator.sensitivity_maps, operator.mask)
    assert len(factors.values) < 2 * 20 * 13
    assert len(factors.values) == len(factors.slice_of_value)
    per_slice = [float(factors.values[factors.slice_of_value == i].sum()) for i in range(2)]
    for i, found in enumerate(per_slice):  # the trace of A^H A
        one = SenseOperator(operator.sensitivity_maps[i], operator.mask[0])
        basis = torch.eye(260, dtype=torch.complex128).reshape(-1, 20, 13)
        trace = torch.einsum("iij->", one.normal(basis).reshape(260, 260, 1).real)
        assert_equal_to_rounding(found, trace, n_summed=260)


def test_maps_that_vanish_everywhere():
    factors = LineFactors(torch.zeros(2, 6, 8, dtype=torch.complex64), torch.ones(1, 8) > 0)
    x, half = torch.ones(1, 6, 8, dtype=torch.complex64), torch.tensor(0.5)
    found = factors.filter(x, None, factors.values, factors.values, (half, half))
    assert_equal_to_rounding(found, 0.5 * x)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_and_strided_images_change_nothing(n_threads):
    operator = make_operator((20, 13))
    factors = LineFactors(operator.sensitivity_maps, operator.mask)
    x, zero = images(operator, 4), torch.zeros(()).double()
    strided = x.mT.contiguous().mT
    before = torch.get_num_threads()
    expected = factors.filter(x, None, factors.values, factors.values, (zero, zero))
    torch.set_num_threads(n_threads)
    try:
        found = factors.filter(strided, None, factors.values, factors.values, (zero, zero))
    finally:
        torch.set_num_threads(before)
    assert_equal_to_rounding(found, expected)


def test_factors_are_found_once():
    operator = make_operator((9, 8))
    assert operator.line_factors() is operator.line_factors()


def test_lines_whose_decomposition_fails_in_single_precision(monkeypatch):
    """LAPACK gave up on lines along which smooth maps fade out: double precision does not."""
    plain, failed = torch.linalg.eigh, []

    def fails_in_single_precision(matrices):
        if matrices.dtype == torch.complex64:
            failed.append(matrices.shape)
            raise torch.linalg.LinAlgError("the algorithm failed to converge")
        return plain(matrices)

    operator = make_operator((9, 8), dtype=torch.complex64)
    monkeypatch.setattr(torch.linalg, "eigh", fails_in_single_precision)
    factors = LineFactors(operator.sensitivity_maps, operator.mask)
    assert failed and factors.values.dtype == torch.float32
    x = images(operator)
    nothing = torch.zeros(())
    product = factors.filter(x, None, factors.values, factors.values, (nothing, nothing))
    assert_equal_to_rounding(product, operator.normal(x))


@pytest.mark.parametrize("axis", [-1, -2])
def test_lines_with_weights(axis):
    plain = make_operator((13, 12), axis=axis)
    n = plain.domain_shape[axis]
    weights = torch.linspace(0.3, 1, n, dtype=torch.float64)
    weights = weights if axis == -1 else weights[:, None]
    operator = SenseOperator(plain.sensitivity_maps, plain.mask, weights)
    factors = operator.line_factors()
    x = images(operator)
    nothing = torch.zeros((), dtype=torch.float64)
    product = factors.filter(x, None, factors.values, factors.values, (nothing, nothing))
    assert_equal_to_rounding(product, operator.adjoint(operator.forward(x)))
