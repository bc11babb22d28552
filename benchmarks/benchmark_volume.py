"""3-D scans: how long a volume takes to open and to read, in what memory, and to reconstruct.

    python benchmarks/benchmark_volume.py [--readout 64 --phases 64 --partitions 64 --coils 6]
        [--positions 4] [--n-samples 4] [--n-evaluations 20]

A smooth object of the given matrix, 2 x 2 undersampled around a full centre of 24 x 24, the readout
twice oversampled, is written as ISMRMRD into a temporary folder. Printed are the size of the file,
seconds to open it and to read all readout positions in order (positions of a block share one pass
over the file), the largest resident memory of a process that does so, and the median seconds of
`--positions` positions in the middle, each opened, calibrated and sampled with a Gaussian prior.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from mri_alps.pipeline import reconstruct
from mri_alps.pipeline.provenance import versions
from mri_alps.rawdata import Limit, make_header, read_raw
from mri_alps.rawdata.ismrmrd import make_acquisition, write_acquisitions

NOISE_STD = 0.02
CENTER = 24


def write_volume(path: Path, shape: tuple[int, int, int], n_coils: int) -> None:
    """Write an ellipsoid seen by smooth coils, one coil at a time in memory."""
    n_readout, n_phase, n_partitions = shape
    axes = [np.linspace(-1, 1, n, endpoint=False, dtype=np.float32) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    image = ((x / 0.8) ** 2 + (y / 0.7) ** 2 + (z / 0.6) ** 2 < 1).astype(np.float32)
    image += 0.5 * (((x - 0.2) / 0.3) ** 2 + (y / 0.2) ** 2 + ((z + 0.2) / 0.3) ** 2 < 1)
    mask = np.zeros(shape[1:], bool)
    mask[::2, ::2] = True
    rows = [slice(n // 2 - CENTER // 2, n // 2 + CENTER // 2) for n in shape[1:]]
    mask[rows[0], rows[1]] = True
    rng = np.random.default_rng(0)
    lines = np.empty((n_coils, 2 * n_readout, int(mask.sum())), np.complex64)
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils
        distance = (
            (x - np.cos(angle)) ** 2 + (y - np.sin(angle)) ** 2 + (z - np.cos(2 * angle)) ** 2
        )
        wide = np.zeros((2 * n_readout, *shape[1:]), np.complex64)
        start = n_readout // 2
        wide[start : start + n_readout] = image * np.exp(-distance / 1.8 + 1j * angle)
        kspace = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(wide), norm="ortho"))
        noise = rng.standard_normal((2, 2 * n_readout, lines.shape[2]))
        lines[coil] = kspace[:, mask] + NOISE_STD * (noise[0] + 1j * noise[1])
    limits = {
        f"kspace_encoding_step_{axis}": Limit(0, n - 1, n // 2)
        for axis, n in ((1, n_phase), (2, n_partitions))
    }
    view = (2.0 * n_readout, float(n_phase), float(n_partitions))
    header = make_header(
        (2 * n_readout, n_phase, n_partitions),
        shape,
        view,
        (float(n_readout), view[1], view[2]),
        limits=limits,
        n_coils=n_coils,
    )
    places = np.argwhere(mask)
    write_acquisitions(
        path,
        header,
        (
            make_acquisition(
                lines[:, :, k], kspace_encode_step_1=int(row), kspace_encode_step_2=int(part)
            )
            for k, (row, part) in enumerate(places)
        ),
    )


def read_all(path: str, answer: multiprocessing.Queue) -> None:
    """Open a volume and read all of its positions, in a process of its own."""
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    raw = read_raw(path)
    opened = time.perf_counter() - start
    start = time.perf_counter()
    for index in range(raw.n_slices):
        raw.read_slice(index)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer.put((opened, seconds, memory / 1024, (memory - begin) / 1024))


def main() -> None:
    """Print a row for the table of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readout", type=int, default=64)
    parser.add_argument("--phases", type=int, default=64)
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--coils", type=int, default=6)
    parser.add_argument("--positions", type=int, default=4)
    parser.add_argument("--n-samples", type=int, default=4)
    parser.add_argument("--n-evaluations", type=int, default=20)
    chosen = parser.parse_args()
    shape = (chosen.readout, chosen.phases, chosen.partitions)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "volume.h5")
        writer = multiprocessing.get_context("spawn").Process(
            target=write_volume, args=(path, shape, chosen.coils)
        )
        writer.start()
        writer.join()
        context = multiprocessing.get_context("spawn")
        answer = context.Queue()
        reader = context.Process(target=read_all, args=(str(path), answer))
        reader.start()
        opened, seconds, memory, grown = answer.get()
        reader.join()
        each, raw = [], read_raw(path)
        middle = chosen.readout // 2
        for index in range(middle, middle + chosen.positions):
            start = time.process_time()
            reconstruct(
                raw,
                prior="gaussian",
                slices=(index,),
                n_samples=chosen.n_samples,
                n_evaluations=chosen.n_evaluations,
            )
            each.append(time.process_time() - start)
        size = path.stat().st_size / 2**20
    sampling = f"{np.median(each):.1f} s" if each else "-"
    print("matrix | coils | file | open | read all | largest memory (beyond Python) | a position")
    print(
        f"{' x '.join(map(str, shape))} | {chosen.coils} | {size:.0f} MiB | {opened:.1f} s | "
        f"{seconds:.1f} s | {memory:.0f} MiB ({grown:.0f}) | {sampling} of one core, "
        f"{chosen.n_samples} samples of {chosen.n_evaluations} evaluations"
    )
    names = ", ".join(f"{name} {value}" for name, value in versions().items())
    print(f"{platform.processor() or platform.machine()}, {names}")


if __name__ == "__main__":
    main()
