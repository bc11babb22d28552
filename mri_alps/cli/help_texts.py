"""One spelling in ``--help``: what a value is called, and what holds where none is given."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

_METAVARS = {bool: "", int: "N", float: "NUMBER", Path: "PATH"}
_LEFT_OUT = re.compile(r"\s*Left out: ((?:(?!\. ).)*)\.$")


def spell(app: typer.Typer) -> None:
    """Let all commands name values in capitals, and put defaults in brackets.

    Whole numbers are N, other numbers NUMBER, files and folders PATH, texts NAME, and arguments
    their own name, unless one was given a word of its own. A help text that ends in
    "Left out: ..." ends in the brackets that typer writes for other defaults.

    Parameters
    ----------
    app : typer.Typer
        With its commands.
    """
    for registered in app.registered_commands:
        function = registered.callback
        assert function is not None
        hints = typing.get_type_hints(function, include_extras=True)
        for name, kind in hints.items():
            for info in getattr(kind, "__metadata__", ()):
                if isinstance(info, ArgumentInfo | OptionInfo):
                    _spell(info, name, kind.__origin__)
        # Texts of annotations would be read anew, into descriptions that nobody has spelled.
        function.__annotations__ = hints


def _spell(info: ArgumentInfo | OptionInfo, name: str, kind: Any) -> None:
    if info.help:
        info.help = shown_default(info.help)
    if info.metavar is None and isinstance(info, ArgumentInfo):
        info.metavar = name.upper()
    elif info.metavar is None:
        kinds = [part for part in typing.get_args(kind) if part is not type(None)] or [kind]
        info.metavar = _METAVARS.get(kinds[0], "NAME")


def shown_default(help: str, default: str = "") -> str:
    """Return a help text whose last sentence, if it says what holds by default, is in brackets.

    Parameters
    ----------
    help : str
        For example "Slices. Left out: all."
    default : str
        What holds by default, whatever the last sentence says.
    """
    # typer would show a default given as a text in parentheses
    if default:
        return f"{_LEFT_OUT.sub('', help)} \\[default: {default}]"
    return _LEFT_OUT.sub(lambda found: f" \\[default: {found[1]}]", help)
