"""A designed population mask against random, equispaced and variable-density masks.

    python benchmarks/benchmark_masks.py --output FOLDER [--prior brain-small]

All at 128 x 128. Evaluated on the real scan brain_axial_8ch.h5 (the central part of its k-space)
and on images of held-out patients (openms 09 and 20) with simulated phase, eight simulated coils
and noise. The mask is designed on other patients, once, from 8 central lines (what sensitivity
maps need) to a quarter of all lines; the first half of it is the mask for 8x. The rivals are drawn
anew for every scan, with exactly as many lines and 10 (at 8x: 8) of them in the centre. Truth,
noise, coil maps, network, samples and evaluations are the same for every mask.

Everything is kept in FOLDER, slice by slice and batch by batch, and gone on with when the script
is started again. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mri_alps.cli.design_mask import run_design_mask
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.masks import make_mask
from mri_alps.masks.design.masks import DesignSettings
from mri_alps.masks.study.candidates import Candidate
from mri_alps.masks.study.compare import MaskStudy, StudyTask, run_study
from mri_alps.masks.study.output import correlation_sentence, shown_interval, write_study
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.pipeline.provenance import versions
from mri_alps.pipeline.volume import load_prior_for
from mri_alps.rawdata import RawKSpace, read_raw
from mri_alps.rawdata.fastmri.writer import write_fastmri
from mri_alps.training.images import ImageRecord, ImageSet
from mri_alps.training.validation import validation_images

SIDE = 128
N_COILS = 8
NOISE_STD = 0.012  # per real component and coil, of images scaled to 1
CENTERS = {4: 10, 8: 8}  # fully sampled lines of the rivals: fastMRI's 8 %, and what maps need
START = 8
BATCH = 4
RIVALS = ("random", "equispaced", "poisson-lines", "gaussian")
REAL_SCAN = "brain_axial_8ch.h5"
# patient, contrast, position of the slice in the head
EVALUATED = (
    *(("09", "FLAIR", 0.4), ("20", "T1W", 0.5), ("09", "FLAIR", 0.6), ("20", "FLAIR", 0.4)),
    ("20", "T1W", 0.65),
)
DESIGNED_ON = (
    *(("01", "T2W", 0.5), ("03", "FLAIR", 0.4), ("12", "T1W", 0.6), ("19", "FLAIR", 0.5)),
    *(("04", "T2W", 0.4), ("01", "T1W", 0.6)),
)
PATIENT_STREAM = 61


def shared_folder() -> Path:
    """Where the images and scans are."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("MRI_ALPS_SHARED_DATA", default))


