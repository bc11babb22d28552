"""Self-calibration where prior and truth are known: Gaussian priors, right or wrong, and a mixture.

    python benchmarks/benchmark_known_priors.py [--seeds 30] [--size 64] [--first-seed 0]
        [--samples 8] [--evaluations 20] [--acceleration 4]

Truths are drawn from a stationary Gaussian, or from a mixture of eight, and measured by 8 simulated
coils with fastMRI's equispaced masks and white noise of 1 % of the largest magnitude. The prior is
the truth's own, has a quarter or four times its power, or another exponent. Deviations are scaled
by what two sets of left-out lines call for, as `reconstruct` does it where maps and noise are
known. Printed for each prior: the mean of the factors, their scatter from seed to seed and the
mean of their stated errors; deviation over error of the complex image, all together and in four
bands of |k|, of all seeds together; and coverage of real and imaginary parts by intervals of 50,
80, 90 and 95 %, mean over seeds with its standard error. The first of two figures is without
factors, the second with them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import LEVELS, coil_maps, means, self_calibrated
from scipy import stats

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.masks import make_mask
from mri_alps.operators import SenseOperator
from mri_alps.priors import GaussianPrior
from mri_alps.priors.spectrum import frequency_radius
from mri_alps.sampling import sample_posterior

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.sampling.posterior_bed import make_wide_prior

COMPLEX = torch.complex64
BANDS = (0.0, 0.25, 0.5, 0.75, 2.0)
"""Of |k| over the largest frequency along an axis."""
Draw = Callable[[torch.Generator], torch.Tensor]


def power(size: int, amplitude: float = 1.0, exponent: float = 3.0) -> torch.Tensor:
    """Spectrum of the truth (the defaults) or of a prior, float32 (H, W)."""
    radius = frequency_radius((size, size)) * size
    return (40 * amplitude / (1 + (radius / 3) ** exponent)).float()


def beds(size: int) -> Iterator[tuple[str, object, Draw]]:
    """Name, prior, and how a truth is drawn."""

    def gaussian(generator: torch.Generator) -> torch.Tensor:
        return ifftc(power(size).sqrt() * standard_normal((size, size), generator, COMPLEX))

    for name, amplitude, exponent in (
        ("right", 1.0, 3.0),
        ("a quarter of the power", 0.25, 3.0),
        ("four times the power", 4.0, 3.0),
        ("exponent 2.6 for 3", 1.0, 2.6),
        ("exponent 3.4 for 3", 1.0, 3.4),
    ):
        yield name, GaussianPrior(power(size, amplitude, exponent)), gaussian
    mixture = make_wide_prior(shape=(size, size))

    def of_mixture(generator: torch.Generator) -> torch.Tensor:
        return mixture.sample(1, generator, sigma=mixture.sigma_min)[0][0].to(COMPLEX)

    yield "mixture of eight, right", mixture, of_mixture


def energies(image: torch.Tensor) -> np.ndarray:
    """Energy of each of the `BANDS`, and of all."""
    energy = fftc(image).abs().double().square().reshape(-1, *image.shape[-2:]).sum(0)
    radius = 2 * frequency_radius((image.shape[-2], image.shape[-1]))
    number = torch.bucketize(radius, torch.tensor(BANDS[1:-1]).to(radius))
    found = torch.bincount(number.flatten(), energy.flatten(), len(BANDS) - 1)
    return np.append(found.numpy(), float(energy.sum()))


def figures(samples: torch.Tensor, truth: torch.Tensor) -> tuple[np.ndarray, np.ndarray, list]:
    """Energies of what is predicted and of the error, and coverage at all `LEVELS`."""
    n, mean = len(samples), samples.mean(0)
    larger = 1 + 1 / n  # the truth is one draw more
    std = torch.view_as_real(samples).std(0) * math.sqrt(larger)
    error = torch.view_as_real(truth - mean).abs()
    covered = [
        float((error <= stats.t.ppf((1 + level) / 2, n - 1) * std).double().mean())
        for level in LEVELS
    ]
    return larger / (n - 1) * energies(samples - mean), energies(truth - mean), covered


def measure(prior, draw: Draw, seed: int, options: argparse.Namespace) -> list:
    """Factor with its error, and `figures` before and after."""
    generator = torch.Generator().manual_seed(seed)
    truth, size, acceleration = draw(generator), options.size, options.acceleration
    mask = make_mask("equispaced", (size, size), acceleration, 0.32 / acceleration, seed)[0]
    operator = SenseOperator(coil_maps((size, size)), torch.as_tensor(mask))
    noise_std = 0.01 * float(truth.abs().max())
    noise = standard_normal(operator.range_shape, generator, COMPLEX)
    data = (operator.forward(truth) + noise_std * noise) * operator.measured
    samples = sample_posterior(
        prior,
        operator,
        data,
        noise_std,
        n_samples=options.samples,
        n_evaluations=options.evaluations,
        generator=generator,
    ).samples
    center = round(0.32 / acceleration * size)
    scaled, factors = self_calibrated(prior, samples, operator, data, noise_std, center, seed)
    return [factors, figures(samples, truth), figures(scaled, truth)]


def main() -> None:
    """Print a few lines for each prior."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--acceleration", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, prior, draw in beds(options.size):
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        found = [measure(prior, draw, seed, options) for seed in seeds]
        factors = [one[0] for one in found if one[0] is not None]
        overall = [one.overall for one in factors]
        stated = np.mean([one.overall_error for one in factors])
        print(
            f"{name}: factor {np.mean(overall):.3f}, scatter {np.std(overall, ddof=1):.3f}, "
            f"stated error {stated:.3f} ({len(factors)} of {len(found)} seeds)"
        )
        for which, label in ((1, "as drawn"), (2, "with factors")):
            predicted, error = (sum(one[which][part] for one in found) for part in (0, 1))
            ratio = np.sqrt(predicted / error)
            bands = ", ".join(f"{value:.3f}" for value in ratio[:-1])
            covered = means([one[which][2] for one in found])
            print(f"  {label}: deviation / error {ratio[-1]:.3f} (bands {bands}); hold {covered}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
