"""Options of the command line made from descriptions of settings."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from mri_alps.cli.help_texts import shown_default
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import (
    SettingError,
    checked,
    description,
    kinds_of,
    property_of,
    read_settings,
)

FILE_OPTION = "config"


def takes_settings(
    *classes: type,
    only: Collection[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    from_file: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an option for each setting, and call it with the settings that were given.

    The command has a parameter for each class, of any name, annotated with the class; annotated
    with ``Annotated[dict[str, Any], cls]`` it gets what was given alone, without the defaults.

    Parameters
    ----------
    *classes : type
        Made by `mri_alps.core.settings.settings`.
    only : collection of str, optional
        Names of the settings that become options; all if left out.
    defaults : mapping, optional
        Instead of the settings' own.
    from_file : bool
        Whether ``--config`` names a TOML file with settings; options win over it.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        hints = typing.get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
        receivers: dict[type, str] = {}
        for name in signature.parameters:
            kind = hints[name]
            cls = kind.__metadata__[0] if get_origin(kind) is Annotated else kind
            if cls in classes:
                receivers[cls] = name
        options = {
            name: _option(name, field, (defaults or {}).get(name, field.default))
            for cls in classes
            for name, field in description(cls).items()
            if only is None or name in only
        }
        file_option = {FILE_OPTION: _file_option()} if from_file else {}
        own = [p for name, p in signature.parameters.items() if name not in receivers.values()]

        @functools.wraps(function)
        def command(**given: Any) -> Any:
            chosen = {name: given.pop(name) for name in options}
            values = {k: v for k, v in chosen.items() if v is not None}
            file = given.pop(FILE_OPTION) if from_file else None
            if file is not None:
                values = read_settings(classes, file) | values
            values = {**(defaults or {}), **values}
            for cls, receiver in receivers.items():
                known = description(cls)
                ours = {k: v for k, v in values.items() if k in known}
                given[receiver] = _make(cls, ours, whole=hints[receiver] is cls)
            return function(**given)

        parameters = [p.replace(annotation=hints[p.name]) for p in own]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in (options | file_option).items()
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def option_name(name: str, field: FieldInfo) -> str:
    """Return how the command line calls a setting.

    Parameters
    ----------
    name : str
        Of the setting.
    field : FieldInfo
        Its description.
    """
    return property_of(field, "option") or f"--{name.replace('_', '-')}"


def _make(cls: type, values: dict[str, Any], whole: bool) -> Any:
    try:
        return cls(**values) if whole else {k: checked(cls, k, v) for k, v in values.items()}
    except SettingError as error:
        option = option_name(error.name, description(cls)[error.name])
        raise ConfigurationError(f"{option} {error.reason}") from None


def _option(name: str, field: FieldInfo, default: object) -> Any:
    kinds = [kind for kind in kinds_of(field) if kind is not type(None)]
    kind = kinds[0] if kinds[0] in (int, float, bool) else str
    said = "" if default is None or default is False else _plain(default)
    choices = get_args(kinds[0]) if get_origin(kinds[0]) is Literal else ()
    details = typer.Option(
        option_name(name, field),
        help=shown_default(field.description or "", said),
        rich_help_panel=property_of(field, "group") or None,
        metavar=property_of(field, "metavar") or "|".join(choices) or None,
        show_default=False,
    )
    return Annotated[Optional[kind], details]  # noqa: UP045 - typer resolves this at run time


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _file_option() -> Any:
    details = typer.Option(
        f"--{FILE_OPTION}",
        metavar="FILE.toml",
        help="Settings from a file, a line each, such as n_samples = 16. Options given here win.",
        show_default=False,
    )
    return Annotated[Optional[Path], details]  # noqa: UP045
