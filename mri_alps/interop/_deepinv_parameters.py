"""The tensors of an operator as buffers of a deepinv physics, and back."""

from __future__ import annotations

import torch

from mri_alps.core.errors import ConfigurationError, DtypeError
from mri_alps.operators import LinearOperator, SenseOperator


def find_parameters(operator: LinearOperator) -> dict[str, torch.Tensor]:
    """Return the tensors that say what an operator is, by name.

    Parameters
    ----------
    operator : LinearOperator
        Of a `SenseOperator` they are mask and maps in the layout of deepinv's `MultiCoilMRI`, and
        weights where it has them; of another its public tensors, and those of the operators that
        it is made of.
    """
    if isinstance(operator, SenseOperator):
        return _sense_parameters(operator)
    found: dict[str, torch.Tensor] = {}
    for name, value in vars(operator).items():
        if name.startswith("_"):
            continue
        if isinstance(value, torch.Tensor):
            found[f"operator_{name}"] = value
        elif isinstance(value, LinearOperator):
            inner = find_parameters(value)
            found |= {f"operator_{name}_{k.removeprefix('operator_')}": t for k, t in inner.items()}
    return found


def operator_with(
    operator: LinearOperator, parameters: dict[str, torch.Tensor], like: torch.Tensor
) -> LinearOperator:
    """Return an operator with the tensors given.

    Parameters
    ----------
    operator : LinearOperator
        What there was.
    parameters : dict of torch.Tensor
        Names and layout of `find_parameters`.
    like : torch.Tensor
        Whose device and precision an operator of another kind gets.

    Raises
    ------
    ConfigurationError
        If they are not those of an operator that cannot take others.
    """
    if isinstance(operator, SenseOperator):
        return _sense_with(parameters)
    operator = operator.to(like.device, like.dtype)
    own = find_parameters(operator)
    for name, tensor in parameters.items():
        if own[name].shape != tensor.shape or not torch.equal(_coarse(own[name]), _coarse(tensor)):
            raise ConfigurationError(
                f"found another tensor {name}, which {operator.name} cannot take: make a new "
                "operator, and a physics of it"
            )
    return operator


def _coarse(x: torch.Tensor) -> torch.Tensor:
    """In single precision, through which a physics may have gone: `float()`, then `double()`."""
    return x.to(torch.complex64 if x.is_complex() else torch.float32)


def _sense_parameters(operator: SenseOperator) -> dict[str, torch.Tensor]:
    maps, image = operator.sensitivity_maps, operator.domain_shape[-2:]
    batched = maps if maps.ndim == 4 else maps[None]
    real = maps.dtype.to_real()

    def planes(x: torch.Tensor) -> torch.Tensor:
        return x.expand(*x.shape[:-2], *image).reshape(-1, 1, *image).expand(-1, 2, -1, -1).to(real)

    found = {"mask": planes(operator.mask), "coil_maps": batched}
    return found if operator.weights is None else found | {"weights": planes(operator.weights)}


def _sense_with(parameters: dict[str, torch.Tensor]) -> SenseOperator:
    maps, mask = parameters["coil_maps"], _plane("mask", parameters["mask"])
    weights = parameters.get("weights")
    weights = None if weights is None else _plane("weights", weights)
    n_images = max(len(x) for x in (maps, mask, weights) if x is not None)
    if n_images == 1:
        return SenseOperator(maps[0], mask[0], None if weights is None else weights[0])
    if len(maps) == 1:
        maps = maps.expand(n_images, -1, -1, -1)
    return SenseOperator(maps, mask, weights)


def _plane(name: str, channels: torch.Tensor) -> torch.Tensor:
    plane = channels[:, 0]
    if channels.shape[1] != 2 or not torch.equal(plane, channels[:, 1]):
        raise DtypeError(
            f"{name}: found {channels.shape[1]} channels, or two that differ, expected two equal "
            "ones, for the real and the imaginary part"
        )
    return plane
