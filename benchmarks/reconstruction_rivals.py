"""What a sampler is compared with: zero-filled, CG-SENSE, and BART's L1-wavelet."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from reconstruction_case import Case

from mri_alps.core.errors import ConfigurationError
from mri_alps.rawdata.bart.cfl import kspace_to_cfl, read_cfl, write_cfl

CG_ITERATIONS = 60
BART_ITERATIONS = 100
BART_WEIGHTS = tuple(0.02 * 10 ** (step / 6) for step in range(13))
"""Grid of L1 weights, in units of noise_std."""


def best(case: Case, candidates) -> tuple[torch.Tensor, str]:
    """The candidate of the highest PSNR against the reference (an oracle), and what it is."""
    return max(candidates, key=lambda candidate: case.figures(candidate[0])["PSNR"])


def zero_filled(case: Case) -> torch.Tensor:
    """Coil combination with zeros where nothing was measured."""
    return case.plain_operator.adjoint(case.acquisition.kspace)


def cg_sense(case: Case) -> tuple[torch.Tensor, str]:
    """Conjugate gradients on the normal equations (Pruessmann 2001), stopped by an oracle."""
    operator = case.plain_operator
    x = torch.zeros(operator.domain_shape, dtype=torch.complex64)
    residual = zero_filled(case)
    direction, energy = residual, residual.abs().square().sum()
    iterates = []
    for iteration in range(CG_ITERATIONS):
        response = operator.normal(direction)
        step = energy / (direction.conj() * response).sum().real
        x = x + step * direction
        residual = residual - step * response
        previous, energy = energy, residual.abs().square().sum()
        direction = residual + (energy / previous) * direction
        iterates.append((x, f"{iteration + 1} iterations"))
    return best(case, iterates)


def bart_version() -> str | None:
    """Version of the `bart` in the path; None where there is none."""
    if shutil.which("bart") is None:
        return None
    outcome = subprocess.run(["bart", "version"], capture_output=True, text=True, check=False)
    return outcome.stdout.strip() if outcome.returncode == 0 else None


def bart_wavelets(case: Case) -> tuple[torch.Tensor, str]:
    """`bart pics -l1` (FISTA) with the weight of a grid that is best by the oracle.

    `-w 1` keeps the scale of our data, so the weight is in units of the image; centre and
    normalisation of BART's transform are ours for even sizes, but for a sign where their halves
    add up to an odd number.
    """
    if any(n % 2 for n in case.acquisition.shape):
        raise ConfigurationError(
            f"{case.name} has {case.acquisition.shape} pixels, expected even numbers: BART has "
            "the centre of an odd one elsewhere"
        )
    with tempfile.TemporaryDirectory() as folder:
        acquisition = case.acquisition
        mask = np.broadcast_to(acquisition.mask.numpy(), acquisition.shape)
        write_cfl(Path(folder, "kspace"), kspace_to_cfl(acquisition.kspace.numpy()[None]))
        maps = acquisition.sets().reshape(-1, *acquisition.kspace.shape).numpy()
        # BART's dimensions 3 and 4 are coils and sets of maps.
        write_cfl(Path(folder, "maps"), maps.transpose(2, 3, 1, 0)[:, :, None])
        write_cfl(Path(folder, "pattern"), mask.astype(np.complex64))
        sign = (-1) ** sum(n // 2 for n in acquisition.shape)
        candidates = []
        for relative in BART_WEIGHTS:
            weight = relative * case.noise_std
            options = ["-l1", "-r", f"{weight:.8f}", "-i", str(BART_ITERATIONS), "-w", "1"]
            command = ["bart", "pics", *options, "-p", "pattern", "kspace", "maps", "image"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            image = np.array(read_cfl(Path(folder, "image"))).reshape(*acquisition.shape, -1)
            image = sign * np.moveaxis(image, -1, 0).reshape(case.plain_operator.domain_shape)
            candidates.append((torch.as_tensor(image), f"weight {weight:.2g}"))
        image, label = best(case, candidates)
    if label in (candidates[0][1], candidates[-1][1]):
        label += ", the edge of the grid"
    return image, label
