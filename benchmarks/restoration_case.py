"""Restoration problems, the images they are made of, and the figures of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import head, held_out_images

from mri_alps.calibration import image_scale
from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.operators import (
    BlurOperator,
    DownsamplingOperator,
    InpaintingOperator,
    box_mask,
    gaussian_kernel,
    motion_kernel,
    random_pixel_mask,
)
from mri_alps.priors import from_deepinv, load_prior
from mri_alps.sampling.statistics import sample_statistics

FIGURES = ("PSNR", "CRPS", "coverage", "spread", "LPIPS")
NATURAL = ("camera", "astronaut", "coffee", "chelsea", "rocket", "moon")
"""Images that scikit-image ships; two at a time are real and imaginary part."""


class Skipped(Exception):
    """Why a part of the table cannot be made here."""


def make_operator(name: str, size: int):
    """One of the problems, for images size x size."""
    shape = (size, size)
    if name == "box":
        return InpaintingOperator(box_mask(shape, (size // 4, size // 4)))
    if name == "pixels":
        return InpaintingOperator(random_pixel_mask(shape, 0.3, torch.Generator().manual_seed(21)))
    if name == "gaussian blur":
        return BlurOperator(gaussian_kernel(2.0), shape)
    if name == "motion blur":
        return BlurOperator(motion_kernel(9.0, 30.0), shape)
    return DownsamplingOperator(shape, 4)


PROBLEMS = ("box", "pixels", "gaussian blur", "4x smaller", "motion blur")


def load_bed(name: str, count: int, size: int, weights: str | None):
    """Return a prior and `count` complex images (size, size) that it is meant for.

    Raises
    ------
    Skipped
        If images or weights are not on this machine.
    """
    if name == "drunet":
        return _natural_prior(weights), _natural_images(count, size)
    prior = load_prior(name)
    if name == "gaussian":
        generator = torch.Generator().manual_seed(31)
        return prior, list(prior.sample(count, (size, size), generator))
    try:
        return prior, [_smaller(image, size) for image in held_out_images(count)]
    except SystemExit as reason:
        raise Skipped(str(reason)) from None


def _smaller(image: torch.Tensor, size: int) -> torch.Tensor:
    """The middle of an image's k-space: a head at a lower resolution, with image scale 1."""
    image = ifftc(center_crop(fftc(image), (size, size)))
    return image / image_scale(image)


def _natural_prior(weights: str | None):
    """deepinv's DRUNet for grey images about 0, on real and imaginary part independently."""
    if weights is None or not Path(weights).is_file():
        raise Skipped(
            "deepinv ships no weights of DRUNet but downloads them: give "
            "drunet_deepinv_gray_finetune_26k.pth with --weights"
        )
    try:
        from deepinv.models import DRUNet
    except ImportError:
        raise Skipped("deepinv is not installed: pip install 'mri-alps[deepinv]'") from None
    network = DRUNet(in_channels=1, out_channels=1, pretrained=weights).eval()

    def denoise(x, sigma):
        grey = x.reshape(-1, 1, *x.shape[-2:]) + 0.5
        return network(grey, sigma.repeat_interleave(2)).reshape(x.shape) - 0.5

    return from_deepinv(denoise, 0.01, 1.0, size_multiple=8)


def _natural_images(count: int, size: int) -> list[torch.Tensor]:
    from skimage import data, transform
    from skimage.color import rgb2gray

    def grey(name):
        image = getattr(data, name)()
        image = rgb2gray(image) if image.ndim == 3 else image / 255
        side = min(image.shape)
        small = transform.resize(center_crop(image, (side, side)), (size, size), anti_aliasing=True)
        return torch.as_tensor(small - 0.5, dtype=torch.float32)

    pairs = [(NATURAL[2 * i % 6], NATURAL[(2 * i + 1) % 6]) for i in range(count)]
    return [torch.complex(grey(first), grey(second)) for first, second in pairs]


def figures(samples: torch.Tensor, truth: torch.Tensor, perceptual=None) -> dict[str, float]:
    """What samples are worth.

    PSNR of the magnitude of the mean; over the object the continuous ranked probability score
    (in 1/1000 of the image's scale), coverage of the 90 % predictive
    intervals of the magnitude and standard deviation over error; LPIPS of a sample.
    """
    region = head(truth)
    found, true = sample_statistics(samples.numpy()), truth.numpy()
    inside = (found.lower <= abs(true)) & (abs(true) <= found.upper)
    difference = abs(found.mean) - abs(true)
    error = np.mean(np.abs(found.mean - true)[region] ** 2)
    # The mean of n samples has 1/n of their variance as an error of its own.
    spread = np.var(samples.numpy(), 0, ddof=1)[region].mean() * (1 + 1 / len(samples))
    return {
        "PSNR": float(20 * np.log10(abs(true).max() / np.sqrt((difference**2).mean()))),
        "CRPS": 1000 * ranked_probability_score(samples[:, torch.as_tensor(region)], true[region]),
        "coverage": float(inside[region].mean()),
        "spread": float(np.sqrt(spread / error)),
        "LPIPS": perceptual(samples.abs(), truth.abs()) if perceptual else float("nan"),
    }


def ranked_probability_score(samples: torch.Tensor, truth: np.ndarray) -> float:
    """Mean over real and imaginary parts of E|X - x| - E|X - X'| / 2 for X one of the samples.

    That of the samples themselves as a distribution, which is never negative: the estimate for
    the distribution behind them falls far below zero for a few samples of which one ran away.
    """
    values = torch.view_as_real(samples).double()
    true = torch.view_as_real(torch.as_tensor(truth)).double()
    n = len(values)
    weight = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    # Over sorted values sum_ij |x_i - x_j| = 2 sum_i (2i - n - 1) x_(i).
    between = torch.einsum("n,n...->...", weight, values.sort(0).values) / n**2
    return float(((values - true).abs().mean(0) - between).mean())


def find_perceptual():
    """LPIPS as a function of magnitudes (n, H, W) and (H, W), from torchmetrics.

    Raises
    ------
    Skipped
        If the network's weights would have to be downloaded.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    if not cached.is_file():
        raise Skipped(
            "LPIPS is left out: torchmetrics ships its weights but not SqueezeNet's, which "
            f"torchvision downloads to {cached}"
        )
    try:
        from torchmetrics.image import LearnedPerceptualImagePatchSimilarity
    except ImportError:
        raise Skipped("LPIPS is left out: torchmetrics is not installed") from None
    distance = LearnedPerceptualImagePatchSimilarity("squeeze", normalize=True)

    def perceptual(samples, truth):
        top = float(truth.max())
        pictures = [(image / top).clamp(0, 1)[:, None] for image in (samples, truth[None])]
        first, second = (image.expand(len(samples), 3, -1, -1) for image in pictures)
        with torch.no_grad():
            return float(distance(first, second))

    return perceptual
