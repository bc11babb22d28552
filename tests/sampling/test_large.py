"""The sampler at the sizes that users have, under a Gaussian prior, against an independent answer.

Draws of the posterior by conjugate gradients in double precision, to an error of 1e-7, written out
here: nothing of the sampler's own solver. Frequencies that were not measured and are low are where
a solver stops too early first.
"""

import math

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.operators import InpaintingOperator, SenseOperator, sense, simulate
from mri_alps.operators.restoration.inpainting import box_mask
from mri_alps.priors import GaussianPrior, exact_posterior
from mri_alps.priors.spectrum import frequency_radius
from mri_alps.sampling import AlpsConfiguration, sample_alps, sample_posterior
from tests.sampling.posterior_bed import coil_maps, line_mask

N_EVALUATIONS = 20


def make_mask(kind, size, acceleration):
    if kind.startswith("lines"):
        return line_mask(size, acceleration, round((0.08 if acceleration == 4 else 0.04) * size))
    chosen = torch.rand((size, size), generator=torch.Generator().manual_seed(0))
    return (chosen < 1 / acceleration) | (frequency_radius((size, size)) < 0.04)


def exact_draws(operator, prior, noise_std, data, n, seed):
    """Spectra of the posterior mean and of `n` draws about it."""
    maps, mask = operator.sensitivity_maps.to(torch.complex128), operator.mask
    size = maps.shape[-1]
    precision = 1 / torch.fft.ifftshift(prior.prior_spectrum.image((size, size)))
    sampled = torch.fft.ifftshift(mask.expand(size, size))

    def adjoint(y):
        """Of k-space in the order of torch.fft; maps are centred as images are."""
        return (maps.conj() * torch.fft.ifft2(y, norm="ortho")).sum(-3)

    def forward(x):
        return sampled * torch.fft.fft2(maps * x.unsqueeze(-3), norm="ortho")

    def apply(spectrum):
        image = torch.fft.ifft2(spectrum, norm="ortho")
        normal = torch.fft.fft2(adjoint(forward(image)), norm="ortho")
        return normal / noise_std**2 + precision * spectrum

    generator = torch.Generator().manual_seed(seed)
    noise = standard_normal((n, *data.shape), generator, torch.complex128)
    white = standard_normal((n, size, size), generator, torch.complex128)
    back = torch.stack([operator_adjoint(operator, data), *[adjoint(sampled * z) for z in noise]])
    target = torch.fft.fft2(back, norm="ortho")
    target[0] /= noise_std**2
    target[1:] = target[1:] / noise_std + precision.sqrt() * white
    power = torch.fft.fft2(maps, norm="ortho").abs().square().sum(-3) / size**2
    blurred = torch.fft.ifft2(torch.fft.fft2(power).conj() * torch.fft.fft2(sampled.double())).real
    inverse = 1 / (blurred.clamp_min(0) / noise_std**2 + precision)
    return conjugate_gradients(apply, inverse, target)


def operator_adjoint(operator, data):
    precise = SenseOperator(operator.sensitivity_maps.to(torch.complex128), operator.mask)
    return precise.adjoint(data.to(torch.complex128))


def conjugate_gradients(apply, inverse, target):
    x, residual = torch.zeros_like(target), target.clone()
    preconditioned = inverse * residual
    direction = preconditioned
    energy = (residual.conj() * preconditioned).real.sum((-2, -1), keepdim=True)
    for _ in range(5000):
        response = apply(direction)
        step = energy / (direction.conj() * response).real.sum((-2, -1), keepdim=True)
        x, residual = x + step * direction, residual - step * response
        preconditioned = inverse * residual
        previous = energy
        energy = (residual.conj() * preconditioned).real.sum((-2, -1), keepdim=True)
        direction = preconditioned + (energy / previous) * direction
        if float(energy.max()) < 1e-7 * 2 * target[0].numel():
            return x[0], x[1:]
    raise AssertionError("the reference did not converge")


