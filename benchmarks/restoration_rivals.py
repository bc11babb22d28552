"""Three published samplers that work in an operator's singular vectors, to compare with.

Each is a sampling method as `sample_posterior` takes one, so that all draw on the same counted
score. Their papers write them for states scaled to unit variance; here they are in the form in
which x = x0 + sigma n, which is the same up to that scale. deepinv has two of them, for images
within [0, 1]: it clips them there, and its DDRM divides the noise by sqrt(2) in real images too,
so that complex images with unbounded parts need these.
"""

from __future__ import annotations

import itertools
import math

import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.operators import BlurOperator, DownsamplingOperator, InpaintingOperator
from mri_alps.sampling import CountedScore, PosteriorSamples, karras_ladder
from mri_alps.sampling.baselines import vp_ladder
from mri_alps.sampling.diffusion import ancestral_step

SMALLEST = 1e-3
"""Singular values below this measure nothing: A^H y divided by them is rounding error."""


class SingularBasis:
    """V and s of A = U diag(s) V^H for the operators of restoration.

    Parameters
    ----------
    operator : InpaintingOperator, BlurOperator or DownsamplingOperator
        A blur has to be circular, down-sampling by averages.
    """

    def __init__(self, operator):
        if isinstance(operator, InpaintingOperator):
            self.values, self._kind = operator.mask.float(), "pixels"
        elif isinstance(operator, BlurOperator) and operator.boundary == "circular":
            impulse = torch.zeros(operator.domain_shape)
            impulse[0, 0] = 1
            self.values, self._kind = torch.fft.fft2(operator.forward(impulse)).abs(), "waves"
        elif isinstance(operator, DownsamplingOperator) and operator.method == "average":
            self._kind, factor = "blocks", operator.factor
            # Rows: the mean of a block, then what is orthogonal to it.
            first = torch.cat([torch.ones(factor**2, 1), torch.eye(factor**2)[:, 1:]], 1)
            self._block = torch.linalg.qr(first).Q.T
            self._grid, self._factor = operator.range_shape, factor
            self.values = self.join(torch.eye(factor**2)[0].expand(*self._grid, -1) / factor)
        else:
            raise ConfigurationError(
                f"found {operator.name}, expected inpainting, a circular blur or down-sampling "
                "by averages, whose singular vectors are known"
            )

    def split(self, x):
        """Blocks as vectors: (..., H, W) to (..., H/f, W/f, f^2)."""
        (height, width), f = self._grid, self._factor
        x = x.reshape(*x.shape[:-2], height, f, width, f).movedim(-3, -2)
        return x.reshape(*x.shape[:-2], f * f)

    def join(self, blocks):
        """The way back."""
        (height, width), f = self._grid, self._factor
        blocks = blocks.reshape(*blocks.shape[:-1], f, f).movedim(-2, -3)
        return blocks.reshape(*blocks.shape[:-4], height * f, width * f)

    def into(self, x):
        """V^H x, shaped like x: (n, H, W)."""
        if self._kind == "waves":
            return torch.fft.fft2(x, norm="ortho")
        if self._kind == "blocks":
            return self.join(self.split(x) @ self._block.T.to(x.dtype))
        return x

    def back(self, coefficients):
        """V c."""
        if self._kind == "waves":
            return torch.fft.ifft2(coefficients, norm="ortho")
        if self._kind == "blocks":
            return self.join(self.split(coefficients) @ self._block.to(coefficients.dtype))
        return coefficients


def _setting(task):
    """What each of them begins with: basis, V^H A^H y, noise level, score and noise."""
    basis = SingularBasis(task.problem.operator)
    score = CountedScore(task.score_model, task.n_evaluations)
    target = basis.into(task.problem.back_projection)
    return basis, target, float(task.problem.noise_std), score, task.noise()


def _result(task, score, x):
    return PosteriorSamples(samples=x, n_evaluations=score.count, seed=task.seed)


