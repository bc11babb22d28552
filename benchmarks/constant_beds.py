"""Small problems on which a constant of sampling or calibration shows what it does.

Each bed is called with a seed and returns its figures; the truth is known in all of them. Samplers
see the same data at seeds that differ by a multiple of 100.
"""

from __future__ import annotations

import functools
import math
import sys
import time
import warnings
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mri_alps.calibration import (
    estimate_noise,
    estimate_sensitivity_maps,
    fit_maps_error,
    image_scale,
    refine_sensitivity_maps,
    sampling_weights,
)
from mri_alps.calibration.maps_error import gaussian_mean
from mri_alps.calibration.scale import calibration_scale
from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal
from mri_alps.operators import SenseOperator
from mri_alps.priors import load_prior
from mri_alps.sampling import (
    AlpsConfiguration,
    alps,
    estimate_prior_spectrum,
    sample_alps,
    sample_posterior,
)
from tests.calibration import calibration_simulation as simulation
from tests.calibration.test_maps_error import NOISE, SHAPE, wrong
from tests.sampling import posterior_bed as bed

Figures = dict[str, float]


@functools.cache
def _spectrum(size: int):
    """Of the mixture's score, as a sampler would estimate it."""
    return _estimate(size, 1)


def _estimate(size: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    shape = (size, size)
    return estimate_prior_spectrum(bed.make_prior(8, shape), shape, generator, torch.complex128)


@functools.cache
def _measurement(size: int, noise_std: float, seed: int):
    prior, operator = bed.sense_bed(8, (size, size))
    generator = torch.Generator().manual_seed(seed)
    return prior, operator, bed.measure(prior, operator, noise_std, generator)


def _sample(size, noise_std, seed, n_samples, n_evaluations, spectrum=None, **chosen) -> Figures:
    """Deviation of the spread, distance and operator cost against the exact posterior."""
    prior, operator, measurement = _measurement(size, noise_std, seed % 100)
    result = sample_posterior(
        prior,
        operator,
        measurement.data,
        noise_std,
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        prior_spectrum=spectrum or _spectrum(size),
        generator=torch.Generator().manual_seed(seed),
        method=functools.partial(sample_alps, configuration=AlpsConfiguration(**chosen)),
    )
    found = bed.compare(result.samples, measurement, torch.Generator().manual_seed(5))
    return {
        "std": found["std"],
        "W": found["wasserstein"],
        "normals": result.diagnostics["operator"]["normals_per_evaluation"],
        "restarts": result.diagnostics["n_restarts"],
    }


def exact_step(seed: int) -> Figures:
    """A mixture of 8 on 16 x 16 pixels: M is exact. 20 evaluations, where constants show."""
    found = _sample(16, 0.4, seed, 192, 20)
    return {name: found[name] for name in ("std", "W", "restarts")}


def solved_step(seed: int) -> Figures:
    """A mixture of 8 on 32 x 32 pixels, solved for, by the path that learned scores take."""
    guided = {"handover": alps.HANDOVER, "finish": alps.FINISH, "data_noise": alps.DATA_NOISE}
    found = _sample(32, 0.4, seed, 48, 20, dense_limit=0, **guided)
    return {name: found[name] for name in ("std", "W", "normals")}


def dense_seconds(seed: int) -> Figures:
    """An image of as many pixels as are treated densely; processor time of two evaluations."""
    from mri_alps.inverse_problem.covariance import DENSE_LIMIT

    shape = (32, DENSE_LIMIT // 32)
    prior, operator = bed.sense_bed(1, shape)
    data = operator.forward(prior.sample(1, torch.Generator().manual_seed(seed))[0][0])
    generator = torch.Generator().manual_seed(seed)
    spectrum = estimate_prior_spectrum(prior, shape, generator, torch.complex128)
    found = {}
    for name, limit in (("dense", DENSE_LIMIT), ("solved", 0)):
        configuration = AlpsConfiguration(dense_limit=limit)
        started = time.process_time()
        sample_posterior(
            prior,
            operator,
            data,
            0.1,
            n_samples=4,
            n_evaluations=2,
            prior_spectrum=spectrum,
            generator=generator,
            method=functools.partial(sample_alps, configuration=configuration),
        )
        found[f"{name} seconds"] = time.process_time() - started
    return found


def estimated_spectrum(seed: int) -> Figures:
    """The spectrum estimated anew, then as `exact_step`."""
    spectrum = _estimate(16, seed)
    found = _sample(16, 0.4, seed, 192, 20, spectrum)
    curvature = float(spectrum.curvature.max())
    return {"std": found["std"], "W": found["W"], "curvature": curvature}


@functools.cache
def _heads() -> list[torch.Tensor]:
    source = resources.files("mri_alps") / "data" / "demo_brain.h5"
    with resources.as_file(source) as demo, h5py.File(demo) as file:
        images = [torch.as_tensor(image, dtype=torch.complex64) for image in file["ground_truth"]]
    heads = []
    for image in images[:2]:
        top, left = ((n - 64) // 2 for n in image.shape)
        heads.append(image[top : top + 64, left : left + 64] / image_scale(image))
    return heads


@functools.cache
def _network():
    return load_prior("brain-small")


def network(seed: int) -> Figures:
    """Crops of the demo's truth, 64 x 64, 4 coils, 4x, under brain-small."""
    maps = bed.coil_maps(4, (64, 64), torch.complex64)
    operator = SenseOperator(maps, bed.line_mask(64, 4, 6))
    errors, covered = [], []
    for index, truth in enumerate(_heads()):
        generator = torch.Generator().manual_seed(10 * (seed % 100) + index)
        data = operator.forward(truth)
        noise = standard_normal(data.shape, generator, data.dtype)
        data = data + 0.02 * noise * operator.measured
        generator.manual_seed(seed)
        samples = sample_posterior(
            _network(), operator, data, 0.02, n_samples=8, n_evaluations=30, generator=generator
        ).samples
        mean = samples.mean(0)
        errors.append(float((mean - truth).norm() / truth.norm()))
        # Student's t at 0.95 with 7 degrees of freedom, for a new draw beside 8.
        width = 1.895 * samples.real.std(0) * math.sqrt(1 + 1 / 8)
        covered.append(float(((truth.real - mean.real).abs() <= width).float().mean()))
    return {"dB": 20 * math.log10(float(np.mean(errors))), "coverage": float(np.mean(covered))}


def _noise_figures(scans) -> Figures:
    """Of scans, each k-space, mask and true covariance."""
    scans = list(scans)
    found = [estimate_noise(kspace * mask, mask) for kspace, mask, _ in scans]
    true = np.array([np.trace(matrix).real for *_, matrix in scans])
    ratios = np.array([np.trace(estimate.covariance).real for estimate in found]) / true
    return {
        "variance": float(ratios.mean()),
        "scatter": float(ratios.std()),
        "warned": float(np.mean([estimate.is_contaminated for estimate in found])),
    }


def _beside_the_object(seed: int, roll_off: float = 0.0):
    for index in range(12):
        shape = (256, 160)
        kspace, _, _, matrix = simulation.acquisition(6, shape, 0.02, 100 * seed + index, 0.55)
        yield _filtered(kspace, roll_off), simulation.lines(160, 4, 16), matrix


def quiet_noise(seed: int) -> Figures:
    """Six coils, 4x, an object that leaves room beside it along the readout."""
    return _noise_figures(_beside_the_object(seed))


def filtered_noise(seed: int) -> Figures:
    """The same through a receiver whose filter rolls off over 3 % of the readout at each edge."""
    return _noise_figures(_beside_the_object(seed, 0.03))


def _filtered(kspace: np.ndarray, roll_off: float) -> np.ndarray:
    if not roll_off:
        return kspace
    n = kspace.shape[1]
    distance = np.minimum(np.arange(n), np.arange(n)[::-1]) / (roll_off * n)
    gain = np.sqrt(np.minimum(1, 0.2 + 0.8 * distance))[:, None]
    hybrid = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace, axes=1), axis=1), axes=1) * gain
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(hybrid, axes=1), axis=1), axes=1)


