"""The centred orthonormal transform: centre, unitarity, agreement with sigpy and fastMRI."""

import numpy as np
import pytest
import torch

from mri_alps.errors import DtypeError
from mri_alps.fourier import fftc, ifftc
from mri_alps.random import standard_normal

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
    np.testing.assert_allclose(fftc(torch.from_numpy(x)).numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_the_centre_is_the_zero_frequency(size):
    centre = (size[0] // 2, size[1] // 2)
    constant = fftc(torch.ones(size, dtype=torch.complex128))
    assert constant[centre].real == pytest.approx(np.sqrt(size[0] * size[1]))
    assert constant.abs().sum() == pytest.approx(np.sqrt(size[0] * size[1]))
    point = torch.zeros(size, dtype=torch.complex128)
    point[centre] = 1
    expected = torch.full(size, 1 / np.sqrt(size[0] * size[1]), dtype=torch.complex128)
    torch.testing.assert_close(fftc(point), expected)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dim", [-1, -2, (-2, -1), (0, 2), 1])
def test_is_unitary(dim, size, dtype):
    x, y = make_image(3, *size, dtype=dtype), make_image(4, *size, dtype=dtype)[1:]
    assert fftc(x, dim).dtype == dtype
    torch.testing.assert_close(ifftc(fftc(x, dim), dim), x)
    torch.testing.assert_close(fftc(ifftc(x, dim), dim), x)
    left = torch.vdot(y.flatten(), fftc(x, dim).flatten())
    torch.testing.assert_close(left, torch.vdot(ifftc(y, dim).flatten(), x.flatten()))


def test_two_axes_are_one_after_the_other():
    x = make_image(2, 6, 5)
    torch.testing.assert_close(fftc(x), fftc(fftc(x, -1), -2))
    torch.testing.assert_close(fftc(x)[1], fftc(x[1]))


@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_sigpy_and_fastmri(size):
    sigpy = pytest.importorskip("sigpy")
    fastmri = pytest.importorskip("fastmri")
    x = make_image(*size)
    np.testing.assert_allclose(fftc(x).numpy(), sigpy.fft(x.numpy()), atol=1e-13)
    np.testing.assert_allclose(ifftc(x).numpy(), sigpy.ifft(x.numpy()), atol=1e-13)
    theirs = torch.view_as_complex(fastmri.ifft2c(torch.view_as_real(x)))
    torch.testing.assert_close(ifftc(x), theirs)


@pytest.mark.parametrize("transform", [fftc, ifftc])
def test_real_images_are_refused(transform):
    with pytest.raises(DtypeError, match=r"found torch\.float32: convert"):
        transform(torch.ones(4, 4))
