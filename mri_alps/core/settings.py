"""One description of a setting: type, bounds, default and help, wherever it is given.

A class of settings is a frozen dataclass whose fields are made by `setting`. Python arguments,
options of the command line, JSON from a scanner, files in TOML and the page of all settings in the
documentation derive from the same description.
"""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass as validated_dataclass
from typing_extensions import dataclass_transform

from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_Class = TypeVar("_Class", bound=type)
_LONGEST_SHOWN = 40
MAX_SETTINGS_BYTES = 2**20
"""A file of settings has a few lines."""
_CHECKS = ConfigDict(extra="forbid", allow_inf_nan=False)


def _text(value: object) -> Any:
    if isinstance(value, bytes):
        raise ValueError(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _no_flag(value: object) -> Any:
    if isinstance(value, (bool, bytes)):
        raise ValueError(value)
    return value


Text = Annotated[str, BeforeValidator(_text)]
"""A name or a path; paths are kept as text, which JSON can hold."""

Whole = Annotated[int, BeforeValidator(_no_flag), Field(ge=-(2**63), lt=2**63)]
"""A whole number that 64 bits hold; True and False are none."""

Unbounded = Annotated[float, AllowInfNan(), BeforeValidator(_no_flag)]
"""A number that may be infinite, for no limit."""


class SettingError(ConfigurationError):
    """A setting has a value that makes no sense.

    Parameters
    ----------
    name : str
        Of the setting, as Python has it.
    reason : str
        What was found and what is expected.
    """

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name} {reason}")
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return SettingError, (self.name, self.reason)


def setting(
    help: str,
    *,
    default: object = ...,
    group: str = "",
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    client_limit: float | None = None,
    from_client: bool = False,
    metavar: str | None = None,
    option: str | None = None,
    values: str | None = None,
) -> Any:
    """Describe a setting.

    Parameters
    ----------
    help : str
        One or two sentences: what it is, its unit, what the default means.
    default : any
        What holds where nothing is said; if left out, the setting has to be given.
    group : str
        Heading in ``--help`` and in the documentation.
    at_least, above, at_most, below : float, optional
        Bounds.
    client_limit : float, optional
        Largest value that a client of the server may ask for.
    from_client : bool
        Whether a client of the server may set it at all.
    metavar : str, optional
        What ``--help`` shows for the value.
    option : str, optional
        Name on the command line, where it is not the setting's with hyphens.
    values : str, optional
        Which values it takes, as the end of "expected ...", where type and bounds do not say it.
    """
    extra: dict[str, Any] = {
        "group": group,
        "client_limit": client_limit,
        "from_client": from_client,
        "metavar": metavar,
        "option": option,
        "values": values,
    }
    return Field(
        default,
        description=help,
        json_schema_extra=extra,
        ge=at_least,
        gt=above,
        le=at_most,
        lt=below,
    )


@dataclass_transform(frozen_default=True, field_specifiers=(setting,))
def settings(cls: _Class) -> _Class:
    """Make a class a frozen dataclass whose values are checked, also by `dataclasses.replace`.

    Parameters
    ----------
    cls : type
        With annotated fields made by `setting`.

    Raises
    ------
    SettingError
        When an instance is made with a value that makes no sense, or an unknown name.
    """
    made = validated_dataclass(frozen=True, config=_CHECKS)(cls)
    validate = made.__init__

    @functools.wraps(validate)
    def __init__(self: object, *args: Any, **values: Any) -> None:
        try:
            validate(self, *args, **values)
        except ValidationError as error:
            raise _first_error(made, error) from None

    made.__init__ = __init__  # type: ignore[method-assign]
    return made  # type: ignore[return-value]


def description(cls: type) -> dict[str, FieldInfo]:
    """Return the settings of a class by name; fields that `setting` did not make are none.

    Parameters
    ----------
    cls : type
        Made by `settings`.
    """
    fields = cls.__pydantic_fields__  # type: ignore[attr-defined]
    return {name: field for name, field in fields.items() if field.description}


def property_of(field: FieldInfo, name: str) -> Any:
    """Return what `setting` was given under a name.

    Parameters
    ----------
    field : FieldInfo
        From `description`.
    name : str
        For example "group" or "metavar".
    """
    extra = field.json_schema_extra
    return extra.get(name) if isinstance(extra, dict) else None


