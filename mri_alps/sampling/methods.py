"""The methods that `sample_posterior` knows by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.plugins import SAMPLERS, load_plugin, plugin_names
from mri_alps.sampling.baselines import sample_csgm, sample_dps
from mri_alps.sampling.restarts import sample_alps
from mri_alps.sampling.xgp import sample_xgp1, sample_xgp2, sample_xgp3

if TYPE_CHECKING:
    from mri_alps.sampling.task import Method

METHODS: dict[str, Method] = {
    "alps": sample_alps,
    "xgp1": sample_xgp1,
    "xgp2": sample_xgp2,
    "xgp3": sample_xgp3,
    "csgm": sample_csgm,
    "dps": sample_dps,
}


def find_method(name: str) -> Method:
    """Return a method of this package, or one that an installed package registers.

    Parameters
    ----------
    name : str
        A key of `METHODS`, or a name in the entry-point group ``mri_alps.samplers`` (see
        `mri_alps.core.plugins`): a function from `SamplingTask` to `PosteriorSamples`. The methods
        of this package cannot be replaced.

    Raises
    ------
    ConfigurationError
        If there is none of this name.
    """
    if name in METHODS:
        return METHODS[name]
    registered = plugin_names(SAMPLERS)
    if name not in registered:
        raise ConfigurationError(
            f"no sampling method called {name!r}: expected one of "
            f"{', '.join([*METHODS, *registered])}, or a callable"
        )
    method = load_plugin(SAMPLERS, name)
    if not callable(method):
        raise ConfigurationError(
            f"the sampling method {name!r}, registered in the entry-point group {SAMPLERS}, is a "
            f"{type(method).__name__}: expected a function of a SamplingTask"
        )
    return method
