"""L1-wavelet reconstruction: least squares with few wavelet coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np

    from mri_alps.operators import LinearOperator


def l1_wavelets(
    operator: LinearOperator,
    kspace: torch.Tensor,
    weight: float,
    n_iterations: int = 50,
    wavelet: str = "db4",
) -> torch.Tensor:
    """Minimise |A x - y|^2 / 2 + weight |W x|_1 by FISTA, as `bart pics -l1` does.

    Parameters
    ----------
    operator : LinearOperator
        A, of norm 1 at most: as that of a scan, whose maps are normalised.
    kspace : torch.Tensor
        y, (*range_shape).
    weight : float
        Threshold of the wavelet coefficients, in units of the image.
    n_iterations : int
        Iterations.
    wavelet : str
        Orthogonal, as PyWavelets names it.

    Returns
    -------
    torch.Tensor
        (*domain_shape).

    Notes
    -----
    Lustig, Donoho and Pauly, Magn Reson Med 58:1182 (2007); Beck and Teboulle, SIAM J Imaging Sci
    2:183 (2009). sigpy's transform and iteration, on the CPU.
    """
    import sigpy

    b = operator.adjoint(kspace)
    transform = sigpy.linop.Wavelet(tuple(b.shape), wave_name=wavelet)
    threshold = sigpy.prox.UnitaryTransform(sigpy.prox.L1Reg(transform.oshape, weight), transform)

    def gradient(x: np.ndarray) -> np.ndarray:
        image = torch.as_tensor(x, device=b.device, dtype=b.dtype)
        return (operator.normal(image) - b).cpu().numpy()

    x = b.cpu().numpy().copy()
    algorithm = sigpy.alg.GradientMethod(
        gradient, x, 1.0, proxg=threshold, accelerate=True, max_iter=n_iterations
    )
    while not algorithm.done():
        algorithm.update()
    return torch.as_tensor(x, device=b.device, dtype=b.dtype)
