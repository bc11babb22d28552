"""The image that a prior makes for the calibration, and how its evaluations are counted."""

import warnings

import numpy as np
import pytest
import torch

from mri_alps import load_prior, reconstruct
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.operators import SenseOperator
from mri_alps.pipeline import point_estimate_of
from mri_alps.pipeline.point_estimate import N_EVALUATIONS
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation
from tests.calibration.test_maps_error import NOISE, SHAPE, scan


def test_a_learned_prior_makes_an_image_and_one_in_closed_form_is_not_asked():
    assert point_estimate_of(load_prior("gaussian")) is None
    kspace, mask, _, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8))
    true = simulation.coils(8, SHAPE)
    maps = torch.as_tensor(true / np.sqrt((np.abs(true) ** 2).sum(0)), dtype=torch.complex64)
    operator = SenseOperator(maps, mask)
    image = point_estimate_of(load_prior("brain-small"))(operator, kspace, NOISE)
    truth = torch.as_tensor(simulation.disc(SHAPE))
    assert image.shape == SHAPE and image.dtype == torch.complex64
    zero_filled = operator.adjoint(kspace)
    assert (image - truth).norm() < 0.3 * (zero_filled - truth).norm()


@pytest.mark.parametrize("prior", ["brain-small", "gaussian"])
def test_evaluations_for_maps_are_counted(prior):
    kspace, mask, _, _ = scan(0.0, simulation.lines(SHAPE[1], 4, 8))
    raw = raw_from_arrays(kspace.numpy()[None], mask.numpy(), noise_covariance=NOISE**2 * np.eye(8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        result = reconstruct(
            raw, prior=prior, n_samples=2, n_evaluations=4, self_calibration="off", seed=0
        )
    (count,) = result.scalars["maps_evaluations"]
    assert count % N_EVALUATIONS == 0 and bool(count) == (prior == "brain-small")
    assert result.attributes["maps_evaluations"] == count
