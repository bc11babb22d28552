"""What a reconstruction takes, as far as it can be told beforehand, and what is there."""

from __future__ import annotations

import math
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from mri_alps.core.plugins import guarded
from mri_alps.operators import SHARED_LIMIT

if TYPE_CHECKING:
    from mri_alps.priors import ScoreModel

# Image-sized complex arrays that the sampler keeps per sample,
_ARRAYS_PER_SAMPLE = 35
# and on top of them either those of an evaluation of the prior (of the built-in network where it
# was not measured), or the coil images of a forward operator in double precision.
_ARRAYS_PER_EVALUATION = 50
_ARRAYS_PER_COIL = 4
# A process with all libraries loaded, that has reconstructed the smallest of slices on a CPU.
_BASE_BYTES = 1020e6
# Phase encode x phase encode matrices for each readout line that the sampler's preconditioner of
# masks along lines keeps: the eigenvectors, less where the object leaves a margin.
_MATRICES_PER_LINE = 1.25
# And in all where images are so large that lines share them, inverses of two levels included.
_SHARED_MATRICES = 188.0
_SAMPLING_INTERVAL = 1e-3


def memory_bytes(
    shape: tuple[int, int],
    n_coils: int,
    n_samples: int,
    evaluation: float | None = None,
    crop: tuple[int, int] | None = None,
    lines: bool = True,
) -> float:
    """Return a rough peak of memory; it does not depend on the number of slices.

    Parameters
    ----------
    shape : tuple of int
        (readout, phase_encode) of a slice.
    n_coils : int
        Coils.
    n_samples : int
        Posterior samples that are drawn at once.
    evaluation : float, optional
        Bytes per sample of an evaluation of the prior, from `evaluation_bytes`; those of the
        built-in network if left out.
    crop : tuple of int, optional
        (readout, phase_encode) of the final image, outside of which there is no object.
    lines : bool
        Whether whole lines are measured, which takes more than a mask of points.
    """
    fixed = _BASE_BYTES + slice_bytes(shape, n_coils, crop, lines)
    return fixed + n_samples * sample_bytes(shape, n_coils, evaluation)


def slice_bytes(
    shape: tuple[int, int],
    n_coils: int,
    crop: tuple[int, int] | None = None,
    lines: bool = True,
) -> float:
    """Return what a slice takes whatever the number of samples.

    Parameters
    ----------
    shape, n_coils, crop, lines
        As `memory_bytes` has them.
    """
    image = image_bytes(shape)
    readout, phase_encode = (min(n, c) for n, c in zip(shape, crop or shape, strict=True))
    n_matrices = _MATRICES_PER_LINE * readout
    if math.prod(shape) * shape[1] > SHARED_LIMIT:
        n_matrices = _SHARED_MATRICES
    return lines * n_matrices * 8.0 * phase_encode**2 + 6 * n_coils * image


def sample_bytes(shape: tuple[int, int], n_coils: int, evaluation: float | None = None) -> float:
    """Return what each sample of a batch takes.

    Parameters
    ----------
    shape, n_coils, evaluation
        As `memory_bytes` has them.
    """
    image = image_bytes(shape)
    if evaluation is None:
        evaluation = _ARRAYS_PER_EVALUATION * image
    return _ARRAYS_PER_SAMPLE * image + max(evaluation, _ARRAYS_PER_COIL * n_coils * image)


def image_bytes(shape: tuple[int, int]) -> float:
    """Return what one complex64 image takes.

    Parameters
    ----------
    shape : tuple of int
        (readout, phase_encode) of a slice.
    """
    return 8.0 * shape[0] * shape[1]


def available_bytes(device: torch.device) -> float:
    """Return the memory that is free for tensors now.

    Parameters
    ----------
    device : torch.device
        On a CPU the limit of the process' control group (container, batch job) counts too.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(free + kept)
    left, limit = float(psutil.virtual_memory().available), _control_group_bytes()
    return left if limit is None else min(left, limit)


_MEASURED: weakref.WeakKeyDictionary[Any, dict[tuple[Any, ...], float]] = (
    weakref.WeakKeyDictionary()
)


def evaluation_bytes(
    prior: ScoreModel, shape: tuple[int, int], device: torch.device
) -> float | None:
    """Measure what an evaluation of the prior takes per sample: by how much two take more than one.

    Measured once per prior, shape and device.

    Parameters
    ----------
    prior : ScoreModel
        Evaluated on zeros.
    shape : tuple of int
        (readout, phase_encode) of a slice.
    device : torch.device
        Where the samples are to be drawn.

    Returns
    -------
    float or None
        None where two samples do not fit.
    """
    key = (tuple(shape), str(device))
    try:
        known = _MEASURED.setdefault(prior, {})
    except TypeError:  # cannot be told from others
        known = {}
    if key not in known:
        try:
            peaks = [_evaluation_peak(prior, n, shape, device) for n in (1, 1, 2)]
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None
        known[key] = max(peaks[2] - peaks[1], 2 * image_bytes(shape))
    return known[key]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory has run out.

    Parameters
    ----------
    error : BaseException
        Anything.
    """
    # torch before 2.5 has only the second name.
    kinds = [getattr(torch, "OutOfMemoryError", None), torch.cuda.OutOfMemoryError, MemoryError]
    if isinstance(error, tuple(kind for kind in kinds if kind is not None)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in text or "CUDA out of memory" in text
    )


def _evaluation_peak(
    prior: ScoreModel, n_samples: int, shape: tuple[int, int], device: torch.device
) -> float:
    x = torch.zeros((n_samples, *shape), dtype=torch.complex64, device=device)
    with torch.no_grad(), guarded("the prior", prior):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            prior.score(x, float(prior.sigma_max))
            return float(torch.cuda.max_memory_allocated(device))
        with _PeakOfProcess() as peak:
            prior.score(x, float(prior.sigma_max))
    return peak.value


class _PeakOfProcess:
    """Watches the memory of this process; `value` is its highest.

    The kernel keeps the peak too, but only one for the whole life of the process, unless it is
    reset under everybody's feet.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.value = 0.0
        self._look()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.is_set():
            self._look()
            time.sleep(_SAMPLING_INTERVAL)

    def _look(self) -> None:
        self.value = max(self.value, float(self._process.memory_info().rss))

    def __enter__(self) -> _PeakOfProcess:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._look()
        self._done.set()
        self._thread.join()


def _control_group_bytes(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """What the control group's limit leaves, file cache not counted; None without a limit."""
    names = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    )
    for limit_name, usage_name, cache_name in names:
        try:
            limit = float((root / limit_name).read_text())
            usage = float((root / usage_name).read_text())
            statistics = (root / limit_name).with_name("memory.stat").read_text()
        except (OSError, ValueError):  # "max" means without limit
            continue
        cache = dict(line.split()[:2] for line in statistics.splitlines()).get(cache_name, "0")
        return max(0.0, limit - usage + float(cache))
    return None
