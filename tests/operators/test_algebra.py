"""Composition, scalars, sums and adjoints, and how they simplify."""

import pytest
import torch

from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.operators import (
    FourierOperator,
    IdentityOperator,
    InpaintingOperator,
    MatrixOperator,
    NormalOperator,
    ScaledOperator,
    SenseOperator,
    to_dense,
)
from mri_alps.operators.rounding import assert_equal_to_rounding


def make_matrix(m, n, seed=0, dtype=torch.complex128):
    return MatrixOperator(standard_normal((m, n), torch.Generator().manual_seed(seed), dtype))


def make_sense():
    generator = torch.Generator().manual_seed(0)
    maps = standard_normal((2, 4, 5), generator, torch.complex128)
    return SenseOperator(maps, torch.tensor([True, False, True, True, False]))


def test_algebra_is_that_of_the_matrices():
    a, b, c = make_matrix(4, 5), make_matrix(5, 3, 1), make_matrix(4, 5, 2)
    expected = (2 - 1j) * (a.matrix - 3 * c.matrix) @ b.matrix
    operator = (2 - 1j) * (a - 3 * c) @ b
    assert_equal_to_rounding(to_dense(operator), expected)
    assert_equal_to_rounding(to_dense(operator.H), expected.mH)
    assert_equal_to_rounding(to_dense(-(a + c)), -a.matrix - c.matrix)


def test_the_adjoint_of_the_adjoint_is_the_operator():
    sense = make_sense()
    assert sense.H.H is sense
    assert sense.H.domain_shape == sense.range_shape


def test_adjoint_after_forward_uses_the_fast_normal():
    sense = make_sense()
    assert isinstance(sense.H @ sense, NormalOperator)
    scaled = (2j * sense).H @ (2j * sense)
    assert isinstance(scaled, ScaledOperator)
    assert isinstance(scaled.operator, NormalOperator)
    expected = to_dense(2j * sense)
    assert_equal_to_rounding(to_dense(scaled), expected.mH @ expected)
    fourier = FourierOperator((4, 5))
    whole = sense @ fourier
    assert_equal_to_rounding(to_dense(whole.H @ whole), to_dense(whole).mH @ to_dense(whole))


def test_identities_and_inverse_transforms_vanish():
    sense, identity, fourier = make_sense(), IdentityOperator((4, 5)), FourierOperator((4, 5))
    assert sense @ identity is sense
    assert IdentityOperator(sense.range_shape) @ sense is sense
    assert isinstance(fourier.H @ fourier, IdentityOperator)
    assert (sense @ fourier) @ fourier.H is sense
    assert identity.H is identity


def test_masks_and_matrices_merge():
    first = torch.tensor([True, True, False])
    second = torch.tensor([True, False, True])
    merged = InpaintingOperator(first) @ InpaintingOperator(second)
    assert isinstance(merged, InpaintingOperator)
    assert merged.mask.tolist() == [True, False, False]
    product = make_matrix(3, 4) @ make_matrix(4, 5, 1)
    assert isinstance(product, MatrixOperator)


def test_shapes_that_do_not_chain_are_named():
    with pytest.raises(ShapeError, match=r"MatrixOperator @ SenseOperator.*\(7,\).*\(2, 4, 5\)"):
        make_matrix(3, 7) @ make_sense()
    with pytest.raises(ShapeError, match="same domain and range"):
        make_matrix(3, 7) + make_matrix(3, 6)


def test_precisions_do_not_mix():
    single = make_matrix(20, 6, dtype=torch.complex64).matrix
    with pytest.raises(DtypeError, match=r"complex128.*complex64.*\.to\(device, dtype\)"):
        make_sense() @ MatrixOperator(single, range_shape=(4, 5))


def test_complex_factors_need_complex_images():
    with pytest.raises(DtypeError, match="factor 1j is complex"):
        (1j * IdentityOperator((3,))).forward(torch.ones(3))
    assert (2.0 * IdentityOperator((3,))).forward(torch.ones(3)).dtype == torch.float32


def test_only_operators_and_numbers_combine():
    with pytest.raises(TypeError):
        make_matrix(3, 4) @ torch.ones(4)
    with pytest.raises(TypeError):
        make_matrix(3, 4) * torch.ones(4)
    with pytest.raises(TypeError):
        make_matrix(3, 4) + 1


def test_to_reaches_every_factor():
    sense, fourier = make_sense(), FourierOperator((4, 5))
    operator = (2 * (sense @ fourier) - sense @ fourier).to(torch.float32)
    x = torch.ones(4, 5, dtype=torch.complex64)
    expected = sense.forward(fourier.forward(x.to(torch.complex128)))
    assert_equal_to_rounding(operator.forward(x), expected.to(torch.complex64))
    assert operator.H.to(torch.complex128).dtype == torch.complex128
    with pytest.raises(DtypeError, match=r"torch\.int64"):
        operator.to(torch.int64)


def test_measured_follows_the_outer_operator():
    mask = torch.tensor([True, False, True])
    inpainting, identity = InpaintingOperator(mask), IdentityOperator((3,))
    assert identity.measured is None
    assert torch.equal((2 * inpainting).measured, mask)
    dense = MatrixOperator(torch.ones(3, 3))
    assert torch.equal((inpainting @ dense).measured, mask)
    assert (dense @ inpainting).measured is None
    assert (inpainting + identity).measured is None
    other = InpaintingOperator(torch.tensor([False, False, True]))
    assert torch.equal((inpainting + other).measured, mask)


def test_names_say_what_is_composed():
    assert "2.0 * " in repr(2 * make_sense())
    assert repr(make_sense()) == "SenseOperator((4, 5) -> (2, 4, 5))"
    assert "SenseOperator.H" in repr(make_sense().H)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((torch.ones(3, dtype=torch.int64),), DtypeError),
        ((torch.ones(3),), ShapeError),
        ((torch.ones(3, 4), (5,)), ShapeError),
    ],
)
def test_matrices_that_do_not_fit_are_refused(arguments, error):
    with pytest.raises(error, match="MatrixOperator"):
        MatrixOperator(*arguments)
