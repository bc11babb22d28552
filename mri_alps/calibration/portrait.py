"""What calibration found in a slice, small enough to be kept beside its image and drawn later."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.calibration.portrait_path import path_from_plain, path_to_plain, portray_path
from mri_alps.calibration.scale import low_resolution_images
from mri_alps.calibration.sensitivity import local_eigenvalues
from mri_alps.core.crop import center_crop

if TYPE_CHECKING:
    from mri_alps.calibration.acquisition import Acquisition
    from mri_alps.rawdata import RawKSpace

THUMBNAIL = 40
"""Pixels along the longer side of the small images in a report of calibration."""
PORTRAYED_COILS = 16
"""Coils of which a report of calibration shows images and maps, evenly chosen."""
_LONGEST = 65_536
_STEPS = 255


@dataclass(frozen=True)
class CalibrationPortrait:
    """Small pictures and figures of one slice's calibration.

    Parameters
    ----------
    coils : list of int
        Which coils are shown.
    coil_images : numpy.ndarray
        (coils shown, h, w), magnitudes from the calibration region, 1 the brightest of all.
    map_magnitudes, map_phases : numpy.ndarray
        (coils shown, h, w), of the whitened coils; magnitudes up to 1, phases in radians.
    support : numpy.ndarray
        bool (h, w), where there are maps.
    eigenvalues : numpy.ndarray or None
        (2, h, w), the two largest of ESPIRiT's: the first is 1 where one set of maps explains
        the calibration region, the second where it takes two. None of a single coil, or without
        a calibration region.
    profiles : dict
        Name of an axis to the energy of k-space at each of its positions, in dB above the noise;
        NaN where nothing was measured.
    weights : numpy.ndarray or None
        (phase_encode,), mean weight of what was measured of each line, NaN elsewhere; None where
        all are 1.
    facts : dict
        json-able: what `Acquisition.info` says, and what was settled when the scan was opened.
    path : numpy.ndarray or None
        (shots drawn, points, 2), cycles per field of view: some of the trajectory as it is used,
        with corrected delays if they are. None of a Cartesian scan.
    """

    coils: list[int]
    coil_images: np.ndarray
    map_magnitudes: np.ndarray
    map_phases: np.ndarray
    support: np.ndarray
    eigenvalues: np.ndarray | None
    profiles: dict[str, np.ndarray]
    weights: np.ndarray | None
    facts: dict[str, Any]
    path: np.ndarray | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can hold: images in 255 steps, figures with three digits."""
        eigenvalues = None if self.eigenvalues is None else _packed(self.eigenvalues)
        return {
            "coils": self.coils,
            "coil_images": _packed(self.coil_images),
            "map_magnitudes": _packed(self.map_magnitudes),
            "map_phases": _packed(self.map_phases / (2 * np.pi) + 0.5),
            "support": _packed(self.support),
            "eigenvalues": eigenvalues,
            # Pairs: keys may come back sorted, and these have the order of the axes.
            "profiles": [[axis, _figures(values)] for axis, values in self.profiles.items()],
            "weights": None if self.weights is None else _figures(self.weights),
            "facts": self.facts,
            "path": None if self.path is None else path_to_plain(self.path),
        }

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> CalibrationPortrait:
        """Return what `to_plain` returned, from a file that anybody may have written.

        Parameters
        ----------
        content : dict
            From JSON.

        Raises
        ------
        ValueError
            If it is anything else, or larger than a portrait is.
        """
        try:
            eigenvalues, weights = content["eigenvalues"], content["weights"]
            path = content.get("path")  # of older files: none
            coils = [int(coil) for coil in content["coils"]]
            images = {
                name: _unpacked(content[name])
                for name in ("coil_images", "map_magnitudes", "map_phases")
            }
            support = _unpacked(content["support"]) > 0.5
            found = cls(
                coils=coils,
                coil_images=images["coil_images"],
                map_magnitudes=images["map_magnitudes"],
                map_phases=2 * np.pi * (images["map_phases"] - 0.5),
                support=support,
                eigenvalues=None if eigenvalues is None else _unpacked(eigenvalues),
                profiles={str(axis): _numbers(values) for axis, values in content["profiles"]},
                weights=None if weights is None else _numbers(weights),
                facts=dict(content["facts"]),
                path=None if path is None else path_from_plain(path),
            )
        except (KeyError, TypeError, AttributeError, OverflowError, zlib.error) as error:
            raise ValueError(f"no portrait of a calibration ({error!r})") from error
        shape = (len(coils), *support.shape)
        wrong = [name for name, image in images.items() if image.shape != shape]
        if wrong or support.ndim != 2 or not coils:
            raise ValueError(f"images of calibration whose shapes do not agree ({wrong})")
        if found.eigenvalues is not None and found.eigenvalues.shape != (2, *support.shape):
            raise ValueError("eigenvalues that do not fit the support")
        return found


