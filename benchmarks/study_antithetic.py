"""What is left of the mean's Monte-Carlo error by antithetic samples, and where `FINISH` lies best.

    python benchmarks/study_antithetic.py [--scans heads,brain_axial_8ch.h5@128,...]
        [--accelerations 4,8] [--finish 0.05,0.14] [--samples 16] [--evaluations 40] [--seed 401]

Scans are those of `benchmark_rivals.py`, of heads one slice of the patient that rivals are tuned
on. `left` is the variance of the mean of a group of four over that of four independent samples:
their scatter between groups over the posterior's variance, which pairs of different groups tell.
CRPS and deviation over error are of the k-space that was left out, from pairs of different groups
as well.
"""

from __future__ import annotations

import argparse
import functools

import numpy as np
import torch
from rivals_case import REAL_SCANS, TUNED_ON, head_cases, real_case

from mri_alps import sample_posterior
from mri_alps.core.random import ANTITHETIC_GROUP, standard_normal
from mri_alps.priors import load_prior
from mri_alps.sampling import AlpsConfiguration, sample_alps


def scores(case, samples: torch.Tensor) -> tuple[float, float]:
    """CRPS in percent of the rms, and deviation over error."""
    generator = torch.Generator().manual_seed(97)
    truth = torch.view_as_real(case.data[:, case.left_out]).double()
    predicted = torch.stack([case.full_operator.forward(x)[:, case.left_out] for x in samples])
    values = torch.view_as_real(predicted).double()
    values = values + case.noise_std * standard_normal(values.shape, generator, torch.float64)
    halves = values[: len(values) // 2], values[len(values) // 2 :]  # of different groups
    apart = torch.stack([halves[0] - halves[1].roll(k, 0) for k in range(len(halves[0]))])
    crps = (values - truth).abs().mean(0) - apart.abs().mean((0, 1)) / 2
    error = (values.mean(0) - truth).square().mean()
    deviation = float((apart.square().mean() / 2 / error).sqrt())
    return float(100 * crps.mean() / truth.square().mean().sqrt()), deviation


def share_left(samples: torch.Tensor) -> float:
    """Variance of the mean of a group, over that of as many independent samples."""
    groups = samples.reshape(-1, ANTITHETIC_GROUP, *samples.shape[1:])
    means = groups.mean(1)
    between = float(means.var(0).mean())
    within = float((groups - means[:, None]).abs().square().mean())
    return between * ANTITHETIC_GROUP / (between + within)


def main() -> None:
    """Print a line for each scan, acceleration and `FINISH`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--scans", default=",".join(("heads", *REAL_SCANS)))
    parser.add_argument("--accelerations", default="4,8")
    parser.add_argument("--finish", default="0.05,0.14")
    parser.add_argument("--samples", type=int, default=16, help="a multiple of 8")
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=401)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_prior(options.prior)
    print("scan | acceleration | FINISH | left | PSNR: mean, sample | CRPS, % | deviation / error")
    for name in options.scans.split(","):
        for acceleration in map(float, options.accelerations.split(",")):
            if name == "heads":
                case = next(head_cases(TUNED_ON, 1, 96, acceleration, options.seed))
            else:
                case = real_case(name, acceleration)
            for finish in map(float, options.finish.split(",")):
                configuration = AlpsConfiguration(finish=finish)
                samples = sample_posterior(
                    prior, case.operator, case.acquisition.data(), case.noise_std,
                    n_samples=options.samples, n_evaluations=options.evaluations, antithetic=True,
                    method=functools.partial(sample_alps, configuration=configuration),
                    generator=torch.Generator().manual_seed(5),
                ).samples  # fmt: skip
                crps, ratio = scores(case, samples)
                single = np.mean([case.figures(x)["PSNR"] for x in samples])
                mean = case.figures(samples.mean(0))["PSNR"]
                print(
                    f"{case.name} | {acceleration:g}x | {finish:g} | {share_left(samples):.3f} | "
                    f"{mean:.2f}, {single:.2f} | {crps:.2f} | {ratio:.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
