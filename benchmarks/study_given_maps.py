"""Maps by `bart ecalib` from undersampled data: what do they cost, here and in `bart pics`?

    python benchmarks/study_given_maps.py SCAN [--acceleration 4]

The middle slice of a fully sampled scan, with fastMRI's equispaced lines. Own maps and those of
BART are given to the posterior mean under the stationary Gaussian prior, as it is when maps are
judged, and to `bart pics -l1`. Printed: PSNR of the magnitude in the object at the best scale,
against the root sum of squares of all samples; the part of the object that maps cover; and their
alignment with own ones (median, 1st percentile).
"""

from __future__ import annotations

import argparse
import math
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from study_no_calibration import read, write

from mri_alps.calibration import calibrate_volume, prepare_slice
from mri_alps.calibration.maps_error import gaussian_mean
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.fourier import ifftc
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.pipeline.undersampling import undersampling_mask
from mri_alps.rawdata import read_raw

ECALIB = (("-m1", "-r20"), ("-m1", "-r20", "-c0"))
PICS = ("-i60", "-l1", "-r0.002")


def bart(*command: str | Path) -> None:
    """Run one of its tools."""
    subprocess.run(["bart", *map(str, command)], check=True, capture_output=True)


def main() -> None:
    """Print a line for each set of maps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scan", type=Path)
    parser.add_argument("--acceleration", type=float, default=4.0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", MriAlpsWarning)
    raw = read_raw(options.scan)
    index = raw.n_slices // 2
    configuration = ReconstructionConfiguration(
        mask="equispaced", acceleration=options.acceleration
    )
    mask = undersampling_mask(raw, configuration)
    kspace = raw.read_slice(index)
    truth = ifftc(torch.as_tensor(kspace)).abs().square().sum(0).sqrt().numpy()
    inside = truth > 0.1 * np.quantile(truth, 0.99)
    calibration = calibrate_volume(raw, mask)

    def quality(image: np.ndarray) -> float:
        found, true = image[inside], truth[inside]
        rest = found * (found * true).sum() / (found**2).sum() - true
        return 20 * math.log10(truth.max() / math.sqrt(float((rest**2).mean())))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "kspace", kspace * np.broadcast_to(mask, raw.shape))
        given = {"own": None}
        for arguments in ECALIB:
            bart("ecalib", *arguments, folder / "kspace", folder / "maps")
            given[" ".join(arguments)] = read(folder / "maps").transpose(2, 0, 1)
        own = None
        for label, maps in given.items():
            found = prepare_slice(raw, index, mask, calibration=calibration, sensitivity_maps=maps)
            mean = gaussian_mean(found.operator(), found.data(), found.noise_std)
            if own is None:
                maps = found.raw_sensitivity_maps().numpy()
            norm = np.sqrt((np.abs(maps) ** 2).sum(0))
            maps = maps / np.maximum(norm, 1e-12)
            own = maps if own is None else own
            write(folder / "maps", maps)
            bart("pics", *PICS, folder / "kspace", folder / "maps", folder / "image")
            aligned = np.abs((own.conj() * maps).sum(0))[inside]
            print(
                f"{label}: {quality((mean.abs() * found.rss_weight).numpy()):.1f} dB, bart pics "
                f"{quality(np.abs(read(folder / 'image'))):.1f} dB; support "
                f"{(norm > 0)[inside].mean():.3f}, alignment {np.median(aligned):.5f}, "
                f"{np.quantile(aligned, 0.01):.4f}; "
                f"completed {found.info.get('maps_completed')}",
                flush=True,
            )


if __name__ == "__main__":
    main()
