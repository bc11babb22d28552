"""The expectation step: posterior samples of scans in the place of their images."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.crop import center_crop
from mri_alps.core.errors import InputFileError, MriAlpsError, MriAlpsWarning
from mri_alps.core.random import stream_seed
from mri_alps.pipeline import SliceReconstructor, costs_one_slice
from mri_alps.rawdata import read_raw
from mri_alps.training import are_kept, keep_images

if TYPE_CHECKING:
    import torch

    from mri_alps.pipeline import ReconstructionConfiguration
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import RawKSpace

_LOGGER = logging.getLogger(__name__)


def draw_images(
    scans: Sequence[Path],
    prior: ScoreModel,
    configuration: ReconstructionConfiguration,
    device: torch.device,
    cache: Path,
) -> list[Path]:
    """Draw posterior samples of every slice, and keep them where training looks for images.

    Parameters
    ----------
    scans : sequence of pathlib.Path
        Raw files, undersampled or not.
    prior : ScoreModel
        On `device`.
    configuration : ReconstructionConfiguration
        Samples, evaluations and seed; each scan has noise of its own.
    device : torch.device
        Where samples are drawn.
    cache : pathlib.Path
        Folder; scans whose samples are there already are left alone.

    Returns
    -------
    list of pathlib.Path
        The scans that have images.

    Raises
    ------
    InputFileError
        If none has.

    Warns
    -----
    MriAlpsWarning
        For scans that cannot be used.
    """
    usable = []
    for number, path in enumerate(scans):
        if not are_kept(path, cache):
            seed = stream_seed(configuration.sampler_seed, number) % 2**31
            try:
                raw = read_raw(path)
                images = _sample(raw, prior, configuration, seed, device)
            except (MriAlpsError, OSError) as error:
                warnings.warn(f"left out: {error}", MriAlpsWarning, stacklevel=2)
                continue
            keep_images(raw, cache, images)
            _LOGGER.info("[%d/%d] %s: %d samples", number + 1, len(scans), path.name, len(images))
        usable.append(path)
    if not usable:
        raise InputFileError(
            f"none of the {len(scans)} scans can be used: see the warnings above, and "
            "`mri-alps inspect` of one of them"
        )
    return usable


def _sample(
    raw: RawKSpace,
    prior: ScoreModel,
    configuration: ReconstructionConfiguration,
    seed: int,
    device: torch.device,
) -> np.ndarray:
    """Complex64 (n, H, W): the samples of all slices, cropped as the scan's image."""
    reconstructor = SliceReconstructor.of_scan(
        raw, dataclasses.replace(configuration, seed=seed), prior, device
    )
    found = []
    for index in range(raw.n_slices):
        try:
            loaded = reconstructor.load(index)
            if loaded.acquisition.is_empty:
                continue  # an empty slice teaches nothing
            samples = reconstructor.draw(loaded).samples
        except Exception as error:
            if not costs_one_slice(error):
                raise
            warnings.warn(f"{raw.path}, slice {index}: {error}", MriAlpsWarning, stacklevel=2)
            continue
        found.append(center_crop(samples, raw.crop).astype(np.complex64))
    if not found:
        raise InputFileError(f"{raw.path} has no slice that can be sampled: leave it out")
    return np.concatenate(found)