CASES = [
    ("lines", 96, 4, 0.03),
    ("lines that share matrices", 96, 8, 0.03),
    ("lines", 96, 8, 0.03),
    ("lines of an ellipse", 96, 8, 0.03),
    ("points", 96, 8, 0.1),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [
            ("lines", 96, 8, 0.3),
            ("lines", 192, 4, 0.1),
            ("points", 128, 4, 0.03),
            ("lines", 320, 8, 0.03),
        ]
    ),
]


@pytest.mark.parametrize(("kind", "size", "acceleration", "noise_std"), CASES)
def test_deviation_and_mean_are_those_of_the_posterior(
    monkeypatch, kind, size, acceleration, noise_std
):
    if "share" in kind:  # as lines of the larger ones do anyway
        monkeypatch.setattr(sense, "SHARED_LIMIT", 0)
    generator = torch.Generator().manual_seed(4)
    mask = make_mask(kind, size, acceleration)
    maps = coil_maps(8, (size, size), torch.complex64)
    if kind.endswith("ellipse"):  # the support of a head, outside of which only the prior speaks
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
        maps = maps * ((y / 0.9) ** 2 + (x / 0.7) ** 2 < 1)
    operator = SenseOperator(maps, mask)
    prior = GaussianPrior.power_law()
    image = prior.sample(1, (size, size), generator, torch.complex64)[0]
    data = operator.forward(image)
    data = (data + noise_std * standard_normal(data.shape, generator, data.dtype)) * operator.mask
    n = max(4, round(24 * 96**2 / size**2))
    result = sample_posterior(
        prior, operator, data, noise_std, n_samples=n, n_evaluations=N_EVALUATIONS,
        generator=generator,
    )  # fmt: skip
    assert result.diagnostics["operator"]["unsolved"] == 0
    mean, draws = exact_draws(operator, prior, noise_std, data, n, seed=5)
    found = torch.fft.fft2(result.samples.to(torch.complex128), norm="ortho")
    unmeasured = torch.fft.ifftshift((frequency_radius((size, size)) < 0.15) & ~mask)
    for region, limit in ((torch.ones_like(unmeasured), 0.02), (unmeasured, 0.04)):
        spread = (found - found.mean(0)).abs().square().sum(0)[region] / (n - 1)
        exact = draws.abs().square().mean(0)[region]
        # Both are estimates; few frequencies carry most of the variance.
        weight = exact / exact.sum()
        monte_carlo = math.sqrt(float(weight.square().sum()) / n / 2)
        ratio = math.sqrt(float(spread.sum() / exact.sum()))
        assert abs(ratio - 1) < limit + 3 * monte_carlo
        error = n * (found.mean(0) - mean).abs().square()[region].sum() / exact.sum()
        assert math.sqrt(float(error)) < 1.15 + 3 * math.sqrt(float(weight.square().sum()) / 2)


@pytest.mark.slow
def test_a_hole_is_as_wide_as_the_posterior_through_the_solver():
    """The diagonal of a mask of pixels is flat: it says nothing of where the solver errs."""
    size, noise_std, n_samples = 40, 0.01, 48
    prior = GaussianPrior.power_law()
    operator = InpaintingOperator(box_mask((size, size), (size // 4, size // 4)))
    truth = prior.sample(1, (size, size), torch.Generator().manual_seed(31))[0]
    data = simulate(operator, truth, noise_std, torch.Generator().manual_seed(2))
    exact = exact_posterior(prior, operator, data, noise_std)
    samples = sample_posterior(
        prior,
        operator,
        data,
        noise_std,
        n_samples=n_samples,
        n_evaluations=30,
        method=lambda task: sample_alps(task, AlpsConfiguration(dense_limit=0)),
        generator=torch.Generator().manual_seed(0),
    ).samples
    hole = ~operator.mask
    ratio = (samples.var(0)[hole].mean() / exact.std.square()[hole].mean()).sqrt()
    # Some 20 directions of the hole hold its variance.
    assert abs(float(ratio) - 1) < 0.02 + 2 / math.sqrt(4 * n_samples * 20)
