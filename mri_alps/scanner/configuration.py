"""What a client may configure: a name, or JSON with a few parameters.

Nothing in it can name a file or a module: a prior goes by its registered name only, and the
device, the folder of saved scans and the limits belong to whoever started the server.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mri_alps.core.errors import ConfigurationError
from mri_alps.pipeline import ReconstructionConfiguration

NAMES = ("mri_alps", "mri-alps", "openrecon", "default", "")
"""Configuration names that stand for the defaults; scanners of OpenRecon send theirs."""
DATA_TYPES = ("float32", "uint16")
MAX_SAMPLES = 256
MAX_EVALUATIONS = 100_000
_MAX_NOTES = 10
MAX_SEED = 2**53  # beyond it JSON numbers are not exact
# Written by hosts for other purposes.
_IGNORED = ("config", "customconfig", "version")


@dataclass(frozen=True)
class OnlineConfiguration:
    """How a scan that comes in is reconstructed, and what is sent back.

    Parameters
    ----------
    reconstruction : ReconstructionConfiguration
        Prior, method, samples, evaluations, seed, device.
    send_samples : bool
        Whether every posterior sample is sent as an image of its own.
    data_type : str
        "float32", in the units of the scan's root-sum-of-squares image, or "uint16", scaled.
    notes : tuple of str
        What the client should be told.

    Raises
    ------
    ConfigurationError
        If the data type is none of these.
    """

    reconstruction: ReconstructionConfiguration = field(default_factory=ReconstructionConfiguration)
    send_samples: bool = False
    data_type: str = "float32"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data_type not in DATA_TYPES:
            raise ConfigurationError(
                f"data_type is {str(self.data_type)[:40]!r}, expected one of "
                f"{', '.join(DATA_TYPES)}: change the configuration"
            )


def configure(texts: list[str], defaults: OnlineConfiguration) -> OnlineConfiguration:
    """Apply what a client sent, in this order, to the defaults.

    Parameters
    ----------
    texts : list of str
        Each the name ``mri_alps`` (or nothing), or JSON: ``{"parameters": {...}}``, or the
        parameters alone. Values may be strings.
    defaults : OnlineConfiguration
        What holds where nothing is said.

    Raises
    ------
    ConfigurationError
        If a name is unknown, or a value makes no sense.
    """
    settings: dict[str, Any] = {}
    notes: list[str] = []
    for text in texts:
        for name, value in _parameters(text).items():
            if name in _PARSERS:
                settings[name] = _PARSERS[name](name, value)
            elif name not in _IGNORED and len(notes) < _MAX_NOTES:
                notes.append(
                    f"the parameter {name[:60]!r} is unknown and ignored; the parameters are "
                    f"{', '.join(_PARSERS)}"
                )
    ours = {name: settings.pop(name) for name in ("send_samples", "data_type") if name in settings}
    reconstruction = dataclasses.replace(defaults.reconstruction, **settings)
    return dataclasses.replace(defaults, reconstruction=reconstruction, notes=tuple(notes), **ours)


def _parameters(text: str) -> dict[str, Any]:
    text = text.strip()
    if not text.startswith("{"):
        if text.removesuffix(".xml") not in NAMES:
            raise ConfigurationError(
                f"the configuration {text[:60]!r} is unknown: send the name mri_alps, none, or "
                'JSON such as {"parameters": {"n_samples": 8}}'
            )
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"the configuration is no valid JSON ({error}): correct it"
        ) from None
    found = found.get("parameters", found)
    if not isinstance(found, dict):
        raise ConfigurationError(
            "the configuration's `parameters` are no JSON object: send names and values"
        )
    return found


def _whole(low: int, high: int) -> Callable[[str, Any], int]:
    def parse(name: str, value: Any) -> int:
        try:
            number = float(value)
            if isinstance(value, bool) or number != int(number):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not low <= number <= high:
            raise ConfigurationError(
                f"{name} is {str(value)[:40]!r}, expected a whole number from {low} to {high}: "
                "change the configuration"
            )
        return int(number)

    return parse


def _choice(choices: Callable[[], list[str]]) -> Callable[[str, Any], str]:
    def parse(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in choices():
            raise ConfigurationError(
                f"{name} is {str(value)[:40]!r}, expected one of {', '.join(choices())}: change "
                "the configuration"
            )
        return value

    return parse


def _switch(name: str, value: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    word = str(value).strip().lower()
    if word not in words:
        raise ConfigurationError(
            f"{name} is {str(value)[:40]!r}, expected true or false: change the configuration"
        )
    return words[word]


def _priors() -> list[str]:
    from mri_alps.core.plugins import PRIORS, plugin_names
    from mri_alps.priors.registry import GAUSSIAN, available_priors

    return sorted({*available_priors(), GAUSSIAN, *plugin_names(PRIORS)})


def _methods() -> list[str]:
    from mri_alps.core.plugins import SAMPLERS, plugin_names
    from mri_alps.sampling.methods import METHODS

    return sorted({*METHODS, *plugin_names(SAMPLERS)})


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "prior": _choice(_priors),
    "method": _choice(_methods),
    "n_samples": _whole(2, MAX_SAMPLES),
    "n_evaluations": _whole(1, MAX_EVALUATIONS),
    "seed": _whole(0, MAX_SEED),
    "send_samples": _switch,
    "data_type": _choice(lambda: list(DATA_TYPES)),
}
