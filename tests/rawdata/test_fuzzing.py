"""Damaged and hostile files: an error of ours or an image, never a crash, a hang or a flood."""

import importlib.util
import os
import re
import struct
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mri_alps.rawdata import kspace_to_cfl, write_cfl, write_fastmri, write_ismrmrd
from mri_alps.rawdata.header import Limit, make_header
from mri_alps.rawdata.ismrmrd import write_mrd2
from tests.pipeline.simulated_scan import simulate
from tests.rawdata import twix_files
from tests.rawdata.fuzz_worker import OPTIONAL
from tests.rawdata.rawdata_helpers import lines as imaging_lines
from tests.rawdata.rawdata_helpers import random_complex
from tests.rawdata.rawdata_helpers import write_acquisitions as write
from tests.waiting import LONG

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")

FLOOR, FACTOR = 48 * 2**20, 64  # bytes, and times the file: what opening may allocate
SEARCHES = "MRI_ALPS_FUZZ_RANDOM" in os.environ
"""Set it to search further: each run of the suite tries the same files else."""
CHANGES = ("flip", "byte", "word", "cut", "zeros", "ones", "copy", "digits", "early")
LAYOUTS = ("skm-tea", "calgary-campinas", "cmrxrecon", "repetitions")
KINDS = (
    *("fastmri", "fastmri-gzip", "ismrmrd", "ismrmrd-3d", "bart", *LAYOUTS),
    *(kind for kind, name in OPTIONAL.items() if importlib.util.find_spec(name)),
)


