"""What a setting may be: wrong types, NaN and numbers out of range are named at the door."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from mri_alps.core.errors import ConfigurationError

MOST = 2**63 - 1
_SHOWN = 60


@dataclass(frozen=True)
class Rule:
    """What fits a setting.

    Parameters
    ----------
    expected : str
        In words, for the message.
    fits : callable
        Of the value; whatever it raises counts as no.
    """

    expected: str
    fits: Callable[[Any], bool]

    def or_none(self) -> Rule:
        """Return the rule of a setting that may also be left out."""
        return Rule(f"{self.expected} or None", lambda value: value is None or self.fits(value))


def whole(least: int = 0, most: int = MOST) -> Rule:
    """Return the rule of an integer; True and False are none.

    Parameters
    ----------
    least, most : int
        The bounds, both in.
    """
    bound = f"from {least} to {'2^63 - 1' if most == MOST else most}"

    def fits(value: object) -> bool:
        return isinstance(value, Integral) and not _is_flag(value) and least <= int(value) <= most

    return Rule(f"a whole number {bound}", fits)


def number(low: float = -math.inf, high: float = math.inf, ends: str = "()") -> Rule:
    """Return the rule of a finite real number between two bounds.

    Parameters
    ----------
    low, high : float
        The bounds.
    ends : str
        Whether they are in, "[]", or out, "()", or one of them, "[)" and "(]".
    """
    parts = []
    if low > -math.inf:
        parts.append(f"{'of at least' if ends[0] == '[' else 'above'} {low:g}")
    if high < math.inf:
        parts.append(f"{'of at most' if ends[1] == ']' else 'below'} {high:g}")
    expected = f"a finite number {' and '.join(parts)}".strip()
    if parts == ["above 0"]:
        expected = "a positive, finite number"

    def fits(value: object) -> bool:
        if not isinstance(value, Real) or _is_flag(value) or not math.isfinite(value):
            return False
        above = float(value) >= low if ends[0] == "[" else float(value) > low
        return above and (float(value) <= high if ends[1] == "]" else float(value) < high)

    return Rule(expected, fits)


def instance(*kinds: type, named: str = "") -> Rule:
    """Return the rule of an object of one of some classes.

    Parameters
    ----------
    *kinds : type
        The classes.
    named : str
        What to call such an object, if not by its class.
    """
    return Rule(
        named or " or ".join(kind.__name__ for kind in kinds), lambda v: isinstance(v, kinds)
    )


TEXT = instance(str, named="a text")
PATH = Rule(
    "a path, without a null character",
    lambda value: isinstance(value, (str, os.PathLike)) and "\0" not in os.fsdecode(value),
)
FLAG = Rule("True or False", lambda value: _is_flag(value))
FUNCTION = Rule("a function", callable)


def several(rule: Rule) -> Rule:
    """Return the rule of a sequence whose members all fit a rule.

    Parameters
    ----------
    rule : Rule
        Of the members.
    """

    def fits(value: object) -> bool:
        return (
            isinstance(value, Sequence)
            and not isinstance(value, (str, bytes))
            and all(map(rule.fits, value))
        )

    return Rule(f"a sequence, each member {rule.expected}", fits)


def check(where: str, rules: Mapping[str, Rule], values: Mapping[str, Any]) -> None:
    """Raise if a value does not fit the rule of its name.

    Parameters
    ----------
    where : str
        The function or class, for the message.
    rules : mapping
        From names to rules.
    values : mapping
        From names to values, ``locals()`` for example.

    Raises
    ------
    ConfigurationError
        Naming the setting, what was found and what was expected.
    """
    for name, rule in rules.items():
        try:
            fits = bool(rule.fits(values[name]))
        except Exception:  # noqa: BLE001 - a value that cannot even be compared
            fits = False
        if not fits:
            raise ConfigurationError(
                f"{where}: found {name}={_shown(values[name])}, expected {rule.expected}"
            )


def as_path(where: str, value: Any, name: str = "path") -> Path:
    """Return a path.

    Parameters
    ----------
    where : str
        The function, for the message.
    value : str or os.PathLike
        What the caller gave.
    name : str
        Of the argument.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    check(where, {name: PATH}, {name: value})
    return Path(value)


def as_utf8(text: str) -> str:
    r"""Return a text that can be written as UTF-8.

    Parameters
    ----------
    text : str
        The name of a file, or what a damaged one holds: bytes that are no UTF-8 become "\xff" and
        the like.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    plain = value is None or isinstance(value, (str, bytes, int, float, complex))
    return text if plain else f"{text} ({type(value).__name__})"
