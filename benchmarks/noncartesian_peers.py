"""A^H A along a trajectory as other packages compute it, for `benchmark_noncartesian.py`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import torch

Normal = Callable[[torch.Tensor], torch.Tensor]


def peers(maps: torch.Tensor, k: torch.Tensor) -> dict[str, Normal]:
    """Return x (H, W) -> A^H A x of what is installed, by name and version."""
    found = {}
    for name, make in (("mrpro", _mrpro), ("sigpy", _sigpy), ("finufft", _finufft)):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        how = "pair" if name == "finufft" else "Toeplitz"
        found[f"{name} {version}, {how}"] = make(maps, k)
    return found


def _mrpro(maps: torch.Tensor, k: torch.Tensor) -> Normal:
    from mrpro.data import KTrajectory, SpatialDimension
    from mrpro.operators import NonUniformFastFourierOp, SensitivityOp

    height, width = maps.shape[-2:]
    single = k.to(torch.float32)[None, None, None]
    path = KTrajectory(torch.zeros(1, 1, 1, 1, 1), single[..., 0], single[..., 1])
    matrix = SpatialDimension(1, height, width)
    fourier = NonUniformFastFourierOp((-2, -1), matrix, matrix, path)
    gram = (fourier @ SensitivityOp(maps[None, :, None])).gram
    return lambda x: gram(x[None, None, None])[0][0, 0, 0]


def _sigpy(maps: torch.Tensor, k: torch.Tensor) -> Normal:
    import sigpy.linop

    shape = tuple(maps.shape)
    coils = sigpy.linop.Multiply(shape[1:], maps.numpy())
    coordinates = k.reshape(-1, 2).numpy().astype("float32")
    normal = (sigpy.linop.NUFFT(shape, coordinates, toeplitz=True) * coils).N
    return lambda x: torch.from_numpy(normal(x.numpy()))


def _finufft(maps: torch.Tensor, k: torch.Tensor) -> Normal:
    """Adjoint after forward with plans that are kept, in single precision as mrpro has it."""
    import finufft
    import numpy as np

    n_coils, height, width = maps.shape
    turns = 2 * np.pi * k.reshape(-1, 2).numpy() / np.array([height, width])
    points = [np.ascontiguousarray(turns[:, axis].astype(np.float32)) for axis in (0, 1)]
    plans = []
    for kind, sign in ((2, -1), (1, 1)):
        plan = finufft.Plan(
            kind, (height, width), n_coils, 1e-5, sign, dtype="complex64", nthreads=1,
            upsampfac=2.0,
        )  # fmt: skip
        plan.setpts(*points)
        plans.append(plan)

    def normal(x: torch.Tensor) -> torch.Tensor:
        samples = plans[0].execute((maps * x).numpy())
        coil_images = torch.from_numpy(plans[1].execute(samples))
        return (maps.conj() * coil_images).sum(0) / (height * width)

    return normal
