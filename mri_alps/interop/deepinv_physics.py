"""Our operators as deepinv physics; importing this module needs deepinv."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.core.fourier import ifftc
from mri_alps.core.optional import require
from mri_alps.interop._channels import channels_to_complex, complex_to_channels
from mri_alps.interop._deepinv_parameters import find_parameters, operator_with
from mri_alps.operators import LinearOperator, SenseOperator

deepinv: Any = require("deepinv", "a deepinv physics", "deepinv")


def as_deepinv_physics(
    operator: LinearOperator, noise_std: float | None = None, **options: Any
) -> DeepinvPhysics:
    """Return an operator as a deepinv `LinearPhysics`.

    Parameters
    ----------
    operator : LinearOperator
        For example a `SenseOperator`.
    noise_std : float, optional
        Noise per real component, which is deepinv's sigma as well; no noise if left out.
    **options
        Further arguments of deepinv's `LinearPhysics`, for example `max_iter`.

    Returns
    -------
    DeepinvPhysics
        Images (B, 2, *domain_shape), measurements (B, 2, *range_shape), real.
    """
    return DeepinvPhysics(operator, noise_std, **options)


class DeepinvPhysics(deepinv.physics.LinearPhysics):
    """What `as_deepinv_physics` makes.

    Complex arrays are channels: x is (B, 2, *domain_shape) and y (B, 2, *range_shape). An
    operator with batched maps (B, coils, H, W) is one operator per image of the batch, so that x
    is (B, 2, H, W) and y (B, 2, coils, H, W), deepinv's own layout of multi-coil data.

    The operator's tensors are buffers: `to`, `double`, `state_dict` and `load_state_dict` take
    them along. A `SenseOperator` has them under the names and in the layout of deepinv's
    `MultiCoilMRI`, `mask` (B or 1, 2, H, W) and `coil_maps` (B or 1, coils, H, W), and takes other
    ones by `update`, and by the arguments `mask` and `coil_maps` of `A`, `A_adjoint` and the call,
    which stay, as they do in deepinv. Operators of other kinds refuse other tensors than their own.
    An argument that neither operator nor noise model knows is refused. Nothing is differentiated
    by masks or maps. Noise is added where the operator measures, and nowhere else.
    """

    def __init__(
        self, operator: LinearOperator, noise_std: float | None = None, **options: Any
    ) -> None:
        if noise_std is not None:
            options["noise_model"] = deepinv.physics.GaussianNoise(sigma=noise_std)
        super().__init__(**options)
        if operator.device is not None:
            self.to(operator.device)
        if operator.dtype is not None:
            self.to(operator.dtype.to_real())
        self._parameter_names: tuple[str, ...] = ()
        for name, tensor in find_parameters(operator).items():
            self.register_buffer(name, tensor.clone())
            self._parameter_names += (name,)
        self._held, self._seen = _Held(operator), self._tensors()
        self.img_size = self._image_size()

    @property
    def operator(self) -> LinearOperator:
        """The operator of the buffers as they are now."""
        now = self._tensors()
        pairs = zip(now, self._seen, strict=True)
        if any(a is not b or version != seen for (a, version), (b, seen) in pairs):
            parameters = {name: getattr(self, name) for name in self._parameter_names}
            operator = operator_with(self._held.operator, parameters, self._device_holder)
            self._held, self._seen = _Held(operator), now
        return self._held.operator

    @property
    def is_batched(self) -> bool:
        """Whether each image of the batch has maps or a mask of its own."""
        return self.operator.n_slices is not None

    def A(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Apply the operator: (B, 2, *domain_shape) to (B, 2, *range_shape).

        Parameters
        ----------
        x : torch.Tensor
            Images.
        **kwargs
            `mask` and `coil_maps` for a `SenseOperator`, from now on; the noise model's are passed
            over.
        """
        self.update_parameters(**kwargs)
        return self._through(self.operator.forward, x)

    def A_adjoint(
        self, y: torch.Tensor, rss: bool = False, crop: bool = False, **kwargs: Any
    ) -> torch.Tensor:
        """Apply the adjoint: (B, 2, *range_shape) to (B, 2, *domain_shape).

        Parameters
        ----------
        y : torch.Tensor
            Measurements.
        rss : bool
            Return the root sum of squares of the coils' images instead, (B, 1, H, W), as deepinv's
            `MultiCoilMRI` does; for a `SenseOperator`.
        crop : bool
            Changes nothing: images have the size of the k-space.
        **kwargs
            As for `A`.
        """
        self.update_parameters(**kwargs)
        if not rss:
            return self._through(self.operator.adjoint, y)
        operator = self.operator
        if not isinstance(operator, SenseOperator):
            raise ConfigurationError(f"{operator.name} has no coils: leave out rss=True")
        coils = ifftc(channels_to_complex(y).masked_fill(~operator.measured, 0))
        return coils.abs().square().sum(-3).sqrt()[:, None]

    def A_adjoint_A(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Apply A^H A by the operator's own fast way.

        Parameters
        ----------
        x, **kwargs
            As for `A`.
        """
        self.update_parameters(**kwargs)
        return self._through(self.operator.normal, x)

    def A_dagger(self, y: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Solve the least squares problem by deepinv's solvers.

        Parameters
        ----------
        y : torch.Tensor
            Measurements.
        **kwargs
            `mask` and `coil_maps` as for `A`; the rest goes to deepinv's `A_dagger`.
        """
        self.update_parameters(**{n: kwargs.pop(n) for n in self._parameter_names if n in kwargs})
        return super().A_dagger(y, **kwargs)

    def update_parameters(self, **kwargs: Any) -> None:
        """Take other tensors, for a `SenseOperator`.

        Parameters
        ----------
        **kwargs
            `mask` (H, W), (2, H, W) or (B or 1, 1 or 2, H, W) of 0 and 1; `coil_maps`
            (coils, H, W) or (B or 1, coils, H, W), complex; None leaves a tensor as it is.

        Raises
        ------
        ConfigurationError
            If an argument is neither the operator's nor the noise model's, or wants a gradient.
        ShapeError, DtypeError
            If it does not fit; the physics stays as it was.
        """
        before = {name: getattr(self, name) for name in self._parameter_names}
        given = {name: value for name, value in kwargs.items() if value is not None}
        for name, value in given.items():
            if name not in before:
                self._refuse_unknown(name)
                continue
            if isinstance(value, torch.Tensor) and value.requires_grad:
                raise ConfigurationError(
                    f"found a {name} that requires a gradient, expected one without: "
                    f"{self._held.operator.name} is not differentiated by it, detach it"
                )
            tensor = torch.as_tensor(value).to(before[name])
            while tensor.ndim < before[name].ndim:
                tensor = tensor[None]
            if name == "mask" and tensor.shape[1] == 1 and before[name].ndim == 4:
                tensor = tensor.expand(-1, 2, -1, -1)
            setattr(self, name, tensor.clone())
        try:
            self.img_size = self._image_size()
        except Exception:
            for name, tensor in before.items():
                setattr(self, name, tensor)
            raise

    def noise(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Add the noise model's noise where the operator measures.

        Parameters
        ----------
        x : torch.Tensor
            Measurements.
        **kwargs
            As the noise model takes them.
        """
        noisy = self.noise_model(x, **kwargs)
        measured = self.operator.measured
        if measured is None:
            return noisy
        if self.is_batched:
            return noisy * measured.expand(self.operator.range_shape)[:, None]
        return noisy * measured.expand(self.operator.range_shape)

    def _refuse_unknown(self, name: str) -> None:
        noise = self.noise_model
        known = inspect.signature(noise.forward).parameters
        if name not in known and not hasattr(noise, name) and name != "seed":
            has = ", ".join(self._parameter_names) or "no parameters"
            raise ConfigurationError(
                f"found an argument {name!r}, which neither {self._held.operator.name} (it has "
                f"{has}) nor {type(noise).__name__} knows: leave it out"
            )

    def _tensors(self) -> list[tuple[torch.Tensor, int]]:
        """What the operator depends on, with the counts of torch's writes into each."""
        tensors = [getattr(self, name) for name in self._parameter_names]
        return [(tensor, tensor._version) for tensor in (*tensors, self._device_holder)]

    def _image_size(self) -> tuple[int, ...]:
        return (2, *self.operator.domain_shape[1 if self.is_batched else 0 :])

    def _through(
        self, function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        n_slices = self.operator.domain_shape[0] if self.is_batched else None
        if n_slices is not None and len(x) != n_slices:
            raise ShapeError(
                f"{self.operator.name} has sensitivity maps for {n_slices} images, found a batch "
                f"of {len(x)}: give it one image per set of maps"
            )
        return complex_to_channels(function(channels_to_complex(x)))

    def _apply(self, function: Callable, *arguments: Any, **options: Any) -> Any:
        """What `to` and its relatives call on every tensor; complex ones keep both components."""
        names = [n for n in getattr(self, "_parameter_names", ()) if getattr(self, n).is_complex()]
        for name in names:
            setattr(self, name, torch.view_as_real(getattr(self, name)))
        try:
            result = super()._apply(function, *arguments, **options)
        finally:
            for name in names:
                setattr(self, name, torch.view_as_complex(getattr(self, name).contiguous()))
        return result


class _Held:
    """An operator, which never changes, so that copies share it; not all can be copied."""

    def __init__(self, operator: LinearOperator):
        self.operator = operator

    def __deepcopy__(self, memo: dict) -> _Held:
        return self
