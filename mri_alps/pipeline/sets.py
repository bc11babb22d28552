"""Slices of several sets of sensitivity maps: their prior, and what is kept of the maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.priors import PriorOfSets

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.priors import ScoreModel


def prior_of_sets(prior: ScoreModel, acquisition: Acquisition) -> ScoreModel:
    """Return the prior of the images of all sets of maps; the prior itself for a single set.

    Parameters
    ----------
    prior : ScoreModel
        Of the first image.
    acquisition : Acquisition
        The slice, which says how large the other images are.
    """
    if acquisition.n_sets == 1:
        return prior
    return PriorOfSets.like(prior, acquisition.further_powers, acquisition.shape)


def saved_maps(
    acquisition: Acquisition, configuration: ReconstructionConfiguration
) -> np.ndarray | None:
    """Return the maps of the raw coils that a result keeps, complex64; None where it keeps none.

    All slices of a file have as many sets: those that were asked for, else the first alone.

    Parameters
    ----------
    acquisition : Acquisition
        The slice.
    configuration : ReconstructionConfiguration
        The settings.
    """
    if not configuration.save_maps:
        return None
    maps = acquisition.raw_sensitivity_maps().cpu()
    sets = maps[None] if acquisition.n_sets == 1 else maps
    wanted = configuration.n_maps or 1
    if wanted == 1:
        return sets[0].numpy().astype(np.complex64)
    missing = sets.new_zeros(max(wanted - len(sets), 0), *sets.shape[1:])
    return torch.cat([sets, missing]).numpy().astype(np.complex64)
