"""Solvers on a device: never waited for, and as far as on the CPU."""

from functools import partial

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.diagnostics.host_traffic import on_device
from mri_alps.inverse_problem import _iteration_plan as iteration_plan
from mri_alps.inverse_problem._iteration_plan import LAG, IterationPlan
from mri_alps.inverse_problem.covariance import make_covariance
from mri_alps.inverse_problem.problem import make_problem
from mri_alps.operators import SenseOperator
from mri_alps.priors import GaussianPrior
from mri_alps.sampling import AlpsConfiguration, sample_posterior
from mri_alps.sampling.restarts import sample_alps

CPU = torch.device("cpu")
SHAPE = (18, 14)
NOISE_STD = 0.02


def numbers(needed, unsolved=False):
    return torch.tensor(needed), torch.tensor([unsolved])


def test_the_last_solutions_are_not_asked_about(monkeypatch):
    log = []

    class Event:
        def __init__(self, number):
            self.number = number

        def synchronize(self):
            log.append(self.number)

    monkeypatch.setattr(iteration_plan, "send_to_host", lambda n: (n, Event(int(n))))
    plan = IterationPlan(60)
    for needed in range(1, 6):
        plan.record(*numbers(needed))
        plan.n_iterations()
        assert log == list(range(1, needed + 1 - LAG))


def test_the_most_that_was_needed_counts_and_what_was_not_solved_most():
    plan = IterationPlan(60)
    found = []
    for needed, unsolved in ((8, False), (3, False), (12, False), (19, True), (2, False)):
        plan.record(*numbers(needed, unsolved))
        found.append(plan.n_iterations())
    for _ in range(LAG):
        plan.record(*numbers(0))
        found.append(plan.n_iterations())
    assert found == [60] * LAG + [13, 13, 19, 60, 60]


def test_where_no_number_can_be_sent_all_iterations_are_made():
    assert iteration_plan.send_to_host(torch.zeros((), device="meta")) is None
    plan = IterationPlan(60)
    for _ in range(LAG + 1):
        plan.record(torch.zeros((), device="meta"), torch.zeros(2, dtype=torch.bool, device="meta"))
    assert plan.n_iterations() == 60


def sense(pattern, there):
    generator = torch.Generator().manual_seed(0)
    maps = standard_normal((3, *SHAPE), generator, torch.complex64)
    mask = torch.arange(SHAPE[1]) % 3 == 0
    if pattern == "points":
        mask = torch.rand(SHAPE, generator=generator) < 0.4
    move = partial(on_device, device=CPU) if there else lambda tensor: tensor
    return SenseOperator(move(maps), move(mask)), move


@pytest.mark.parametrize("pattern", ["lines", "points"])
def test_iterations_beyond_those_needed_change_nothing(pattern):
    solutions, made = [], []
    for there in (False, True):
        operator, move = sense(pattern, there)
        problem = make_problem(
            operator, move(torch.zeros(operator.range_shape, dtype=torch.complex64)), NOISE_STD
        )
        covariance = make_covariance(problem, dense_limit=0)
        most = covariance.preconditioner.max_iterations
        fisher = torch.linspace(1, 30, 18)[:, None].expand(SHAPE)
        level = covariance.at(fisher, problem.noise_std)
        for seed in range(LAG + 2):
            target = standard_normal(
                (3, *SHAPE), torch.Generator().manual_seed(seed), torch.complex64
            )
            target *= torch.tensor([1.0, 100.0, 10_000.0])[:, None, None]
            found = level.solve(move(target))
            solutions.append(found.x)
            made.append(found.n_normals)
    # The CPU's, then the device's: all that are allowed first, then what those have told.
    n = LAG + 2
    assert made[n : n + LAG + 1] == [most] * (LAG + 1)
    assert made[-1] == min(most, -(-3 * made[0] // 2) + 1) > made[n - 1]
    for here, there in zip(solutions[:n], solutions[n:], strict=True):
        torch.testing.assert_close(there.as_subclass(torch.Tensor), here, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pattern", ["lines", "points"])
def test_samples_do_not_depend_on_the_plan(pattern, monkeypatch):
    prior = GaussianPrior.power_law()
    operator, move = sense(pattern, there=True)
    image = prior.sample(1, SHAPE, torch.Generator().manual_seed(1))[0]
    data = operator.forward(move(image))

    def draw():
        return sample_posterior(
            prior, operator, data, NOISE_STD, n_samples=2, n_evaluations=8,
            method=lambda task: sample_alps(task, AlpsConfiguration(dense_limit=0)),
            generator=torch.Generator().manual_seed(2),
        ).samples  # fmt: skip

    plan, planned = IterationPlan.n_iterations, []
    with monkeypatch.context() as watched:
        watched.setattr(
            IterationPlan, "n_iterations", lambda self: planned.append(plan(self)) or planned[-1]
        )
        expected = draw()
    assert min(planned) < max(planned)  # otherwise there was no plan to depend on
    monkeypatch.setattr(iteration_plan, "send_to_host", lambda _: None)
    assert torch.equal(draw(), expected)
