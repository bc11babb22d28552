"""What the preconditioners rely on, against the dense matrix of A^H A."""

import pytest
import torch

from mri_alps.core.fourier import fftc
from mri_alps.operators import InpaintingOperator, SenseOperator
from mri_alps.operators.rounding import assert_equal_to_rounding

DTYPE = torch.complex128


def make_operator(shape, mask, n_slices=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (3, *shape) if n_slices is None else (n_slices, 3, *shape)
    return SenseOperator(torch.randn(size, dtype=DTYPE, generator=generator), mask)


def dense_normal(operator, shape):
    n = shape[0] * shape[1]
    basis = torch.eye(n, dtype=DTYPE).reshape(n, *shape)
    return operator.normal(basis).reshape(n, n).mT


MASKS = {
    "lines, last axis": lambda shape: torch.arange(shape[1]) % 3 == 1,
    "lines, first axis": lambda shape: (torch.arange(shape[0]) % 3 == 1)[:, None],
    "points": lambda shape: (torch.arange(shape[0] * shape[1]) % 7 % 3 == 0).reshape(shape),
}


@pytest.mark.parametrize("shape", [(6, 8), (7, 9), (6, 5)])
@pytest.mark.parametrize("mask", MASKS)
def test_fourier_diagonal_is_that_of_the_matrix(shape, mask):
    operator = make_operator(shape, MASKS[mask](shape))
    n = shape[0] * shape[1]
    transform = fftc(torch.eye(n, dtype=DTYPE).reshape(n, *shape)).reshape(n, n).mT
    expected = torch.diagonal(transform @ dense_normal(operator, shape) @ transform.mH).real
    assert_equal_to_rounding(operator.normal_fourier_diagonal().flatten(), expected)


@pytest.mark.parametrize("shape", [(6, 8), (7, 5)])
def test_fourier_diagonal_of_pixels_is_that_of_the_matrix(shape):
    operator = InpaintingOperator(MASKS["points"](shape))
    n = shape[0] * shape[1]
    transform = fftc(torch.eye(n, dtype=DTYPE).reshape(n, *shape)).reshape(n, n).mT
    expected = torch.diagonal(transform @ dense_normal(operator, shape) @ transform.mH).real
    assert_equal_to_rounding(operator.normal_fourier_diagonal().flatten(), expected)


def test_masks_of_points_have_no_lines():
    assert make_operator((6, 8), MASKS["points"]((6, 8))).line_factors() is None


def test_slices_have_their_own_diagonal():
    shape = (6, 8)
    batch = make_operator(shape, MASKS["lines, last axis"](shape), n_slices=2)
    diagonal = batch.normal_fourier_diagonal()
    for i in range(2):
        one = SenseOperator(batch.sensitivity_maps[i], MASKS["lines, last axis"](shape))
        assert_equal_to_rounding(diagonal[i], one.normal_fourier_diagonal())
