"""What a reconstruction takes, as far as it can be told beforehand."""

from __future__ import annotations

# Image-sized complex arrays that sampler and network hold per sample at the peak.
_ARRAYS_PER_SAMPLE = 40
_BASE_BYTES = 400e6


def memory_bytes(shape: tuple[int, int], n_coils: int, n_samples: int) -> float:
    """Return a rough peak of memory; it does not depend on the number of slices.

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
    return _BASE_BYTES + image * (6 * n_coils + n_samples * per_sample)
