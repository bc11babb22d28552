"""How much a mask can gain at all: every set of lines tried, where the posterior is Gaussian.

    python benchmarks/benchmark_mask_bound.py

A row of 32 pixels, four coils, four central lines measured and four more to choose (4x), or three
(4.6x). The image is Gaussian along a known smooth phase, with a power-law spectrum; a small part
across the phase. The expected error is then exact, and all sets can be tried. Prints a Markdown
table: the expected error in dB of rivals (mean and best of 200 draws), of the greedy choice, after
exchange, after exchange that starts from rivals as well (what `design-mask` does), and of the best
of all sets.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
import torch

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.masks import make_mask
from mri_alps.masks.design import LineErrors, choose_by_exchange, choose_greedily

WIDTH = 32
CENTER = 4
N_COILS = 4
ACROSS = 0.15  # amplitude of what lies across the phase, relative to what lies along it
RIVALS = ("random", "equispaced", "poisson-lines", "gaussian", "polynomial", "partial-fourier")


def row_of_images(noise_std: float, n_coils: int) -> LineErrors:
    """The posterior of a row before any line is measured."""
    k = torch.arange(WIDTH).double() - WIDTH // 2
    power = 1 / (1 + (k.abs() / 1.5) ** 2)
    basis = torch.eye(WIDTH, dtype=torch.complex128)
    along = ifftc(power * fftc(basis, dim=-1), dim=-1).mT.real
    smooth = ifftc(power**2 * fftc(basis, dim=-1), dim=-1).mT.real
    covariance = torch.block_diag(along, ACROSS**2 * smooth)[None]
    x = torch.linspace(-1, 1, WIDTH).double()
    centers = torch.linspace(-1, 1, n_coils).double()
    maps = torch.stack([torch.exp(-(((x - c) / 0.8) ** 2) / 2) for c in centers])
    maps = maps / maps.square().sum(0).sqrt()
    phase = torch.polar(torch.ones(WIDTH).double(), 1.5 * x)
    weights = torch.cat([torch.ones(1, WIDTH), torch.zeros(1, WIDTH)], 1)
    return LineErrors(covariance, (maps * phase)[:, None], noise_std, weights)


def level(errors: LineErrors, lines: list[int]) -> float:
    """Expected error with these lines in dB, of that of no line."""
    before = errors.variance()
    for line in lines:
        errors.condition(line)
    after = errors.variance()
    for line in lines:
        errors.forget(line)
    return 10 * float(np.log10(after / before))


def common_masks(count: int, center: list[int]) -> list[list[int]]:
    """The lines beside the centre of the masks that a design starts from."""
    found = []
    for kind, seed in itertools.product(("partial-fourier", "poisson-lines", "equispaced-offset"),
                                        range(2)):  # fmt: skip
        mask = make_mask(kind, (WIDTH, WIDTH), WIDTH / count, CENTER / WIDTH, seed)[0]
        if mask.sum() == count:
            found.append([int(line) for line in np.flatnonzero(mask) if line not in center])
    return found


def exhaustive(errors: LineErrors, free: list[int], count: int) -> float:
    """The best of all sets: all but the last line by trial, the last by its gain."""
    best, before = 0.0, errors.variance()
    for lines in itertools.combinations(free, count - 1):
        for line in lines:
            errors.condition(line)
        left = [line for line in free if line not in lines]
        gain = float(errors.gains()[left].max())
        best = min(best, 10 * float(np.log10(errors.variance() / before)) - 10 * gain / np.log(10))
        for line in lines:
            errors.forget(line)
    return best


def main() -> None:
    """Print the table."""
    started = time.perf_counter()
    center = list(range(WIDTH // 2 - CENTER // 2, WIDTH // 2 + CENTER // 2))
    free = [line for line in range(WIDTH) if line not in center]
    taken = torch.zeros(WIDTH, dtype=torch.bool)
    taken[center] = True
    print("| coils | noise | lines | best rival: mean (best of draws) | greedy | exchanged |"
          " from rivals, too | best of all | to gain over the rival |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for n_coils, noise_std, count in itertools.product((1, 4), (0.02, 0.1), (3, 4)):
        errors = row_of_images(noise_std, n_coils)
        for line in center:
            errors.condition(line)
        found = {}
        for kind in RIVALS:
            levels = []
            for seed in range(200):
                total = CENTER + count
                mask = make_mask(kind, (WIDTH, WIDTH), WIDTH / total, CENTER / WIDTH, seed)[0]
                if mask.sum() == total:
                    lines = [int(k) for k in np.flatnonzero(mask) if k not in center]
                    levels.append(level(errors, lines))
            if levels:
                found[kind] = (float(np.mean(levels)), min(levels))
        name = min(found, key=lambda kind: found[kind][0])
        before = errors.variance()
        exchanged = choose_by_exchange([errors], taken, count).variances[-1][0]
        started_from = {count: common_masks(CENTER + count, center)}
        designed = choose_by_exchange([errors], taken, count, started_from).variances[-1][0]
        best = exhaustive(errors, free, count)
        greedy = choose_greedily([errors], taken, count).variances[-1][0]
        dB = [10 * float(np.log10(value / before)) for value in (greedy, exchanged, designed)]
        print(f"| {n_coils} | {noise_std} | {CENTER + count} | {name} {found[name][0]:.2f} "
              f"({found[name][1]:.2f}) | {dB[0]:.2f} | {dB[1]:.2f} | {dB[2]:.2f} | "
              f"{best:.2f} | "
              f"{found[name][0] - best:.2f} |", flush=True)  # fmt: skip
    print(f"\n{time.perf_counter() - started:.0f} s, torch {torch.__version__}")


if __name__ == "__main__":
    main()
