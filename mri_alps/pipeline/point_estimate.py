"""The image that a learned prior makes of a scan in a few evaluations, for its calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.sampling import make_problem, plug_and_play

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition, PointEstimate
    from mri_alps.priors import ScoreModel

N_EVALUATIONS = 4
"""Of the prior's denoiser for each estimate: as good for maps as 8."""
START = 0.5
"""First noise level, in units of the image."""


def is_learned(prior: ScoreModel) -> bool:
    """Return whether a score is learned: then it knows images, and not all of them.

    Parameters
    ----------
    prior : ScoreModel
        The prior.
    """
    spectrum = getattr(prior, "prior_spectrum", None)
    return spectrum is None or not spectrum.is_of_a_density


def point_estimate_of(prior: ScoreModel) -> PointEstimate | None:
    """Return what makes an image of operator, data and noise; None of a prior in closed form.

    Parameters
    ----------
    prior : ScoreModel
        The prior.
    """
    if not is_learned(prior):
        return None
    return lambda operator, data, noise_std: plug_and_play(
        prior, make_problem(operator, data, noise_std), n_steps=N_EVALUATIONS, start=START
    )[0]


def estimate_evaluations(acquisition: Acquisition) -> int:
    """Return how many evaluations of the prior the sensitivity maps of a slice took.

    Parameters
    ----------
    acquisition : Acquisition
        The slice.
    """
    return N_EVALUATIONS * int(acquisition.info.get("maps_estimates", 0))
