"""Opens mutated files in a process of its own: line in, path; line out, what happened.

A crash or a hang of the HDF5 library is seen by the test that waits for the answer. Memory is
bounded twice: the address space by the operating system, Python's and numpy's own by tracemalloc.
"""

import importlib.util
import resource
import sys
import traceback
import tracemalloc
import warnings

import psutil

# Reading imports these where it first needs them: they are program, not what a file asks for.
import scipy.optimize
import scipy.spatial  # noqa: F401
import torch  # noqa: F401

from mri_alps.core.errors import MriAlpsError
from mri_alps.rawdata import read_image, read_raw, read_sensitivity_maps

HEADROOM = 768 * 2**20
OPTIONAL = {"twix": "twixtools", "mrd2": "mrd"}
"""Kinds that are read by a package of their own, imported like the ones above where it is there."""
for _name in filter(importlib.util.find_spec, OPTIONAL.values()):
    importlib.import_module(_name)


def open_everything(path):
    raw = read_raw(path)
    for index in sorted({0, raw.n_slices // 2, raw.n_slices - 1}):
        raw.read_slice(index)
        raw.slice_mask(index)
        raw.read_calibration(index)
        raw.read_reference(index)
        raw.read_ground_truth(index)
        _ = raw.pixel_spacing, raw.slice_thickness
    return raw


def outcome(path):
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        raw = open_everything(path)
        found = "read"
    except MriAlpsError as error:
        found = "refused" if "\n" not in str(error) else f"more than one line: {error!r}"
        raw = None
    except BaseException:
        return "raised " + traceback.format_exc().replace("\n", " | ")
    for read in () if raw is None else (read_sensitivity_maps, read_image):
        try:
            read(path, raw, 0)
        except MriAlpsError:
            pass
        except BaseException:
            return f"{read.__name__} raised " + traceback.format_exc().replace("\n", " | ")
    return f"{found} {tracemalloc.get_traced_memory()[1] - held}"


def main():
    warnings.simplefilter("ignore")
    now = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (now + HEADROOM, now + HEADROOM))
    tracemalloc.start(1)
    print("ready", flush=True)
    for line in sys.stdin:
        print(outcome(line.rstrip("\n")), flush=True)


if __name__ == "__main__":
    main()
