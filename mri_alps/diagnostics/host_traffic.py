"""Where a computation makes the host wait for its device, found out with or without a device.

On CUDA torch itself tells (`torch.cuda.set_sync_debug_mode`). Elsewhere tensors are marked as lying
on a device, `OnDevice`, and what would have to wait or to be copied there is recorded.
"""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_PACKAGE = Path(__file__).parents[1]
_READS = frozenset(
    [
        "item",
        "tolist",
        "numpy",
        "cpu",
        "__array__",
        "__bool__",
        "__float__",
        "__int__",
        "__index__",
        "__complex__",
    ]
)
_WAITS = frozenset(
    [
        "nonzero",
        "argwhere",
        "masked_select",
        "equal",
        "unique",
        "unique_consecutive",
        "bincount",
        "is_nonzero",
        "repeat_interleave",
        "histc",
    ]
)
_COPIES = frozenset(["as_tensor", "tensor", "to", "cuda", "asarray", "from_numpy", "scalar_tensor"])
_MAKES = frozenset(
    [
        "zeros",
        "ones",
        "empty",
        "full",
        "arange",
        "linspace",
        "rand",
        "randn",
        "randint",
        "randperm",
        "eye",
        "logspace",
        "hann_window",
        "fftfreq",
        "rfftfreq",
        "normal",
    ]
)


class OnDevice(torch.Tensor):
    """A tensor on the CPU that is taken for one on a device; what is made of it is one too."""


class HostTraffic(TorchFunctionMode):
    """Record what a device would make the host wait for, while `watching`.

    Attributes
    ----------
    watching : bool
        Whether to record; set and cleared by whoever knows when the loop begins and ends.
    found : list of str
        "file:line (function): operation", each place once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.watching = False
        self.found: list[str] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Look at one call, and do it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        marked = any(isinstance(a, OnDevice) for a in _tensors((*args, *kwargs.values())))
        if self.watching:
            reason = _reason(name, args, kwargs, marked)
            if reason:
                self._record(reason)
        result = func(*args, **kwargs)
        made = name in _MAKES | _COPIES and _names_device(name, args, kwargs)
        if made and isinstance(result, torch.Tensor) and not isinstance(result, OnDevice):
            return result.as_subclass(OnDevice)
        return result

    def _record(self, reason: str) -> None:
        frames = traceback.extract_stack()
        own = [f for f in frames if Path(f.filename).is_relative_to(_PACKAGE)]
        own = [f for f in own if Path(f.filename) != Path(__file__)] or frames[-3:-2]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno} ({own[-1].name}): {reason}"
        if place not in self.found:
            self.found.append(place)


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device; on the CPU it is marked, so that a GPU's code path is taken.

    Parameters
    ----------
    tensor : torch.Tensor
        Anywhere.
    device : torch.device
        The CPU stands in for a device that is not there.
    """
    moved = tensor.to(device)
    return moved.as_subclass(OnDevice) if device.type == "cpu" else moved


@contextlib.contextmanager
def watched(device: torch.device) -> Iterator[HostTraffic]:
    """Record what makes the host wait for `device` inside the block, while `watching` is set.

    Parameters
    ----------
    device : torch.device
        CUDA, or the CPU with tensors from `on_device`.

    Yields
    ------
    HostTraffic
        Its `found` is complete when the block is left.
    """
    if device.type != "cuda":
        with HostTraffic() as traffic:
            yield traffic
        return
    traffic = _CudaTraffic()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            yield traffic
        finally:
            traffic.watching = False
    for warning in heard:
        if "synchronizing CUDA operation" in str(warning.message):
            traffic.found.append(f"{Path(warning.filename).name}:{warning.lineno}")
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    traffic.found = list(dict.fromkeys(traffic.found))


class _CudaTraffic(HostTraffic):
    """The same on CUDA, where torch does the watching; never entered as a mode."""

    @property
    def watching(self) -> bool:
        """Whether torch is told to warn."""
        return torch.cuda.get_sync_debug_mode() != 0

    @watching.setter
    def watching(self, value: bool) -> None:
        torch.cuda.set_sync_debug_mode("warn" if value else "default")


def _reason(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], marked: bool) -> str | None:
    if marked and name in _READS:
        return f"{name.strip('_')} reads a tensor of the device"
    repeats = args[1] if len(args) > 1 else kwargs.get("repeats")
    if name == "repeat_interleave" and not isinstance(repeats, torch.Tensor):
        return None
    if marked and name in _WAITS:
        return f"{name} has a result of unknown size"
    if marked and name in ("__getitem__", "__setitem__") and _indexed_by_values(args[1]):
        return "indexing waits for its indices"
    if name in _COPIES and not marked and _names_device(name, args, kwargs):
        return f"{name} copies to the device"
    return None


def _names_device(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if kwargs.get("device") is not None:
        return True
    return name in ("to", "cuda") and any(isinstance(a, (torch.device, str)) for a in args[1:])


def _indexed_by_values(index: object) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(
        isinstance(part, list) or (isinstance(part, torch.Tensor) and part.dtype == torch.bool)
        for part in parts
    )


def _tensors(values: tuple[Any, ...]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (v for v in value if isinstance(v, torch.Tensor))
