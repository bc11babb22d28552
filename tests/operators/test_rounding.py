"""The rule for errors of rounding: what it allows, and that it allows nothing else."""

import numpy as np
import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.operators.rounding import BLOCK, FACTOR, assert_equal_to_rounding, rounding_error

FORMATS = [(torch.complex64, 2.0**-23), ("float32", 2.0**-23), (np.complex128, 2.0**-52)]


@pytest.mark.parametrize(("dtype", "epsilon"), [*FORMATS, (torch.int64, 2.0**-52)])
def test_it_is_a_multiple_of_epsilon_that_grows_as_a_root(dtype, epsilon):
    assert rounding_error(dtype) == FACTOR * epsilon
    assert rounding_error(dtype, 100) == 10 * rounding_error(dtype)
    assert rounding_error(dtype, 10 * BLOCK) == rounding_error(dtype, BLOCK)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.complex128])
def test_sums_in_another_order_are_equal_even_where_they_cancel(dtype):
    terms = standard_normal((5, 4000), torch.Generator().manual_seed(0), dtype)
    terms = torch.cat([terms, -terms.flip(1), terms[:, :1]], dim=1)  # all but one cancel
    one_by_one = torch.from_numpy(np.cumsum(terms.numpy(), axis=1)[:, -1])
    scale = terms.abs().square().sum(1).sqrt()
    assert_equal_to_rounding(one_by_one, terms[:, 0], n_summed=8001, scale=scale)
    assert not torch.equal(one_by_one, terms[:, 0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x * (1 + 1e-3), "differ by more than rounding"),
        (lambda x: x + 1e-4 * (torch.arange(12).reshape(3, 4) == 7), r"1 of 12 .* at \(1, 3\)"),
        (lambda x: torch.where(x == x[2, 1], torch.nan, x), r"1 of 12 .* at \(2, 1\) found nan"),
        (lambda x: x[:, :3], r"found the shape \(3, 3\), expected \(3, 4\)"),
        (lambda x: x.double(), "found torch.float64, expected torch.float32"),
    ],
)
def test_what_is_not_rounding_is_told(spoil, message):
    x = standard_normal((3, 4), torch.Generator().manual_seed(0), torch.float32)
    assert_equal_to_rounding(x + 2e-7 * x, x)
    with pytest.raises(AssertionError, match=message):
        assert_equal_to_rounding(spoil(x), x)


def test_arrays_numbers_and_a_format_on_the_way():
    stored = np.float32(0.1) + np.zeros(3)
    assert_equal_to_rounding(stored, 0.1, dtype="float32")
    assert_equal_to_rounding(stored[::-1], [0.1] * 3, scale=np.full(3, 0.1), dtype=np.float32)
    with pytest.raises(AssertionError, match="to within"):
        assert_equal_to_rounding(stored, 0.1)
    with pytest.raises(AssertionError, match="nothing to compare"):
        assert_equal_to_rounding(np.zeros((0, 2)), 0.0)
    with pytest.raises(AssertionError, match="1 of 1"):
        assert_equal_to_rounding(1e-300, 0.0)  # of nothing, not even a rounding is left
