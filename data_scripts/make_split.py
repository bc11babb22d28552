"""Divide volumes into lists for training and validation, never a patient into both.

Writes train.txt and val.txt, one path a line, relative to the folder. Which list a patient
belongs to follows from a hash of the name and the seed: data that are added later move nobody,
and repeating the command changes nothing. Volumes without a `patient_id` are patients of their
own.

    python data_scripts/make_split.py multicoil_train --output lists --fraction 0.1
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import MriAlpsError
from mri_alps.pipeline.inputs import find_scans
from mri_alps.rawdata import read_raw


def is_held_out(patient: str, fraction: float, seed: int) -> bool:
    """Whether a patient is in the validation list."""
    digest = hashlib.sha256(f"{seed}|{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < fraction


def patient_of(path: Path) -> str:
    """Return who was scanned, as far as the file says."""
    patient = str(read_raw(path).attributes.get("patient_id") or "")
    return patient or f"file {path.name}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    description = (__doc__ or "").split("\n    python")[0]
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of the scans")
    parser.add_argument("--output", type=Path, required=True, help="folder of the lists")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the patients, held out")
    parser.add_argument("--seed", type=int, default=0, help="decides who")
    options = parser.parse_args(arguments)
    if not 0 < options.fraction < 1:
        parser.error(f"--fraction lies between 0 and 1, found {options.fraction}")
    lists: dict[str, list[str]] = {"train": [], "val": []}
    patients: dict[str, set[str]] = {"train": set(), "val": set()}
    try:
        paths = find_scans([options.folder])
        for number, path in enumerate(paths, 1):
            patient = patient_of(path)
            name = "val" if is_held_out(patient, options.fraction, options.seed) else "train"
            lists[name].append(str(path.relative_to(options.folder)))
            patients[name].add(patient)
            if number % 50 == 0 or number == len(paths):
                print(f"[{number}/{len(paths)}]", flush=True)
        options.output.mkdir(parents=True, exist_ok=True)
        for name, lines in lists.items():
            with atomic_path(options.output / f"{name}.txt") as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines))
    except (MriAlpsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, lines in lists.items():
        print(f"{name}: {len(lines)} volumes of {len(patients[name])} patients")
    return 0


if __name__ == "__main__":
    sys.exit(main())
