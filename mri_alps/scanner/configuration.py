"""What a client may configure: a name, or JSON with a few parameters.

Nothing in it can name a file or a module: a prior goes by its registered name only, and the
device, the folder of saved scans and the limits belong to whoever started the server.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import (
    SettingError,
    checked,
    description,
    property_of,
    setting,
    settings,
)
from mri_alps.pipeline import ReconstructionConfiguration

NAMES = ("mri_alps", "mri-alps", "openrecon", "default", "")
"""Configuration names that stand for the defaults; scanners of OpenRecon send theirs."""
_MAX_NOTES = 10
# Written by hosts for other purposes.
_IGNORED = ("config", "customconfig", "version")


@settings
class SendingConfiguration:
    """What is sent back of a scan that comes in."""

    send_samples: bool = setting(
        "Send every posterior sample as an image of its own.",
        default=False,
        group="Output",
        from_client=True,
    )
    data_type: Literal["float32", "uint16"] = setting(
        "Of the images sent: float32, in the units of the scan's root-sum-of-squares image, or "
        "uint16: all of a scan divided by one number, their attribute mri_alps_slope.",
        default="float32",
        group="Output",
        from_client=True,
    )


@dataclass(frozen=True)
class OnlineConfiguration:
    """How a scan that comes in is reconstructed, and what is sent back.

    Parameters
    ----------
    reconstruction : ReconstructionConfiguration
        Prior, method, samples, evaluations, seed, device.
    sending : SendingConfiguration
        What is sent back.
    notes : tuple of str
        What the client should be told.
    """

    reconstruction: ReconstructionConfiguration = field(default_factory=ReconstructionConfiguration)
    sending: SendingConfiguration = field(default_factory=SendingConfiguration)
    notes: tuple[str, ...] = ()


def configure(texts: list[str], defaults: OnlineConfiguration) -> OnlineConfiguration:
    """Apply what a client sent, in this order, to the defaults.

    Parameters
    ----------
    texts : list of str
        Each the name ``mri_alps`` (or nothing), or JSON: ``{"parameters": {...}}``, or the
        parameters alone. Values may be strings. Names may lack their underscores, as OpenRecon
        requires, in any case: ``nSamples`` is ``n_samples``.
    defaults : OnlineConfiguration
        What holds where nothing is said.

    Raises
    ------
    ConfigurationError
        If a name is unknown, or a value makes no sense.
    """
    given: dict[str, Any] = {}
    notes: list[str] = []
    known = client_settings()
    spellings = {_without_underscores(name): name for name in known}
    for text in texts:
        spelled_as: dict[str, str] = {}
        for spelled, value in _parameters(text).items():
            name = spellings.get(_without_underscores(spelled), spelled)
            if spelled_as.setdefault(name, spelled) != spelled:
                raise _wrong(name, f"is given as {spelled_as[name]} and {spelled}")
            if name in known:
                given[name] = _value(name, known[name], value)
            elif name not in _IGNORED and len(notes) < _MAX_NOTES:
                notes.append(
                    f"the parameter {name[:60]!r} is unknown and ignored; the parameters are "
                    f"{', '.join(known)}"
                )
    ours = {name: given.pop(name) for name in description(SendingConfiguration) if name in given}
    reconstruction = dataclasses.replace(defaults.reconstruction, **given)
    sending = dataclasses.replace(defaults.sending, **ours)
    return OnlineConfiguration(reconstruction, sending, tuple(notes))


def _without_underscores(name: str) -> str:
    return name.replace("_", "").lower()


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


def _priors() -> list[str]:
    from mri_alps.core.plugins import PRIORS, plugin_names
    from mri_alps.priors import GAUSSIAN, available_priors

    return sorted({*available_priors(), GAUSSIAN, *plugin_names(PRIORS)})


def _methods() -> list[str]:
    from mri_alps.core.plugins import SAMPLERS, plugin_names
    from mri_alps.sampling.methods import METHODS

    return sorted({*METHODS, *plugin_names(SAMPLERS)})


def client_settings() -> dict[str, type]:
    """Return the names that a client may set, with the class that describes each."""
    return {
        name: cls
        for cls in (ReconstructionConfiguration, SendingConfiguration)
        for name, field in description(cls).items()
        if property_of(field, "from_client")
    }


def _value(name: str, cls: type, value: Any) -> Any:
    """One value as a client sent it, a text perhaps, checked against its description."""
    registered = {"prior": _priors, "method": _methods}  # never a file or a module
    if name in registered and value not in registered[name]():
        raise _wrong(
            name, f"is {str(value)[:40]!r}, expected one of {', '.join(registered[name]())}"
        )
    try:
        return checked(cls, name, value)
    except SettingError as error:
        raise _wrong(name, error.reason) from None


def _wrong(name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {reason}: change the configuration")
