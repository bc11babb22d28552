"""Time ESPIRiT against BART's `ecalib -m1`, and compare the maps.

    python benchmarks/benchmark_espirit.py [--core 1] [--repeats 5]

15 coils, 320x320, 24 calibration lines, one map. Both run on one pinned core with one thread,
interleaved; medians of CPU time are compared. BART counts as a whole process, its start and its
files included, as a pipeline pays for it. The limit is the roofline of the algorithm as it is
here: matrix products at this core's rate, or memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark_normal import pin, processor_name
from normal_limits import limit_ms, measure_core, medians, peak_extra_bytes

N_COILS, SHAPE, LINES, KERNEL = 15, (320, 320), 24, 6
RATIO, DIFFERENCE = 1.3, 1e-2
SQUARINGS, ITERATIONS = 2, 8


def work():
    """Return (flops, bytes): products with complex numbers count 8, memory in single chunks."""
    pixels, n = SHAPE[0] * SHAPE[1], N_COILS
    positions, lags = (LINES - KERNEL + 1) ** 2, 2 * KERNEL - 1
    columns = n * KERNEL**2
    flops = 8 * (2 * positions * positions * columns + columns**2 * positions)
    flops += 8 * 4 * positions**3  # eigenvectors, in double precision
    flops += 8 * pixels * n**2 * (lags + lags / SHAPE[1])  # local matrices from lags
    flops += 8 * pixels * (SQUARINGS * n**3 + (ITERATIONS + 1) * n**2)
    return flops, 8 * pixels * n * 2


def cpu_seconds():
    """Return the CPU time of this process and of its finished children."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def differences(found, expected):
    """Return |found - phase * expected| of the pixels that both have, at each of them."""
    import numpy as np

    overlap = np.abs((found.conj() * expected).sum(0))
    energy = (np.abs(found) ** 2).sum(0) + (np.abs(expected) ** 2).sum(0)
    both = np.abs(found).any(0) & np.abs(expected).any(0)
    return np.sqrt(np.maximum(energy - 2 * overlap, 0))[both]


def main():
    """Print times, ratio, limit and the difference of the maps; exit 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, default=None, help="core to pin to (default: the last)")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if shutil.which("bart") is None:
        sys.exit("BART is not installed: put `bart` on the PATH")
    core = pin(arguments.core)

    import numpy as np
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from mri_alps.calibration import estimate_sensitivity_maps, refine_sensitivity_maps
    from mri_alps.core.crop import center_crop
    from mri_alps.rawdata.bart.cfl import read_cfl, write_cfl
    from tests.calibration import calibration_simulation as simulation

    torch.set_num_threads(1)
    kspace, _, _, _ = simulation.acquisition(N_COILS, SHAPE, level=1e-3)
    calibration = center_crop(kspace, (LINES, LINES))

    def own():
        # BART's threshold of 0.001 is one of energies.
        return estimate_sensitivity_maps(calibration, SHAPE, threshold=1e-3**0.5, cropping="hard")

    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder) / name) for name in ("kspace", "maps")]
        write_cfl(names[0], kspace.transpose(1, 2, 0)[:, :, None])
        command = ["bart", "ecalib", "-m1", f"-r{LINES}", *names]

        def bart():
            subprocess.run(command, check=True, capture_output=True)

        own()
        bart()
        cpu = medians({"mri_alps": own, "bart": bart}, arguments.repeats, cpu_seconds)
        wall = medians({"mri_alps": own, "bart": bart}, arguments.repeats, time.perf_counter)
        found, expected = own().numpy(), read_cfl(names[1]).squeeze().transpose(2, 0, 1)
        mask = torch.as_tensor(simulation.lines(SHAPE[1], 4, LINES))
        undersampled, maps = torch.as_tensor(kspace) * mask, torch.as_tensor(found)

        def judge():
            return refine_sensitivity_maps(undersampled, mask, maps, 1.3e-3)

        judging = medians({"judged": judge}, arguments.repeats, cpu_seconds)["judged"]
        n_rounds = judge().n_rounds
    error = differences(found, expected)
    support = [np.abs(maps).any(0) for maps in (found, expected)]
    version = subprocess.run(["bart", "version"], capture_output=True, text=True).stdout.strip()
    rates = measure_core()
    flops, n_bytes = work()
    limit = limit_ms(flops, n_bytes, {"fft": rates["product"], "memory": rates["memory"]})
    extra = peak_extra_bytes(own)
    ratio = cpu["mri_alps"] / cpu["bart"]
    print(f"{processor_name()}, {'core ' + str(core) if core is not None else 'not pinned'}")
    print(f"torch {torch.__version__}, BART {version}; load {os.getloadavg()[0]:.1f}")
    print(
        f"this core: matrix products {rates['product']:.0f} GF/s, copies {rates['memory']:.1f} "
        "GB/s\n"
    )
    print(f"ESPIRiT, {N_COILS} x {SHAPE[0]}x{SHAPE[1]}, {LINES} lines, one map; medians")
    for name in ("mri_alps", "bart"):
        print(f"  {name:10}{cpu[name]:8.0f} ms CPU{wall[name]:8.0f} ms wall")
    verdict = "met" if ratio <= RATIO else "MISSED"
    print(f"  {ratio:.2f} of BART's time (CPU), bound {RATIO}: {verdict}")
    print(
        f"  {flops / 1e6:.0f} MFLOP, {n_bytes / 1e6:.0f} MB, limit {limit:.0f} ms, "
        f"{100 * limit / cpu['mri_alps']:.0f} % of it reached"
    )
    if extra is not None:
        print(f"  peak extra memory {extra / 2**20:.0f} MiB, {found.nbytes / 2**20:.0f} of it maps")
    verdict = "met" if error.max() <= DIFFERENCE else "MISSED"
    print(
        f"  maps differ by at most {error.max():.1e} per pixel up to phase (root mean square "
        f"{np.sqrt((error**2).mean()):.1e}), bound {DIFFERENCE}: {verdict}"
    )
    print(
        f"  judging them by the data of every fourth line: {judging:.0f} ms CPU, refined "
        f"{n_rounds} times"
    )
    print(f"  support differs at {(support[0] != support[1]).mean():.2%} of the pixels")
    sys.exit(0 if ratio <= RATIO and error.max() <= DIFFERENCE else 1)


if __name__ == "__main__":
    main()
