"""The scans of `benchmark_rivals.py`, and what is said about images and samples of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import coil_maps
from reconstruction_case import LEVEL, Case, case_of, load_case
from scipy import stats

from mri_alps.calibration import Acquisition, PointEstimate, prepare_slice
from mri_alps.calibration.noise import apply_to_coils
from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.masks import make_mask
from mri_alps.operators import SenseOperator
from mri_alps.priors import GaussianPrior
from mri_alps.rawdata import raw_from_arrays, read_raw

REAL_SCANS = ("brain_axial_16ch_96.h5", "brain_axial_8ch.h5@128")
HEADS = "openms_longitudinal_256_u8.npz"
REPORTED, TUNED_ON = "20", "09"
"""Patients of the heads: neither was trained on, and rivals are tuned on the second alone."""
NOISE_STD = 0.015
CENTER = 0.32
"""The centre's share of the lines, times the acceleration."""
LEAST_LINES = 6
"""Of the centre of a small simulated scan: maps need some."""


def shared_data() -> Path:
    """Folder of scans and images that are not part of the package."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("MRI_ALPS_SHARED_DATA", folder))


def real_case(name: str, acceleration: float, estimate: PointEstimate | None = None) -> Case:
    """A fully sampled scan, or as FILE@SIZE the middle of its k-space; the reference has noise.

    The noise of what was cut out is that of the whole scan, whose border shows it.
    """
    file, _, size = name.partition("@")
    path, center = shared_data() / "raw" / file, CENTER / acceleration
    if not size:
        return load_case(path, acceleration, center, estimate=estimate)
    raw = read_raw(path)
    whole = prepare_slice(raw, 0)
    shape = (int(size), int(size))
    middle = center_crop(apply_to_coils(whole.whitening, raw.read_slice(0)), shape)
    mask = make_mask("equispaced", shape, acceleration, center, seed=tuple(map(ord, file)))
    # Whitened coils have unit noise.
    cut = raw_from_arrays(np.ascontiguousarray(middle)[None])
    return case_of(cut, name, mask, noise_std=1.0, estimate=estimate)


def head_images(patient: str, count: int, size: int, seed: int) -> list[np.ndarray]:
    """Slices of a patient that show something, at a lower resolution, (size, size)."""
    with np.load(shared_data() / "images" / HEADS) as file:
        stack = file["img"][file["meta"][:, 0] == patient]
    bright = (stack > 30).mean((1, 2))
    usable = np.flatnonzero(bright > 0.6 * np.median(bright))
    generator = np.random.default_rng(stream_seed(seed, int(patient)))
    chosen = generator.choice(usable, count, replace=False)
    whole = torch.as_tensor(stack[chosen].astype(np.float32)).to(torch.complex64)
    return list(ifftc(center_crop(fftc(whole), (size, size))).abs().numpy())


def simulated(image: torch.Tensor, acceleration: float, seed: int):
    """Mask, maps of 8 coils, and k-space (coils, H, W) without and with noise."""
    shape = (image.shape[0], image.shape[1])
    maps = coil_maps(shape).to(torch.complex64)
    clean = fftc(maps * image)
    generator = torch.Generator().manual_seed(stream_seed(seed, 9))
    noisy = clean + NOISE_STD * standard_normal(clean.shape, generator, torch.complex64)
    center = max(CENTER / acceleration, LEAST_LINES / shape[1])
    mask = make_mask("equispaced", shape, acceleration, center, seed=seed % 2**32)
    return mask, maps, clean, noisy


def simulated_case(
    image: torch.Tensor,
    name: str,
    acceleration: float,
    seed: int,
    estimate: PointEstimate | None = None,
) -> Case:
    """Measure a complex image (H, W), calibrated as a scan is; the reference is free of noise."""
    mask, _, clean, noisy = simulated(image, acceleration, seed)
    raw = raw_from_arrays(noisy.numpy()[None])
    return case_of(raw, name, mask, noise_std=NOISE_STD, clean=clean.numpy(), estimate=estimate)


def calibrated_case(image: torch.Tensor, name: str, acceleration: float, seed: int) -> Case:
    """The same with the true maps and the image's own scale: all that is said of it is exact."""
    mask, maps, _, noisy = simulated(image, acceleration, seed)
    lines = torch.as_tensor(mask[0])
    acquisition = Acquisition(
        kspace=noisy * lines,
        mask=lines,
        sensitivity_maps=maps,
        noise_std=NOISE_STD,
        scale=1.0,
        rss_weight=torch.ones(image.shape),
        whitening=np.eye(len(maps), dtype=np.complex128),
        compression=None,
        maps_uncompressed=maps,
    )
    return Case(
        name=name,
        acquisition=acquisition,
        operator=acquisition.operator(),
        full_operator=SenseOperator(maps, torch.ones(lines.shape, dtype=torch.bool)),
        data=noisy,
        left_out=~lines.expand(image.shape),
        reference=image,
        crop=(image.shape[0], image.shape[1]),
    )


