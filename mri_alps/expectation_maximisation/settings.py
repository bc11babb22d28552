"""Settings of a training from undersampled scans."""

from __future__ import annotations

from mri_alps.core.settings import Whole, setting, settings

UNDERSAMPLED = "With --from-undersampled"


@settings
class RoundSettings:
    """How posterior samples and training take turns."""

    rounds: Whole = setting(
        "Posterior samples are drawn, and the prior is trained on them, so many times in turn; the "
        "steps are shared among the rounds.",
        default=4,
        group=UNDERSAMPLED,
        at_least=1,
        at_most=100,
    )
    posterior_samples: Whole = setting(
        "Posterior samples per slice and round.", default=2, group=UNDERSAMPLED, at_least=2
    )
    posterior_evaluations: Whole = setting(
        "Evaluations of the prior per posterior sample.",
        default=40,
        group=UNDERSAMPLED,
        at_least=5,
    )
    noise_std: float | None = setting(
        "Standard deviation of the noise per real component, in the units of the files, the same "
        "for all scans and coils. Left out: measured in each scan.",
        default=None,
        group=UNDERSAMPLED,
        above=0,
    )
