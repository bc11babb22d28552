"""What a reconstruction takes, as far as it can be told beforehand."""

from __future__ import annotations

# Image-sized complex arrays that sampler and network hold per sample at the peak.
_ARRAYS_PER_SAMPLE = 40
# A process with all libraries loaded, that has reconstructed the smallest of slices on a CPU.
_BASE_BYTES = 750e6
# Phase encode x phase encode matrices for each readout line that the sampler's preconditioner of
# masks along lines takes while it is set up: the matrices, their eigenvectors and the adjoints.
_MATRICES_PER_LINE = 3


def memory_bytes(shape: tuple[int, int], n_coils: int, n_samples: int) -> float:
    """Return a rough peak of memory; it does not depend on the number of slices.

    For a mask along lines, which takes more than one of points.

    Parameters
    ----------
    shape : tuple of int
        (readout, phase_encode) of a slice.
    n_coils : int
        Coils.
    n_samples : int
        Posterior samples that are drawn at once.
    """
    image = 8.0 * shape[0] * shape[1]
    per_sample = _ARRAYS_PER_SAMPLE + 2 * n_coils
    lines = _MATRICES_PER_LINE * shape[1] * image
    return _BASE_BYTES + lines + image * (6 * n_coils + n_samples * per_sample)
