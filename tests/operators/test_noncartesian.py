"""The operator along a trajectory: against direct sums, its own adjoint, and Cartesian scans."""

import math

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, MissingDependencyError, ShapeError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.operators import (
    NonCartesianSenseOperator,
    SenseOperator,
    golden_radial,
    kooshball,
    rosette,
    simulate,
    spiral,
    to_dense,
)
from mri_alps.operators.conformance import check_operator
from mri_alps.operators.noncartesian import _checks
from mri_alps.operators.rounding import assert_equal_to_rounding

pytest.importorskip("finufft", reason="extra noncartesian")

# finufft's tolerance in double precision; in single it is below what rounding allows.
TOLERANCE = {torch.complex64: None, torch.complex128: 1e-11}
SIZES = [(12, 10), (11, 9), (32, 32), (20, 13)]


def normal(*shape, dtype=torch.complex128, seed=0):
    return standard_normal(shape, torch.Generator().manual_seed(seed), dtype)


def direct_sum(maps, k, x, weights=None):
    """The sum that defines the operator, (coils, *points), in double precision."""
    shape = x.shape
    index = torch.meshgrid(*(torch.arange(n) - n // 2 for n in shape), indexing="ij")
    turns = sum(k[..., a, None] * index[a].reshape(-1) / n for a, n in enumerate(shape))
    waves = torch.exp(-2j * math.pi * turns)
    found = torch.einsum("...n,cn->c...", waves, (maps * x).reshape(len(maps), -1))
    found = found / math.sqrt(math.prod(shape))
    return found if weights is None else found * weights


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("size", SIZES)
def test_conforms(size, dtype):
    weights = 0.5 + torch.rand(5, 1, generator=torch.Generator().manual_seed(4))
    k = golden_radial(5, 2 * size[0], size)
    operator = NonCartesianSenseOperator(normal(3, *size, dtype=dtype), k, weights)
    check_operator(operator, dtype, tolerance=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("weighted", ["no", "shared", "of each slice"])
@pytest.mark.parametrize("own", [False, True])
def test_batches_of_slices_conform_and_are_the_slices(own, weighted, dtype):
    size, n_slices = (10, 9), 2
    maps = normal(n_slices, 3, *size, dtype=dtype)
    k = golden_radial(8, 12, size).reshape(n_slices, 4, 12, 2)
    k = k if own else k[0]
    shape = {"shared": (4, 12), "of each slice": (n_slices, 4, 12)}.get(weighted, ())
    weights = None if weighted == "no" else 0.5 + torch.rand(shape, dtype=torch.float64)
    operator = NonCartesianSenseOperator(maps, k, weights)
    assert operator.n_slices == n_slices
    check_operator(operator, dtype, tolerance=TOLERANCE[dtype])
    x = normal(n_slices, *size, dtype=dtype)
    for i in range(n_slices):
        mine = weights[i] if weighted == "of each slice" else weights
        one = NonCartesianSenseOperator(maps[i], k[i] if own else k, mine)
        assert torch.equal(operator.forward(x)[i], one.forward(x[i]))
        assert_equal_to_rounding(operator.normal(x)[i], one.normal(x[i]))
        assert_equal_to_rounding(
            operator.normal_fourier_diagonal()[i], one.normal_fourier_diagonal()
        )


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("shape", [(6, 8, 6), (5, 6, 7)])
def test_three_dimensions_conform(shape, dtype):
    maps, k = normal(2, *shape, dtype=dtype), kooshball(9, 10, shape)
    operator = NonCartesianSenseOperator(maps, k)
    assert operator.n_slices is None and operator.range_shape == (2, 9, 10)
    check_operator(operator, dtype, tolerance=TOLERANCE[dtype])
    x = normal(*shape)
    expected = direct_sum(maps.to(torch.complex128), k, x).to(dtype)
    error = (operator.forward(x.to(dtype)) - expected).abs().max() / expected.abs().max()
    assert error < (1e-5 if dtype == torch.complex64 else 1e-11)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.complex64, 1e-6), (torch.complex128, 1e-11)])