class Worker:
    """A process that opens files, replaced when it dies."""

    def __init__(self, *command):
        self.command = command or (str(Path(__file__).with_name("fuzz_worker.py")),)
        self.process = None

    def ask(self, path):
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert self.process.stdout.readline() == "ready\n"
        timer = threading.Timer(LONG, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().strip()
        finally:
            timer.cancel()
        if not answer:
            code = self.process.wait()
            self.close()
            return f"died with {code} (-9 after {LONG:g} s: hung)"
        return answer

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
        self.process = None


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return make_originals(tmp_path_factory.mktemp("originals"))


def make_originals(folder):
    """Small files of every kind as {name: [bytes of each part]}."""
    kspace = random_complex(0, 2, 3, 16, 12)
    mask = np.arange(12) % 2 == 0
    extras = {"reconstruction": np.ones((2, 16, 12)), "ground_truth": kspace[:, 0]}
    write_fastmri(folder / "fastmri", kspace, mask=mask, **extras)
    write_fastmri(folder / "fastmri-gzip", kspace, compression="gzip", **extras)
    noise = random_complex(1, 3, 40)
    write_ismrmrd(folder / "ismrmrd", kspace, mask=mask, recon_matrix=(8, 12), noise=noise)
    header = make_header(
        (16, 6, 4), (8, 6, 4), (16.0, 6.0, 4.0), (8.0, 6.0, 4.0),
        limits={"kspace_encoding_step_1": Limit(0, 5, 3), "kspace_encoding_step_2": Limit(0, 3, 2)},
    )  # fmt: skip
    partitions = [
        acquisition
        for step in range(4)
        for acquisition in imaging_lines(random_complex(step, 2, 16, 6), kspace_encode_step_2=step)
    ]
    write(folder / "ismrmrd-3d", header, partitions)
    write_cfl(folder / "bart", kspace_to_cfl(kspace * mask))
    make_layouts(folder)
    view = (240.0, 180.0, 5.0)
    if "twix" in KINDS:
        image = [twix_files.line(kspace[0, :, :, row], Lin=row, CenterLin=6) for row in range(12)]
        noisy = [twix_files.line(noise, "NOISEADJSCAN")]
        parts = [("adjust", twix_files.protocol(8, 12, view), noisy)]
        parts += [("gre", twix_files.protocol(8, 12, view), [twix_files.sync(256), *image])]
        twix_files.write_vd(folder / "twix", parts)
    if "mrd2" in KINDS:
        whole = make_header((16, 12, 1), (16, 12, 1), view, view)
        write_mrd2(folder / "mrd2", whole, imaging_lines(kspace[0]))
    found = {path.name: [path.read_bytes()] for path in folder.iterdir()}
    return {
        **{kind: found[kind] for kind in KINDS if kind != "bart"},
        "bart": [found["bart.hdr"][0], found["bart.cfl"][0]],
    }


def make_layouts(folder):
    """Arrays of an object, as the sets whose layouts are checked against their data have them."""
    kspace = simulate(8, 0, (20, 16))[0]
    records = np.empty((2, 8, 4, 16, 20), [("real", "<f4"), ("imag", "<f4")])
    records["real"], records["imag"] = kspace.real.swapaxes(2, 3), kspace.imag.swapaxes(2, 3)
    pairs = np.stack([kspace.real, kspace.imag], axis=2).reshape(8, 8, 20, 16)
    volume = np.stack([kspace, kspace], axis=-1).transpose(0, 2, 3, 4, 1).astype(np.complex64)
    stored = {
        "skm-tea": {"kspace": volume, "maps": np.ones((8, 20, 16, 4, 1), np.complex64)},
        "calgary-campinas": {"kspace": pairs.transpose(0, 2, 3, 1).astype(np.float32)},
        "cmrxrecon": {"kspace_full": records},
        "repetitions": {"kspace": np.stack([kspace, 2 * kspace]).astype(np.complex64)},
    }
    for name, arrays in stored.items():
        with h5py.File(folder / name, "w") as file:
            for key, value in arrays.items():
                file[key] = value


@st.composite
def mutations(draw):
    """A list of (what, where in [0, 1), number)."""
    kinds = st.sampled_from(CHANGES)
    position = st.floats(0, 1, exclude_max=True)
    return draw(
        st.lists(st.tuples(kinds, position, st.integers(0, 2**32 - 1)), min_size=1, max_size=6)
    )


def mutate(content, steps):
    data = bytearray(content)
    for what, where, number in steps:
        if not data:
            break
        # most of what HDF5 says about itself stands in the first 4 kB
        place = int(where * (min(len(data), 4096) if what == "early" else len(data)))
        if what == "flip":
            data[place] ^= 1 << number % 8
        elif what in ("byte", "early"):
            data[place] = number % 256
        elif what == "word":
            data[place : place + 8] = (number << (8 * (number % 5))).to_bytes(8, "little")
        elif what == "cut":
            del data[place:]
        elif what in ("zeros", "ones"):
            length = min(number % 64, len(data) - place)
            data[place : place + length] = (b"\0" if what == "zeros" else b"\xff") * length
        elif what == "copy":
            length = min(number % 256, len(data) - place)
            source = number % len(data)
            part = data[source : source + length]
            data[place : place + len(part)] = part
        elif what == "digits":
            _replace_digits(data, number)
    return bytes(data)


def _replace_digits(data, number):
    """Another number of as many digits in the XML header or the BART header."""
    found = [m for m in re.finditer(rb"[>\s](\d+)[<\s]", data)]
    if found:
        match = found[number % len(found)]
        length = match.end(1) - match.start(1)
        choices = [b"9" * length, b"0" * length, b"-" + b"9" * (length - 1), str(number).encode()]
        data[match.start(1) : match.end(1)] = choices[number // 7 % 4][:length].ljust(length, b"0")


def check(worker, folder, kind, parts):
    path = folder / kind
    names = [path.with_name("bart.hdr"), path.with_name("bart.cfl")] if kind == "bart" else [path]
    for name, content in zip(names, parts, strict=True):
        name.write_bytes(content)
    answer = worker.ask(names[-1])
    found, _, peak = answer.partition(" ")
    assert found in ("read", "refused"), f"{kind}: {answer}"
    size = sum(map(len, parts))
    assert int(peak) < FLOOR + FACTOR * size, f"{kind} of {size} bytes: {answer}"
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_originals_are_read(worker, originals, tmp_path, kind):
    assert check(worker, tmp_path, kind, originals[kind]) == "read"


def fuzz(worker, originals, tmp_path_factory, kind, n_examples):
    folder = tmp_path_factory.mktemp("mutated")

    @settings(
        max_examples=n_examples,
        deadline=None,
        derandomize=not SEARCHES,
        database=None,
        phases=[Phase.generate],  # a failure is told at once, not shrunk for minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 9), mutations())
    def run(which, steps):
        parts = list(originals[kind])
        which = 0 if which < 5 else len(parts) - 1  # of a BART pair: header or data
        parts[which] = mutate(parts[which], steps)
        check(worker, folder, kind, parts)

    run()


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files(worker, originals, tmp_path_factory, kind):
    fuzz(worker, originals, tmp_path_factory, kind, 1000 if SEARCHES else 120)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["brain_axial_16ch_96.h5", "phantom_prospective_r3_14ch_ismrmrd.h5"]
)
def test_mutated_real_files(worker, shared_data, tmp_path_factory, name):
    original = {"fastmri": [(shared_data / "raw" / name).read_bytes()]}
    fuzz(worker, original, tmp_path_factory, "fastmri", 25)


@pytest.mark.parametrize("kind", ["fastmri", "ismrmrd", "bart"])
@pytest.mark.parametrize("fraction", [0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files(worker, originals, tmp_path, kind, fraction):
    parts = list(originals[kind])
    parts[-1] = parts[-1][: int(len(parts[-1]) * fraction)]
    assert check(worker, tmp_path, kind, parts) == "refused"


@pytest.mark.parametrize("matrix", [(16, 9000, 1), (9000, 12, 1), (9000, 9000, 1), (16, 12, 9000)])
def test_a_header_that_claims_more_than_the_file_can_hold(worker, tmp_path, matrix):
    view = tuple(float(size) for size in matrix)
    acquisitions = imaging_lines(random_complex(0, 8, 16, 12))
    write(tmp_path / "source", make_header(matrix, matrix, view, view), acquisitions)
    content = (tmp_path / "source").read_bytes()
    assert check(worker, tmp_path, "claims", [content]) in ("read", "refused")


def test_datasets_that_claim_more_than_the_file_holds(worker, tmp_path, originals):
    for name, dataset, length in (
        ("fastmri", "kspace", (2, 3, 8000, 8000)),
        ("fastmri", "ground_truth", (2, 64, 48)),
        ("ismrmrd", "dataset/data", (10**9,)),
    ):
        path = tmp_path / "source"
        path.write_bytes(originals[name][0])
        with h5py.File(path, "a") as file:
            old = file[dataset]
            dtype, first = old.dtype, old[:1]
            del file[dataset]
            chunks = (1, 1, 64, 64)[: len(length)] if len(length) > 1 else (64,)
            if len(length) == 3:
                chunks = (1, 16, 12)
            made = file.create_dataset(dataset, length, dtype, chunks=chunks)
            if len(length) == 1:
                made[:1] = first
            else:
                made[(0,) * len(length)] = 1
        check(worker, tmp_path, "claims", [path.read_bytes()])


def test_a_global_heap_without_an_end(worker, tmp_path, originals):
    """The HDF5 library itself would never come back from this one."""
    data = bytearray(originals["ismrmrd"][0])
    place = data.find(b"GCOL")
    entry = place + 16
    while int.from_bytes(data[entry : entry + 2], "little"):  # to the entry of free space
        length = int.from_bytes(data[entry + 8 : entry + 16], "little")
        entry += 16 + (length + 7) // 8 * 8
    data[entry : entry + 16] = bytes(16)
    assert check(worker, tmp_path, "ismrmrd", [bytes(data)]) == "refused"


@pytest.mark.parametrize("place", [3, 7, 11])
def test_a_heap_entry_as_long_as_numbers_go_is_refused(worker, originals, tmp_path, place):
    content = bytearray(originals["fastmri-gzip"][0])
    entry = content.find(b"GCOL") + 16
    (size,) = struct.unpack_from("<Q", content, entry + 8)
    follower = entry + 16 + (size + 7) // 8 * 8
    content[follower + place : follower + place + 24] = b"\xff" * 24
    assert check(worker, tmp_path, "fastmri-gzip", [bytes(content)]) == "refused"
