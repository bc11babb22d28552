"""Samples are drawn in batches of as many as the memory holds; which batch changes nothing.

Each sample has noise of its own (see `mri_alps.core.random`), so a sample comes out the same in any
batch, up to the rounding of sums that are taken in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError, DivergenceError, MriAlpsError
from mri_alps.pipeline.resources import (
    available_bytes,
    evaluation_bytes,
    image_bytes,
    is_out_of_memory,
    sample_bytes,
    slice_bytes,
)
from mri_alps.sampling import PosteriorSamples, join_samples
from mri_alps.sampling.result import require_enough

if TYPE_CHECKING:
    from mri_alps.priors import ScoreModel

# The rest is left to slices that are read and written meanwhile, and to fragmentation.
_USABLE_SHARE = 0.8

Draw = Callable[[int, int], PosteriorSamples]
"""Draws samples: from the index of the first and their number; some of them may be lost."""


def choose_batch(
    prior: ScoreModel,
    shape: tuple[int, int],
    n_coils: int,
    n_samples: int,
    device: torch.device,
    n_processes: int = 1,
) -> int:
    """Return how many samples are to be drawn at a time.

    From the memory that is free now and what an evaluation of the prior takes, both measured,
    and the count of the sampler's own arrays.

    Parameters
    ----------
    prior : ScoreModel
        On `device`.
    shape : tuple of int
        (readout, phase_encode) of a slice.
    n_coils : int
        Coils.
    n_samples : int
        Samples per slice.
    device : torch.device
        Where they are drawn.
    n_processes : int
        Processes that share the memory.

    Returns
    -------
    int
        Between 1 and `n_samples`, and such that all batches have about the same size.
    """
    evaluation = evaluation_bytes(prior, shape, device)
    left = _USABLE_SHARE * available_bytes(device) / n_processes - slice_bytes(shape, n_coils)
    fitting = int(left / sample_bytes(shape, n_coils, evaluation))
    n_batches = math.ceil(n_samples / max(1, fitting))
    return math.ceil(n_samples / n_batches)


def check_samples(shape: tuple[int, int], n_samples: int) -> None:
    """Raise if the samples of a slice cannot be held, before any are drawn.

    Parameters
    ----------
    shape : tuple of int
        (readout, phase_encode) of a slice.
    n_samples : int
        Samples per slice.

    Raises
    ------
    ConfigurationError
        If they and their copy in one array need more memory than is free now.
    """
    free = available_bytes(torch.device("cpu"))
    each = 2 * image_bytes(shape)
    if n_samples * each > free:
        raise ConfigurationError(
            f"n_samples is {n_samples}, and so many samples of {shape[0]} x {shape[1]} need "
            f"{n_samples * each / 2**30:.3g} GiB of memory, of which {free / 2**30:.3g} are free: "
            f"expected at most {int(free / each)}"
        )


def draw_in_batches(
    draw: Draw,
    n_samples: int,
    batch: int,
    notify: Callable[[str], object] = lambda _: None,
    first: int = 0,
) -> tuple[PosteriorSamples, int]:
    """Draw samples batch by batch; where memory runs out, go on with half of it.

    Parameters
    ----------
    draw : callable
        Draws one batch.
    n_samples : int
        How many in all.
    batch : int
        How many at a time, at first.
    notify : callable
        Told in one sentence when the batch is halved, and when samples are lost.
    first : int
        Index of the first of them.

    Returns
    -------
    samples : PosteriorSamples
        All of them that are not lost, on the CPU.
    batch : int
        How many were drawn at a time in the end.

    Raises
    ------
    MriAlpsError
        If the memory does not hold a single sample, the method draws the same samples in
        every batch, or too few are left of all (see `require_enough`).
    """
    parts: list[PosteriorSamples] = []
    done, stop = first, first + n_samples
    lost: list[int] = []
    failure: DivergenceError | None = None
    while done < stop:
        count = min(batch, stop - done)
        try:
            part = _draw_if_it_fits(draw, done, count)
        except DivergenceError as error:  # of a method that gives up with its last chain
            lost += range(done, done + count)
            failure = failure or error
            done += count
            continue
        if part is None:
            batch = max(1, count // 2)
            notify(f"out of memory with {count} samples at a time: going on with {batch}")
            continue
        if any(_begins_alike(part, other) for other in parts):
            raise MriAlpsError(
                "the sampling method draws the same samples in every batch: it must address its "
                "noise by the task's `first_sample`, as `SamplingTask.noise` does"
            )
        parts.append(part)
        done += count
    if failure is not None and not parts:
        raise failure
    joined = join_samples(parts)
    joined.lost = tuple(sorted((*joined.lost, *lost)))
    joined.failure = joined.failure or failure
    require_enough(joined, notify)
    return joined, batch


def _begins_alike(part: PosteriorSamples, other: PosteriorSamples) -> bool:
    if not (len(part.samples) and len(other.samples)):
        return False
    return torch.equal(part.samples[0], other.samples[0])


def _draw_if_it_fits(draw: Draw, first: int, count: int) -> PosteriorSamples | None:
    """Return samples; None if memory ran out, after what was allocated is free again."""
    try:
        part = draw(first, count)
        part.samples = part.samples.cpu()
        return part
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if count == 1:
            raise MriAlpsError(
                f"the memory does not hold a single sample ({_first_sentence(error)}): free some, "
                "or use --device cpu, fewer coils or a smaller image"
            ) from None
    # The error, and with it what its frames hold, is gone only here.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _first_sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0].rstrip(".")