def _filling_the_readout(seed: int, blur: float):
    shape = (256, 192)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    image = 1 / (1 + np.exp((np.abs(x) - 0.6) / blur)) * (1 + 0.2 * np.cos(3 * y))
    for index in range(10):
        rng = np.random.default_rng(100 * seed + index)
        matrix = 0.02**2 * simulation.covariance(6, rng)
        kspace = simulation.fft2c(image * simulation.coils(6, shape))
        yield kspace + simulation.noise(matrix, shape, rng), simulation.lines(192, 4, 16), matrix


def periphery_noise(seed: int) -> Figures:
    """Six coils, 4x, an object that fills the readout: only the periphery is left."""
    return _noise_figures(_filling_the_readout(seed, 0.006))


def sharp_periphery(seed: int) -> Figures:
    """The same with an edge so sharp that its signal reaches the periphery."""
    return _noise_figures(_filling_the_readout(seed, 0.002))


def _scattered(seed: int):
    for index in range(10):
        rng = np.random.default_rng(100 * seed + index)
        kspace, _, _, matrix = simulation.acquisition(6, (128, 120), 0.1, 100 * seed + index)
        yield kspace, rng.random((128, 120)) < 0.3, matrix


def point_noise(seed: int) -> Figures:
    """Scattered points, 30 %."""
    return _noise_figures(_scattered(seed))


def warnings_of_noise(seed: int) -> Figures:
    """An object that fills the image, noise from far above its signal's tail to far below."""
    warned, right = [], []
    for index, level in enumerate((1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)):
        for repeat in range(4):
            one = 100 * seed + 10 * index + repeat
            kspace, _, _, matrix = simulation.acquisition(4, (48, 48), level, one, 0.99)
            found = estimate_noise(kspace, np.ones(48, bool))
            ratio = np.trace(found.covariance).real / np.trace(matrix).real
            (warned if ratio > 1.5 else right).append(found.is_contaminated)
    return {"warned of": float(np.mean(warned)), "false alarms": float(np.mean(right))}