def portray_calibration(raw: RawKSpace, acquisition: Acquisition) -> CalibrationPortrait:
    """Draw the portrait of a slice's calibration.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    acquisition : Acquisition
        One of its slices, not an empty one.
    """
    maps = acquisition.maps_uncompressed.cpu()
    height, width = acquisition.shape
    unit = max(height, width) / min(THUMBNAIL, max(height, width))
    shape = (max(1, round(height / unit)), max(1, round(width / unit)))
    n_shown = min(PORTRAYED_COILS, len(maps))
    coils = np.linspace(0, len(maps) - 1, n_shown).round().astype(int)
    rows, columns = _positions(shape[0], height), _positions(shape[1], width)
    small = maps[coils][:, rows][:, :, columns].numpy()
    norm = maps.abs().square().sum(0).sqrt()[rows][:, columns].numpy()
    calibration = acquisition.calibration_kspace
    images, eigenvalues = np.zeros(small.shape), None
    if calibration is not None and min(calibration.shape[1:]) > 0:
        block = center_crop(calibration, tuple(map(min, shape, calibration.shape[1:])))
        magnitudes = low_resolution_images(block, shape).abs().numpy()
        images = magnitudes[coils] / max(float(magnitudes.max()), 1e-30)
        if len(maps) > 1 and min(calibration.shape[1:]) >= 4:
            eigenvalues = local_eigenvalues(calibration, shape)[:2]
    return CalibrationPortrait(
        coils=coils.tolist(),
        coil_images=images,
        map_magnitudes=np.abs(small) / np.maximum(norm, 1e-30),
        map_phases=np.angle(small),
        support=norm > 0,
        eigenvalues=eigenvalues,
        profiles=_profiles(acquisition, raw.axes),
        weights=_line_weights(acquisition),
        facts=acquisition.info | {"settled": list(raw.provenance.get("settled", []))},
        path=_path(acquisition),
    )


def _path(acquisition: Acquisition) -> np.ndarray | None:
    if acquisition.trajectory is None:
        return None
    kind = acquisition.info.get("trajectory", {}).get("kind", "")
    return portray_path(acquisition.trajectory, str(kind))


def _positions(small: int, large: int) -> np.ndarray:
    """Pixels of an image at which those of a smaller one of the same view are centred."""
    found = (np.arange(small) - small // 2) * (large / small) + large // 2
    return found.round().astype(int).clip(0, large - 1)


def _profiles(acquisition: Acquisition, axes: tuple[str, str]) -> dict[str, np.ndarray]:
    energy = acquisition.kspace.abs().square().mean(0).double().cpu().numpy()
    if acquisition.trajectory is not None:
        level = energy / (2 * acquisition.noise_std**2)
        means = [_mean_along(acquisition, level, axis) for axis in (0, 1)]
        return {
            name: 10 * np.log10(np.maximum(mean, 1e-6))
            for name, mean in zip(axes, means, strict=True)
        }
    measured = np.broadcast_to(acquisition.mask.cpu().numpy(), energy.shape)
    noise = 2 * acquisition.noise_std**2
    profiles = {}
    for axis, name in enumerate(axes):
        count = measured.sum(1 - axis)
        mean = (energy * measured).sum(1 - axis) / np.maximum(count, 1)
        decibel = 10 * np.log10(np.maximum(mean / noise, 1e-6))
        profiles[name] = np.where(count > 0, decibel, np.nan)
    return profiles


def _mean_along(acquisition: Acquisition, values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of samples along a trajectory by the line of the grid next to them, else NaN."""
    assert acquisition.trajectory is not None
    size = acquisition.shape[axis]
    place = np.rint(acquisition.trajectory[..., axis].cpu().numpy()).astype(int) + size // 2
    place = place.clip(0, size - 1).ravel()
    count = np.bincount(place, minlength=size)
    total = np.bincount(place, values.ravel(), minlength=size)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _line_weights(acquisition: Acquisition) -> np.ndarray | None:
    if acquisition.weights is None:
        return None
    weights = acquisition.weights.double().cpu().numpy()
    if acquisition.trajectory is not None:
        return _mean_along(acquisition, weights, 1)
    measured = np.broadcast_to(acquisition.mask.cpu().numpy(), acquisition.shape)
    count = measured.sum(0)
    mean = (np.broadcast_to(weights, measured.shape) * measured).sum(0) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, mean, np.nan))


def _figures(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.3g}") if np.isfinite(value) else None for value in values.tolist()]


def _numbers(values: list[float | None]) -> np.ndarray:
    if len(values) > _LONGEST:
        raise ValueError(f"a profile of {len(values)} figures")
    return np.array([np.nan if value is None else float(value) for value in values])


def _packed(image: np.ndarray) -> dict[str, Any]:
    """Values from 0 to 1 in 255 steps, deflated, as base64."""
    steps = np.rint(np.asarray(image, float).clip(0, 1) * _STEPS).astype(np.uint8)
    data = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii")
    return {"shape": list(steps.shape), "data": data}


def _unpacked(packed: dict[str, Any]) -> np.ndarray:
    shape = [int(size) for size in packed["shape"]]
    most = PORTRAYED_COILS * THUMBNAIL**2
    if not 2 <= len(shape) <= 3 or min(shape) < 1 or max(shape) > most or math.prod(shape) > most:
        raise ValueError(f"a small image of shape {shape}")
    try:
        deflated = base64.b64decode(packed["data"], validate=True)
    except binascii.Error as error:
        raise ValueError("a small image that is no base64") from error
    size = math.prod(shape)
    content = zlib.decompressobj().decompress(deflated, size + 1)
    if len(content) != size:
        raise ValueError(f"a small image of {len(content)} bytes instead of {size}")
    return np.frombuffer(content, np.uint8).reshape(shape) / _STEPS
