"""How well a prior predicts measured lines that were left out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import MriAlpsWarning
from mri_alps.pipeline import ReconstructionConfiguration, SliceReconstructor, measure_left_out
from mri_alps.rawdata import read_raw

if TYPE_CHECKING:
    import torch

    from mri_alps.priors import ScoreModel

N_SLICES = 6  # of the held-out scans in all


def left_out_errors(
    scans: Sequence[Path],
    prior: ScoreModel,
    configuration: ReconstructionConfiguration,
    device: torch.device,
) -> list[float]:
    """Predict left-out lines of scans that the prior was not trained on.

    Needs no image that is known: each scan is calibrated and sampled without a sixth of its lines,
    and these are compared with what the posterior mean says of them.

    Parameters
    ----------
    scans : sequence of pathlib.Path
        Undersampled; one slice of each is looked at, or more where there are few scans.
    prior : ScoreModel
        On `device`.
    configuration : ReconstructionConfiguration
        Samples and evaluations.
    device : torch.device
        Where samples are drawn.

    Returns
    -------
    list of float
        The error's energy over that of the noise in the left-out lines, in dB, for each choice of
        lines that are left out, the same ones for the same configuration; empty where no line can
        be.
    """
    found = []
    scans = scans[:: max(len(scans) // N_SLICES, 1)][:N_SLICES]
    per_scan = max(N_SLICES // max(len(scans), 1), 1)
    for path in scans:
        raw = read_raw(path)
        with warnings.catch_warnings():  # they were said when the scan was sampled
            warnings.simplefilter("ignore", MriAlpsWarning)
            reconstructor = SliceReconstructor.of_scan(raw, configuration, prior, device)
            for index in _spread(raw.n_slices, per_scan):
                found += [
                    float(10 * np.log10(fold.error.sum() / fold.noise.sum()))
                    for fold in measure_left_out(reconstructor, index)
                ]
    return found


def _spread(n_slices: int, count: int) -> list[int]:
    """Indices spread over a scan, each once."""
    count = min(count, n_slices)
    return [(2 * i + 1) * n_slices // (2 * count) for i in range(count)]
