"""Data y = A x + n, their noise, and the posterior under a Gaussian prior."""

from mri_alps.inverse_problem.covariance import (
    DENSE_LIMIT,
    FINAL_TOLERANCE,
    START_ITERATIONS,
    TOLERANCE,
    CovarianceAtLevel,
    PosteriorCovariance,
    Solution,
    SolvedCovariance,
    is_wide,
    make_covariance,
)
from mri_alps.inverse_problem.noise import ChainNoise
from mri_alps.inverse_problem.preconditioner import (
    FourierPreconditioner,
    Preconditioner,
    to_image,
    to_spectrum,
)
from mri_alps.inverse_problem.problem import OperatorLike, Problem, make_problem

__all__ = ["ChainNoise", "Preconditioner", "Problem", "make_problem"]
