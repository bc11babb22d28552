"""Does an image look like what a prior was trained on?

A denoiser removes noise from images like its training images better than from others. Its
error at a few noise levels, compared with the errors on held-out images that are stored with
the weights, tells foreign images apart; it sees textures and edges, not anatomy.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch

from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.priors.network import NetworkPrior

NOVELTY_KEY = "denoising_error"  # in the provenance of a prior
LEVELS = (0.05, 0.1, 0.2, 0.5)
NOVELTY_LIMIT = 4.0
"""Standard deviations beyond which an image counts as unlike the training images."""


def log_errors(prior: NetworkPrior, image: torch.Tensor, seed: int = 0) -> list[float]:
    """Logarithm of the relative denoising error of an image at each of `LEVELS`.

    Parameters
    ----------
    prior : NetworkPrior
        The denoiser.
    image : torch.Tensor
        Complex (H, W), scaled as the prior expects.
    seed : int
        Decides the noise.

    Returns
    -------
    list of float
        log(E |D(x + sigma n) - x|^2 / (2 sigma^2)), the mean taken where the image shows
        something (above a tenth of its largest magnitude), else air would decide.
    """
    inside = image.abs() > 0.1 * image.abs().max()
    results = []
    for index, sigma in enumerate(LEVELS):
        generator = torch.Generator().manual_seed(stream_seed(seed, 11, index))
        noise = standard_normal(image.shape, generator, torch.complex64).to(image.device)
        error = prior.denoise((image + sigma * noise)[None], sigma)[0] - image
        mean = float(error.abs().square()[inside].mean()) / (2 * sigma**2)
        results.append(math.log(max(mean, 1e-12)))
    return results


def reference_errors(prior: NetworkPrior, images: Sequence[torch.Tensor]) -> list[list[float]]:
    """Mean and standard deviation over images of `log_errors`, to store with a prior.

    Parameters
    ----------
    prior : NetworkPrior
        The denoiser.
    images : sequence of torch.Tensor
        At least two complex (H, W) images like the training images, but not among them.

    Returns
    -------
    list of [float, float]
        One pair for each of `LEVELS`.
    """
    table = torch.tensor([log_errors(prior, image) for image in images], dtype=torch.float64)
    return torch.stack([table.mean(0), table.std(0)], 1).tolist()


def measure_novelty(prior: object, image: torch.Tensor) -> float | None:
    """Tell how much worse an image is denoised than held-out images, and warn if by far.

    Parameters
    ----------
    prior : ScoreModel
        A prior; only a `NetworkPrior` whose weights carry reference errors can be asked.
    image : torch.Tensor
        Complex (H, W), scaled as the prior expects: a posterior mean, for example.

    Returns
    -------
    float or None
        The largest number of standard deviations by which the log error exceeds its mean over
        held-out images; None where the prior has no reference.

    Warns
    -----
    MriAlpsWarning
        If it exceeds `NOVELTY_LIMIT`.
    """
    if not isinstance(prior, NetworkPrior):
        return None
    reference = prior.provenance.get(NOVELTY_KEY)
    if reference is None:
        return None
    pairs = zip(log_errors(prior, image), reference, strict=True)
    # A deviation below 0.1 would make a verdict of rounding and scale.
    excess = max((value - mean) / max(deviation, 0.1) for value, (mean, deviation) in pairs)
    if excess > NOVELTY_LIMIT:
        warnings.warn(
            f"this image is unlike those that the prior was trained on (its denoising error is "
            f"{excess:.1f} standard deviations above theirs, {NOVELTY_LIMIT:g} is the "
            "limit): do not rely on the result, or train a prior on images of this kind",
            MriAlpsWarning,
            stacklevel=2,
        )
    return excess
