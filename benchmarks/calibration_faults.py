"""Simulated scans with one fault each, as files, with the truth that belongs to what they hold.

A scan is a pure function of (seed, index). Images are random ellipses, or slices of a folder of
`.npz` files with an array `img` (slices, H, W); coils are loops around the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
from scipy import ndimage

from mri_alps.rawdata.header import Limit, make_header
from mri_alps.rawdata.ismrmrd.writer import make_acquisition, write_acquisitions

COILS = (1, 2, 4, 8, 8, 12, 16, 32)
READOUTS, PHASES = (64, 72, 80, 96, 128), (64, 70, 81, 96)


@dataclass
class Scan:
    """What is written to a file and handed to `reconstruct`, and what is true of it.

    `truths` are the noise-free root-sum-of-squares images (H, W) any of which would be right;
    `names` is a pattern that a warning or an error which names the cause matches.
    """

    image: np.ndarray
    maps: np.ndarray
    kspace: np.ndarray
    mask: np.ndarray
    noise_std: float
    format: str
    rng: np.random.Generator
    kind: str = "none"
    detail: str = ""
    healthy: bool = True
    names: str = "(?!)"
    truths: list[np.ndarray] = field(default_factory=list)
    noise: np.ndarray | None = None
    told: np.ndarray | None = None  # the mask that the file or the caller names
    given: np.ndarray | None = None  # maps
    calibration: np.ndarray | None = None  # separate lines, zero elsewhere
    given_noise: float | None = None  # standard deviation that the caller names
    as_argument: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "detail": self.detail,
            "healthy": self.healthy,
            "format": self.format,
            "coils": len(self.maps),
            "shape": list(self.shape),
            "lines": int(self.mask.sum()),
            "noise_std": self.noise_std,
        }

    def noise_like(self, shape: tuple[int, ...]) -> np.ndarray:
        """White complex noise of the scan's level."""
        parts = self.rng.standard_normal((2, *shape))
        return self.noise_std * (parts[0] + 1j * parts[1])

    def measure(self, images: np.ndarray) -> np.ndarray:
        """K-space of coil images, with noise."""
        return fft2c(images) + self.noise_like(images.shape)


def fft2c(images: np.ndarray) -> np.ndarray:
    """Centred orthonormal transform, in numpy: independent of the package's own."""
    shifted = np.fft.ifftshift(images, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))


def ifft2c(kspace: np.ndarray) -> np.ndarray:
    """Its inverse."""
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def rss(images: np.ndarray) -> np.ndarray:
    """Root sum of squares over coils."""
    return np.sqrt((np.abs(images) ** 2).sum(0))


def grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates from -1 to 1, (H, W) each."""
    y, x = np.meshgrid(*(2 * (np.arange(n) - n // 2) / n for n in shape), indexing="ij")
    return y, x


def phantom(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A head of random ellipses, 0 to about 1."""
    fine = (3 * shape[0], 3 * shape[1])
    y, x = grid(fine)
    centre = rng.uniform(-0.06, 0.06, 2)
    radii = rng.uniform(0.6, 0.85, 2)

    def ellipse(cy: float, cx: float, ry: float, rx: float, angle: float = 0.0) -> np.ndarray:
        u = (y - cy) * np.cos(angle) + (x - cx) * np.sin(angle)
        v = -(y - cy) * np.sin(angle) + (x - cx) * np.cos(angle)
        return (u / ry) ** 2 + (v / rx) ** 2 <= 1

    head = ellipse(*centre, *radii)
    image = 0.8 * head - 0.35 * ellipse(*centre, *(0.92 * radii))
    for _ in range(30):
        radius, angle = 0.7 * rng.uniform() ** 0.5, rng.uniform(0, 2 * np.pi)
        at = centre + radius * radii * [np.cos(angle), np.sin(angle)]
        size = rng.uniform(0.03, 0.2, 2)
        image = image + rng.uniform(-0.2, 0.3) * ellipse(*at, *size, rng.uniform(0, 3)) * head
    return image.clip(0).reshape(shape[0], 3, shape[1], 3).mean((1, 3))


