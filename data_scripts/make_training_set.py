"""Make one training set of several anatomies out of collections of images.

Reads every npz of a folder whose name begins with that of a collection below, holds out subjects,
finds the padding, balances the anatomies, and writes one npz for `mri-alps train`: `img` in a
common matrix with the `box` of each image, `group`, `weight`. Held-out groups are called
held-out/..., so that

    python data_scripts/make_training_set.py images --output anatomies.npz
    mri-alps train anatomies.npz --validate '*/held-out/*' --output run --config recipe.json

holds out the same subjects again. Prints how many subjects and slices there are of each anatomy.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import InputFileError, MriAlpsError
from mri_alps.training.images import ImageRecord, ImageSet, split
from mri_alps.training.sources import load_images

ANATOMY = {  # collection: what it shows
    "openms": "head",
    "cheng": "head",
    "datalad": "head",
    "brain": "head",
    "spine": "spine",
    "pelvis": "pelvis",
    "knee": "knee",
}
SHARE = {"head": 0.4, "spine": 0.3, "pelvis": 0.15, "knee": 0.15}
HELD_OUT = (
    "openms*/09",
    "openms*/20",
    "cheng*/block9",
    "brain*/adi",
    "brain*/colin27",  # whom the demo shows
    "pelvis*/ProstateX-0000",
)
EVERY_TENTH = ("spine*",)  # of whose subjects the sixth, the sixteenth, ... are held out
# One knee, echo after echo: two slices in the middle of all echoes are held out, which is no
# held-out subject: of knees, nothing can be claimed.
KNEE_SLICES, KNEE_HELD_OUT = 24, (11, 12)
HELD = "held-out"
_FULL_EDGE = 0.4  # of the pixels of the first row that is not black: else there is air, no padding


def anatomy_of(group: str) -> str:
    """What the collection of a group shows, by the beginning of its name."""
    for beginning, anatomy in ANATOMY.items():
        if group.startswith(beginning):
            return anatomy
    raise InputFileError(
        f"{group} belongs to no known collection: expected a file whose name begins with one of "
        f"{', '.join(ANATOMY)}"
    )


def content_box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Rows and columns (top, bottom, left, right) without padding.

    Padding is an edge of exact zeros that ends in a row with signal nearly everywhere; an edge of
    zeros that ends in the curve of a head is air.
    """
    rows = _edges(np.mean(image > 0, axis=1))
    return (*rows, *_edges(np.mean(image[slice(*rows)] > 0, axis=0)))


def _edges(filled: np.ndarray) -> tuple[int, int]:
    positions = np.flatnonzero(filled)
    if not len(positions):
        return 0, len(filled)
    first, last = int(positions[0]), int(positions[-1])
    return (
        first if filled[first] >= _FULL_EDGE else 0,
        last + 1 if filled[last] >= _FULL_EDGE else len(filled),
    )


def knee_slices(records: list[ImageRecord]) -> list[ImageRecord]:
    """Name the groups of the knee by slice, with the neighbouring slices as neighbours."""
    if len(records) % KNEE_SLICES:
        raise InputFileError(
            f"the knee has {len(records)} images, expected {KNEE_SLICES} slices for each echo"
        )
    named = []
    for index, record in enumerate(records):
        number = index % KNEE_SLICES
        near = tuple(f"{record.group}/slice{n}" for n in (number - 1, number + 1))
        named.append(replace(record, group=f"{record.group}/slice{number}", neighbours=near))
    return named


def held_out_groups(groups: list[str]) -> list[str]:
    """Which of the sorted groups are held out, some of each anatomy."""
    held = {name for pattern in HELD_OUT for name in fnmatch.filter(groups, pattern)}
    for pattern in EVERY_TENTH:
        for stem in {name.split("/")[0] for name in fnmatch.filter(groups, pattern)}:
            held |= set([name for name in groups if name.startswith(f"{stem}/")][5::10])
    held |= {g for g in groups if g.endswith(tuple(f"/slice{n}" for n in KNEE_HELD_OUT))}
    for anatomy in sorted({anatomy_of(name) for name in groups}):
        if not any(anatomy_of(name) == anatomy for name in held):
            raise InputFileError(
                f"nobody is held out for the {anatomy}: expected one of {', '.join(HELD_OUT)}, or "
                "ten subjects of a collection"
            )
    return sorted(held)


def collect(folder: Path) -> tuple[ImageSet, ImageSet]:
    """Read the folder's collections and split them into training and held-out images."""
    records: list[ImageRecord] = []
    for path in sorted(folder.glob("*.npz")):
        anatomy = anatomy_of(path.stem)
        found = list(load_images([path]).records)
        records += knee_slices(found) if anatomy == "knee" else found
    images = ImageSet(tuple(records))
    if not records:
        raise InputFileError(f"no npz in {folder}: expected collections of images")
    return split(images, 0.1, held_out_groups(images.groups), 0)


def write_set(output: Path, training: ImageSet, held_out: ImageSet) -> None:
    """Write both parts as one npz."""
    records = training.records + held_out.records
    counts = Counter(anatomy_of(record.group) for record in training.records)
    edge = max(max(record.image.shape) for record in records)
    images = np.zeros((len(records), edge, edge), np.uint8)
    boxes, groups, weights = [], [], []
    for index, record in enumerate(records):
        if record.image.dtype != np.uint8:
            raise InputFileError(
                f"{record.group} has type {record.image.dtype}, expected uint8 images"
            )
        height, width = record.image.shape
        images[index, :height, :width] = record.image
        boxes.append(content_box(record.image))
        anatomy = anatomy_of(record.group)
        held = f"{HELD}/" if index >= len(training) else ""
        groups.append(f"{held}{anatomy}/{record.group}")
        weights.append(SHARE[anatomy] / counts[anatomy] if not held else 1.0)
    with atomic_path(output) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, img=images, box=boxes, group=groups, weight=weights)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of the collections, npz files")
    parser.add_argument("--output", type=Path, required=True, help="npz to write")
    options = parser.parse_args(arguments)
    try:
        training, held_out = collect(options.folder)
        write_set(options.output, training, held_out)
    except (MriAlpsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for part, images in (("training", training), (HELD, held_out)):
        for anatomy in SHARE:
            found = [r for r in images.records if anatomy_of(r.group) == anatomy]
            subjects = len({record.group for record in found})
            print(f"{part}: {anatomy}: {len(found)} slices in {subjects} groups")
    return 0


if __name__ == "__main__":
    sys.exit(main())
