"""Estimate sensitivity maps, image scale and noise of fully sampled scans once, and keep them.

One HDF5 per scan, of the same name, with `sensitivity_maps` (slices, coils, readout, phase
encode) of the scan's own coils, `scale` and `noise_std` (slices), and `noise_covariance`. With
--images the combined images that `mri-alps train --cache` reads are kept as well. A file is
there whole or not at all: a run that was interrupted goes on after the last one, and a scan that
changed is done again.

The maps come from all that was measured. Do not use them to reconstruct the same scan from a
retrospective mask: they have seen what the mask leaves out.

    python data_scripts/cache_calibration.py multicoil_train --output maps --images images
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import h5py
import numpy as np

from mri_alps.calibration import calibrate_volume, prepare_slice
from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import MriAlpsError
from mri_alps.pipeline.identity import scan_identity
from mri_alps.pipeline.inputs import find_scans
from mri_alps.rawdata import RawKSpace, read_raw

FORMAT = "mri_alps calibration 1"


def is_cached(target: Path, identity: str) -> bool:
    """Whether the maps of just this scan are there."""
    try:
        with h5py.File(target, "r") as file:
            return file.attrs.get("format") == FORMAT and file.attrs.get("scan") == identity
    except OSError:
        return False


def cache_scan(raw: RawKSpace, target: Path, identity: str) -> None:
    """Write the calibration of a scan, slice by slice: memory does not grow with their number."""
    calibration = calibrate_volume(raw)
    shape = (raw.n_slices, raw.n_coils, *raw.shape)
    with atomic_path(target) as temporary, h5py.File(temporary, "w") as file:
        maps = file.create_dataset(
            "sensitivity_maps", shape, np.complex64, chunks=(1, *shape[1:]), fletcher32=True
        )
        scale = np.full(raw.n_slices, np.nan)
        for index in range(raw.n_slices):
            if not raw.read_slice(index).any():
                continue  # an empty slice has neither maps nor scale
            acquisition = prepare_slice(raw, index, calibration=calibration)
            maps[index] = acquisition.raw_sensitivity_maps().numpy()
            scale[index] = acquisition.scale
        file["scale"], file["noise_std"] = scale, 1 / scale
        file["slices"] = np.arange(raw.n_slices)
        file["noise_covariance"] = calibration.noise_covariance
        file.attrs.update(
            format=FORMAT, scan=identity, source=raw.path.name, noise=calibration.noise_source
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if every scan went well."""
    description = (__doc__ or "").split("\n    python")[0]
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", help="folders, files or patterns")
    parser.add_argument("--output", type=Path, required=True, help="folder of the cache")
    parser.add_argument("--images", type=Path, help="also keep images for mri-alps train --cache")
    options = parser.parse_args(arguments)
    failed = 0
    try:
        paths = find_scans(options.inputs)
        options.output.mkdir(parents=True, exist_ok=True)
    except (MriAlpsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for number, path in enumerate(paths, 1):
        try:
            raw = read_raw(path)
            identity = scan_identity(raw)
            target = options.output / f"{path.stem}.h5"
            if target.exists() and target.samefile(path):
                raise MriAlpsError(f"{path} would be overwritten: give --output another folder")
            there = is_cached(target, identity)
            if not there:
                cache_scan(raw, target, identity)
            if options.images is not None:
                from mri_alps.training.raw_images import read_raw_images

                options.images.mkdir(parents=True, exist_ok=True)
                read_raw_images(path, options.images)
            done = "there already" if there else "done"
            print(f"[{number}/{len(paths)}] {path.name}: {done}", flush=True)
        except (MriAlpsError, OSError) as error:
            failed += 1
            print(f"[{number}/{len(paths)}] {path.name}: FAILED", flush=True)
            print(f"error: {error}", file=sys.stderr)
    print(f"{len(paths) - failed} of {len(paths)} scans are in {options.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
