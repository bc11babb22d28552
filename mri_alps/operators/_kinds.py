"""Which dtypes and devices go together: the rules shared by all operators."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from mri_alps.core.errors import DtypeError

COMPLEX_OF = {torch.float32: torch.complex64, torch.float64: torch.complex128}
REAL_OF = {c: r for r, c in COMPLEX_OF.items()} | {r: r for r in COMPLEX_OF}


class HasKind(Protocol):
    """Anything with a dtype and a device that may be None (any)."""

    dtype: torch.dtype | None
    device: torch.device | None


def common_kind(where: str, *operators: HasKind) -> tuple[torch.dtype | None, torch.device | None]:
    """Return the dtype and device that all of `operators` accept.

    Parameters
    ----------
    where : str
        Who asks, for the message.
    *operators : object
        With `dtype` and `device`, either of which may be None.

    Raises
    ------
    DtypeError
        If they differ in precision or device.
    """
    dtypes = {o.dtype for o in operators if o.dtype is not None}
    devices = {o.device for o in operators if o.device is not None}
    if len({REAL_OF[d] for d in dtypes}) > 1 or len(devices) > 1:
        raise DtypeError(
            f"{where}: found the dtypes {sorted(map(str, dtypes))} on the devices "
            f"{sorted(map(str, devices))}, expected one precision and one device; convert with "
            ".to(device, dtype)"
        )
    dtype = next((d for d in dtypes if d.is_complex), next(iter(dtypes), None))
    return dtype, next(iter(devices), None)


def require_floating(where: str, x: torch.Tensor) -> None:
    """Raise DtypeError unless `x` has single or double precision, real or complex.

    Parameters
    ----------
    where : str
        Who asks, for the message.
    x : torch.Tensor
        Any tensor.
    """
    if x.dtype not in REAL_OF:
        raise DtypeError(
            f"{where}: found {x.dtype}, expected float32, float64, complex64 or complex128"
        )


def with_precision(
    x: torch.Tensor, device: torch.device | None, real_dtype: torch.dtype | None
) -> torch.Tensor:
    """Move `x`; change its precision, leaving real tensors real and complex ones complex.

    Parameters
    ----------
    x : torch.Tensor
        Real or complex.
    device : torch.device or None
        None leaves it where it is.
    real_dtype : torch.dtype or None
        torch.float32 or torch.float64; None leaves it as it is.
    """
    dtype = x.dtype
    if real_dtype is not None and (dtype.is_complex or dtype.is_floating_point):
        dtype = COMPLEX_OF[real_dtype] if dtype.is_complex else real_dtype
    return x.to(device=device or x.device, dtype=dtype)


def fits(found: torch.dtype, wanted: torch.dtype | None) -> bool:
    """Tell whether a tensor of dtype `found` suits an operator of dtype `wanted`.

    Parameters
    ----------
    found : torch.dtype
        Of the tensor.
    wanted : torch.dtype or None
        Of the operator; None takes all.
    """
    if wanted is None:
        return found in REAL_OF
    return found == wanted or (wanted in COMPLEX_OF and found == COMPLEX_OF[wanted])


def describe(dtype: torch.dtype | None) -> str:
    """Say in words which dtypes an operator of `dtype` accepts.

    Parameters
    ----------
    dtype : torch.dtype or None
        Of the operator.
    """
    if dtype is None:
        return "float32, float64, complex64 or complex128"
    return str(dtype) if dtype.is_complex else f"{dtype} or {COMPLEX_OF[dtype]}"


def as_tensor(array: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Return a tensor without gradient; anything else than a tensor is copied.

    torch cannot take numpy arrays that are reversed, and warns of read-only ones.

    Parameters
    ----------
    array : torch.Tensor or numpy.ndarray
        Anything that holds numbers.
    """
    return array.detach() if isinstance(array, torch.Tensor) else torch.as_tensor(np.array(array))