def stored_image(shape: tuple[int, int], rng: np.random.Generator, folder: Path) -> np.ndarray:
    """A slice of a file in a folder, resized; 0 to about 1."""
    files = sorted(folder.glob("*.npz"))
    with np.load(files[rng.integers(len(files))], allow_pickle=False) as stored:
        images = stored["img"]
    for _ in range(20):  # not one that is nearly empty
        image = images[rng.integers(len(images))].astype(float)
        if (image > 0.1 * image.max()).mean() > 0.15:
            break
    factors = [new / old for new, old in zip(shape, image.shape, strict=True)]
    smooth = ndimage.gaussian_filter(image, [0.45 / factor for factor in factors])
    found = ndimage.zoom(smooth, factors, order=1, grid_mode=True, mode="nearest")
    return found / np.percentile(found, 99.5)


def coil_maps(
    n_coils: int, shape: tuple[int, int], rng: np.random.Generator, turn: float = 0.0
) -> np.ndarray:
    """Smooth, unequal coils (coils, H, W) on one ring, from 12 on two; one coil is nearly flat."""
    y, x = grid(shape)
    if n_coils == 1:
        return (1 + 0.2 * x * y)[None] * np.exp(0.4j * (y + x))
    maps = []
    for c in range(n_coils):
        angle = 2 * np.pi * (c + 0.2 * rng.uniform(-1, 1)) / n_coils + turn
        radius = 1.2 if n_coils < 12 or c % 2 else 1.6
        away = (y - radius * np.cos(angle)) ** 2 + (x - radius * np.sin(angle)) ** 2
        tilt = rng.uniform(0.4, 1.0)
        phase = rng.uniform(0, 2 * np.pi) + tilt * (np.cos(angle) * y + np.sin(angle) * x)
        maps.append(
            rng.uniform(0.7, 1.3) / (1 + away / rng.uniform(0.5, 0.9)) ** 1.5 * np.exp(1j * phase)
        )
    return np.array(maps) * 1.5 / np.sqrt(n_coils / 4)


def draw_scan(seed: int, index: int, kind: str, folder: Path | None) -> Scan:
    """Return a scan with the fault `kind`; the same for the same arguments."""
    rng = np.random.default_rng((seed, index))
    fault = FAULTS[kind]
    shape = (int(rng.choice(READOUTS)), int(rng.choice(PHASES)))
    n_coils = int(rng.choice([n for n in COILS if n >= fault.coils]))
    magnitude = phantom(shape, rng) if folder is None or rng.uniform() < 0.5 else None
    if magnitude is None:
        magnitude = stored_image(shape, rng, folder)
    y, x = grid(shape)
    a = rng.normal(size=5)
    image = magnitude * np.exp(1j * (a[0] + 0.6 * a[1] * y + 0.6 * a[2] * x + 0.4 * a[3] * x * y))
    maps = coil_maps(n_coils, shape, rng)
    coil_images = maps * image
    truth = rss(coil_images)
    level = truth[truth > 0.1 * truth.max()].mean() / rng.uniform(25, 120)
    highest = {1: 2, 2: 2, 4: 3}.get(n_coils, 4)
    mask = lines(shape[1], int(rng.integers(1, highest + 1)), int(rng.integers(10, 25)), rng)
    scan = Scan(image, maps, coil_images, mask, float(level), "fastmri", rng)
    scan.kspace, scan.truths = scan.measure(coil_images), [truth]
    scan.as_argument = bool(rng.uniform() < 0.3)
    if rng.uniform() < 0.4:
        scan.format, scan.noise = "ismrmrd", scan.noise_like((n_coils, 4000))
    scan.told = mask
    scan.kind, scan.names, scan.healthy = kind, fault.names, fault.healthy
    scan.detail = fault.apply(scan)
    return scan


def lines(n: int, acceleration: int, n_centre: int, rng: np.random.Generator) -> np.ndarray:
    """Every so many lines from a random first one, and a centre; all without acceleration."""
    mask = np.zeros(n, bool)
    mask[int(rng.integers(acceleration)) :: acceleration] = True
    start = n // 2 - n_centre // 2
    mask[start : start + n_centre] = True
    return mask


# The faults. Each changes the scan and says in a few words what it did.


