"""Inpainting, blur, down-sampling and simulated data against independent references."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.operators import (
    BlurOperator,
    DownsamplingOperator,
    IdentityOperator,
    InpaintingOperator,
    SenseOperator,
    box_mask,
    gaussian_kernel,
    motion_kernel,
    random_motion_kernel,
    random_pixel_mask,
    simulate,
    single_coil_maps,
)
from mri_alps.operators.rounding import assert_equal_to_rounding


def make_image(*shape, dtype=torch.float64):
    return standard_normal(shape, torch.Generator().manual_seed(0), dtype)


@pytest.mark.parametrize("boundary", ["circular", "reflect"])
@pytest.mark.parametrize("kernel_shape", [(3, 5), (4, 2), (1, 1), (5, 4)])
@pytest.mark.parametrize("size", [(9, 8), (8, 7)])
def test_blur_is_the_convolution_written_out(size, kernel_shape, boundary):
    kernel, x = make_image(*kernel_shape), make_image(*size)
    mode = "wrap" if boundary == "circular" else "reflect"
    padded = np.pad(x.numpy(), 8 if boundary == "circular" else 6, mode=mode)
    margin = 8 if boundary == "circular" else 6
    expected = np.zeros(size)
    for a in range(kernel_shape[0]):
        for b in range(kernel_shape[1]):
            row, column = margin + kernel_shape[0] // 2 - a, margin + kernel_shape[1] // 2 - b
            window = padded[row : row + size[0], column : column + size[1]]
            expected += float(kernel[a, b]) * window
    found = BlurOperator(kernel, size, boundary).forward(x)
    assert_equal_to_rounding(found, expected)


@pytest.mark.parametrize(("boundary", "mode"), [("circular", "wrap"), ("reflect", "mirror")])
def test_blur_agrees_with_scipy(boundary, mode):
    kernel, x = make_image(5, 3), make_image(12, 9)
    expected = ndimage.convolve(x.numpy(), kernel.numpy(), mode=mode)
    found = BlurOperator(kernel, (12, 9), boundary).forward(x)
    assert_equal_to_rounding(found, expected)


def test_gaussian_blur_agrees_with_scipy_and_keeps_the_mean():
    x = make_image(40, 32)
    blurred = BlurOperator(gaussian_kernel(1.5, 13, torch.float64), (40, 32)).forward(x)
    expected = ndimage.gaussian_filter(x.numpy(), 1.5, mode="wrap", radius=6)
    assert_equal_to_rounding(blurred, expected)
    assert_equal_to_rounding(blurred.sum(), x.sum(), n_summed=x.numel(), scale=x.norm())


def test_blur_treats_real_and_imaginary_part_alike():
    x = make_image(2, 9, 8, dtype=torch.complex128)
    for boundary in ("circular", "reflect"):
        blur = BlurOperator(make_image(3, 4), (9, 8), boundary)
        expected = torch.complex(blur.forward(x.real), blur.forward(x.imag))
        assert_equal_to_rounding(blur.forward(x), expected)


def test_motion_kernels_lie_along_their_angle():
    horizontal, vertical = motion_kernel(8, 0), motion_kernel(8, 90)
    assert horizontal.shape == (9, 9)
    assert_equal_to_rounding(horizontal[4].sum(), torch.tensor(1.0), n_summed=9)
    assert_equal_to_rounding(vertical[:, 4].sum(), torch.tensor(1.0), n_summed=9)
    rows, columns = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(9.0) - 4, indexing="ij")
    rising = motion_kernel(8, 45, size=9)
    assert (rising * rows * columns).sum() < -2  # towards smaller rows with growing columns


@pytest.mark.parametrize(
    "kernel",
    [
        gaussian_kernel(3.0, 61),
        gaussian_kernel(0.8),
        motion_kernel(7.3, 20),
        random_motion_kernel(61, torch.Generator().manual_seed(4)),
    ],
)
def test_kernels_are_centred_averages(kernel):
    assert kernel.dtype == torch.float32
    assert (kernel >= 0).all()
    assert_equal_to_rounding(kernel.sum(), torch.tensor(1.0), n_summed=kernel.numel())
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1


def test_random_motion_depends_on_its_generator_alone():
    kernels = [random_motion_kernel(31, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(kernels[0], kernels[1])
    assert not torch.equal(kernels[0], kernels[2])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gaussian_kernel(0), ConfigurationError, "std=0"),
        (lambda: gaussian_kernel(1, 4), ConfigurationError, "size=4, expected an odd"),
        (lambda: motion_kernel(-1, 0), ConfigurationError, "length=-1"),
        (lambda: motion_kernel(9, 0, size=5), ConfigurationError, "expected a larger size"),
        (lambda: BlurOperator(torch.ones(3, 3).int(), (8, 8)), DtypeError, "kernel of torch.int"),
        (lambda: BlurOperator(torch.ones(3), (8, 8)), ShapeError, "expected .kh, kw."),
        (lambda: BlurOperator(torch.ones(3, 3), (8, 8), "zero"), ConfigurationError, "'zero'"),
        (lambda: BlurOperator(torch.ones(9, 9), (4, 9), "reflect"), ShapeError, "smaller kernel"),
        (lambda: DownsamplingOperator((9, 8)), ShapeError, "divisible by the factor"),
        (lambda: DownsamplingOperator((8, 8), 0), ShapeError, "factor=0"),
        (lambda: DownsamplingOperator((8, 8), 2, "nearest"), ConfigurationError, "'nearest'"),
        (lambda: InpaintingOperator(torch.ones(3)), DtypeError, "expected a boolean"),
        (lambda: InpaintingOperator(torch.ones(3) > 0, (4, 4)), ShapeError, "broadcasts"),
        (lambda: box_mask((8, 8), (3, 3), (6, 0)), ConfigurationError, "inside the image"),
        (
            lambda: random_pixel_mask((4, 4), 0, torch.Generator()),
            ConfigurationError,
            "fraction_measured=0",
        ),
    ],
)
def test_what_does_not_fit_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_blur_refuses_another_precision():
    blur = BlurOperator(gaussian_kernel(1.0), (8, 8))
    with pytest.raises(DtypeError, match=r"float64, expected torch.float32 or torch.complex64"):
        blur.forward(make_image(8, 8))
    assert blur.to(torch.complex128).forward(make_image(8, 8)).dtype == torch.float64
    bicubic = DownsamplingOperator((8, 8), 4, "bicubic")
    assert bicubic.to(torch.float64).forward(make_image(8, 8)).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_average_is_the_mean_of_blocks(dtype):
    x = make_image(2, 8, 12, dtype=dtype)
    found = DownsamplingOperator((8, 12)).forward(x)
    assert found.shape == (2, 2, 3)
    block = x[1, 4:8, 8:12]
    assert_equal_to_rounding(found[1, 1, 2], block.mean(), n_summed=16, scale=block.norm() / 16)


def test_bicubic_is_torchs_interpolation():
    x = make_image(2, 16, 24)
    expected = torch.nn.functional.interpolate(
        x[:, None], size=(4, 6), mode="bicubic", antialias=True
    )[:, 0]
    found = DownsamplingOperator((16, 24), 4, "bicubic", torch.float64).forward(x)
    assert_equal_to_rounding(found, expected)


def test_downsampling_keeps_a_constant():
    for method in ("average", "bicubic"):
        small = DownsamplingOperator((16, 24), 4, method).forward(torch.full((16, 24), 2.5))
        assert_equal_to_rounding(small, torch.full((4, 6), 2.5))


def test_inpainting_keeps_what_is_measured():
    mask = box_mask((6, 7), (2, 3))
    assert mask.sum() == 42 - 6
    assert not mask[2:4, 2:5].any()
    x = make_image(2, 6, 7)
    x[..., 3, 3] = float("nan")
    found = InpaintingOperator(mask).forward(x)
    assert torch.equal(found[:, mask], x[:, mask])
    assert (found[:, ~mask] == 0).all()
    corner = box_mask((6, 7), (2, 3), corner=(0, 4))
    assert not corner[:2, 4:].any()
    assert corner.sum() == 36


def test_random_pixels_are_as_many_as_asked_and_reproducible():
    masks = [random_pixel_mask((20, 15), 0.3, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert [int(m.sum()) for m in masks] == [90, 90, 90]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_simulated_noise_has_its_standard_deviation_per_component():
    x = torch.zeros(200, 200, dtype=torch.complex64)
    y = simulate(IdentityOperator((200, 200)), x, 0.5, torch.Generator().manual_seed(0))
    # 40,000 values: the standard error of a standard deviation is 0.35 % of it
    assert float(y.real.std()) == pytest.approx(0.5, rel=0.015)
    assert float(y.imag.std()) == pytest.approx(0.5, rel=0.015)


def test_simulated_noise_stays_off_what_is_not_measured():
    mask = random_pixel_mask((30, 30), 0.3, torch.Generator().manual_seed(0))
    x = make_image(4, 30, 30)
    y = simulate(InpaintingOperator(mask), x, 1.0, torch.Generator().manual_seed(1))
    assert (y[:, ~mask] == 0).all()
    assert (y[:, mask] != x[:, mask]).all()
    lines = torch.arange(30) % 3 == 0
    sense = SenseOperator(single_coil_maps((30, 30)), lines)
    kspace = simulate(sense, x.to(torch.complex64), 1.0, torch.Generator().manual_seed(1))
    assert (kspace[..., ~lines] == 0).all()
    assert (kspace[..., lines] != 0).all()


def test_simulated_noise_can_differ_between_slices():
    maps = single_coil_maps((60, 50)).expand(2, 1, 60, 50)
    sense = SenseOperator(maps, torch.ones(50, dtype=torch.bool))
    x = torch.zeros(2, 60, 50, dtype=torch.complex64)
    y = simulate(sense, x, torch.tensor([1.0, 3.0]), torch.Generator().manual_seed(0))
    assert float(y[0].real.std()) == pytest.approx(1, rel=0.06)
    assert float(y[1].real.std()) == pytest.approx(3, rel=0.06)
    with pytest.raises(ShapeError, match=r"noise_std of shape \(3,\)"):
        simulate(sense, x, torch.ones(3), torch.Generator())
