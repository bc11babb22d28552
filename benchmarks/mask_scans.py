"""Simulated scans on which masks are designed and compared: many subjects, coils and noise levels.

Real magnitude images of the shared data, with a smooth simulated phase, coils around the body and
white noise, all drawn anew for every scan. Nobody that a mask is designed on is among those that it
is evaluated on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.rawdata import read_raw
from mri_alps.rawdata.fastmri.writer import write_fastmri
from mri_alps.training.images import ImageRecord, ImageSet
from mri_alps.training.validation import validation_images

DESIGN_STREAM = 263
PATIENT_STREAM = 269  # of scans that masks are evaluated on
COILS = (4, 8, 12, 16)
NOISE_STDS = (0.002, 0.006, 0.012, 0.025)  # per real component and coil, of images scaled to 1
REAL_SCANS = ("brain_axial_8ch", "brain_axial_16ch_96")


class Chosen(NamedTuple):
    """An image of a subject, and how its scan is simulated."""

    subject: str
    image: np.ndarray
    name: str


def shared_folder() -> Path:
    """Where the images and scans are."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("MRI_ALPS_SHARED_DATA", default))


def images_of(file: str) -> dict[str, np.ndarray]:
    """The arrays of one collection."""
    with np.load(shared_folder() / "images" / f"{file}.npz") as archive:
        return {name: archive[name] for name in archive.files}


def openms(patients: Sequence[str], count: int) -> Iterator[Chosen]:
    """Slices of the middle of the head, of as many contrasts as there are."""
    found = images_of("openms_longitudinal_256_u8")
    meta = found["meta"]
    for patient in patients:
        own = np.flatnonzero(meta[:, 0] == patient)
        own = own[meta[own, 1] == np.unique(meta[own, 1])[0]]
        contrasts = np.unique(meta[own, 2])
        for number in range(count):
            part = own[meta[own, 2] == contrasts[number % len(contrasts)]]
            part = part[np.argsort(meta[part, 3].astype(int))]
            position = (0.4, 0.6, 0.5)[number % 3]
            index = part[round(position * (len(part) - 1))]
            yield Chosen(f"openms{patient}", found["img"][index], f"{number}")


def cheng(n_subjects: int, count: int, held_out: bool) -> Iterator[Chosen]:
    """Neighbouring slices by name, which are of one patient; the last tenth is held out."""
    found = images_of("cheng_every3rd_256_u8")
    names = [tuple(int(part) for part in name[:-4].split("/")) for name in found["name"]]
    order = sorted(range(len(names)), key=names.__getitem__)
    for subject in range(n_subjects):
        kind = subject % 3
        own = [index for index in order if names[index][0] == kind]
        low, high = (0.92, 1.0) if held_out else (0.0, 0.85)
        places, place = -(-n_subjects // 3), subject // 3
        part = (low + (high - low) * (place + 0.5) / places) * len(own)
        for number in range(count):
            yield Chosen(f"cheng{kind}p{place}", found["img"][own[int(part) + number]], f"{number}")


def listed(file: str, subjects: Sequence[str], count: int, title: str) -> Iterator[Chosen]:
    """Slices of the middle of each subject."""
    found = images_of(file)
    for subject in subjects:
        own = np.flatnonzero(found["subject"] == subject)
        for number in range(count):
            index = own[round((0.3 + 0.4 * (number + 0.5) / count) * (len(own) - 1))]
            yield Chosen(f"{title}{subject}", found["img"][index], f"{number}")


def subjects_of(file: str) -> list[str]:
    """Names, sorted."""
    return sorted(set(images_of(file)["subject"].tolist()))


def design_slices() -> Iterator[Chosen]:
    """Two slices each of 20 subjects, none of whom is evaluated on."""
    yield from openms(("01", "03", "04", "12", "19"), 2)
    yield from cheng(10, 2, held_out=False)
    yield from listed("brain_mixed_320_u8", subjects_of("brain_mixed_320_u8"), 2, "mixed")


def head_slices() -> Iterator[Chosen]:
    """Three slices each of eight subjects whom the prior was not trained on."""
    yield from openms(("09", "20"), 3)
    yield from cheng(6, 3, held_out=True)


def spine_slices() -> Iterator[Chosen]:
    """Three slices each of eight spines; the prior knows heads only."""
    for file in ("spine_lumbar_224_u8", "spine_lumbar_256_u8"):
        yield from listed(file, subjects_of(file)[::6][:4], 3, "spine")


def coil_maps(n_coils: int, side: int, generator: torch.Generator) -> torch.Tensor:
    """Loops around the body, complex64 (coils, H, W), no two scans alike."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    maps = []
    for coil in range(n_coils):
        jitter, width, strength, phase = torch.rand(4, generator=generator).tolist()
        angle = 2 * np.pi * (coil + 0.5 * (jitter - 0.5)) / n_coils
        distance = (y - 1.1 * np.cos(angle)) ** 2 + (x - 1.0 * np.sin(angle)) ** 2
        magnitude = (0.6 + 0.8 * strength) / (1 + distance / (0.65 + 0.25 * width) ** 2) ** 1.5
        tilt = 0.8 * (np.cos(angle) * y + np.sin(angle) * x)
        maps.append(torch.polar(magnitude, 2 * np.pi * phase + tilt))
    stack = torch.stack(maps)
    return stack / stack.abs().square().sum(0).sqrt().mean()


def central_part(kspace: torch.Tensor, side: int) -> torch.Tensor:
    """The central side x side of k-space."""
    top, left = (size // 2 - side // 2 for size in kspace.shape[-2:])
    return kspace[..., top : top + side, left : left + side]


def write_scans(
    folder: Path, chosen: Iterator[Chosen], side: int, stream: int = PATIENT_STREAM
) -> list[Path]:
    """Simulate the scans that are not there yet; SUBJECT_NUMBER.h5 each, one slice."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for position, (subject, pixels, number) in enumerate(chosen):
        path = folder / f"{subject}_{number}.h5"
        paths.append(path)
        if path.exists():
            continue
        seed = stream_seed(stream, side, *map(ord, path.name))
        record = ImageRecord(pixels, subject)
        whole = fftc(validation_images(ImageSet((record,)), 1, seed)[0])
        image = ifftc(central_part(whole, side)) * (side / whole.shape[-1])  # the scale stays 1
        generator = torch.Generator().manual_seed(seed)
        maps = coil_maps(COILS[position % len(COILS)], side, generator)
        noise_std = NOISE_STDS[position // len(COILS) % len(NOISE_STDS)]
        coil_images = maps * image
        noise = noise_std * standard_normal(coil_images.shape, generator, torch.complex64)
        reference = coil_images.abs().square().sum(0).sqrt()  # without noise: the truth
        write_fastmri(
            path,
            (fftc(coil_images) + noise).numpy()[None],
            reconstruction=reference.numpy()[None],
            attributes={"acquisition": f"simulated, noise {noise_std}"},
        )
    return paths


def write_real_scans(folder: Path, side: int) -> list[Path]:
    """The central part of the real scans; the reference is the root sum of squares of it all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in REAL_SCANS:
        path = folder / f"{name}.h5"
        if not path.exists():
            kspace = torch.from_numpy(read_raw(shared_folder() / "raw" / path.name).read_slice(0))
            write_fastmri(path, central_part(kspace, side).numpy()[None])
        paths.append(path)
    return paths


def subject_of(scan: str) -> str:
    """Whose scan it is: its name without the number of the slice."""
    return scan.rsplit("_", 1)[0]
