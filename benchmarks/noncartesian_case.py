"""A held-out image seen by 8 coils along a trajectory, for `benchmark_noncartesian.py`."""

from __future__ import annotations

import math
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import coil_maps, held_out_images
from scipy import stats

from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import stream_seed
from mri_alps.evaluation.coverage import head_mask
from mri_alps.masks import make_mask
from mri_alps.operators import (
    LinearOperator,
    NonCartesianSenseOperator,
    SenseOperator,
    golden_radial,
    simulate,
    spiral,
)
from mri_alps.rawdata.bart.cfl import read_cfl, write_cfl
from mri_alps.sampling import sample_statistics

NOISE_STD = 0.05
LEVEL = 0.9
BART_ITERATIONS = 100
BART_WEIGHTS = tuple(0.1 * 10 ** (step / 5) for step in range(8))
"""Grid of L1 weights, in units of noise_std."""


@dataclass(frozen=True)
class Case:
    """One image with what was measured of it; `k` is None for a Cartesian mask."""

    name: str
    truth: torch.Tensor
    operator: LinearOperator
    data: torch.Tensor
    k: torch.Tensor | None

    def psnr(self, image: torch.Tensor) -> float:
        """Of the complex image, relative to the truth's largest magnitude, in dB."""
        error = (image - self.truth).abs().square().mean()
        return float(10 * torch.log10(self.truth.abs().max() ** 2 / error))

    def coverage(self, samples: torch.Tensor) -> float:
        """Share of the head's real and imaginary parts in their 90 % predictive intervals.

        mean +- t s sqrt(1 + 1/n), with Student's t of n - 1 degrees of freedom.
        """
        return float(self._held(samples).mean())

    def _held(self, samples: torch.Tensor) -> torch.Tensor:
        """Which real and imaginary parts of the head the intervals hold, (pixels, 2)."""
        head = torch.as_tensor(head_mask(self.truth.abs().numpy()[None])[0])
        values = torch.view_as_real(samples[:, head]).double()
        n = len(values)
        quantile = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))
        half = quantile * values.std(0) * math.sqrt(1 + 1 / n)
        truth = torch.view_as_real(self.truth[head]).double()
        return ((truth - values.mean(0)).abs() <= half).double()

    def where_held(self, samples: torch.Tensor) -> str:
        """Coverage of both parts, and of the flattest and the steepest quarter of the head."""
        magnitude = self.truth.abs().numpy()
        head = head_mask(magnitude[None])[0]
        slope = sum(np.abs(part) for part in np.gradient(magnitude))[head]
        low, high = np.quantile(slope, (0.25, 0.75))
        held = self._held(samples).numpy()
        real, imaginary = held.mean(0)
        flat, steep = held[slope <= low].mean(), held[slope >= high].mean()
        phase = np.abs(np.angle(self.truth.numpy()[head])).mean()
        return (
            f"held: real {real:.3f}, imaginary {imaginary:.3f}; flat {flat:.3f}, edges "
            f"{steep:.3f}; mean phase {phase:.2f}"
        )

    def magnitude_coverage(self, samples: torch.Tensor) -> float:
        """Share of the head's magnitudes in the 90 % interval that `reconstruct` writes."""
        head = head_mask(self.truth.abs().numpy()[None])[0]
        statistics = sample_statistics(samples.numpy())
        truth = self.truth.abs().numpy()
        inside = (truth >= statistics.lower) & (truth <= statistics.upper)
        return float(inside[head].mean())

    def misfit(self, samples: torch.Tensor) -> float:
        """|y - A x|^2 relative to the noise, mean over samples; about 1."""
        measured = self.operator.measured
        residual = (self.operator.forward(samples) - self.data).abs().double().square()
        if measured is not None:
            residual = residual[..., measured.expand(self.operator.range_shape)]
        return float(residual.mean() / (2 * NOISE_STD**2))


def shrunk(image: torch.Tensor, size: int) -> torch.Tensor:
    """Return an image of `size` pixels with the same view, and the same magnitudes."""
    kept = center_crop(fftc(image).numpy()[None], (size, size))[0]
    return ifftc(torch.as_tensor(kept)) * (size / image.shape[-1])


def trajectory(kind: str, size: int, acceleration: int) -> torch.Tensor:
    """Readouts of twice the density that the view needs; "spiral" has size / 4 interleaves."""
    if kind == "radial":
        return golden_radial(round(math.pi / 2 * size / acceleration), 2 * size, (size, size))
    n_shots = size // 4
    n_samples = math.ceil(2 * math.pi / 4 * size**2 / n_shots)
    return spiral(n_shots, n_samples, (size, size))[::acceleration]


def make_cases(kind: str, size: int, acceleration: int, n_images: int, seed: int) -> list[Case]:
    """Images of patients that the prior was not trained on."""
    maps = coil_maps((size, size))
    cases = []
    for i, full in enumerate(held_out_images(n_images, seed)):
        image = shrunk(full, size)
        generator = torch.Generator().manual_seed(stream_seed(seed, size, acceleration, i))
        k = None
        operator: LinearOperator
        if kind == "poisson":
            mask = make_mask("poisson", (size, size), acceleration, 0.04, seed=seed + i)
            operator = SenseOperator(maps, torch.as_tensor(mask))
        else:
            k = trajectory(kind, size, acceleration)
            operator = NonCartesianSenseOperator(maps, k)
        data = simulate(operator, image, NOISE_STD, generator)
        cases.append(Case(f"{size}, {kind} {acceleration}x", image, operator, data, k))
    return cases


def bart_wavelets(case: Case) -> tuple[float, str]:
    """PSNR of `bart pics -R W:3:0 -t` (FISTA) with the weight that is best by the truth."""
    assert case.k is not None and isinstance(case.operator, NonCartesianSenseOperator)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shots, samples, _ = case.k.shape
        # BART: trajectory (3, samples, shots), data (1, samples, shots, coils); unit 1 / view.
        k = torch.zeros(3, samples, shots, dtype=torch.float64)
        k[:2] = case.k.permute(2, 1, 0)
        write_cfl(folder / "traj", k.numpy().astype(np.complex64))
        write_cfl(folder / "ksp", case.data.permute(2, 1, 0)[None].numpy())
        maps = case.operator.sensitivity_maps.permute(1, 2, 0)[:, :, None]
        write_cfl(folder / "maps", maps.contiguous().numpy())
        found = []
        for relative in BART_WEIGHTS:
            weight = relative * NOISE_STD
            command = [
                "bart", "pics", "-e", "-i", str(BART_ITERATIONS), "-w", "1",
                "-R", f"W:3:0:{weight:.8f}", "-t", "traj", "ksp", "maps", "image",
            ]  # fmt: skip
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            image = np.array(read_cfl(folder / "image")).reshape(case.truth.shape)
            found.append((case.psnr(torch.as_tensor(image)), relative))
    best, relative = max(found)
    edge = relative in (BART_WEIGHTS[0], BART_WEIGHTS[-1])
    return best, f"{relative:.2g} noise_std" + (", the edge of the grid" if edge else "")