def with_phase(magnitude: np.ndarray, seed: int) -> torch.Tensor:
    """A magnitude scaled to 1 at its 99th percentile, with a smooth phase."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in magnitude.shape), indexing="ij")
    c = 0.8 * np.random.default_rng(seed).normal(size=6)
    phase = c[0] + c[1] * x + c[2] * y + c[3] * x * y + c[4] * x**2 + c[5] * y**2
    scale = np.percentile(magnitude[magnitude > 0.1 * magnitude.max()], 99)
    return torch.as_tensor(magnitude / scale * np.exp(1j * phase)).to(torch.complex64)


def head_cases(
    patient: str,
    count: int,
    size: int,
    acceleration: float,
    seed: int,
    estimate: PointEstimate | None = None,
):
    """Simulated scans of a patient's slices."""
    for number, magnitude in enumerate(head_images(patient, count, size, seed)):
        own = stream_seed(seed, number)
        name = f"patient {patient}, slice {number}, {size}x{size}"
        yield simulated_case(with_phase(magnitude, own), name, acceleration, own, estimate)


def gaussian_cases(count: int, size: int, acceleration: float, seed: int) -> Iterator[Case]:
    """Scans of draws of the package's Gaussian prior: what `--quick` looks at."""
    generator = torch.Generator().manual_seed(seed)
    draws = GaussianPrior.power_law(exponent=2.5).sample(count, (size, size), generator)
    for number, image in enumerate(draws):
        own = stream_seed(seed, number)
        yield calibrated_case(image, f"draw {seed}.{number}", acceleration, own)


def intervals(case: Case, samples: torch.Tensor) -> tuple[float, float]:
    """Coverage and interval score of 90 % intervals of what was left out.

    The intervals are those of `Case.left_out_coverage`. The score of Winkler (1972) is an
    interval's width plus 2 / 0.1 times how far what was measured lies outside; here its mean over
    real and imaginary parts, in percent of their root mean square. Less is better, and the least
    in the mean is that of the true quantiles; noise alone is a part of it that nobody can avoid.
    """
    predicted = torch.stack([case.full_operator.forward(x)[:, case.left_out] for x in samples])
    values = torch.view_as_real(predicted).double()
    truth = torch.view_as_real(case.data[:, case.left_out]).double()
    spread = values.var(0) * (1 + 1 / len(values))
    total = spread + case.noise_std**2
    freedom = (len(values) - 1) * (total / spread.clamp_min(1e-300)).square()
    quantile = torch.as_tensor(stats.t.ppf(0.5 + LEVEL / 2, freedom.clamp_max(1e6).numpy()))
    half = quantile * total.sqrt()
    beyond = ((truth - values.mean(0)).abs() - half).clamp_min(0)
    score = (2 * half + 2 / (1 - LEVEL) * beyond).mean()
    return (
        float((beyond == 0).double().mean()),
        float(100 * score / truth.square().mean().sqrt()),
    )


def fair_score(case: Case, samples: torch.Tensor) -> float:
    """Continuous ranked probability score of what was left out, in percent of its rms.

    E|X - x| - E|X - X'| / 2 with X a sample's prediction plus noise, both means without bias for
    any number of samples (Ferro, QJRMS 140, 2014): interval scores of a few samples, whose
    deviation is uncertain, favour what is too narrow, and this does not. Less is better.
    """
    generator = torch.Generator().manual_seed(97)
    truth = torch.view_as_real(case.data[:, case.left_out]).double()
    predicted = torch.stack([case.full_operator.forward(x)[:, case.left_out] for x in samples])
    values = torch.view_as_real(predicted).double()
    values += case.noise_std * standard_normal(values.shape, generator, torch.float64)
    n = len(values)
    weight = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    # Over sorted values sum_ij |x_i - x_j| = 2 sum_i (2i - n - 1) x_(i).
    between = torch.einsum("n,n...->...", weight, values.sort(0).values) / (n * (n - 1))
    score = ((values - truth).abs().mean(0) - between).mean()
    return float(100 * score / truth.square().mean().sqrt())


def figures_of(case: Case, images: torch.Tensor) -> dict[str, float]:
    """What is said of samples (n, H, W), or of a point estimate (1, H, W).

    Misfit: |y - A x|^2 over its expectation for the right image, of single samples, with the
    weights that calibration gave the lines, mean over samples.
    """
    problem = case_problem(case)
    found = case.figures(images.mean(0))
    result = {
        "PSNR": found["PSNR"],
        "left_out": found["left_out"],
        "misfit": float(problem.misfit(images).mean()),
    }
    if len(images) > 1:
        result["single_PSNR"] = float(np.mean([case.figures(x)["PSNR"] for x in images]))
        result["coverage"], result["interval_score"] = intervals(case, images)
        result["CRPS"] = fair_score(case, images)
    return result


def case_problem(case: Case):
    """The problem as samplers have it."""
    from mri_alps.inverse_problem.problem import make_problem

    return make_problem(case.operator, case.acquisition.data(), case.noise_std)