def expected(field: FieldInfo, limit: float | None = None, found: object = None) -> str:
    """Say which values a setting takes, as the end of "expected ...".

    Parameters
    ----------
    field : FieldInfo
        From `description`.
    limit : float, optional
        Instead of its own upper bound.
    found : object
        What was given; the bounds of 64 bits are only named where it is beyond them.
    """
    kinds = kinds_of(field)
    none = ", or none" if type(None) in kinds else ""
    values = property_of(field, "values")
    if get_origin(kinds[0]) is Literal:
        values = f"one of {', '.join(get_args(kinds[0]))}"
    if values:
        return f"{values}{none}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    text = next(names[kind] for kind in kinds if kind in names)
    words = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    bounds = {
        key: getattr(each, key)
        for each in field.metadata
        for key in words
        if hasattr(each, key) and abs(getattr(each, key)) < 2**63  # those of `Whole` say nothing
    }
    if limit is not None:
        bounds["le"] = limit
    shown = {key: f"{bound:g}" for key, bound in bounds.items()}
    if int in kinds and _is_beyond(found):
        shown = {"ge": "-2^63", **shown} if shown.keys().isdisjoint(("ge", "gt")) else shown
        shown = {**shown, "lt": "2^63"} if shown.keys().isdisjoint(("le", "lt")) else shown
    limits = " and ".join(f"{words[key]} {bound}" for key, bound in shown.items())
    return f"{text} {limits}".strip() + none


def _is_beyond(value: object) -> bool:
    try:
        return abs(int(value)) >= 2**63  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return False


def kinds_of(field: FieldInfo) -> list[Any]:
    """Return the types of a setting, without what `Annotated` adds to them.

    Parameters
    ----------
    field : FieldInfo
        From `description`.
    """
    found = get_args(field.annotation) if _is_union(field.annotation) else (field.annotation,)
    return [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in found]


def _is_union(annotation: object) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def checked(cls: type, name: str, value: object) -> Any:
    """Return one value as a class of settings would keep it.

    Parameters
    ----------
    cls : type
        Made by `settings`.
    name : str
        Of the setting.
    value : any
        As it came, a text for example.

    Raises
    ------
    SettingError
        If it makes no sense.
    """
    field = description(cls)[name]
    try:
        annotation: Any = Annotated[field.annotation, field]
        found = TypeAdapter(annotation, config=_CHECKS).validate_python(value)
    except ValidationError:
        raise _error(name, field, value) from None
    limit = property_of(field, "client_limit")
    if limit is not None and found is not None and found > limit:
        raise _error(name, field, value, limit)
    return found


def read_settings(classes: Iterable[type], path: Path) -> dict[str, Any]:
    """Read settings from a TOML file of names and values.

    Parameters
    ----------
    classes : iterable of type
        Made by `settings`: their settings may stand in the file.
    path : pathlib.Path
        For example ``n_samples = 16``, a line each.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is no TOML, or holds an unknown name.
    """
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib

    try:
        found = tomllib.loads(settings_text(path))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"the settings in {path} cannot be read ({error}): expected TOML such as n_samples = 16"
        ) from None
    known = [name for cls in classes for name in description(cls)]
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ConfigurationError(
            f"{path}: unknown setting {', '.join(unknown)}: the settings are {', '.join(known)}"
        )
    return found


def settings_text(path: Path) -> str:
    """Return the text of a file of settings.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Raises
    ------
    OSError, UnicodeDecodeError
        If it cannot be read, or is no text.
    ConfigurationError
        If it is a pipe or a device, which may have no end, or far longer than settings are.
    """
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{path} is no regular file: name a file of settings on a disk")
    with path.open("rb") as stream:
        content = stream.read(MAX_SETTINGS_BYTES + 1)
    if len(content) > MAX_SETTINGS_BYTES:
        raise ConfigurationError(
            f"{path} has more than {MAX_SETTINGS_BYTES // 2**20} MiB, which no file of settings "
            "has: name another file"
        )
    return content.decode("utf-8")


def settings_table(cls: type) -> str:
    """Return all settings of a class as a table in Markdown.

    Parameters
    ----------
    cls : type
        Made by `settings`.
    """
    rows = ["| setting | values | default | meaning |", "|---|---|---|---|"]
    for name, field in description(cls).items():
        default = "" if field.is_required() or field.default is None else f"`{field.default}`"
        rows.append(f"| `{name}` | {expected(field)} | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _first_error(cls: type, error: ValidationError) -> SettingError | ConfigurationError:
    first = error.errors(include_url=False)[0]
    name, found, fields = ".".join(map(str, first["loc"])), first["input"], description(cls)
    if isinstance(first.get("ctx", {}).get("error"), ConfigurationError):
        return first["ctx"]["error"]
    if name.partition(".")[0] in fields and first["type"] != "missing":
        name = name.partition(".")[0]
        return _error(name, fields[name], found)
    if first["type"] == "unexpected_keyword_argument" and "." not in name:
        return ConfigurationError(f"unknown setting {name}: the settings are {', '.join(fields)}")
    reason = "" if first["type"] == "missing" else f" is {_shown(found)}"
    return ConfigurationError(f"{cls.__name__}: {name}{reason}: {first['msg']}")


def _error(name: str, field: FieldInfo, value: object, limit: float | None = None) -> SettingError:
    return SettingError(name, f"is {_shown(value)}, expected {expected(field, limit, value)}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
