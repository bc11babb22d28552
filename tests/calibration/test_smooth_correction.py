"""Maps and image are changed together until they explain what was measured."""

import math

import numpy as np
import pytest
import torch

from mri_alps.calibration import smooth_correction
from mri_alps.calibration.smooth_correction import correct_smoothly
from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal

NOISE = 0.01


def smooth_maps(shape, n_coils=6, seed=0):
    """Of unit norm, and not periodic: each coil sits beside the field of view."""
    y, x = (torch.linspace(-1, 1, n) for n in shape)
    angles = 2 * math.pi * (torch.arange(n_coils) + seed / 7) / n_coils
    maps = [
        torch.exp(
            -0.7 * ((y[:, None] - 1.3 * math.sin(a)) ** 2 + (x - 1.3 * math.cos(a)) ** 2)
            + 1j * (y[:, None] * math.cos(a) + x * math.sin(2 * a))
        )
        for a in angles.tolist()
    ]
    maps = torch.stack(maps).to(torch.complex64)
    return maps / maps.abs().square().sum(0).sqrt()


def problem(shape, mask, error, noise_std=NOISE, seed=0):
    """K-space, maps that are wrong by a smooth function, the right ones, and the image."""
    generator = torch.Generator().manual_seed(seed)
    y, x = (torch.linspace(-1, 1, n) for n in shape)
    image = (1 + 0.5 * torch.cos(7 * y[:, None] * x) * torch.sin(11 * x)).to(torch.complex64)
    image[:, : shape[1] // 4] *= 0.05  # dark at one end, bright at the other
    true = smooth_maps(shape)
    wrong = true + error * smooth_maps(shape, seed=3) * (2 - x)
    wrong = wrong / wrong.abs().square().sum(0).sqrt()
    noise = standard_normal(true.shape, generator, torch.complex64)
    return (fftc(image * true) + noise_std * noise) * mask, wrong, true, image


def error_of(maps, true, image):
    """Share of the true coil images that the maps do not explain, in dB."""
    images = true * image
    rest = images - maps * (maps.conj() * images).sum(0)
    return float(10 * torch.log10(rest.abs().square().sum() / images.abs().square().sum()))


def lines(width, step):
    mask = torch.zeros(width, dtype=torch.bool)
    mask[::step] = True
    mask[width // 2 - 4 : width // 2 + 4] = True
    return mask


@pytest.mark.parametrize("shape", [(48, 48), (45, 52), (51, 47)])
@pytest.mark.parametrize("points", [False, True])
def test_a_smooth_error_goes(shape, points):
    mask = lines(shape[1], 3)
    if points:
        mask = mask.expand(shape) & torch.as_tensor(np.random.default_rng(0).random(shape) < 0.8)
    kspace, wrong, true, image = problem(shape, mask, 0.3)
    found = correct_smoothly(kspace, mask, wrong, image, NOISE)
    assert error_of(found, true, image) < error_of(wrong, true, image) - 10
    assert float((found.abs().square().sum(0) - 1).abs().max()) < 1e-4
    assert found.dtype == torch.complex64


def test_the_image_need_not_be_exact():
    mask = lines(48, 3)
    kspace, wrong, true, image = problem((48, 48), mask, 0.3)
    near = image + 0.05 * standard_normal(
        image.shape, torch.Generator().manual_seed(5), torch.complex64
    )
    found = correct_smoothly(kspace, mask, wrong, near, NOISE)
    assert error_of(found, true, image) < error_of(wrong, true, image) - 6


def test_outside_of_the_support_there_are_no_maps():
    mask = lines(48, 3)
    kspace, wrong, *_, image = problem((48, 48), mask, 0.3)
    wrong[:, 30:] = 0
    found = correct_smoothly(kspace, mask, wrong, image, NOISE)
    assert bool((found[:, 30:] == 0).all()) and bool((found[:, :30].abs().sum(0) > 0).all())


@pytest.mark.parametrize("shape", [(12, 9), (7, 10)])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_derivative_and_adjoint(shape, dtype):
    """The derivative is that of the model, the adjoint that of the derivative."""
    generator = torch.Generator().manual_seed(0)

    def draw(*size):
        return standard_normal(size, generator, dtype)

    mask = torch.as_tensor(np.random.default_rng(1).random(shape) < 0.6)
    image, maps = draw(*shape), draw(3, *shape)
    model = smooth_correction._Model(
        mask, smooth_correction._Series(torch.Size(shape), image), NOISE
    )
    zero = model.zeros(3)
    point, direction = 0.3 * draw(len(zero)), draw(len(zero))
    model.linearise(image, maps, point)
    along = model.derivative(direction)
    residual = draw(*along.shape)
    left, right = (
        (residual.conj() * along).sum(),
        (model.adjoint(residual).conj() * direction).sum(),
    )
    epsilon = torch.finfo(dtype).eps
    assert abs(left - right) < 100 * epsilon * along.numel() ** 0.5 * abs(left)
    # The model is of second order in the unknowns: central differences are exact.
    values = []
    for sign in (1, -1):
        model.linearise(image, maps, point + sign * direction)
        values.append(model.value)
    difference = (values[0] - values[1]) / 2
    assert (difference - along).norm() < 100 * epsilon * (along.norm() + values[0].norm())


@pytest.mark.parametrize("shape", [(96, 96), (128, 75)])
def test_the_equations_are_solved(shape, monkeypatch):
    """More iterations bring next to nothing, though coefficients weigh very differently."""
    mask = lines(shape[1], 8)
    kspace, wrong, _, image = problem(shape, mask, 0.05)

    def objective(n_iterations):
        monkeypatch.setattr(smooth_correction, "_ITERATIONS", n_iterations)
        series = smooth_correction._Series(torch.Size(shape), image)
        model = smooth_correction._Model(mask.expand(shape), series, NOISE)
        solution = model.zeros(len(kspace))
        for _ in range(smooth_correction._STEPS):
            model.linearise(image, wrong, solution)
            residual = kspace / NOISE - model.value
            solution = solution + model.solve(model.adjoint(residual) - solution)
        model.linearise(image, wrong, solution)
        residual = (kspace / NOISE - model.value)[:, mask.expand(shape)]
        return float(residual.abs().square().sum() + solution.abs().square().sum())

    # Unknowns that are not scaled are 10 % above the least that can be had.
    assert objective(smooth_correction._ITERATIONS) < 1.02 * objective(400)
