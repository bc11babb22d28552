"""Errors and warnings of the package.

Every error says what was found, what was expected and what to do about it; the command line
prints the message of any `MriAlpsError` as one sentence and exits with a non-zero status.
"""

from __future__ import annotations


class MriAlpsError(Exception):
    """Base of every error that the package raises on purpose."""


class InputFileError(MriAlpsError):
    """A file cannot be used; the message names the file, the finding and the remedy."""


class OutputFileError(MriAlpsError):
    """A file cannot be written; the message names the file and the reason."""


class ShapeError(MriAlpsError, ValueError):
    """An array has a shape that does not fit; the message names both shapes."""


class DtypeError(MriAlpsError, TypeError):
    """An array has a dtype that does not fit (a real array where a complex one is needed)."""


class ConfigurationError(MriAlpsError, ValueError):
    """An option or a combination of options makes no sense."""


class CalibrationError(MriAlpsError):
    """An image does not explain what was measured; the message names the likeliest cause."""


class MissingDependencyError(MriAlpsError, ImportError):
    """An optional package is missing; the message names the pip command that installs it."""


class PluginError(MriAlpsError, RuntimeError):
    """A prior, a sampler or an operator from outside the package failed; the message names it."""


class DivergenceError(MriAlpsError, RuntimeError):
    """A sampling chain left the region where the score can be trusted.

    Parameters
    ----------
    message : str
        One sentence.
    level, step : int
        Noise level and step at which the chain was found to diverge.
    magnitude : float
        What was measured, relative to what a healthy chain shows.
    """

    def __init__(self, message: str, level: int, step: int, magnitude: float):
        super().__init__(message)
        self.level = level
        self.step = step
        self.magnitude = magnitude


class MriAlpsWarning(UserWarning):
    """Something that the user should know, although the work goes on."""


def describe_error(error: Exception) -> str:
    """Return an error as one sentence.

    Parameters
    ----------
    error : Exception
        Anything.
    """
    text = " ".join(str(error).split())
    return text if isinstance(error, MriAlpsError) else f"{type(error).__name__}: {text}"


def damage_of(error: Exception) -> str:
    """Return in a few words what a library found wrong with a file.

    Parameters
    ----------
    error : Exception
        Of h5py or numpy, for example. numpy's advice to load Python objects nevertheless, which
        may run any program, is left out.
    """
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return "Python objects, which are never loaded" if "allow_pickle" in text else text
