"""Mutation fuzzing of every reader, for some minutes each.

    python benchmarks/fuzz_readers.py FOLDER --minutes 10 --readers fastmri wire

Small valid inputs are damaged at random and opened in a process of limited memory. Whatever is
neither a clean read nor an `MriAlpsError` (a crash, a traceback, a hang, more than 1 GB) is a
finding: its input is kept in FOLDER, with the answer beside it. The seed is printed; the same seed
gives the same inputs. Mutations and processes are those of ``tests/rawdata``.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections import Counter
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mri_alps.masks import make_mask
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file
from mri_alps.rawdata import write_cfl
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner import protocol
from tests.pipeline import tiny_scans
from tests.rawdata.rawdata_helpers import random_complex
from tests.rawdata.test_fuzzing import CHANGES, Worker, make_originals, mutate
from tests.scanner import mrd_scans

KEPT = 3  # findings with the same exception
MOST_MEMORY = 10**9  # bytes, as tracemalloc counts them


def make_inputs(folder: Path) -> dict[str, tuple[str, list[tuple[str, bytes]]]]:
    """Return {reader: (kind of opener, [(file name, content)])}; companions go into the folder."""
    raw_folder = folder / "originals"
    raw_folder.mkdir(parents=True, exist_ok=True)
    inputs = {}
    for kind, parts in make_originals(raw_folder).items():
        names = ["bart.hdr", "bart.cfl"] if kind == "bart" else ["scan"]
        inputs[kind] = ("raw", list(zip(names, parts, strict=True)))
    companions = folder / "companions"
    scan = tiny_scans.write_tiny(companions / "scan.h5", n_slices=2)
    write_target(companions / "target.h5", scan)
    mask = make_mask("gaussian", (16, 12), 2, 0.25)
    array, archive = BytesIO(), BytesIO()
    np.save(array, mask)
    np.savez_compressed(archive, mask=mask)
    inputs |= {
        "mask-npy": ("mask", [("mask.npy", array.getvalue())]),
        "mask-npz": ("mask", [("mask.npz", archive.getvalue())]),
        "mask-h5": ("mask", [("mask.h5", hdf5_bytes(mask=mask))]),
        "maps-h5": ("maps", [("maps.h5", hdf5_bytes(sensitivity_maps=maps()))]),
        "maps-cfl": ("maps", cfl_parts(folder / "maps.cfl")),
        "wire": ("wire", [("scan.mrd-stream", wire_bytes())]),
        "result": ("result", [("scan.h5", result_bytes(scan, folder / "result"))]),
    }
    return inputs


def maps() -> np.ndarray:
    """Return maps for the companion scan, (slices, coils, readout, phase encode)."""
    return random_complex(0, 2, 4, 40, 32).astype(np.complex64)


def hdf5_bytes(**datasets: np.ndarray) -> bytes:
    """Return an HDF5 file with these datasets."""
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, data in datasets.items():
            file.create_dataset(name, data=data, compression="gzip")
        file["slices"] = np.arange(2)
    return buffer.getvalue()


def cfl_parts(path: Path) -> list[tuple[str, bytes]]:
    """Return header and data of the maps as BART stores them, slices along dimension 13."""
    array = np.moveaxis(maps(), (0, 1), (-1, -2))  # (readout, phase encode, coils, slices)
    write_cfl(path, array.reshape(40, 32, 1, 4, *[1] * 9, 2))
    return [(f"maps.{end}", path.with_suffix(f".{end}").read_bytes()) for end in ("hdr", "cfl")]


def wire_bytes() -> bytes:
    """Return what a client sends for a scan of one slice."""
    header = mrd_scans.header_xml()
    header = header.decode() if isinstance(header, bytes) else header
    messages = [
        protocol.text_message('{"parameters": {"n_samples": 2}}', kinds.CONFIG_TEXT),
        protocol.text_message(header, kinds.HEADER),
    ]
    messages += [protocol.acquisition_message(line) for line in mrd_scans.scan()]
    return b"".join([*messages, protocol.close_message()])


def result_bytes(scan: Path, folder: Path) -> bytes:
    """Return a reconstruction of the companion scan, with samples and maps."""
    settings = ReconstructionConfiguration(
        prior="gaussian", n_samples=2, n_evaluations=4, mask="equispaced", acceleration=2.0,
        center_fraction=0.4, device="cpu", save_samples=True, save_maps=True,
    )  # fmt: skip
    return reconstruct_to_file(scan, folder, settings, overwrite=True).read_bytes()


def write_target(path: Path, scan: Path) -> None:
    """Write the reference of the companion scan for evaluation."""
    with h5py.File(scan) as source, h5py.File(path, "w") as file:
        file["reconstruction_rss"] = source["reconstruction_rss"][()]


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Return a content with one to six random changes."""
    steps = [
        (rng.choice(CHANGES), rng.random(), rng.getrandbits(32)) for _ in range(rng.randint(1, 6))
    ]
    return mutate(content, steps)


