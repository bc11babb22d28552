"""A^H A as other packages compute it, for `benchmark_normal.py`."""

from __future__ import annotations

import importlib
import importlib.metadata

PEERS = ("sigpy", "deepinv", "mrpro")


def versions():
    """Return the version of each peer; None where it is not installed."""
    found = {}
    for name in PEERS:
        try:
            importlib.import_module(name)
            found[name] = importlib.metadata.version(name)
        except ImportError:
            found[name] = None
    return found


def make_peer(name, maps, mask):
    """Return the map x (H, W) -> A^H A x of a peer."""
    return {"sigpy": _sigpy, "deepinv": _deepinv, "mrpro": _mrpro}[name](maps, mask)


def _sigpy(maps, mask):
    import sigpy.mri
    import torch

    weights = mask.expand(maps.shape[1:]).numpy().astype("float32")
    normal = sigpy.mri.linop.Sense(maps.numpy(), weights=weights).N
    return lambda x: torch.from_numpy(normal(x.numpy()))


def _deepinv(maps, mask):
    import deepinv
    import torch

    physics = deepinv.physics.MultiCoilMRI(
        mask=mask.expand(maps.shape[1:]).float(), coil_maps=maps, img_size=maps.shape[1:]
    )

    def normal(x):
        channels = torch.view_as_real(x).movedim(-1, 0)[None]
        result = physics.A_adjoint(physics.A(channels))[0]
        return torch.view_as_complex(result.movedim(0, -1).contiguous())

    return normal


def _mrpro(maps, mask):
    from mrpro.operators import FastFourierOp, SensitivityOp

    encode = FastFourierOp(dim=(-2, -1)) @ SensitivityOp(maps[None, :, None])

    def normal(x):
        (kspace,) = encode(x[None, None, None])
        (image,) = encode.adjoint(kspace * mask)
        return image[0, 0, 0]

    return normal
