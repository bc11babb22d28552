"""How well the network learns a score that is known: a mixture of textures.

    python benchmarks/benchmark_score_error.py [--minutes 5] [--two-channel]

The prior is an equal mixture of 8 zero-mean circular Gaussians on complex 32 x 32 images, each
stationary with a power spectrum of its own (an oriented band), so its denoiser is known exactly
at every noise level. The network is trained on fresh samples by denoising score matching, as
`mri-alps train` does, and its averaged weights are compared with the exact score on noisy
samples: relative L2 error (E|s_hat - s|^2 / E|s|^2)^(1/2) and relative L4 error
(E|s_hat - s|^4 / E|s|^4)^(1/4), norms over the whole image, per noise level.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.priors import NetworkPrior, UNetConfig
from mri_alps.training.loss import denoising_loss
from mri_alps.training.schedule import AveragedWeights

SIZE, COMPONENTS, SIGMA_DATA = 32, 8, 0.4
SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class TextureMixture:
    """Exact sampler and denoiser; spectra are variances per real component, (K, H, W)."""

    def __init__(self) -> None:
        axis = (torch.arange(SIZE) - SIZE // 2) / SIZE
        y, x = axis[:, None], axis[None, :]
        spectra = []
        for index in range(COMPONENTS):
            angle = math.pi * index / COMPONENTS
            along = x * math.cos(angle) + y * math.sin(angle)
            across = -x * math.sin(angle) + y * math.cos(angle)
            band = torch.exp(-((along.abs() - 0.15) ** 2) / 0.004 - across**2 / 0.004)
            spectra.append(band + 0.001)
        spectrum = torch.stack(spectra)
        self.spectra = spectrum * SIGMA_DATA**2 / spectrum.mean((1, 2), keepdim=True)

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw complex (n, H, W)."""
        chosen = torch.randint(COMPONENTS, (n,), generator=generator)
        noise = standard_normal((n, SIZE, SIZE), generator, torch.complex64)
        return ifftc(self.spectra[chosen].sqrt() * noise)

    def denoise(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """E[x0 | x] exactly, in double precision."""
        spectra = self.spectra.double()
        total = spectra + sigma**2
        kspace = fftc(x.to(torch.complex128))
        power = kspace.abs().square()[:, None]
        log_weight = -(power / (2 * total) + total.log()).sum((2, 3))
        weight = torch.softmax(log_weight, 1)
        gain = torch.einsum("nk,khw->nhw", weight, spectra / total)
        return ifftc(gain * kspace)


def train(mixture: TextureMixture, minutes: float, equivariant: bool) -> NetworkPrior:
    """Train on fresh samples for a fixed time, learning rate falling along a half cosine."""
    torch.manual_seed(0)
    config = UNetConfig((16, 24, 32), (1, 1, 2), (1, 1, 2), equivariant=equivariant)
    model = NetworkPrior(config, SIGMA_DATA, 0.02, 5.0)
    average = AveragedWeights(model, 6.94)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0, betas=(0.9, 0.99), weight_decay=0)
    generator = torch.Generator().manual_seed(1)
    started, step = time.monotonic(), 0
    while (part := (time.monotonic() - started) / (60 * minutes)) < 1:
        step += 1
        rate = 2e-3 * min(step / 50, 0.5 * (1 + math.cos(math.pi * part)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        n = 16
        position = (torch.arange(n) + torch.rand(n, generator=generator)) / n
        sigma = torch.exp(math.log(0.015) + position * math.log(6.0 / 0.015))
        images = mixture.sample(n, generator)
        denoising_loss(model, images, sigma, SIGMA_DATA, generator).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(model, step)
    model.load_state_dict(average.weights)
    print(f"{step} steps of 16 images in {minutes:g} minutes\n")
    return model.eval()


def main() -> None:
    """Train and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--two-channel", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mixture = TextureMixture()
    model = train(mixture, arguments.minutes, not arguments.two_channel)
    generator = torch.Generator().manual_seed(2)
    print("| sigma | relative L2 error | relative L4 error |\n|---|---|---|")
    for sigma in SIGMAS:
        noise = standard_normal((256, SIZE, SIZE), generator, torch.complex64)
        noisy = mixture.sample(256, generator) + sigma * noise
        exact = (mixture.denoise(noisy, sigma) - noisy) / sigma**2
        error = torch.linalg.vector_norm(model.score(noisy, sigma) - exact, dim=(1, 2))
        size = torch.linalg.vector_norm(exact, dim=(1, 2))
        two = (error.square().mean() / size.square().mean()).sqrt()
        four = (error.pow(4).mean() / size.pow(4).mean()).pow(0.25)
        print(f"| {sigma:g} | {two:.4f} | {four:.4f} |")


if __name__ == "__main__":
    main()
