"""Small scans in fastMRI layout, and options that reconstruct them in a moment."""

import h5py
import numpy as np

from mri_alps.rawdata.fastmri.writer import write_fastmri
from tests.pipeline.simulated_scan import centred_ifft, simulate

TINY = (
    "--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "4",
    "--mask", "equispaced", "--acceleration", "2", "--center-fraction", "0.4",
)  # fmt: skip


def write_tiny(path, n_slices=3, seed=0, shape=(40, 32), acquisition="AXT1"):
    """Write a scan of four coils with its reference images."""
    kspace, _ = simulate(n_slices, seed, shape)
    crop = (32, 32)
    reference = np.linalg.norm(centred_ifft(kspace), axis=1)
    top = shape[0] // 2 - crop[0] // 2
    left = shape[1] // 2 - crop[1] // 2
    reference = reference[:, top : top + crop[0], left : left + crop[1]]
    path.parent.mkdir(exist_ok=True, parents=True)
    write_fastmri(
        path,
        kspace,
        recon_matrix=crop,
        reconstruction=reference,
        attributes={"acquisition": acquisition},
    )
    return path


def contents(path):
    """Return everything in a reconstruction file but how long it took."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
        found |= {f"attribute {name}": value for name, value in file.attrs.items()}
    del found["facts/seconds"]
    return found


def assert_same_file(first, second):
    """Bit by bit, but for the seconds."""
    ours, theirs = contents(first), contents(second)
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