def nothing(scan: Scan) -> str:
    if len(scan.maps) > 1 and scan.rng.uniform() < 0.15:
        scan.given = scan.maps
        return "true maps given"
    return ""


def _roll(scan: Scan, axis: int, shift: int) -> None:
    """Move the centre of k-space; the noise, and the lines that are measured, stay as they are."""
    scan.kspace = np.roll(scan.kspace, shift, axis)


def centre_of_phase(scan: Scan) -> str:
    n = scan.shape[1]
    shift = int(scan.rng.integers(3, n // 4 + 1)) * int(scan.rng.choice([-1, 1]))
    _roll(scan, -1, shift)
    scan.mask = scan.told = np.roll(scan.mask, shift)
    return f"{shift:+d} of {n}"


def centre_of_readout(scan: Scan) -> str:
    n = scan.shape[0]
    shift = int(scan.rng.integers(3, n // 4 + 1)) * int(scan.rng.choice([-1, 1]))
    _roll(scan, -2, shift)
    return f"{shift:+d} of {n}"


def centre_of_partial(scan: Scan) -> str:
    """Lines from the first one that was measured on, as if the centre were in the middle."""
    n = scan.shape[1]
    left = n // 2 - int(scan.rng.integers(n // 8, n // 4 + 1))
    scan.mask[:left] = False
    scan.mask[left] = True
    _roll(scan, -1, -left)
    scan.mask = scan.told = np.roll(scan.mask, -left)
    return f"centre at {n // 2 - left} of {n}"


def zeros_by_mask(scan: Scan) -> str:
    scan.told = None
    if scan.mask.all():
        scan.mask = lines(scan.shape[1], 2, 16, scan.rng)
    return f"{int((~scan.mask).sum())} columns"


def zeros_at_ends(scan: Scan) -> str:
    axis = int(scan.rng.integers(-2, 0))
    n = scan.kspace.shape[axis]
    count = int(scan.rng.integers(n // 16, n // 6))
    keep = np.ones(n, bool)
    sides = scan.rng.choice(["low", "high", "both"])
    keep[:count] &= sides == "high"
    keep[n - count :] &= sides == "low"
    scan.kspace = scan.kspace * (keep[:, None] if axis == -2 else keep)
    return f"{count} at the {sides} end of axis {axis}"


def filtered(scan: Scan) -> str:
    y, x = grid(scan.shape)
    if scan.rng.uniform() < 0.5:
        name = "Hamming"
        window = (0.54 + 0.46 * np.cos(np.pi * y)) * (0.54 + 0.46 * np.cos(np.pi * x))
    else:
        name, radius = "Fermi", scan.rng.uniform(0.6, 0.85)
        window = 1 / (1 + np.exp((np.hypot(y, x) - radius) / 0.06))
    scan.kspace = scan.kspace * window
    scan.truths = [rss(ifft2c(fft2c(scan.maps * scan.image) * window))]
    if scan.format == "ismrmrd":  # the noise scan would tell the truth of the unfiltered noise
        scan.format, scan.noise = "fastmri", None
    return name


def _noise_scan(scan: Scan, factor: float) -> str:
    scan.format = "ismrmrd"
    scan.noise = factor * scan.noise_like((len(scan.maps), 4000))
    return f"level times {factor:.2g}"


def dwell_low(scan: Scan) -> str:
    return _noise_scan(scan, 1 / scan.rng.uniform(4, 30))


def dwell_high(scan: Scan) -> str:
    return _noise_scan(scan, scan.rng.uniform(4, 30))


def _given_noise(scan: Scan, factor: float) -> str:
    scan.given_noise = factor * scan.noise_std
    return f"level times {factor:.2g}"


def given_low(scan: Scan) -> str:
    return _given_noise(scan, 1 / scan.rng.uniform(4, 30))


def given_high(scan: Scan) -> str:
    return _given_noise(scan, scan.rng.uniform(4, 30))


def alternating_lines(scan: Scan) -> str:
    """Every second line, by its index or of those measured, as an EPI without its correction."""
    phase = scan.rng.uniform(0.3, 1.5) * scan.rng.choice([-1, 1])
    delay = scan.rng.choice([0.0, scan.rng.uniform(-1.5, 1.5)])
    by_index = bool(scan.rng.uniform() < 0.5) or scan.as_argument  # the file has all lines then
    order = np.arange(scan.shape[1]) if by_index else np.cumsum(scan.mask)
    n = scan.shape[0]
    images = np.fft.ifft(np.fft.ifftshift(scan.kspace, -2), axis=-2)
    turn = np.exp(1j * (phase + 2 * np.pi * delay * np.fft.fftfreq(n, 1 / n).round() / n))
    turned = np.fft.fftshift(np.fft.fft(images * turn[:, None], axis=-2), -2)
    scan.kspace = np.where(order % 2 == 1, turned, scan.kspace)
    which = "by index" if by_index else "of those measured"
    return f"{phase:.2f} rad, {delay:.2f} samples, every second {which}"


def dead_coil(scan: Scan) -> str:
    coil = int(scan.rng.integers(len(scan.maps)))
    silent = scan.rng.uniform() < 0.5
    alive = np.arange(len(scan.maps)) != coil
    if silent:
        scan.kspace = scan.kspace * alive[:, None, None]
        if scan.noise is not None:
            scan.noise = scan.noise * alive[:, None]
    else:
        scan.kspace[coil] = scan.noise_like(scan.shape)
    scan.truths = [rss((scan.maps * scan.image)[alive])]
    return f"coil {coil} is {'zero' if silent else 'noise'}"


def loud_coil(scan: Scan) -> str:
    coil, factor = int(scan.rng.integers(len(scan.maps))), scan.rng.uniform(8, 40)
    gain = np.ones(len(scan.maps))
    if scan.rng.uniform() < 0.5:
        gain[coil] = factor
        scan.kspace = scan.kspace * gain[:, None, None]
        if scan.noise is not None:
            scan.noise = scan.noise * gain[:, None]
        scan.truths = [rss(gain[:, None, None] * scan.maps * scan.image)]
        return f"coil {coil}: gain {factor:.2g}"
    scan.kspace[coil] += factor * scan.noise_like(scan.shape)
    if scan.noise is not None:
        scan.noise[coil] += factor * scan.noise_like(scan.noise.shape[1:])
    return f"coil {coil}: noise times {factor:.2g}"


def axes_coils_last(scan: Scan) -> str:
    scan.format = "fastmri, coils last"
    return ""


def axes_transposed(scan: Scan) -> str:
    scan.format = "fastmri, transposed"
    scan.truths = [scan.truths[0].T]
    return f"{scan.shape[0]}x{scan.shape[1]}"


def axes_hybrid(scan: Scan) -> str:
    axis = -2
    shifted = np.fft.ifft(np.fft.ifftshift(scan.kspace, axis), axis=axis, norm="ortho")
    scan.kspace = np.fft.fftshift(shifted, axis)
    return "the readout is in image space"


def scaled(scan: Scan) -> str:
    factor = 10 ** scan.rng.uniform(-8, 8)
    scan.kspace = scan.kspace * factor
    scan.noise = None if scan.noise is None else scan.noise * factor
    scan.noise_std *= factor
    scan.truths = [factor * truth for truth in scan.truths]
    return f"{factor:.1e}"


def maps_of_another_slice(scan: Scan) -> str:
    other = phantom(scan.shape, scan.rng)
    turn = scan.rng.uniform(0.1, 0.5)
    scan.given = coil_maps(len(scan.maps), scan.shape, scan.rng, turn) * _support(other)
    return f"coils turned by {np.degrees(turn):.0f} degrees"


def maps_permuted(scan: Scan) -> str:
    order = np.roll(np.arange(len(scan.maps)), int(scan.rng.integers(1, len(scan.maps))))
    scan.given = scan.maps[order]
    return f"by {order[0]}"


def maps_conjugated(scan: Scan) -> str:
    scan.given = scan.maps.conj()
    return ""


def maps_of_smaller_support(scan: Scan) -> str:
    scan.given = scan.maps * _support(np.abs(scan.image)) / rss(scan.maps)
    return f"{(rss(scan.given) > 0).mean():.0%} of the image"


def _support(image: np.ndarray) -> np.ndarray:
    smooth = ndimage.gaussian_filter(image, 1.5)
    filled = ndimage.binary_fill_holes(smooth > 0.06 * smooth.max())
    return ndimage.binary_dilation(filled, iterations=1)


def mask_of_too_many(scan: Scan) -> str:
    if scan.mask.all():
        scan.mask = lines(scan.shape[1], 2, 16, scan.rng)
    unmeasured = np.flatnonzero(~scan.mask)
    count = max(1, int(scan.rng.uniform(0.1, 1) * len(unmeasured)))
    scan.told = scan.mask.copy()
    scan.told[scan.rng.choice(unmeasured, count, replace=False)] = True
    scan.format, scan.as_argument = "fastmri", False
    return f"{count} of {len(unmeasured)} lines that were left out"


def mask_shifted(scan: Scan) -> str:
    if scan.mask.all():
        scan.mask = lines(scan.shape[1], 2, 16, scan.rng)
    shift = int(scan.rng.integers(1, 7)) * int(scan.rng.choice([-1, 1]))
    scan.told = np.roll(scan.mask, shift)
    scan.format, scan.as_argument = "fastmri", False
    return f"by {shift:+d} lines"


def _moved(scan: Scan) -> tuple[np.ndarray, str]:
    """The object elsewhere; the coils stay."""
    parts = scan.image.real, scan.image.imag
    if scan.rng.uniform() < 0.5:
        angle = scan.rng.uniform(3, 12)
        turned = [ndimage.rotate(part, angle, reshape=False, order=1) for part in parts]
        return turned[0] + 1j * turned[1], f"turned by {angle:.0f} degrees"
    step = scan.rng.uniform(2, 6, 2) * scan.rng.choice([-1, 1], 2)
    shifted = [ndimage.shift(part, step, order=1) for part in parts]
    return shifted[0] + 1j * shifted[1], f"shifted by {step[0]:.0f}, {step[1]:.0f} pixels"


def motion_within(scan: Scan) -> str:
    """The object moves after the centre of k-space was measured."""
    moved, how = _moved(scan)
    outer = np.ones(scan.shape[1], bool)
    outer[scan.shape[1] // 2 - 8 : scan.shape[1] // 2 + 8] = False
    later = scan.measure(scan.maps * moved)
    scan.kspace = np.where(outer, later, scan.kspace)
    scan.truths.append(rss(scan.maps * moved))
    return how


def motion_of_calibration(scan: Scan) -> str:
    """The object moves between separate calibration lines and the image."""
    moved, how = _moved(scan)
    scan.format = "ismrmrd"
    scan.noise = scan.noise_like((len(scan.maps), 4000)) if scan.noise is None else scan.noise
    centre = slice(scan.shape[1] // 2 - 12, scan.shape[1] // 2 + 12)
    scan.calibration = np.zeros_like(scan.kspace)
    scan.calibration[..., centre] = scan.measure(scan.maps * moved)[..., centre]
    scan.mask = scan.told = lines(scan.shape[1], 2, 0, scan.rng)
    return how


@dataclass(frozen=True)
class Fault:
    """A fault, the words that name it, and whether it is one at all."""

    apply: Callable[[Scan], str]
    names: str = "(?!)"
    healthy: bool = False
    coils: int = 1


FAULTS = {
    "none": Fault(nothing, healthy=True),
    "centre, phase encode": Fault(centre_of_phase, "centre|center"),
    "centre, readout": Fault(centre_of_readout, "centre|center|echo"),
    "centre, partial Fourier": Fault(centre_of_partial, "centre|center"),
    "zeros, unheld mask": Fault(zeros_by_mask, "zero"),
    "zeros, padded ends": Fault(zeros_at_ends, "zero"),
    "filtered k-space": Fault(filtered, "filter|white|noise"),
    "noise scan too quiet": Fault(dwell_low, "noise"),
    "noise scan too loud": Fault(dwell_high, "noise"),
    "given noise too small": Fault(given_low, "noise"),
    "given noise too large": Fault(given_high, "noise"),
    "alternating lines": Fault(alternating_lines, "every second line"),
    "dead coil": Fault(dead_coil, "coil", coils=2),
    "loud coil": Fault(loud_coil, "coil|noise", coils=2),
    "axes, coils last": Fault(axes_coils_last, "axis|axes|shape|coils", coils=2),
    "axes, transposed": Fault(axes_transposed, "axis|axes|shape|matrix|mask|zero"),
    "axes, hybrid space": Fault(axes_hybrid, "axis|axes|readout|centre"),
    "scale": Fault(scaled, "scale|unit|precision|range"),
    "maps of another slice": Fault(maps_of_another_slice, "maps", coils=4),
    "maps of permuted coils": Fault(maps_permuted, "maps", coils=4),
    "maps conjugated": Fault(maps_conjugated, "maps", coils=4),
    "maps of smaller support": Fault(maps_of_smaller_support, healthy=True, coils=2),
    "mask of too many lines": Fault(mask_of_too_many, "mask|zero|measured"),
    "mask shifted": Fault(mask_shifted, "mask|zero|measured"),
    "motion within k-space": Fault(motion_within, "maps|motion|moved|explain"),
    "motion of calibration": Fault(motion_of_calibration, "maps|motion|moved|explain", coils=4),
}


def write_scan(scan: Scan, path: Path) -> dict[str, Any]:
    """Write the file and return the arguments for `reconstruct` beside its name."""
    kspace = scan.kspace.astype(np.complex64)
    unmeasured_is_zero = not scan.as_argument or scan.format == "ismrmrd" or scan.told is None
    if unmeasured_is_zero:
        kspace = kspace * scan.mask
    arguments: dict[str, Any] = {}
    if scan.given is not None:
        arguments["sensitivity_maps"] = scan.given.astype(np.complex64)
    if scan.given_noise is not None:
        arguments["noise_std"] = scan.given_noise
    if scan.format == "ismrmrd":
        _write_ismrmrd(scan, kspace, path)
        return arguments
    mask = scan.told
    if not unmeasured_is_zero and scan.format != "fastmri, transposed":
        arguments["mask"], mask = mask, None
    if scan.format == "fastmri, coils last":
        kspace = np.moveaxis(kspace, 0, -1)
    if scan.format == "fastmri, transposed":
        kspace, mask = kspace.swapaxes(-1, -2), None if mask is None else mask[:, None]
    matrix = (*scan.shape, 1)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace[None]
        file["ismrmrd_header"] = _header(scan, matrix)
        if mask is not None and not mask.all():
            file["mask"] = np.broadcast_to(mask, scan.shape[::-1]) if mask.ndim == 2 else mask
        file.attrs["acquisition"] = "AXT1"
    return arguments


def _header(scan: Scan, matrix: tuple[int, int, int]) -> bytes:
    n = matrix[1]
    view = (220.0, 220.0, 5.0)
    limits = {"kspace_encoding_step_1": Limit(0, n - 1, n // 2), "slice": Limit(0, 0, 0)}
    return make_header(matrix, matrix, view, view, limits=limits, n_coils=len(scan.maps))


def _write_ismrmrd(scan: Scan, kspace: np.ndarray, path: Path) -> None:
    acquisitions = []
    if scan.noise is not None:
        flag = ismrmrd.ACQ_IS_NOISE_MEASUREMENT
        acquisitions.append(make_acquisition(scan.noise, flag, sample_time_us=5.0))
    if scan.calibration is not None:
        flag = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
        acquisitions += [
            make_acquisition(
                scan.calibration[:, :, row], flag, kspace_encode_step_1=row, sample_time_us=5.0
            )
            for row in np.flatnonzero(scan.calibration.any((0, 1))).tolist()
        ]
    # A line that is named and was not measured would not be in the file at all.
    measured = scan.mask & kspace.any((0, 1)) if scan.told is not None else np.ones_like(scan.mask)
    acquisitions += [
        make_acquisition(kspace[:, :, row], kspace_encode_step_1=row, sample_time_us=5.0)
        for row in np.flatnonzero(measured).tolist()
    ]
    acquisitions[-1].setFlag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    write_acquisitions(path, _header(scan, (*scan.shape, 1)), acquisitions)
