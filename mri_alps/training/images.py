"""Image collections: what every kind of training data is turned into."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError


@dataclass(frozen=True)
class ImageRecord:
    """One slice.

    Attributes
    ----------
    image : np.ndarray
        (H, W), uint8, float32 (magnitudes) or complex64; any scale.
    group : str
        Patient or volume: all slices of a group are trained on, or none.
    neighbours : tuple of str
        Other groups that could be the same patient; left out when one of them is held out.
    noise_std : float or None
        Noise level per real component in the image's units, where it was measured.
    weight : float
        How often it is drawn in training, relative to others.
    anatomy : str
        What it shows; "" where that is not known.
    """

    image: np.ndarray
    group: str
    neighbours: tuple[str, ...] = ()
    noise_std: float | None = None
    weight: float = 1.0
    anatomy: str = ""


@dataclass(frozen=True)
class ImageSet:
    """Slices with their groups.

    Attributes
    ----------
    records : tuple of ImageRecord
        In a fixed order.
    """

    records: tuple[ImageRecord, ...] = field(default_factory=tuple)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def groups(self) -> list[str]:
        """Names of the groups, sorted."""
        return sorted({record.group for record in self.records})

    def fingerprint(self) -> str:
        """SHA-256 over pixels, types, shapes and groups, in order."""
        digest = hashlib.sha256()
        for record in self.records:
            image = np.ascontiguousarray(record.image)
            digest.update(f"{record.group}|{image.dtype.str}|{image.shape}|".encode())
            digest.update(image.tobytes())
        return digest.hexdigest()


def split(
    images: ImageSet, fraction: float, patterns: Sequence[str], seed: int
) -> tuple[ImageSet, ImageSet]:
    """Split by patient or volume into training and held-out images.

    Parameters
    ----------
    images : ImageSet
        Everything.
    fraction : float
        Fraction of the groups of each anatomy that is held out when `patterns` is empty: at least
        one group, but none of a further anatomy that has only one.
    patterns : sequence of str
        Shell patterns; matching groups are held out.
    seed : int
        Decides which groups, by a hash of their names: adding data moves no group.

    Returns
    -------
    training, held_out : ImageSet
        Without common groups; slices that might belong to a held-out patient are in neither.

    Raises
    ------
    ConfigurationError
        If a pattern matches nothing or one of the two parts is empty.
    """
    groups = images.groups
    if patterns:
        for pattern in patterns:
            if not fnmatch.filter(groups, pattern):
                raise ConfigurationError(
                    f"no patient or volume matches {pattern!r}; there are {_listed(groups)}"
                )
        chosen = {name for pattern in patterns for name in fnmatch.filter(groups, pattern)}
    else:
        chosen = set()
        anatomies = {record.group: record.anatomy for record in images.records}
        for anatomy in set(anatomies.values()):
            ranked = sorted(
                (name for name in groups if anatomies[name] == anatomy),
                key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).digest(),
            )
            least = 1 if len(ranked) > 1 or len(groups) == len(ranked) else 0
            chosen |= set(ranked[: max(least, round(fraction * len(ranked)))])
    held_out = tuple(record for record in images.records if record.group in chosen)
    training = tuple(
        record
        for record in images.records
        if record.group not in chosen and chosen.isdisjoint(record.neighbours)
    )
    if not training or not held_out:
        raise ConfigurationError(
            f"training and validation both need a patient or volume of their own, found only "
            f"{_listed(groups)}: give more data or other validation groups"
        )
    return ImageSet(training), ImageSet(held_out)


def balanced(images: ImageSet) -> ImageSet:
    """Weigh images so that every anatomy is drawn equally often, however many there are of it.

    Parameters
    ----------
    images : ImageSet
        To train on. Within an anatomy their weights keep their ratios.

    Returns
    -------
    ImageSet
        The same images in the same order.
    """
    totals: dict[str, float] = {}
    for record in images.records:
        totals[record.anatomy] = totals.get(record.anatomy, 0.0) + record.weight
    return ImageSet(tuple(replace(r, weight=r.weight / totals[r.anatomy]) for r in images.records))


def check_image(image: np.ndarray, name: str) -> None:
    """Raise `InputFileError` if a slice cannot be trained on: empty, not finite, all zero.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W).
    name : str
        Where it comes from, for the message.
    """
    if image.ndim != 2 or min(image.shape) < 8:
        raise InputFileError(f"{name} has shape {image.shape}, expected slices of at least 8 x 8")
    if image.dtype.kind not in "uifc":
        raise InputFileError(f"{name} has type {image.dtype}, expected numbers")
    if not np.isfinite(image).all():
        raise InputFileError(f"{name} holds values that are not finite: repair or remove it")


def _listed(groups: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(groups) - limit} more" if len(groups) > limit else ""
    return ", ".join(groups[:limit]) + more