def sample_diffpir(task, weight=7.0, zeta=0.3):
    """DiffPIR, Zhu et al., CVPR workshops 2023, algorithm 1.

    The denoised image is brought to the data by argmin |y - A x|^2 + rho |x - D|^2 with
    rho = weight noise_std^2 / sigma^2, and a share zeta of the noise is drawn anew.
    """
    basis, target, noise_std, score, noise = _setting(task)
    ladder = vp_ladder(score.sigma_min, score.sigma_max, task.n_evaluations)
    x = ladder[0] * noise.image()
    for sigma, following in zip(ladder, [*ladder[1:], 0.0], strict=True):
        rho = weight * noise_std**2 / sigma**2
        mean = basis.into(score.denoise(x, sigma))
        mean = basis.back((target + rho * mean) / (basis.values**2 + rho))
        predicted = (x - mean) / sigma
        kept, fresh = math.sqrt(1 - zeta), math.sqrt(zeta)
        x = mean + following * (kept * predicted + fresh * noise.image())
    return _result(task, score, x)


def sample_ddrm(task, eta=0.85, eta_b=1.0):
    """DDRM, Kawar et al., NeurIPS 2022, equations 7 and 8, in the singular vectors of A."""
    basis, target, noise_std, score, noise = _setting(task)
    values = basis.values
    seen = values > SMALLEST
    data = torch.where(seen, target / values.clamp_min(SMALLEST) ** 2, 0)
    # Noise of the data in each singular vector; infinite where nothing is seen.
    level = torch.where(seen, noise_std / values.clamp_min(SMALLEST), math.inf)
    ladder = vp_ladder(score.sigma_min, score.sigma_max, task.n_evaluations)
    fresh = basis.into(noise.image())
    below = seen & (level <= ladder[0])
    spread = (ladder[0] ** 2 - level**2).clamp_min(0).sqrt()
    state = torch.where(below, data + spread * fresh, ladder[0] * fresh)
    for sigma, following in zip(ladder, [*ladder[1:], 0.0], strict=True):
        image = score.denoise(basis.back(state), sigma)
        if not following:
            break
        mean, fresh = basis.into(image), basis.into(noise.image())
        kept = math.sqrt(1 - eta**2) * following
        unseen = mean + kept * (state - mean) / sigma + eta * following * fresh
        noisy = mean + (kept / level) * (data - mean) + eta * following * fresh
        spread = (following**2 - (eta_b * level) ** 2).clamp_min(0).sqrt()
        clear = (1 - eta_b) * mean + eta_b * data + spread * fresh
        state = torch.where(seen, torch.where(level > following, noisy, clear), unseen)
    return _result(task, score, image)


def sample_pnpdm(task, start=1.0, end=0.05, prior_steps=2):
    """PnP-DM, Wu et al., NeurIPS 2024: split Gibbs, the coupling falling from `start` to `end`.

    In turn z ~ exp(-|y - A z|^2 / (2 noise_std^2) - |z - x|^2 / (2 rho^2)), which is Gaussian,
    and x ~ p(x | z at noise rho), drawn by reverse diffusion of `prior_steps` evaluations.
    """
    basis, target, noise_std, score, noise = _setting(task)
    n_rounds = max(1, task.n_evaluations // prior_steps)
    x = torch.zeros((task.n_samples, *task.problem.domain_shape), dtype=task.problem.dtype)
    for index in range(n_rounds):
        rho = start * (end / start) ** (index / max(n_rounds - 1, 1))
        precision = basis.values**2 / noise_std**2 + 1 / rho**2
        mean = (target / noise_std**2 + basis.into(x) / rho**2) / precision
        x = basis.back(mean + basis.into(noise.image()) / precision.sqrt())
        ladder = karras_ladder(rho, score.sigma_min, prior_steps + 1)
        for sigma, following in itertools.pairwise(ladder):
            mean = score.denoise(x, sigma)
            x = ancestral_step(x, mean, sigma**2, following**2, noise.image())
    return _result(task, score, x)
