"""Point estimates to compare with: sigpy's L1-wavelets; DPIR is the package's `plug_and_play`."""

from __future__ import annotations

import importlib.metadata
import math

import numpy as np
import torch
from reconstruction_case import Case
from reconstruction_rivals import BART_ITERATIONS, BART_WEIGHTS, best


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
