"""sigpy: our operators in its Apps, its operators in our sampler, its own checks on both."""

import pickle

import numpy as np
import numpy.testing as npt
import pytest
import sigpy
import sigpy.mri
import torch

from mri_alps.core.errors import DtypeError
from mri_alps.core.random import standard_normal
from mri_alps.interop import as_sigpy_linop, from_sigpy_linop
from mri_alps.operators import BlurOperator, MatrixOperator, SenseOperator, gaussian_kernel
from mri_alps.operators.conformance import check_operator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianPrior
from mri_alps.sampling import sample_posterior


def smooth_maps(n_coils, height, width):
    return sigpy.mri.birdcage_maps((n_coils, height, width)).astype(np.complex64)


def lines(width, seed=0):
    mask = np.random.default_rng(seed).random(width) < 0.4
    mask[width // 2 - 3 : width // 2 + 3] = True
    return mask


def sense(height, width, dtype=torch.complex64):
    maps = torch.from_numpy(smooth_maps(4, height, width)).to(dtype)
    return SenseOperator(maps, torch.from_numpy(lines(width)))


# The checks of sigpy's own tests/test_linop.py.
def check_linop_linear(A, dtype):
    a = sigpy.randn([1], dtype=dtype)
    x, y = sigpy.randn(A.ishape, dtype=dtype), sigpy.randn(A.ishape, dtype=dtype)
    assert_equal_to_rounding(A(a * x + y), a * A(x) + A(y))


def check_linop_adjoint(A, dtype):
    x, y = sigpy.randn(A.ishape, dtype=dtype), sigpy.randn(A.oshape, dtype=dtype)
    left = np.vdot(A * x, y)
    scale = np.linalg.norm(A * x) * np.linalg.norm(y)
    assert_equal_to_rounding(left, np.vdot(A.H.H * x, y), n_summed=y.size, scale=scale)
    assert_equal_to_rounding(left, np.vdot(x, A.H * y), n_summed=y.size, scale=scale)


def check_linop_normal(A, dtype):
    x = sigpy.randn(A.ishape, dtype=dtype)
    assert_equal_to_rounding(A.N * x, A.H * A * x)


def check_linop_pickleable(A):
    assert repr(A) == repr(pickle.loads(pickle.dumps(A)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(12, 10), (9, 11)])
def test_sense_passes_sigpys_checks(shape, dtype):
    np.random.seed(0)  # noqa: NPY002 - sigpy draws from numpy's global state
    A = as_sigpy_linop(sense(*shape))
    assert isinstance(A, sigpy.linop.Linop)
    assert A.ishape == list(shape) and A.oshape == [4, *shape]
    for check in (check_linop_linear, check_linop_adjoint, check_linop_normal):
        check(A, dtype)
    check_linop_pickleable(A)
    # sigpy's algebra of operators
    combined = 2 * A.H * A + sigpy.linop.Identity(shape)
    check_linop_adjoint(combined, np.complex64)
    check_linop_linear(combined, np.complex64)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_real_operators_pass_them_too(dtype):
    np.random.seed(0)  # noqa: NPY002
    A = as_sigpy_linop(BlurOperator(gaussian_kernel(1.0), (12, 9)))
    for check in (check_linop_linear, check_linop_adjoint, check_linop_normal):
        check(A, dtype)
    assert A(sigpy.randn((12, 9), dtype=dtype)).dtype == dtype


def test_it_is_sigpys_own_sense():
    maps, mask = smooth_maps(4, 12, 9), lines(9)
    ours = as_sigpy_linop(SenseOperator(torch.from_numpy(maps), torch.from_numpy(mask)))
    theirs = sigpy.mri.linop.Sense(maps, weights=np.broadcast_to(mask, (12, 9)).astype(float))
    x = sigpy.randn((12, 9), dtype=np.complex64)
    assert_equal_to_rounding(ours * x, theirs * x)
    y = sigpy.randn((4, 12, 9), dtype=np.complex64)
    assert_equal_to_rounding(ours.H * y, theirs.H * y)


def test_precision_follows_the_array():
    A = as_sigpy_linop(sense(12, 10))
    x = sigpy.randn((12, 10), dtype=np.complex128)
    exact = as_sigpy_linop(sense(12, 10, torch.complex128))(x)
    assert A(x).dtype == np.complex128
    assert_equal_to_rounding(A(x), exact)
    assert A(x.real.astype(np.float32)).dtype == np.complex64
    assert A(np.ones((12, 10), int)).dtype == np.complex64


def test_normal_is_the_fast_one(monkeypatch):
    operator = sense(12, 10)
    monkeypatch.setattr(operator, "_forward", None)
    as_sigpy_linop(operator).N * sigpy.randn((12, 10), dtype=np.complex64)


def test_inside_sigpys_apps():
    operator = sense(24, 20)
    image = standard_normal((24, 20), torch.Generator().manual_seed(0), torch.complex64)
    y = operator(image).numpy()
    A = as_sigpy_linop(operator)
    found = sigpy.app.LinearLeastSquares(A, y, lamda=0.1, max_iter=60, show_pbar=False).run()
    dense = np.stack(
        [(operator.normal(e.reshape(24, 20))).numpy().ravel() for e in torch.eye(480) + 0j], axis=1
    )
    exact = np.linalg.solve(dense + 0.1 * np.eye(480), (A.H * y).ravel()).reshape(24, 20)
    npt.assert_allclose(found, exact, atol=2e-3)
    largest = sigpy.app.MaxEig(A.N, dtype=np.complex64, max_iter=300, show_pbar=False).run()
    npt.assert_allclose(largest, np.linalg.eigvalsh(dense)[-1], rtol=1e-2)


def test_l1_wavelet_app_with_our_operator():
    image = sigpy.shepp_logan((32, 32)).astype(np.complex64)
    operator = sense(32, 32)
    y = operator(torch.from_numpy(image)).numpy()
    W = sigpy.linop.Wavelet((32, 32))
    prox = sigpy.prox.UnitaryTransform(sigpy.prox.L1Reg(W.oshape, 0.002), W)
    solved = sigpy.app.LinearLeastSquares(
        as_sigpy_linop(operator), y, proxg=prox, max_iter=100, show_pbar=False
    ).run()
    zero_filled = operator.adjoint(torch.from_numpy(y)).numpy()
    assert np.linalg.norm(solved - image) < 0.5 * np.linalg.norm(zero_filled - image)


@pytest.mark.parametrize("shape", [(8, 6), (7, 9)])
def test_a_sigpy_operator_passes_our_checks(shape):
    maps = smooth_maps(3, *shape)
    linop = sigpy.mri.linop.Sense(maps, weights=np.broadcast_to(lines(shape[1]), shape) * 1.0)
    operator = from_sigpy_linop(linop)
    check_operator(operator, torch.complex64)
    check_operator(from_sigpy_linop(sigpy.linop.FiniteDifference(shape), torch.float64),
                   torch.float64)  # fmt: skip


def test_there_and_back_is_the_same_object():
    operator = sense(8, 6)
    assert from_sigpy_linop(as_sigpy_linop(operator)) is operator
    linop = sigpy.linop.FFT((8, 6))
    assert as_sigpy_linop(from_sigpy_linop(linop)) is linop


def test_our_sampler_takes_a_sigpy_operator():
    """Its samples have the mean of the Gaussian posterior, known in closed form."""
    shape, noise_std = (8, 8), 0.1
    maps = smooth_maps(3, *shape)
    linop = sigpy.mri.linop.Sense(maps, weights=np.broadcast_to(lines(8), shape) * 1.0)
    prior = GaussianPrior.power_law(exponent=2.0)
    generator = torch.Generator().manual_seed(0)
    data = torch.from_numpy((linop * sigpy.randn(shape)).astype(np.complex64))
    options = {"n_samples": 32, "n_evaluations": 60, "generator": generator}
    theirs = sample_posterior(prior, from_sigpy_linop(linop), data, noise_std, **options).samples
    generator.manual_seed(1)
    ours = sample_posterior(
        prior, SenseOperator(torch.from_numpy(maps), torch.from_numpy(lines(8))), data, noise_std,
        **options,
    ).samples  # fmt: skip
    spread = (ours.var(0) + theirs.var(0)).sqrt() / 32**0.5
    difference = (ours.mean(0) - theirs.mean(0)).abs()
    assert (difference / spread).square().mean() < 2


def test_what_does_not_fit_is_named():
    A = as_sigpy_linop(sense(8, 6))
    with pytest.raises(RuntimeError) as caught:  # sigpy wraps what happens inside
        A.apply(torch.zeros(8, 6))
    assert isinstance(caught.value.__cause__, DtypeError)
    assert "expected a numpy array" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError):
        A(np.zeros((8, 7)))
    with pytest.raises(DtypeError, match="int32"):
        from_sigpy_linop(sigpy.linop.Identity((3,)), torch.int32)
    assert MatrixOperator(torch.eye(3)).dtype == torch.float32  # and stays real in sigpy
    assert as_sigpy_linop(MatrixOperator(torch.eye(3)))(np.ones(3)).dtype == np.float64
