"""Nothing in the loop leaves the device of the data, and the host never waits for it."""

import re

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.diagnostics.host_traffic import OnDevice, on_device, watched
from mri_alps.operators import SenseOperator
from mri_alps.priors import GaussianPrior
from mri_alps.sampling import alps, sample_posterior
from mri_alps.sampling.path import AlpsConfiguration
from mri_alps.sampling.restarts import sample_alps

CPU = torch.device("cpu")
SHAPE = (18, 14)
NOISE_STD = 0.05
PRIOR = GaussianPrior.power_law()


def sense(pattern):
    generator = torch.Generator().manual_seed(0)
    maps = standard_normal((3, *SHAPE), generator, torch.complex64)
    maps[:, :2] = 0
    mask = torch.arange(SHAPE[1]) % 2 == 0
    if pattern == "points":
        mask = torch.rand(SHAPE, generator=generator) < 0.5
    return SenseOperator(on_device(maps, CPU), on_device(mask, CPU))


def data_of(operator):
    generator = torch.Generator().manual_seed(1)
    image = PRIOR.sample(1, SHAPE, generator)[0]
    data = operator.forward(on_device(image, CPU))
    noise = standard_normal(tuple(data.shape), generator, torch.complex64)
    return data + NOISE_STD * on_device(noise, CPU) * operator.measured


def sample(operator, **constants):
    """Return where the host waited, the states that callbacks saw, and the result."""
    states = []

    def method(task):
        return sample_alps(task, AlpsConfiguration(**constants))

    with watched(CPU) as traffic:

        def callback(info):
            states.append(info.x)
            # The first step sets up, and the last is followed by the end of the run.
            traffic.watching = 2 <= info.step < info.n_steps

        result = sample_posterior(
            PRIOR, operator, data_of(operator), NOISE_STD, n_samples=2, n_evaluations=16,
            method=method, callback=callback, generator=torch.Generator().manual_seed(2),
        )  # fmt: skip
    places = {re.sub(r":\d+| *: .*", "", place) for place in traffic.found}
    return places, states, result


@pytest.mark.parametrize("dense_limit", [10_000, 0])
@pytest.mark.parametrize("pattern", ["lines", "points"])
@pytest.mark.parametrize("handover", [None, float("inf"), 0.01])
def test_the_loop_never_waits(pattern, dense_limit, handover):
    places, states, result = sample(sense(pattern), dense_limit=dense_limit, handover=handover)
    assert places == set()
    assert all(isinstance(state, OnDevice) for state in states)
    assert isinstance(result.samples, OnDevice)
    numbers = [level["data_misfit"] for level in result.diagnostics["levels"]]
    assert all(isinstance(number, float) for number in numbers)


@pytest.mark.parametrize("pattern", ["lines", "points"])
def test_a_step_at_the_final_level_never_waits(pattern):
    """With one level only nothing else is left to decide."""
    places, states, _ = sample(
        sense(pattern), dense_limit=0, final_share=1.0, handover=float("inf")
    )
    assert places == set() and len(states) == 16


def test_a_wait_in_the_loop_would_be_found(monkeypatch):
    measures = alps._measures

    def reads(misfit, energy):
        return {name: float(value) for name, value in measures(misfit, energy).items()}

    monkeypatch.setattr(alps, "_measures", reads)
    places, _, _ = sample(sense("lines"), dense_limit=0)
    assert places == {"alps.py (see)"}


def test_line_factors_are_one_product_on_a_device():
    factors = sense("lines").line_factors()
    # One product of matrices for a whole slice: few calls of the device.
    assert len(factors._parts._blocks) == 1
