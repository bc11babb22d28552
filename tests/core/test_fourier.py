"""The centred orthonormal transform: centre, unitarity, agreement with sigpy and fastMRI."""

import numpy as np
import pytest
import torch

from mri_alps.core.errors import DtypeError
from mri_alps.core.fourier import fftc, ifftc, ortho_fft, ortho_ifft, shift, unshift
from mri_alps.core.random import standard_normal
from mri_alps.operators.rounding import assert_equal_to_rounding

SIZES = [(8, 6), (7, 9), (6, 5), (1, 4)]


def make_image(*shape, dtype=torch.complex128):
    return standard_normal(shape, torch.Generator().manual_seed(0), dtype)


@pytest.mark.parametrize("size", SIZES)
def test_is_the_transform_written_out(size):
    x = make_image(*size).numpy()
    matrices = []
    for n in size:
        index = np.arange(n) - n // 2
        matrices.append(np.exp(-2j * np.pi * np.outer(index, index) / n) / np.sqrt(n))
    expected = matrices[0] @ x @ matrices[1].T
    assert_equal_to_rounding(fftc(torch.from_numpy(x)), expected)


@pytest.mark.parametrize("size", SIZES)
def test_the_centre_is_the_zero_frequency(size):
    centre = (size[0] // 2, size[1] // 2)
    constant = fftc(torch.ones(size, dtype=torch.complex128))
    n = size[0] * size[1]
    assert_equal_to_rounding(constant[centre].real, np.sqrt(n), n_summed=n)
    assert_equal_to_rounding(constant.abs().sum(), np.sqrt(n), n_summed=n)
    point = torch.zeros(size, dtype=torch.complex128)
    point[centre] = 1
    expected = torch.full(size, 1 / np.sqrt(size[0] * size[1]), dtype=torch.complex128)
    assert_equal_to_rounding(fftc(point), expected)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dim", [-1, -2, (-2, -1), (0, 2), 1])
def test_is_unitary(dim, size, dtype):
    x, y = make_image(3, *size, dtype=dtype), make_image(4, *size, dtype=dtype)[1:]
    assert fftc(x, dim).dtype == dtype
    assert_equal_to_rounding(ifftc(fftc(x, dim), dim), x)
    assert_equal_to_rounding(fftc(ifftc(x, dim), dim), x)
    left = torch.vdot(y.flatten(), fftc(x, dim).flatten())
    right = torch.vdot(ifftc(y, dim).flatten(), x.flatten())
    assert_equal_to_rounding(left, right, n_summed=x.numel(), scale=x.norm() * y.norm())


def test_two_axes_are_one_after_the_other():
    x = make_image(2, 6, 5)
    assert_equal_to_rounding(fftc(x), fftc(fftc(x, -1), -2))
    assert_equal_to_rounding(fftc(x)[1], fftc(x[1]))


@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_sigpy_and_fastmri(size):
    sigpy = pytest.importorskip("sigpy")
    fastmri = pytest.importorskip("fastmri")
    x = make_image(*size)
    assert_equal_to_rounding(fftc(x), sigpy.fft(x.numpy()))
    assert_equal_to_rounding(ifftc(x), sigpy.ifft(x.numpy()))
    theirs = torch.view_as_complex(fastmri.ifft2c(torch.view_as_real(x)))
    assert_equal_to_rounding(ifftc(x), theirs)


@pytest.mark.parametrize("size", SIZES)
def test_without_shifts_between_arrays_that_are_shifted(size):
    x = make_image(*size)
    assert_equal_to_rounding(shift(ortho_fft(unshift(x))), fftc(x))
    assert_equal_to_rounding(shift(ortho_ifft(unshift(x))), ifftc(x))


@pytest.mark.parametrize("transform", [fftc, ifftc])
def test_real_images_are_refused(transform):
    with pytest.raises(DtypeError, match=r"found torch\.float32: convert"):
        transform(torch.ones(4, 4))
