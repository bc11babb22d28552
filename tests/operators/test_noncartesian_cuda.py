"""The same code on a CUDA device: operators and samples of shots are those of the CPU."""

import pytest
import torch

from mri_alps import load_prior, sample_posterior
from mri_alps.core.random import standard_normal
from mri_alps.diagnostics.host_traffic import on_device, watched
from mri_alps.operators import (
    NonCartesianSenseOperator,
    golden_radial,
    kooshball,
    simulate,
    single_coil_maps,
    spiral,
)
from mri_alps.operators.conformance import check_operator

pytest.importorskip("finufft", reason="shots take finufft")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


def cases():
    generator = torch.Generator().manual_seed(0)
    plane, box = (24, 20), (12, 10, 8)

    def maps(*shape):
        return standard_normal(shape, generator, torch.complex64)

    own = torch.stack([golden_radial(9, 30, plane), spiral(9, 30, plane)])
    return {
        "radial": (maps(5, *plane), golden_radial(9, 30, plane)),
        "spiral": (maps(40, *plane), spiral(3, 90, plane)),  # many coils: what is fused on CPUs
        "slices": (maps(2, 3, *plane), golden_radial(9, 30, plane)),
        "slices with paths of their own": (maps(2, 3, *plane), own),
        "3-D": (maps(3, *box), kooshball(20, 16, box)),
    }


@needs_cuda
@pytest.mark.parametrize("name", list(cases()))
def test_operators_are_those_of_the_cpu(name):
    maps, path = cases()[name]
    here = NonCartesianSenseOperator(maps, path)
    for there in (NonCartesianSenseOperator(maps.to(CUDA), path.to(CUDA)), here.to(CUDA)):
        generator = torch.Generator().manual_seed(1)
        x = standard_normal((2, *here.domain_shape), generator, torch.complex64)
        y = standard_normal((2, *here.range_shape), generator, torch.complex64)
        for method, value in (("forward", x), ("adjoint", y), ("normal", x)):
            found = getattr(there, method)(value.to(CUDA))
            expected = getattr(here, method)(value)
            assert found.device.type == "cuda"
            assert (found.cpu() - expected).norm() < 1e-5 * expected.norm()
        diagonal = there.normal_fourier_diagonal()
        assert diagonal.device.type == "cuda"
        torch.testing.assert_close(diagonal.cpu(), here.normal_fourier_diagonal(), rtol=1e-4,
                                   atol=1e-5)  # fmt: skip


@needs_cuda
def test_it_conforms_and_repeats_are_equal():
    maps, path = cases()["radial"]
    operator = NonCartesianSenseOperator(maps.to(CUDA), path)
    check_operator(operator, torch.complex64)  # transforms run on the host: no atomics
    y = torch.ones(operator.range_shape, dtype=torch.complex64, device=CUDA)
    assert torch.equal(operator.adjoint(y), operator.adjoint(y))


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_the_loop_does_not_wait_for_the_host(name):
    """On the CPU marked tensors take a GPU's road."""
    device = torch.device(name)
    maps, path = cases()["radial"]
    operator = NonCartesianSenseOperator(on_device(maps, device), path)
    x = on_device(torch.ones(operator.domain_shape, dtype=torch.complex64), device)
    expected = NonCartesianSenseOperator(maps, path).normal(x.cpu().as_subclass(torch.Tensor))
    operator.normal(x)
    with watched(device) as traffic:
        traffic.watching = True
        found = operator.normal(x)
        traffic.watching = False
    assert not traffic.found
    error = found.as_subclass(torch.Tensor).cpu() - expected
    assert error.norm() < 1e-5 * expected.norm()


@needs_cuda
def test_samples_are_those_of_the_cpu():
    shape = (32, 32)
    prior = load_prior("gaussian")
    maps, path = single_coil_maps(shape), golden_radial(13, 64, shape)
    here = NonCartesianSenseOperator(maps, path)
    generator = torch.Generator().manual_seed(0)
    image = prior.sample(1, shape, generator, torch.complex64, prior.sigma_min)[0]
    data = simulate(here, image, 0.05, generator)
    settings = {"n_samples": 2, "n_evaluations": 8}
    drawn = []
    for device in ("cpu", "cuda"):
        operator = NonCartesianSenseOperator(maps.to(device), path)
        generator = torch.Generator().manual_seed(3)
        found = sample_posterior(
            load_prior("gaussian"), operator, data.to(device), 0.05,
            generator=generator, **settings,
        )  # fmt: skip
        drawn.append(found.samples.cpu())
    assert (drawn[0] - drawn[1]).norm() < 1e-2 * drawn[0].norm()
