"""The label of an OpenRecon container, and the rules that Siemens' schema 1.1.0 sets for it.

The rules are written down here from the schema that neurodesk/openrecon publishes as
``recipes/OpenReconSchema_1.1.0.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

LABEL_NAME = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"
"""Of the label that holds the description, as base64."""
MAX_PARAMETERS = 14

_REGULATORY = (
    *("device_trade_name", "production_identifier", "manufacturer_address", "made_in"),
    *("manufacture_date", "material_number", "gtin", "udi", "safety_advices"),
    *("special_operating_instructions", "additional_relevant_information"),
)
_COMMON: dict[str, type] = {"type": str, "id": str, "label": dict}
_INTEGER: dict[str, type] = {"minimum": int, "maximum": int, "default": int}
_NUMBER: dict[str, type] = {"minimum": float, "maximum": float, "default": float}
# type: (required entries, others)
_PARAMETERS: dict[str, tuple[dict[str, type], dict[str, type]]] = {
    "boolean": ({**_COMMON, "default": bool}, {"information": dict}),
    "string": (_COMMON, {"information": dict, "default": str, "isLargeText": bool}),
    "choice": ({**_COMMON, "default": str, "values": list}, {"information": dict}),
    "int": ({**_COMMON, **_INTEGER}, {"information": dict, "unit": dict}),
    "double": ({**_COMMON, **_NUMBER}, {"information": dict, "unit": dict}),
}
_GENERAL = {
    **{name: str for name in ("version", "vendor", "id")},
    **{name: dict for name in ("name", "information", "regulatory_information")},
}
_RECONSTRUCTION = {
    **{"transfer_protocol": dict, "port": int, "emitter": str, "injector": str},
    **{"can_use_gpu": bool, "min_required_memory": int, "min_count_required_cpu_cores": int},
}
_RECONSTRUCTION_MORE = {
    **{"can_process_adjustment_data": bool, "min_count_required_gpus": int},
    **{"min_required_gpu_memory": int, "content_qualification_type": str},
    **{"require_readout_filter_off": bool, "channel_compression": dict},
}
_VALUES = {
    "emitter": ("raw", "image"),
    "injector": ("compleximage", "image"),
    "content_qualification_type": ("PRODUCT", "SERVICE", "RESEARCH"),
}
_LEAST = {
    **{"min_count_required_gpus": 0, "min_required_gpu_memory": 0, "min_required_memory": 0},
    **{"min_count_required_cpu_cores": 1},
}
# https://semver.org
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def read_label() -> dict[str, Any]:
    """Return the description of this package's container."""
    folder = resources.files("mri_alps") / "scanner" / "openrecon"
    return json.loads((folder / "label.json").read_text("utf-8"))


def check_label(label: dict[str, Any]) -> list[str]:
    """Return what a description breaks of the rules, a sentence each.

    Parameters
    ----------
    label : dict
        As `read_label` returns it.
    """
    parts = {"general": dict, "reconstruction": dict, "parameters": list}
    found = _entries("the label", label, parts)
    if found:
        return found
    found += _check_general(label["general"])
    found += _check_reconstruction(label["reconstruction"])
    entries = label["parameters"]
    if len(entries) > MAX_PARAMETERS:
        found.append(f"there are {len(entries)} parameters, at most {MAX_PARAMETERS} are taken")
    names = [entry.get("id") for entry in entries]
    found += [f"parameter {name} occurs twice" for name in {n for n in names if names.count(n) > 1}]
    return found + [text for entry in entries for text in _check_parameter(entry)]


def _check_general(general: dict[str, Any]) -> list[str]:
    found = _entries("general", general, _GENERAL, {"license_string": str})
    if not found:
        regulatory = dict.fromkeys(_REGULATORY, str)
        found += _entries("regulatory_information", general["regulatory_information"], regulatory)
        found += _english("general name", general["name"])
        found += _english("general information", general["information"])
        if not _VERSION.fullmatch(general["version"]):
            found.append(f"version {general['version']!r} is none such as 1.2.3")
    return found


def _check_reconstruction(settings: dict[str, Any]) -> list[str]:
    found = _entries("reconstruction", settings, _RECONSTRUCTION, _RECONSTRUCTION_MORE)
    for name, values in _VALUES.items():
        if settings.get(name, values[0]) not in values:
            found.append(f"{name} is {settings[name]!r}, expected {' or '.join(values)}")
    for name, least in _LEAST.items():
        if settings.get(name, least) < least:
            found.append(f"{name} is {settings[name]}, expected at least {least}")
    protocol = settings.get("transfer_protocol")
    if protocol != {"protocol": "ISMRMRD", "version": "1.4.1"}:
        found.append(f"transfer_protocol is {protocol}, expected ISMRMRD 1.4.1")
    return found


def _check_parameter(entry: dict[str, Any]) -> list[str]:
    name, kind = f"parameter {entry.get('id')!r}", entry.get("type")
    if kind not in _PARAMETERS:
        return [f"{name} has the type {kind!r}, expected {', '.join(_PARAMETERS)}"]
    found = _entries(name, entry, *_PARAMETERS[kind])
    if found:
        return found
    if not re.fullmatch("[A-Za-z0-9]+", entry["id"]):
        found.append(f"{name} has other characters than letters and digits in its id")
    for part in ("label", "information", "unit"):
        found += _english(f"{name} {part}", entry.get(part, {"en": "mm"}))
    if not 1 <= len(entry.get("unit", {}).get("en", "mm")) <= 3:
        found.append(f"{name} has a unit of {len(entry['unit']['en'])} letters, expected 1 to 3")
    if kind in ("int", "double") and not entry["minimum"] <= entry["default"] <= entry["maximum"]:
        found.append(f"{name} has a default outside its bounds")
    if kind == "int" and max(abs(entry["minimum"]), abs(entry["maximum"])) >= 2**31:
        found.append(f"{name} has bounds that 32 bits do not hold")
    if kind == "choice":
        for value in entry["values"]:
            found += _entries(f"a value of {name}", value, {"id": str, "name": dict})
        if not found and entry["default"] not in [value["id"] for value in entry["values"]]:
            found.append(f"{name} has a default that is none of its values")
    return found


def _english(name: str, text: dict[str, Any]) -> list[str]:
    return [] if isinstance(text.get("en"), str) else [f"{name} has no English text `en`"]


def _entries(
    name: str,
    found: Any,
    required: Mapping[str, type],
    others: Mapping[str, type] | None = None,
) -> list[str]:
    """Say which entries are missing, unknown or of another type."""
    if not isinstance(found, dict):
        return [f"{name} is a {type(found).__name__}, expected an object"]
    known = {**required, **(others or {})}
    said = [f"{name} lacks {key}" for key in required if key not in found]
    said += [f"{name} has the unknown entry {key}" for key in found if key not in known]
    for key, kind in known.items():
        if key in found and not _is_a(found[key], kind):
            said.append(f"{key} of {name} is {found[key]!r}, expected {kind.__name__}")
    return said


def _is_a(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
