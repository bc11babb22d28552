"""Opens mutated inputs of one kind in a process of its own; started by `fuzz_readers.py`.

The arguments are the kind and a folder with undamaged companions; the rest is `fuzz_worker.py`.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mri_alps.core.errors import MriAlpsError
from mri_alps.evaluation import evaluate_folder, write_report
from mri_alps.masks import load_mask
from mri_alps.pipeline import ReconstructionConfiguration, load_reconstruction
from mri_alps.rawdata import read_raw, read_sensitivity_maps
from mri_alps.scanner.channel import FileChannel
from mri_alps.scanner.configuration import OnlineConfiguration
from mri_alps.scanner.session import ScanSession, SessionOptions
from mri_alps.scanner.settings import Limits, ServerSettings
from mri_alps.scanner.workers import InlineReconstructor
from tests.rawdata import fuzz_worker

KIND, COMPANIONS = sys.argv[1], Path(sys.argv[2])
SETTINGS = {"prior": "gaussian", "n_samples": 2, "n_evaluations": 4, "device": "cpu"}


class Tracebacks(logging.Handler):
    """Raises what the package only logs, with its traceback, where it did not expect it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.found.append(record.exc_info[1])


LOGGED = Tracebacks()
logging.getLogger("mri_alps").addHandler(LOGGED)
logging.getLogger("mri_alps").propagate = False


def open_mask(path: str) -> None:
    load_mask(path, (16, 12))


def open_maps(path: str) -> None:
    raw = read_raw(COMPANIONS / "scan.h5")
    read_sensitivity_maps(path, raw, 0)


def open_result(path: str) -> None:
    errors = []
    for read in (
        load_reconstruction,
        lambda name: write_report(name, COMPANIONS / "page.html", COMPANIONS / "target.h5"),
        lambda name: evaluate_folder(name, COMPANIONS / "target.h5"),
    ):
        try:
            read(path)
        except MriAlpsError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def open_wire(path: str) -> None:
    """Serve what a client sends; refusals are answers, what is logged with a traceback is not."""
    LOGGED.found.clear()
    limits = Limits(idle_limit=3, send_limit=2, scan_limit=2**-6)
    defaults = OnlineConfiguration(ReconstructionConfiguration(**SETTINGS))
    temporary = COMPANIONS / "temporary"
    temporary.mkdir(exist_ok=True)
    saved = COMPANIONS / "saved"
    saved.mkdir(exist_ok=True)
    options = SessionOptions(defaults, limits, ServerSettings(save_raw=saved), temporary)
    with open(path, "rb") as source, open(os.devnull, "wb") as target:
        channel = FileChannel(source.fileno(), target.fileno())
        ScanSession(channel, InlineReconstructor(), options).run()
    for file in saved.iterdir():
        file.unlink()
    left = list(temporary.iterdir())
    assert not left, f"temporary files are left: {left}"
    if LOGGED.found:
        raise LOGGED.found[0]


OPENERS = {"mask": open_mask, "maps": open_maps, "result": open_result, "wire": open_wire}

if __name__ == "__main__":
    fuzz_worker.open_everything = OPENERS.get(KIND, fuzz_worker.open_everything)
    fuzz_worker.main()
