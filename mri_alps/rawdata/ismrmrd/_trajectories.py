"""Trajectories that the acquisitions of an ISMRMRD file carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.heads import Heads
    from mri_alps.rawdata.ismrmrd.store import AcquisitionStore


def count_trajectories(store: AcquisitionStore, heads: Heads) -> int:
    """Return how many lines have a trajectory that is not zero throughout.

    Parameters
    ----------
    store : AcquisitionStore
        The acquisitions.
    heads : Heads
        The lines that are looked at.
    """
    carrying = heads.index[heads.trajectory_dimensions > 0]
    if len(carrying) == 0:
        return 0
    with store.opened_trajectories() as read:
        return sum(bool(np.any(read(int(index), 1)[0])) for index in carrying)
