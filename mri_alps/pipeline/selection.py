"""Which slices of a scan are reconstructed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.rawdata import RawKSpace


def chosen_slices(raw: RawKSpace, configuration: ReconstructionConfiguration) -> tuple[int, ...]:
    """Return the slices to reconstruct.

    Parameters
    ----------
    raw : RawKSpace
        For the number of slices.
    configuration : ReconstructionConfiguration
        For the choice.

    Raises
    ------
    ConfigurationError
        If a slice is asked for that the scan does not have.
    """
    if configuration.slices is None:
        return tuple(range(raw.n_slices))
    outside = [index for index in configuration.slices if not 0 <= index < raw.n_slices]
    if outside or not configuration.slices:
        raise ConfigurationError(
            f"{raw.path} has the slices 0 to {raw.n_slices - 1}, asked for was "
            f"{outside or 'none'}: change --slices"
        )
    return configuration.slices
