"""Conjugate gradients against direct solutions and sigpy's SENSE reconstruction."""

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.core.solvers import LOOK, conjugate_gradient
from mri_alps.operators import SenseOperator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline.cg_sense import cg_sense


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def positive_matrix(n, dtype, generator):
    root = standard_normal((n, n), generator, dtype)
    return root @ root.mH + torch.eye(n, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("start", [False, True])
def test_solves_each_equation_of_a_batch(generator, dtype, start):
    matrix = positive_matrix(12, dtype, generator)
    b = standard_normal((3, 3, 4), generator, dtype)
    b[1] = 0  # must not become NaN
    x0 = standard_normal((3, 3, 4), generator, dtype) if start else None

    def apply(x):
        return (x.flatten(1) @ matrix.mT).reshape(x.shape)

    found = conjugate_gradient(apply, b, 40, x=x0)
    expected = torch.linalg.solve(matrix, b.flatten(1).mT).mT.reshape(b.shape)
    scale = torch.linalg.cond(matrix) * expected.abs().max()
    assert_equal_to_rounding(found, expected, scale=scale)


def test_what_is_solved_early_stays_as_it_is(generator):
    b = standard_normal((3, 8), generator, torch.complex64)
    # the residual falls by rounding alone, until its energy is no longer a normal number
    found = conjugate_gradient(lambda x: 1.001 * x, b, 40, n_axes=1)
    assert_equal_to_rounding(found, b / 1.001)


def test_a_tolerance_ends_iterations_where_all_images_are_solved(generator):
    matrix = positive_matrix(60, torch.complex128, generator)
    b = standard_normal((2, 60), generator, torch.complex128)
    b[1] *= 1e-3
    count = []

    def apply(x):
        count.append(len(x))
        return x @ matrix.mT

    x = conjugate_gradient(apply, b, 1000, n_axes=1, tolerance=1e-6)
    left = (b - x @ matrix.mT).abs().square().sum(1) / b.abs().square().sum(1)
    assert float(left.max()) < 1.01e-6 and len(count) < 200 and len(count) % LOOK == 0
    fewer = conjugate_gradient(apply, b, len(count) - LOOK, n_axes=1)
    left = (b - fewer @ matrix.mT).abs().square().sum(1) / b.abs().square().sum(1)
    assert float(left.max()) > 1e-6


def test_images_do_not_influence_each_other(generator):
    matrix = positive_matrix(12, torch.complex128, generator)
    b = standard_normal((2, 12), generator, torch.complex128)
    together = conjugate_gradient(lambda x: x @ matrix.mT, b, 3, n_axes=1)
    for i in range(2):
        alone = conjugate_gradient(lambda x: x @ matrix.mT, b[i], 3, n_axes=1)
        assert_equal_to_rounding(together[i], alone)


@pytest.mark.parametrize("regularization", [0.0, 0.3])
def test_is_sigpys_sense_reconstruction(generator, regularization):
    app = pytest.importorskip("sigpy.mri.app")
    maps = standard_normal((4, 12, 10), generator, torch.complex128)
    mask = torch.arange(10) % 3 != 1
    operator = SenseOperator(maps, mask)
    kspace = operator.forward(standard_normal((12, 10), generator, torch.complex128))
    weights = mask.double().expand(12, 10).numpy()
    reference = app.SenseRecon(
        kspace.numpy(),
        maps.numpy(),
        lamda=regularization,
        weights=weights,
        max_iter=7,
        show_pbar=False,
    ).run()
    found = cg_sense(operator, kspace, 7, regularization)
    assert_equal_to_rounding(found, torch.from_numpy(reference))
