"""Point estimates to compare with: DPIR with the same network, and sigpy's L1-wavelets."""

from __future__ import annotations

import importlib.metadata
import math

import numpy as np
import torch
from reconstruction_case import Case
from reconstruction_rivals import BART_ITERATIONS, BART_WEIGHTS, best
from rivals_samplers import proximal

from mri_alps.sampling import CountedScore
from mri_alps.sampling.problem import Problem

DPIR_START = 49 / 255
DPIR_WEIGHT = 0.23


def dpir(
    prior,
    problem: Problem,
    n_steps: int = 8,
    weight: float = DPIR_WEIGHT,
    start: float = DPIR_START,
) -> tuple[torch.Tensor, int]:
    """DPIR of Zhang et al. (IEEE TPAMI 2022), algorithm 1: half-quadratic splitting.

    In turn argmin |y - A z|^2 + weight noise_std^2 / sigma^2 |z - x|^2 and the denoiser at sigma,
    which falls in geometric progression from `start` to the noise level of the data; first x is
    A^H y. Published: 8 steps, 0.23, 49/255 of an image's range.

    Returns
    -------
    torch.Tensor
        Image, (*domain_shape).
    int
        Evaluations of the denoiser.
    """
    score, noise_std = CountedScore(prior), float(problem.noise_std)
    end = min(max(noise_std, score.sigma_min), start)
    x = problem.back_projection[None]
    with torch.no_grad():
        for sigma in np.geomspace(start, end, n_steps).tolist():
            rho = weight * noise_std**2 / sigma**2
            x = score.denoise(proximal(problem, x, rho), sigma)
    return x[0], score.count


def sigpy_version() -> str | None:
    """Version of the installed sigpy; None where there is none."""
    try:
        return importlib.metadata.version("sigpy")
    except importlib.metadata.PackageNotFoundError:
        return None


def sigpy_wavelets(case: Case) -> tuple[torch.Tensor, str]:
    """sigpy's `L1WaveletRecon` (FISTA, Daubechies 4) with the best weight of BART's grid."""
    from sigpy.mri.app import L1WaveletRecon

    acquisition = case.acquisition
    kspace, maps = acquisition.kspace.numpy(), acquisition.sensitivity_maps.numpy()
    weights = np.broadcast_to(acquisition.mask.numpy(), acquisition.shape).astype(np.float32)
    candidates = []
    for relative in BART_WEIGHTS:
        weight = relative * case.noise_std
        image = L1WaveletRecon(
            kspace, maps, weight, weights=weights, max_iter=BART_ITERATIONS, show_pbar=False
        ).run()
        if not math.isfinite(float(np.abs(image).max())):
            continue
        candidates.append((torch.as_tensor(image).to(torch.complex64), f"weight {weight:.2g}"))
    return best(case, candidates)