@pytest.mark.parametrize("size", [(32, 32), (33, 20)])
@pytest.mark.parametrize("pattern", [golden_radial, spiral, rosette])
def test_is_the_direct_sum(pattern, size, dtype, bound):
    maps, x, k = normal(2, *size, dtype=dtype), normal(*size, dtype=dtype), pattern(7, 50, size)
    weights = 0.5 + torch.rand(7, 50, dtype=torch.float64)
    found = NonCartesianSenseOperator(maps, k, weights).forward(x)
    double = torch.complex128
    expected = direct_sum(maps.to(double), k, x.to(double), weights)
    assert (found - expected).abs().max() < bound * expected.abs().max()


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
def test_integer_positions_are_the_centred_transform(size):
    maps, x = normal(3, *size), normal(*size)
    grid = torch.meshgrid(*(torch.arange(n) - n // 2 for n in size), indexing="ij")
    operator = NonCartesianSenseOperator(maps, torch.stack(grid, -1))
    expected = fftc(maps * x)
    assert (operator.forward(x) - expected).abs().max() < 1e-11 * expected.abs().max()
    full = SenseOperator(maps, torch.ones(size))
    assert (operator.normal(x) - full.normal(x)).abs().max() < 1e-11 * x.abs().max()


@pytest.mark.parametrize("size", [(128, 256), (250, 140)])
def test_fused_gram_is_adjoint_after_forward(size):
    """Large enough for the fused kernel."""
    dtype, k = torch.complex64, golden_radial(30, 200, size)
    operator = NonCartesianSenseOperator(normal(9, *size, dtype=dtype), k)
    x = normal(*size, dtype=dtype)
    expected = operator.adjoint(operator.forward(x))
    assert (operator.normal(x) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize(
    ("shape", "k"), [((6, 7), golden_radial(4, 8, (6, 7))), ((4, 3, 4), kooshball(5, 4, (4, 3, 4)))]
)
def test_fourier_diagonal_is_exact(shape, k, dtype):
    operator = NonCartesianSenseOperator(normal(2, *shape, dtype=dtype), k)
    n, axes = math.prod(shape), tuple(range(-len(shape), 0))
    waves = ifftc(torch.eye(n, dtype=dtype).reshape(n, *shape), axes)
    probed = (waves.conj() * operator.normal(waves)).sum(axes).real.reshape(shape)
    assert_equal_to_rounding(operator.normal_fourier_diagonal(), probed)


def test_is_the_same_bit_for_bit_at_any_number_of_threads_and_in_any_batch():
    size, dtype = (40, 36), torch.complex64
    operator = NonCartesianSenseOperator(normal(5, *size, dtype=dtype), golden_radial(11, 80, size))
    x, y = normal(3, *size, dtype=dtype), normal(3, *operator.range_shape, dtype=dtype)
    before = torch.get_num_threads()
    try:
        found = []
        for n_threads in (1, 2, 4):
            torch.set_num_threads(n_threads)
            found.append((operator.forward(x), operator.adjoint(y)))
    finally:
        torch.set_num_threads(before)
    for forward, adjoint in found[1:]:
        assert torch.equal(forward, found[0][0]) and torch.equal(adjoint, found[0][1])
    for i in range(3):
        assert torch.equal(operator.forward(x[i]), found[0][0][i])
        assert torch.equal(operator.adjoint(y[i]), found[0][1][i])


def test_derivatives_are_those_of_a_linear_map():
    size = (6, 5)
    operator = NonCartesianSenseOperator(normal(2, *size), golden_radial(3, 7, size))
    x, y = normal(*size).requires_grad_(), normal(*operator.range_shape).requires_grad_()
    assert torch.autograd.gradcheck(operator.forward, x)
    assert torch.autograd.gradcheck(operator.adjoint, y)
    assert torch.autograd.gradcheck(operator.normal, x)
    images = normal(3, *size)
    found, tangents = torch.func.jvp(operator.forward, (images,), (images,))
    assert_equal_to_rounding(tangents, found)
    assert torch.equal(torch.func.vmap(operator.forward)(images), found)


def test_other_precision_and_noise():
    size, k = (16, 16), golden_radial(6, 32, (16, 16))
    operator = NonCartesianSenseOperator(normal(2, *size), k)
    single = operator.to(torch.complex64)
    x = normal(*size)
    assert single.dtype == torch.complex64 and single.range_shape == operator.range_shape
    found, expected = single.forward(x.to(torch.complex64)), operator.forward(x)
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()
    noise = simulate(operator, 0 * x, 0.3, torch.Generator().manual_seed(0))
    assert noise.real.std() == pytest.approx(0.3, rel=0.1)
    assert bool((noise != 0).all())


def test_samples_count_as_often_as_they_are_measured():
    """Twice the same trajectory is twice the information, and so is a weight of sqrt(2)."""
    size, k = (9, 8), golden_radial(5, 9, (9, 8))
    maps = normal(2, *size)
    twice = to_dense(NonCartesianSenseOperator(maps, torch.cat([k, k])))
    heavy = to_dense(NonCartesianSenseOperator(maps, k, torch.tensor(2.0).double().sqrt()))
    gram = heavy.mH @ heavy
    assert (twice.mH @ twice - gram).abs().max() < 1e-11 * gram.abs().max()


def make(k, maps=None, weights=None):
    return NonCartesianSenseOperator(normal(2, 32, 32) if maps is None else maps, k, weights)


@pytest.mark.parametrize(
    ("k", "says"),
    [
        (golden_radial(3, 8, (32, 32)) / 32, "0.5.* multiply cycles per pixel"),
        (golden_radial(3, 8, (32, 32)) * (2 * math.pi / 32), "radians per pixel"),
        (golden_radial(3, 8, (64, 64)), "32.* at most 16"),
        (golden_radial(3, 8, (32, 32)) * math.nan, "NaN"),
    ],
)
def test_other_units_and_bad_numbers_are_refused(k, says):
    with pytest.raises(ConfigurationError, match=says):
        make(k)


def test_shapes_that_do_not_fit_are_refused():
    k = golden_radial(4, 8, (32, 32))
    with pytest.raises(ShapeError, match=r"\(2, 8\).*transpose"):
        make(k[0].T)
    with pytest.raises(ShapeError, match="3 slices"):
        make(k.reshape(2, 2, 8, 2), normal(3, 2, 32, 32))
    with pytest.raises(ShapeError, match=r"\(coils, D, H, W\)"):
        make(kooshball(3, 8, (4, 32, 32)))
    with pytest.raises(ShapeError, match="broadcasts"):
        make(k, weights=torch.ones(5, 8))
    with pytest.raises(DtypeError, match="positive"):
        make(k, weights=torch.zeros(4, 8))
    with pytest.raises(DtypeError, match="complex"):
        make(k * (1 + 1j))


def test_three_dimensions_beyond_the_memory_are_refused(monkeypatch):
    few = type("Memory", (), {"available": 1e6})
    monkeypatch.setattr(_checks.psutil, "virtual_memory", lambda: few)
    with pytest.raises(ConfigurationError, match=r"needs 0.0 GB .* slice by slice"):
        make(kooshball(3, 8, (16, 16, 16)), normal(1, 16, 16, 16))


def test_without_finufft_the_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "finufft", None)
    with pytest.raises(MissingDependencyError, match=r"mri-alps\[noncartesian\]"):
        make(golden_radial(3, 8, (32, 32)))