def central_part(kspace: torch.Tensor) -> torch.Tensor:
    """The central SIDE x SIDE of k-space."""
    top, left = (size // 2 - SIDE // 2 for size in kspace.shape[-2:])
    return kspace[..., top : top + SIDE, left : left + SIDE]


def coil_maps(generator: torch.Generator) -> torch.Tensor:
    """Loops around the head, complex64 (coils, H, W), no two scans alike."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    maps = []
    for coil in range(N_COILS):
        jitter, width, strength, phase = torch.rand(4, generator=generator).tolist()
        angle = 2 * np.pi * (coil + 0.5 * (jitter - 0.5)) / N_COILS
        distance = (y - 1.1 * np.cos(angle)) ** 2 + (x - 1.0 * np.sin(angle)) ** 2
        magnitude = (0.6 + 0.8 * strength) / (1 + distance / (0.65 + 0.25 * width) ** 2) ** 1.5
        tilt = 0.8 * (np.cos(angle) * y + np.sin(angle) * x)
        maps.append(torch.polar(magnitude, 2 * np.pi * phase + tilt))
    stack = torch.stack(maps)
    return stack / stack.abs().square().sum(0).sqrt().mean()


def chosen_slice(images: Path, patient: str, contrast: str, position: float) -> ImageRecord:
    """One slice of the patient's first study of this contrast."""
    with np.load(images) as archive:
        meta = archive["meta"]
        found = np.flatnonzero((meta[:, 0] == patient) & (meta[:, 2] == contrast))
        found = found[meta[found, 1] == np.unique(meta[found, 1])[0]]
        found = found[np.argsort(meta[found, 3].astype(int))]
        return ImageRecord(archive["img"][found[round(position * (len(found) - 1))]], patient)


def write_scans(folder: Path, wanted: Sequence[tuple[str, str, float]]) -> list[Path]:
    """Simulate the scans that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    images = shared_folder() / "images" / "openms_longitudinal_256_u8.npz"
    paths = []
    for patient, contrast, position in wanted:
        path = folder / f"openms{patient}_{contrast}_{100 * position:.0f}.h5"
        paths.append(path)
        if path.exists():
            continue
        seed = stream_seed(PATIENT_STREAM, *map(ord, path.name))
        record = chosen_slice(images, patient, contrast, position)
        whole = fftc(validation_images(ImageSet((record,)), 1, seed)[0])
        image = ifftc(central_part(whole)) * (SIDE / whole.shape[-1])  # the scale stays 1
        generator = torch.Generator().manual_seed(seed)
        coil_images = coil_maps(generator) * image
        noise = NOISE_STD * standard_normal(coil_images.shape, generator, torch.complex64)
        kspace = fftc(coil_images) + noise
        reference = coil_images.abs().square().sum(0).sqrt()  # without noise: the truth
        write_fastmri(
            path,
            kspace.numpy()[None],
            reconstruction=reference.numpy()[None],
            attributes={"acquisition": f"simulated {contrast}"},
        )
    return paths


def write_real_scan(folder: Path) -> Path:
    """The central part of the real scan; its reference is the root sum of squares of it all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REAL_SCAN
    if not path.exists():
        kspace = torch.from_numpy(read_raw(shared_folder() / "raw" / REAL_SCAN).read_slice(0))
        write_fastmri(path, central_part(kspace).numpy()[None])
    return path


def rival(kind: str, raw: RawKSpace, acceleration: int) -> np.ndarray:
    """A mask of this kind with exactly the budget: of the draws, the first that has it."""
    budget, center = SIDE // acceleration, CENTERS[acceleration] / SIDE
    start = stream_seed(7, *map(ord, raw.path.name)) % 2**20
    for stretch in (1.0, 0.98, 1.02, 0.95, 1.05, 0.9, 1.1):
        for seed in range(start, start + 100):
            mask = make_mask(kind, raw.shape, acceleration * stretch, center, seed)
            if mask.sum() == budget:
                return mask
    raise RuntimeError(f"no {kind} mask has {budget} lines")


def designed_masks(folder: Path, configuration: ReconstructionConfiguration) -> dict[int, Path]:
    """Design the mask for 4x; the lines that were picked first are the one for 8x."""
    scans = write_scans(folder / "designed_on", DESIGNED_ON)
    settings = DesignSettings(SIDE // 4, BATCH)
    configuration = dataclasses.replace(configuration, center_fraction=START / SIDE)
    run_design_mask(scans, folder / "designed.npy", settings, configuration)
    order = np.loadtxt(folder / "designed.txt", dtype=int)
    paths = {}
    for acceleration in CENTERS:
        mask = np.zeros((1, SIDE), dtype=bool)
        mask[:, order[: SIDE // acceleration]] = True
        paths[acceleration] = folder / f"designed_{acceleration}x.npy"
        np.save(paths[acceleration], mask)
    return paths


def study_task(
    scans: Sequence[Path], designed: dict[int, Path], configuration: ReconstructionConfiguration
) -> StudyTask:
    """Masks of equal budget for every scan."""
    raws = tuple(read_raw(path) for path in scans)
    masks = []
    for raw in raws:
        made = {}
        for acceleration, path in designed.items():
            made[Candidate("designed", acceleration, str(path))] = np.load(path)
            for kind in RIVALS:
                made[Candidate(kind, acceleration, kind)] = rival(kind, raw, acceleration)
        assert all(mask.sum() == SIDE // c.acceleration for c, mask in made.items())
        masks.append(made)
    slices = tuple((0,) for _ in raws)
    return StudyTask(raws, slices, tuple(masks[0]), tuple(masks), configuration)


def print_table(title: str, study: MaskStudy) -> None:
    """One Markdown table: means, and what the designed mask gains over each."""
    print(f"\n{title}\n")
    print(
        "| | mask | NMSE | PSNR in dB | SSIM | predicted NMSE | 90 % holds | designed gains (p) |"
    )
    print("|---|---|---|---|---|---|---|---|")
    gains = {}
    for entry in study.differences():
        if entry.metric == "PSNR" and entry.mask == "designed":
            p = "" if entry.p_adjusted is None else f" ({entry.p_adjusted:.2g})"
            gains[entry.acceleration, entry.other] = f"{shown_interval(entry.difference, 3)}{p}"
    for entry in study.summary():
        cells = [
            shown_interval(entry.metrics[name], 3)
            for name in ("NMSE", "PSNR", "SSIM", "predicted_NMSE", "coverage")
        ]
        gain = gains.get((entry.acceleration, entry.mask), "")
        print(f"| {entry.acceleration:g}x | {entry.mask} | {' | '.join(cells)} | {gain} |")


def main() -> None:
    """Design, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--n-samples", type=int, default=6)
    parser.add_argument("--n-evaluations", type=int, default=20)
    parser.add_argument("--design-samples", type=int, default=5)
    parser.add_argument("--design-evaluations", type=int, default=20)
    parser.add_argument("--design-only", action="store_true")
    given = parser.parse_args()
    started = time.perf_counter()
    given.output.mkdir(parents=True, exist_ok=True)
    configuration = ReconstructionConfiguration(
        prior=given.prior, n_samples=given.design_samples, n_evaluations=given.design_evaluations
    )
    designed = designed_masks(given.output, configuration)
    if given.design_only:
        return
    configuration = dataclasses.replace(
        configuration, n_samples=given.n_samples, n_evaluations=given.n_evaluations
    )
    evaluated = given.output / "evaluated"
    scans = [write_real_scan(evaluated), *write_scans(evaluated, EVALUATED)]
    task = study_task(scans, designed, configuration)
    prior, device = load_prior_for(configuration)
    found = run_study(
        task, prior, device, given.output,
        callback=lambda r: print(r.slice_name, r.mask, r.acceleration, r.metrics, flush=True),
    )  # fmt: skip
    write_study(found, given.output, {"versions": versions()}, report=True)
    real = Path(REAL_SCAN).stem
    parts = {
        "Held-out patients, simulated coils": [r for r in found.results if r.scan != real],
        f"{REAL_SCAN}, central {SIDE} x {SIDE} of its k-space": [
            r for r in found.results if r.scan == real
        ],
    }
    for title, results in parts.items():
        print_table(title, MaskStudy(tuple(results)))
    print(f"\n{correlation_sentence(found.correlation())}")
    print(f"{time.perf_counter() - started:.0f} s, torch {torch.__version__}")


if __name__ == "__main__":
    main()