def _map_error(maps: torch.Tensor, shape: tuple[int, int]) -> float:
    """Share of the true coil images that maps do not explain, in dB."""
    true = simulation.coils(len(maps), shape)
    true = torch.as_tensor(true / np.sqrt((np.abs(true) ** 2).sum(0)))
    images = true * torch.as_tensor(simulation.disc(shape))
    rest = images - maps * (maps.conj() * images).sum(0)
    return float(10 * torch.log10(rest.abs().square().sum() / images.abs().square().sum()))


def maps(seed: int, n_lines: int = 24) -> Figures:
    """ESPIRiT maps of 8 coils from the centre of k-space; support beside that of the disc."""
    shape = (128, 112)
    kspace, image, _, matrix = simulation.acquisition(8, shape, 0.02, seed, 0.7)
    whitening = 1 / math.sqrt(np.trace(matrix).real / 8)
    block = center_crop(whitening * kspace, (n_lines, n_lines))
    found = estimate_sensitivity_maps(block, shape, noise_std=1.0)
    support = found.abs().square().sum(0) > 0.5
    inside = torch.as_tensor(np.abs(image) > 0)
    area = float(support.sum() / inside.sum())
    return {"dB": _map_error(found, shape), "support": area}


def maps_of_many_lines(seed: int) -> Figures:
    """The same from 64 lines."""
    return maps(seed, 64)


def _scan(error: float, acceleration: int, seed: int, n_coils: int = 8):
    """K-space, mask, maps that are wrong by `error` of their norm, and what they leave."""
    true = simulation.coils(n_coils, SHAPE)
    true = true / np.sqrt((np.abs(true) ** 2).sum(0))
    images = torch.as_tensor(true * simulation.disc(SHAPE), dtype=torch.complex64)
    given = torch.as_tensor(wrong(true, error, seed), dtype=torch.complex64)
    rest = images - given * (given.conj() * images).sum(0)
    mask = torch.as_tensor(simulation.lines(SHAPE[1], acceleration, 8))
    kspace = fftc(images)
    noise = standard_normal(kspace.shape, torch.Generator().manual_seed(seed), kspace.dtype)
    return (kspace + NOISE * noise) * mask, mask, given, float(rest.norm() / images.norm())


def refined_maps(seed: int, n_coils: int = 8) -> Figures:
    """Maps that are wrong by 40 % of their norm, refined; rounds for those and for right ones."""
    kspace, mask, given, _ = _scan(0.4, 2, seed, n_coils)
    found = refine_sensitivity_maps(kspace, mask, given, NOISE)
    kspace, mask, right, _ = _scan(0.0, 2, seed, n_coils)
    kept = refine_sensitivity_maps(kspace, mask, right, NOISE)
    return {
        "dB": _map_error(found.sensitivity_maps, SHAPE),
        "rounds": found.n_rounds,
        "of right maps": kept.n_rounds,
    }


def refined_maps_of_five_coils(seed: int) -> Figures:
    """The same with five coils, where the rank says little."""
    return refined_maps(seed, 5)


def maps_error(seed: int) -> Figures:
    """Error that is found over the actual one, maps wrong by 20 and 40 %; and of right ones."""
    ratios = []
    for error in (0.2, 0.4):
        kspace, mask, given, actual = _scan(error, 2, seed)
        ratios.append(fit_maps_error(kspace, mask, given, NOISE).found / actual)
    kspace, mask, given, _ = _scan(0.0, 2, seed)
    right = fit_maps_error(kspace, mask, given, NOISE)
    return {"at 20 %": ratios[0], "at 40 %": ratios[1], "of right maps": right.found}


def weighted_image(seed: int) -> Figures:
    """Error in dB of the mean image under a Gaussian prior, maps wrong by 15 % and right ones."""
    found = {}
    truth = torch.as_tensor(simulation.disc(SHAPE), dtype=torch.complex64)
    for error, name in ((0.15, "wrong maps dB"), (0.0, "right maps dB")):
        kspace, mask, given, _ = _scan(error, 4, seed)
        weights = sampling_weights(kspace, mask, NOISE)
        operator = SenseOperator(given, mask, weights)
        image = gaussian_mean(operator, kspace * weights, NOISE)
        found[name] = 20 * math.log10(float((image - truth).norm() / truth.norm()))
    return found


def scale(seed: int) -> Figures:
    """Scale at inference over that in training, for 12 and 24 calibration lines."""
    found, shape = {}, (128, 112)
    kspace, image, true, _ = simulation.acquisition(8, shape, 0.02, seed, 0.7)
    norm = np.sqrt((np.abs(true) ** 2).sum(0))
    unit = torch.as_tensor(true / norm, dtype=torch.complex64)
    training = image_scale(torch.as_tensor(image * norm, dtype=torch.complex64))
    for n in (12, 24):
        block = center_crop(kspace, (shape[0], n))
        found[f"{n} lines"] = calibration_scale(block, unit) / training
    return found


def quietly(figures, seed: int) -> Figures:
    """Call a bed without its warnings: what they say is among its figures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return figures(seed)
