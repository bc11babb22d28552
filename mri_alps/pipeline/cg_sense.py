"""SENSE reconstruction by conjugate gradients: least squares, without a prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.solvers import conjugate_gradient

if TYPE_CHECKING:
    import torch

    from mri_alps.operators import LinearOperator


def cg_sense(
    operator: LinearOperator,
    kspace: torch.Tensor,
    n_iterations: int = 30,
    regularization: float = 0.0,
) -> torch.Tensor:
    """Minimise |A x - y|^2 + regularization |x|^2.

    Parameters
    ----------
    operator : LinearOperator
        A.
    kspace : torch.Tensor
        y, (..., *range_shape).
    n_iterations : int
        Iterations; few of them regularise, too.
    regularization : float
        Weight of |x|^2.

    Returns
    -------
    torch.Tensor
        (..., *domain_shape).

    Notes
    -----
    Pruessmann et al., Magn Reson Med 46:638 (2001).
    """

    def apply(x: torch.Tensor) -> torch.Tensor:
        response = operator.normal(x)
        return response.add(x, alpha=regularization) if regularization else response

    b = operator.adjoint(kspace)
    return conjugate_gradient(apply, b, n_iterations, len(operator.domain_shape))
