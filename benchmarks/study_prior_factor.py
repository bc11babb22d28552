"""Can left-out lines tell the factor of the prior itself? Gaussian priors of a wrong power.

    python benchmarks/study_prior_factor.py [--seeds 4] [--first-seed 3000] [--evaluations 20]

As `benchmark_known_priors.py`: truths of 64x64, 4x, 8 samples. A prior whose deviation is g times
too small has the error C + (g^2 - 1) C F C where its posterior says C = (H + F)^-1. Compared are

- today's: factors from squared error over variance, and `scale_deviations`;
- the prior's: deviations u = G d + (H + T^-2)^-1 H (1 - G) d with the equations solved to 1e-3 of
  a variance, T^2 the variance where d is open (sum of squared power over power in each ring of
  |k|); factors such that what is left out is predicted by samples scaled in the same way, the
  Monte-Carlo error of their mean, 1 / n of the variance as drawn, taken off the squared error.

Printed: the mean factor (g is 2 and 0.5), deviation over error (in four bands), coverage of 90 %.
What the mean of 8 independent samples scatters is as drawn, and makes the last two larger than 1
for g > 1 (1.04) and smaller for g < 1 (0.93); antithetic samples have next to none of it.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import torch
from benchmark_coverage import LEVELS, N_FOLDS, coil_maps
from benchmark_known_priors import COMPLEX, beds, figures

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.inverse_problem.covariance import make_covariance
from mri_alps.inverse_problem.preconditioner import to_image
from mri_alps.masks import make_mask
from mri_alps.operators import SenseOperator
from mri_alps.sampling import make_problem, sample_posterior
from mri_alps.uncertainty import choose_left_out, compare_left_out, fit_factors, scale_deviations
from mri_alps.uncertainty.factors import frequency_radius

RINGS, ITERATIONS = 16, 3


def open_variance(deviation: torch.Tensor) -> torch.Tensor:
    """Variance of each frequency, per real component, where nothing was measured, (H, W)."""
    free = len(deviation) - 1
    power = fftc(deviation).abs().double().square().sum(0) / (2 * free)
    radius = torch.as_tensor(frequency_radius((power.shape[0], power.shape[1])))
    ring = (RINGS * radius).long().clamp(max=RINGS - 1)
    squared, total = (torch.bincount(ring.flatten(), p.flatten(), RINGS) for p in (power**2, power))
    of_ring = squared / total.clamp_min(1e-300) / (1 + 1 / free)
    return of_ring.flip(0).cummax(0).values.flip(0)[ring]


def scale_exactly(samples: torch.Tensor, factors, operator, noise_std: float) -> torch.Tensor:
    """Scale deviations as a prior whose deviations are the factors times larger would."""
    mean, g = samples.mean(0), factors.overall
    deviation = samples - mean
    gain = torch.as_tensor(factors.filter(samples.shape[-2:]))
    scaled = ifftc(gain * fftc(deviation))
    variance = open_variance(deviation) * (1 + g) / (2 * g)
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=COMPLEX), noise_std)
    level = make_covariance(problem).at((1 / variance).float(), problem.noise_std)
    solution = level.solve(level.explained(deviation - scaled))
    changed = scaled + to_image(solution.x, problem)
    return mean + changed - changed.mean(0)


def fit_prior_factors(sets: list, maps: torch.Tensor, data: torch.Tensor, noise_std: float):
    """Factors by which predictions, scaled exactly, meet what was left out."""
    factors = fit_factors([energies for *_, energies in sets])
    for _ in range(ITERATIONS):
        known = []
        for left_out, operator, samples, energies in sets:
            n, scaled = len(samples), scale_exactly(samples, factors, operator, noise_std)
            found = compare_left_out(maps, left_out, data, scaled, noise_std)
            at = np.exp(np.interp(energies.radius, factors.radius, np.log(factors.factor)))
            of_mean = energies.predicted / (n + 1)
            predicted = found.predicted / (1 + 1 / n) / at**2
            changes = {"predicted": predicted, "error": energies.error - of_mean}
            known.append(dataclasses.replace(energies, **changes))
        factors = fit_factors(known)
    return factors


def measure(prior, draw, seed: int, options: argparse.Namespace) -> list:
    """Factor and `figures` of three kinds: as drawn, today's, the prior's."""
    size = options.size
    generator = torch.Generator().manual_seed(seed)
    truth, maps = draw(generator), coil_maps((size, size))
    operator = SenseOperator(
        maps, torch.as_tensor(make_mask("equispaced", (size, size), 4, 0.08, seed)[0])
    )
    noise_std = 0.01 * float(truth.abs().max())
    noise = standard_normal(operator.range_shape, generator, COMPLEX)
    data = (operator.forward(truth) + noise_std * noise) * operator.measured

    def draws(of, n_samples: int, n_evaluations: int, generator: torch.Generator) -> torch.Tensor:
        return sample_posterior(
            prior,
            of,
            data * of.measured,
            noise_std,
            n_samples=n_samples,
            n_evaluations=n_evaluations,
            generator=generator,
        ).samples

    samples = draws(operator, 8, 20, generator)
    whole = np.broadcast_to(operator.mask.numpy(), (size, size))
    sets, folds = [], choose_left_out(whole, (size, round(0.08 * size)), N_FOLDS, seed)
    for number, fold in enumerate(folds):
        left_out = torch.as_tensor(fold)
        kept = SenseOperator(maps, operator.mask & ~left_out[0])
        stream = torch.Generator().manual_seed(stream_seed(seed, number))
        found = draws(kept, 2, options.evaluations, stream)
        energies = compare_left_out(maps, left_out, data, found, noise_std)
        sets.append((left_out, kept, found, energies))
    today = fit_factors([energies for *_, energies in sets])
    of_prior = fit_prior_factors(sets, maps, data, noise_std)
    return [
        (1.0, figures(samples, truth)),
        (today.overall, figures(scale_deviations(samples, today, operator, noise_std), truth)),
        (of_prior.overall, figures(scale_exactly(samples, of_prior, operator, noise_std), truth)),
    ]


def main() -> None:
    """Print three lines for each prior."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=3000)
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, prior, draw in beds(options.size):
        if "power" not in name and name != "right":
            continue
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        found = [measure(prior, draw, seed, options) for seed in seeds]
        for kind, label in enumerate(("as drawn", "today's", "the prior's")):
            of_kind = [one[kind] for one in found]
            energies = (sum(figure[part] for _, figure in of_kind) for part in (0, 1))
            predicted, error = energies
            ratio = np.sqrt(predicted / error)
            bands = ", ".join(f"{value:.3f}" for value in ratio[:-1])
            covered = np.mean([figure[2][LEVELS.index(0.9)] for _, figure in of_kind])
            print(
                f"{name}, {label}: factor {np.mean([f for f, _ in of_kind]):.3f}, deviation / "
                f"error {ratio[-1]:.3f} ({bands}), coverage {covered:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
