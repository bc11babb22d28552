"""Point estimates that take the mirrorings of a network in turn, against one mirroring.

    python benchmarks/study_mirrored_estimates.py SET.npz [--prior brain-small] [--size 160]
        [--scans 2] [--accelerations 4,8] [--seed 0]

SET.npz is made by `data_scripts/make_training_set.py`. Scans are those of
`benchmark_anatomies_reconstruction.py`; both estimates (`plug_and_play` as `reconstruct --preview`
has it) get the same operator and data. Prints PSNR in dB and the difference for each, and its mean.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from benchmark_anatomies import HELD_OUT, by_anatomy
from benchmark_anatomies_reconstruction import Scan, chosen, low_resolution, prior_of

from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.random import stream_seed
from mri_alps.inverse_problem import make_problem
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.sampling import plug_and_play
from mri_alps.training.images import split
from mri_alps.training.sources import load_images


def psnr(scan: Scan, configuration: ReconstructionConfiguration) -> float:
    """PSNR of the point estimate of a scan; of one set of maps."""
    _, loaded, case = scan.prepared(configuration)
    operator, data, noise_std = loaded.acquisition.problem()
    prior = prior_of(configuration, scan.unmirrored)[0]
    image, _ = plug_and_play(prior, make_problem(operator, data, noise_std))
    return case.figures(image)["PSNR"]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="npz of make_training_set.py")
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--scans", type=int, default=2, help="slices of each anatomy")
    parser.add_argument("--accelerations", default="4,8")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = by_anatomy(split(load_images([arguments.data]), 0.1, [HELD_OUT], 0)[1])
    print("| anatomy | acceleration | one mirroring | four in turn | difference |")
    print("|---" * 5 + "|")
    differences = []
    for acceleration in map(float, arguments.accelerations.split(",")):
        configuration = ReconstructionConfiguration(
            prior=arguments.prior, acceleration=acceleration, seed=arguments.seed
        )
        for anatomy, images in parts.items():
            for label, record in chosen(images, arguments.scans).items():
                magnitude = low_resolution(record.image, arguments.size)
                seed = stream_seed(arguments.seed, *label.encode())
                one, four = (
                    psnr(Scan(label, magnitude, acceleration, seed, unmirrored), configuration)
                    for unmirrored in (True, False)
                )
                differences.append(four - one)
                cells = (f"{one:.2f}", f"{four:.2f}", f"{four - one:+.2f}")
                print(f"| {anatomy} | {acceleration:g}x | {' | '.join(cells)} |", flush=True)
    nearer = sum(difference > 0 for difference in differences)
    print(f"mean {np.mean(differences):+.2f} dB, {nearer} of {len(differences)} nearer")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        main()