def judge(answer: str) -> str:
    """Return "read", "refused", or what is wrong in a word."""
    found, _, rest = answer.partition(" ")
    if found in ("read", "refused"):
        return found if int(rest) < MOST_MEMORY else "memory"
    return "died" if found == "died" else "traceback"


def fuzz(reader: str, kind: str, parts: list, folder: Path, seconds: float, seed: int) -> Counter:
    """Damage and open one reader's input until the time is up; return what came out how often."""
    rng, counts, alike = random.Random(f"{seed} {reader}"), Counter(), Counter()
    place = folder / "now" / reader
    place.mkdir(parents=True, exist_ok=True)
    opener = Path(__file__).with_name("fuzz_openers.py")
    companions = folder / "companions"
    worker = Worker(str(opener), kind, str(companions))
    try:
        for name, content in parts:  # undamaged, it has to be read
            (place / name).write_bytes(content)
        answer = worker.ask(place / parts[-1][0])
        assert judge(answer) == "read", f"{reader}: {answer}"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            which = rng.randrange(len(parts))
            for number, (name, content) in enumerate(parts):
                (place / name).write_bytes(damaged(rng, content) if number == which else content)
            answer = worker.ask(place / parts[-1][0])
            outcome = judge(answer)
            counts[outcome] += 1
            if outcome in ("read", "refused"):
                continue
            exception = answer.rstrip("| ").rpartition("| ")[2].partition(":")[0]
            alike[exception] += 1
            if alike[exception] <= KEPT:
                keep(folder / "findings" / f"{reader}-{sum(counts.values())}", place, answer)
    finally:
        worker.close()
    return counts


def keep(target: Path, place: Path, answer: str) -> None:
    """Keep a damaged input and what came out."""
    target.mkdir(parents=True, exist_ok=True)
    for file in place.iterdir():
        with contextlib.suppress(OSError):
            (target / file.name).write_bytes(file.read_bytes())
    (target / "answer.txt").write_text(answer + "\n")
    print(f"finding: {target}: {answer[-300:]}", file=sys.stderr, flush=True)


def main() -> int:
    """Fuzz the chosen readers; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each reader")
    parser.add_argument("--readers", nargs="+", help="only these")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    inputs = make_inputs(options.folder)
    unknown = sorted(set(options.readers or ()) - set(inputs))
    if unknown:
        parser.error(f"no reader {', '.join(unknown)}: there are {', '.join(inputs)}")
    print(f"seed {options.seed}\n")
    print("| reader | inputs | read | refused | traceback | died | over 1 GB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    bad = 0
    for reader in options.readers or inputs:
        kind, parts = inputs[reader]
        counts = fuzz(reader, kind, parts, options.folder, 60 * options.minutes, options.seed)
        outcomes = [counts[o] for o in ("read", "refused", "traceback", "died", "memory")]
        print(f"| {reader} | {sum(outcomes)} | {' | '.join(map(str, outcomes))} |", flush=True)
        bad += sum(outcomes[2:])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
