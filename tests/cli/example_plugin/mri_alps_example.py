"""A package of somebody else: one prior and one sampler for mri_alps.

Its ``pyproject.toml`` would say

    [project.entry-points."mri_alps.priors"]
    white = "mri_alps_example:make_white_prior"

    [project.entry-points."mri_alps.samplers"]
    exact-normal-equations = "mri_alps_example:sample_exactly"
"""

import torch

from mri_alps.sampling import PosteriorSamples

NUMBER = 3


class WhitePrior:
    """Independent pixels: x ~ N(0, 1) per real component, so D(x, sigma) = x / (1 + sigma^2)."""

    name = "white"
    sigma_min, sigma_max = 0.01, 10.0

    def denoise(self, x, sigma):
        sigma = torch.as_tensor(sigma, dtype=x.real.dtype)
        return x / (1 + sigma.reshape(-1, *[1] * (x.ndim - 1)) ** 2)

    def score(self, x, sigma):
        sigma = torch.as_tensor(sigma, dtype=x.real.dtype)
        return -x / (1 + sigma.reshape(-1, *[1] * (x.ndim - 1)) ** 2)


class FailingPrior(WhitePrior):
    """For a test: whatever it is asked, it fails."""

    def denoise(self, x, sigma):
        return 1 / 0

    def score(self, x, sigma):
        return 1 / 0


READY_MADE = WhitePrior()
FAILING = FailingPrior()


def make_white_prior(device):
    """Priors are made for a device."""
    prior = WhitePrior()
    prior.device = device
    return prior


def sample_exactly(task):
    """Exact samples under the white prior: solve (A^H A / s^2 + 1) x = A^H (y + n) / s^2 + e."""
    problem, noise = task.problem, task.noise()
    precision = problem.noise_std**-2
    perturbed = problem.data + problem.noise_std * noise.data()
    target = problem.operator.adjoint(perturbed) * precision + noise.image()
    x = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    for _ in range(50):  # conjugate gradients
        applied = problem.operator.normal(direction) * precision + direction
        power = residual.abs().square().sum()
        step = power / (direction.conj() * applied).sum().real.clamp_min(1e-30)
        x, residual = x + step * direction, residual - step * applied
        direction = residual + direction * (residual.abs().square().sum() / power.clamp_min(1e-30))
    return PosteriorSamples(samples=x, n_evaluations=0, seed=task.seed)
