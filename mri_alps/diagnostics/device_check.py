"""Does a device compute what the CPU computes, how fast, and does the host ever wait for it?"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from mri_alps.calibration import estimate_sensitivity_maps
from mri_alps.core.crop import center_range
from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal
from mri_alps.diagnostics.host_traffic import on_device, watched
from mri_alps.operators import NonCartesianSenseOperator, SenseOperator, golden_radial
from mri_alps.sampling import ChainNoise, PosteriorSamples, SamplingTask, StepInfo, sample_posterior
from mri_alps.sampling.methods import find_method

if TYPE_CHECKING:
    from mri_alps.priors import ScoreModel

TOLERANCE = 1e-4
SAMPLES_TOLERANCE = 5e-3  # solutions end at an error of 1e-2 deviations, by paths of rounding
"""Largest relative difference (2-norm) to the CPU."""
NOISE_STD = 0.03
_EVALUATIONS = 12
_SEED = 20_251


class Comparison(NamedTuple):
    """What was compared, its relative difference to the CPU, and whether that is small enough.

    `bound` is infinite where the difference is only for information.
    """

    name: str
    difference: float
    bound: float = TOLERANCE

    @property
    def equal(self) -> bool:
        """Whether the difference, if it is a number, is within the bound."""
        return self.difference <= self.bound


class Timing(NamedTuple):
    """Median milliseconds of something, and the peak memory in bytes where it is known."""

    name: str
    milliseconds: float
    peak_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class SimulatedSlice:
    """A simulated slice on the CPU: an ellipse with structure, seen by smooth coils.

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        complex64 (coils, H, W), unit norm over coils inside the ellipse and 0 outside.
    mask : torch.Tensor
        Bool, (W,) for lines or (H, W) for points.
    image, kspace : torch.Tensor
        The truth, and A image + noise.
    """

    sensitivity_maps: torch.Tensor
    mask: torch.Tensor
    image: torch.Tensor
    kspace: torch.Tensor


def coil_maps(shape: tuple[int, int], n_coils: int) -> torch.Tensor:
    """Return smooth sensitivities of coils on a circle, complex64 (coils, H, W), of unit norm.

    Parameters
    ----------
    shape : tuple of int
        (H, W).
    n_coils : int
        Coils around the object.
    """
    y, x = _plane(shape)
    angles = [2 * math.pi * c / n_coils for c in range(n_coils)]
    coils = [
        torch.polar(
            torch.exp(-((y - 1.1 * math.sin(a)) ** 2 + (x - 1.1 * math.cos(a)) ** 2) / 1.2),
            a + 0.7 * y * math.cos(a) + 0.7 * x * math.sin(a),
        )
        for a in angles
    ]
    maps = torch.stack(coils)
    return maps / maps.abs().square().sum(0).sqrt()


def make_scan(
    shape: tuple[int, int], n_coils: int, pattern: str, seed: int = _SEED
) -> SimulatedSlice:
    """Simulate a slice, a quarter of it measured and the centre of k-space in full.

    Parameters
    ----------
    shape : tuple of int
        (readout, phase_encode).
    n_coils : int
        Coils around the object.
    pattern : str
        "lines" or "points".
    seed : int
        Of mask and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    y, x = _plane(shape)
    inside = (y / 0.86) ** 2 + (x / 0.68) ** 2 < 1
    maps = coil_maps(shape, n_coils) * inside
    image = (inside * (0.6 + 0.3 * torch.cos(9 * y) * torch.cos(7 * x))).to(torch.complex64)
    mask = torch.rand(shape if pattern == "points" else shape[1:], generator=generator) < 0.25
    center = [center_range(n, 2 * max(4, n // 25)) for n in shape]
    mask[tuple(center[-mask.ndim :])] = True
    kspace = fftc(maps * image)
    noise = standard_normal(kspace.shape, generator, kspace.dtype)
    return SimulatedSlice(maps, mask, image, (kspace + NOISE_STD * noise) * mask)


def compare_with_cpu(
    prior: ScoreModel, prior_there: ScoreModel, device: torch.device
) -> list[Comparison]:
    """Compute everything that a reconstruction needs on the CPU and on a device.

    Where the device is the CPU, the code that a GPU takes is compared with what the CPU uses.

    Parameters
    ----------
    prior, prior_there : ScoreModel
        The same prior on the CPU and on the device.
    device : torch.device
        To be checked.
    """
    found = []
    for name, shape, pattern in (
        ("lines", (64, 48), "lines"),
        ("lines, odd and awkward length", (63, 94), "lines"),
        ("points", (64, 48), "points"),
    ):
        scan = make_scan(shape, 8, pattern)
        here = SenseOperator(scan.sensitivity_maps, scan.mask)
        there = _operator(scan, device)
        x, y = scan.image[None], scan.kspace
        moved_x, moved_y = on_device(x, device), on_device(y, device)
        found += [
            Comparison(f"A x, {name}", _difference(there.forward(moved_x), here.forward(x))),
            Comparison(f"A^H y, {name}", _difference(there.adjoint(moved_y), here.adjoint(y))),
            Comparison(f"A^H A x, {name}", _difference(there.normal(moved_x), here.normal(x))),
        ]
    found += _shots_comparison(device)
    with _full_precision():
        found.append(Comparison("sensitivity maps", _maps_difference(device)))
        found.append(_prior_comparison(prior, prior_there, device))
        for pattern in ("lines", "points"):
            samples = [
                _samples(p, d, pattern).samples for p, d in ((prior, None), (prior_there, device))
            ]
            difference = _difference(samples[1], samples[0])
            found.append(Comparison(f"samples, {pattern}", difference, SAMPLES_TOLERANCE))
    if device.type == "cuda":
        reduced = _prior_comparison(prior, prior_there, device)
        name = f"{reduced.name}, at this session's precision of convolutions"
        found.append(Comparison(name, reduced.difference, math.inf))
    return found


def find_host_traffic(prior: ScoreModel, device: torch.device, pattern: str) -> list[str]:
    """Return the places where a step of the sampler makes the host wait for the device.

    Parameters
    ----------
    prior : ScoreModel
        On the device.
    device : torch.device
        CUDA; on a CPU, tensors are marked instead.
    pattern : str
        "lines" or "points".
    """
    scan = make_scan((64, 48), 4, pattern)
    with watched(device) as traffic:

        def callback(info: StepInfo) -> None:
            # The first step sets up, and the last is followed by the end of the run.
            traffic.watching = 2 <= info.step < info.n_steps

        try:
            sample_posterior(
                prior,
                _operator(scan, device),
                on_device(scan.kspace, device),
                NOISE_STD,
                n_samples=2,
                n_evaluations=_EVALUATIONS,
                generator=torch.Generator().manual_seed(_SEED),
                callback=callback,
            )
        finally:
            traffic.watching = False
    return traffic.found


def time_device(
    prior: ScoreModel,
    device: torch.device,
    shapes: tuple[tuple[int, int], ...] = ((320, 320), (640, 368)),
    n_coils: int = 15,
    batches: tuple[int, ...] = (1, 8),
    n_repeats: int = 7,
) -> Iterator[Timing]:
    """Time A^H A, an evaluation of the prior, and a step of the sampler.

    Parameters
    ----------
    prior : ScoreModel
        On the device.
    device : torch.device
        Where to work.
    shapes : tuple
        Image sizes; prior and step are timed on the first.
    n_coils : int
        Coils.
    batches : tuple of int
        Samples at a time.
    n_repeats : int
        How often, for the median.

    Yields
    ------
    Timing
        As they are known.
    """
    for shape, n in itertools.product(shapes, batches):
        for pattern in ("lines", "points"):
            scan = make_scan(shape, n_coils, pattern)
            operator = SenseOperator(scan.sensitivity_maps.to(device), scan.mask.to(device))
            x = scan.image.to(device).expand(n, -1, -1).contiguous()
            name = f"normal, {n_coils} x {shape[0]}x{shape[1]}, {pattern}, {_samples_text(n)}"
            yield _timed(name, functools.partial(operator.normal, x), device, n_repeats)
    size = f"{shapes[0][0]}x{shapes[0][1]}"
    for n in batches:
        x = torch.zeros((n, *shapes[0]), dtype=torch.complex64, device=device)
        name = f"evaluation of the prior, {size}, {_samples_text(n)}"
        yield _timed(name, functools.partial(prior.score, x, 0.3), device, n_repeats)
    for n in batches:
        yield _step_timing(prior, device, shapes[0], n_coils, n, f"step, {n_coils} x {size}")


def _plane(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates from -1 to 1, (H, 1) and (1, W)."""
    return torch.linspace(-1, 1, shape[0])[:, None], torch.linspace(-1, 1, shape[1])[None]


def _operator(scan: SimulatedSlice, device: torch.device | None) -> SenseOperator:
    if device is None:
        return SenseOperator(scan.sensitivity_maps, scan.mask)
    return SenseOperator(on_device(scan.sensitivity_maps, device), on_device(scan.mask, device))


def _shots_comparison(device: torch.device) -> list[Comparison]:
    """The same of radial spokes, where finufft is installed."""
    if importlib.util.find_spec("finufft") is None:
        return []
    shape = (64, 48)
    scan = make_scan(shape, 8, "points")
    trajectory = golden_radial(24, 128, shape)
    here = NonCartesianSenseOperator(scan.sensitivity_maps, trajectory)
    there = NonCartesianSenseOperator(on_device(scan.sensitivity_maps, device), trajectory)
    x = scan.image[None]
    y = here.forward(x)
    moved_x, moved_y = on_device(x, device), on_device(y, device)
    diagonals = there.normal_fourier_diagonal(), here.normal_fourier_diagonal()
    return [
        Comparison("A x, spokes", _difference(there.forward(moved_x), y)),
        Comparison("A^H y, spokes", _difference(there.adjoint(moved_y), here.adjoint(y))),
        Comparison("A^H A x, spokes", _difference(there.normal(moved_x), here.normal(x))),
        Comparison("preconditioner, spokes", _difference(*diagonals)),
    ]


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = (t.detach().cpu().to(torch.complex128) for t in (found, expected))
    return float((found - expected).norm() / expected.norm())


def _maps_difference(device: torch.device) -> float:
    kspace = fftc(make_scan((64, 48), 6, "lines").sensitivity_maps)[:, 20:44, 12:36].numpy()
    here = estimate_sensitivity_maps(kspace, (64, 48))
    there = estimate_sensitivity_maps(kspace, (64, 48), device=device)
    return _difference(there, here)


def _prior_comparison(
    prior: ScoreModel, prior_there: ScoreModel, device: torch.device
) -> Comparison:
    generator = torch.Generator().manual_seed(_SEED)
    x = make_scan((64, 48), 1, "lines").image + 0.3 * standard_normal(
        (2, 64, 48), generator, torch.complex64
    )
    with torch.no_grad():
        values = prior_there.score(on_device(x, device), 0.3), prior.score(x, 0.3)
    return Comparison("evaluation of the prior", _difference(*values))


class _HostNoiseTask(SamplingTask):
    """Draws the noise on the CPU whatever the device: generators of devices differ."""

    def noise(self, samples: list[int] | None = None, attempt: int = 0) -> ChainNoise:
        chosen = range(self.n_samples) if samples is None else samples
        indices = [self.first_sample + i for i in chosen]
        slices = self.first_slice
        return ChainNoise(
            self.problem, self.seed, indices, attempt, slices, drawn_on=torch.device("cpu")
        )


def _samples(prior: ScoreModel, device: torch.device | None, pattern: str) -> PosteriorSamples:
    scan = make_scan((64, 48), 8, pattern)

    def method(task: SamplingTask) -> PosteriorSamples:
        fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}
        return find_method("alps")(_HostNoiseTask(**fields))

    return sample_posterior(
        prior,
        _operator(scan, device),
        scan.kspace if device is None else on_device(scan.kspace, device),
        NOISE_STD,
        n_samples=2,
        n_evaluations=_EVALUATIONS,
        method=method,
        generator=torch.Generator().manual_seed(_SEED),
    )


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Convolutions and products in float32, not in TF32, whose 10 bits are a choice of speed."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _timed(name: str, work: Callable[[], Any], device: torch.device, n_repeats: int) -> Timing:
    _start_peak(device)
    times = []
    with torch.no_grad():
        for _ in range(n_repeats + 1):  # the first one prepares
            _wait(device)
            started = time.perf_counter()
            work()
            _wait(device)
            times.append(1e3 * (time.perf_counter() - started))
    return Timing(name, statistics.median(times[1:]), _peak(device))


def _step_timing(
    prior: ScoreModel, device: torch.device, shape: tuple[int, int], n_coils: int, n: int, name: str
) -> Timing:
    scan = make_scan(shape, n_coils, "lines")
    marks = []

    def callback(_: object) -> None:
        _wait(device)
        marks.append(time.perf_counter())

    _start_peak(device)
    sample_posterior(
        prior,
        SenseOperator(scan.sensitivity_maps.to(device), scan.mask.to(device)),
        scan.kspace.to(device),
        NOISE_STD,
        n_samples=n,
        n_evaluations=_EVALUATIONS,
        generator=torch.Generator().manual_seed(_SEED),
        callback=callback,
    )
    steps = [1e3 * (b - a) for a, b in itertools.pairwise(marks)]
    return Timing(f"{name}, lines, {_samples_text(n)}", statistics.median(steps), _peak(device))


def _samples_text(n: int) -> str:
    return "1 sample" if n == 1 else f"{n} samples"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _start_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
