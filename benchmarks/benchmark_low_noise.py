"""Applications of A^H A per evaluation, by noise: a head-shaped object with air around it.

    python benchmarks/benchmark_low_noise.py [--prior gaussian] [--size 96]

8 coils, lines 4x, 4 samples of 20 evaluations, one core. Each noise is run with and without what
`mri_alps.inverse_problem.unseen` does about the pixels that no coil sees.
"""

from __future__ import annotations

import argparse
import time
import warnings

import benchmark_step
import torch

from mri_alps import load_prior, sample_posterior
from mri_alps.operators import SenseOperator

LEVELS = (0.003, 0.01, 0.03)


class Silent(SenseOperator):
    """An operator that does not say what no coil sees."""

    unseen = None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--prior", default="gaussian")
    parser.add_argument("--size", type=int, default=96)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prior, size = load_prior(options.prior), options.size
    print("| noise | unseen pixels | A^H A per evaluation | unsolved (%) | seconds |")
    print("|---|---|---|---|---|")
    for noise_std in LEVELS:
        benchmark_step.NOISE_STD = noise_std
        operator, kspace = benchmark_step.make_scan((size, size), 8, size // 4, False)
        for name, kind in (("as others", Silent), ("for themselves", SenseOperator)):
            scan = kind(operator.sensitivity_maps, operator.mask)
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is not solved, which is counted
                result = sample_posterior(
                    prior,
                    scan,
                    kspace,
                    noise_std,
                    n_samples=4,
                    n_evaluations=20,
                    generator=torch.Generator().manual_seed(0),
                )
            seconds, found = time.process_time() - start, result.diagnostics["operator"]
            print(
                f"| {noise_std:g} | {name} | {found['normals_per_evaluation']:.1f} | "
                f"{100 * found['unsolved'] / 80:.0f} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
