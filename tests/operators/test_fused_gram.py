"""The fused kernel of A^H A against the pure-torch path and adjoint after forward."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mri_alps.core import devices
from mri_alps.core.random import standard_normal
from mri_alps.operators import SenseOperator
from mri_alps.operators import _gram as gram
from mri_alps.operators.conformance import check_operator
from mri_alps.operators.fused import RADICES
from mri_alps.operators.fused import _compiled as compiled
from mri_alps.operators.fused import _gram as fused
from mri_alps.operators.fused import _plan as plan
from mri_alps.operators.fused import _tables as tables
from mri_alps.operators.rounding import assert_equal_to_rounding


@pytest.fixture(autouse=True)
def _fuse_everything(monkeypatch):
    monkeypatch.setattr(gram, "_FUSED_SIZE", 0)


def make_operator(shape, mask, dtype=torch.complex64, seed=0, weights=None):
    generator = torch.Generator().manual_seed(seed)
    return SenseOperator(standard_normal(shape, generator, dtype), mask, weights)


def make_images(operator, *batch, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return standard_normal((*batch, *operator.domain_shape), generator, operator.dtype)


def random_mask(*shape, density=0.3, seed=2):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density
    mask.flatten()[0], mask.flatten()[-1] = True, False
    return mask


def assert_is_normal(operator, x):
    kernel = operator._gram
    assert type(kernel) is fused.FusedGram
    found = operator.normal(x)
    assert kernel._slices, "the kernel was not used"
    assert (found.shape, found.dtype, found.is_contiguous()) == (x.shape, x.dtype, True)
    images = x.reshape(-1, *operator.domain_shape)
    for expected in (
        kernel.fallback(images).reshape(x.shape),
        operator.adjoint(operator.forward(x)),
    ):
        error, n_summed = (found - expected).norm(), max(operator.domain_shape)
        assert_equal_to_rounding(error, 0.0, n_summed=n_summed, scale=expected.norm())


LENGTHS = [2, 3, 4, 5, 6, 8, 9, 15, 16, 17, 20, 23, 46, 49, 62, 89, 97, 100, 128, 177, 210, 211]


@pytest.mark.parametrize("width", LENGTHS)
def test_lines_of_any_length(width):
    operator = make_operator((3, 11, width), random_mask(width))
    assert_is_normal(operator, make_images(operator, 2))


@pytest.mark.parametrize("width", [320, 356, 368, 372, 640])
def test_lines_of_scanners_lengths(width):
    operator = make_operator((2, 8, width), random_mask(width, density=0.25))
    assert_is_normal(operator, make_images(operator))


@pytest.mark.parametrize("mask_shape", [(1, 20), (1, 46), (9, 1), (12, 20)])
@pytest.mark.parametrize("everywhere", [False, True])
def test_weights(mask_shape, everywhere):
    """Real factors in the place of a mask; with everything measured they still count."""
    mask = torch.ones(mask_shape, dtype=torch.bool) if everywhere else random_mask(*mask_shape)
    weights = 0.2 + torch.rand(mask_shape, generator=torch.Generator().manual_seed(4))
    shape = tuple(max(n, 8) for n in mask_shape)
    operator = make_operator((3, *shape), mask, weights=weights)
    assert_is_normal(operator, make_images(operator, 2))


@pytest.mark.parametrize("n_coils", [1, 2, 16])
@pytest.mark.parametrize("n_rows", [1, 7, 8, 17])
def test_any_number_of_coils_and_rows_along_either_axis(n_coils, n_rows):
    for shape, mask in (
        ((n_coils, n_rows, 20), random_mask(20)),
        ((n_coils, 20, n_rows), random_mask(20, 1)),
    ):
        if n_rows == 1 and mask.ndim == 2:
            continue  # then the lines vary along the last axis, too
        operator = make_operator(shape, mask)
        assert_is_normal(operator, make_images(operator, 3))


@pytest.mark.parametrize("size", [(8, 8), (9, 20), (20, 9), (21, 35), (12, 50), (64, 40)])
def test_points(size):
    operator = make_operator((5, *size), random_mask(*size))
    assert_is_normal(operator, make_images(operator, 2))


def test_points_of_lengths_without_a_plan_stay_with_torch():
    operator = make_operator((2, 22, 8), random_mask(22, 8))
    assert type(operator._gram) is gram.PlaneGram


@pytest.mark.parametrize("width", [24, 46, 89])
@pytest.mark.parametrize("kept", ["one", "all but one"])
def test_nearly_empty_and_nearly_full_masks(width, kept):
    mask = torch.zeros(width, dtype=torch.bool)
    mask[width // 3] = True
    operator = make_operator((2, 9, width), mask if kept == "one" else ~mask)
    assert_is_normal(operator, make_images(operator))


def test_an_empty_mask_gives_zero():
    operator = make_operator((2, 9, 8), torch.zeros(8, dtype=torch.bool))
    assert not operator.normal(make_images(operator)).any()


SPLITS = [
    (radices, inner, dense)
    for inner in (3, 4, 5, 6, 7, 8, 10, 12, 14, 20, 24)
    for radices in plan._splits(840 // inner)
    for dense in (False, True)
    if radices and (dense or inner in RADICES)
]


@pytest.mark.parametrize("split", SPLITS[:: len(SPLITS) // 24])
def test_every_split_of_a_length_gives_the_same(monkeypatch, split):
    real = tables.cheapest
    chosen = (0.0, *split)
    fake = lambda n, *rest: chosen if n == 840 else real(n, *rest)  # noqa: E731
    monkeypatch.setattr(tables, "cheapest", fake)
    monkeypatch.setattr(plan, "cheapest", fake)
    operator = make_operator((2, 8, 840), random_mask(840))
    assert_is_normal(operator, make_images(operator))
    part = operator._gram._slices[0]
    assert (part._transform.inner, part._transform.dense) == split[1:]
    assert sorted(part._transform.stages[:, 0]) == sorted(split[0])


@pytest.mark.parametrize("length", [12, 16, 20, 60, 92, 360])
def test_plans_visit_every_point_once(length):
    found = plan.make_plan(length, length // 4)
    assert sorted(found.inputs) == sorted(found.outputs) == list(range(length))
    assert {stage.radix for stage in found.stages} <= set(RADICES)


@pytest.mark.parametrize("mask_shape", [(3, 1, 20), (1, 1, 20), (3, 9, 1), (3, 9, 20)])
def test_slices_have_their_own_maps_and_masks(mask_shape):
    operator = make_operator((3, 2, 9, 20), random_mask(*mask_shape))
    assert_is_normal(operator, make_images(operator, 4))
    assert_is_normal(operator, make_images(operator))


@pytest.mark.parametrize("mask_shape", [(20,), (16, 20)])
def test_a_batch_is_the_same_as_its_images_bit_by_bit(mask_shape, monkeypatch):
    operator = make_operator((3, 16, 20), random_mask(*mask_shape))
    x = make_images(operator, 11)
    alone = torch.stack([operator.normal(image) for image in x])
    assert torch.equal(operator.normal(x), alone)
    monkeypatch.setattr(fused, "_IMAGES_BYTES", 1)
    assert torch.equal(make_operator((3, 16, 20), random_mask(*mask_shape)).normal(x), alone)


@pytest.mark.parametrize("mask_shape", [(20,), (16, 20)])
def test_strided_and_lazily_conjugated_images(mask_shape):
    operator = make_operator((3, 16, 20), random_mask(*mask_shape))
    x = make_images(operator, 2, 4)
    for view in (x[:, ::2], x.transpose(0, 1), x.conj(), x.flip(-1).mT.contiguous().mT):
        expected = operator.normal(view.clone(memory_format=torch.contiguous_format).resolve_conj())
        assert torch.equal(operator.normal(view), expected)
    assert operator.normal(x[:0]).shape == (0, 4, 16, 20)


@pytest.mark.parametrize("mask_shape", [(20,), (16, 1), (16, 20)])
def test_is_an_operator(mask_shape):
    check_operator(make_operator((3, 16, 20), random_mask(*mask_shape)), torch.complex64)


def test_rows_without_sensitivity_are_left_out():
    operator = make_operator((3, 30, 20), random_mask(20))
    operator.sensitivity_maps[:, :9] = 0
    operator.sensitivity_maps[:, 14] = 0
    operator.sensitivity_maps[:, 21:] = 0
    operator = SenseOperator(operator.sensitivity_maps, operator.mask)
    assert_is_normal(operator, make_images(operator, 2))
    assert len(operator._gram._slices[0]._rows) == 16
    silent = SenseOperator(torch.zeros_like(operator.sensitivity_maps), operator.mask)
    assert not silent.normal(make_images(silent)).any()


@pytest.mark.parametrize("mask_shape", [(20,), (64, 20)])
def test_all_threads_that_torch_may_use(mask_shape, monkeypatch):
    operator = make_operator((5, 64, 20), random_mask(*mask_shape))
    x = make_images(operator, 2)
    expected = operator.normal(x)
    counts = []
    run = fused.in_threads
    monkeypatch.setattr(fused, "in_threads", lambda f, n: (counts.append(n), run(f, n)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert_equal_to_rounding(operator.normal(x), expected)
    assert set(counts) == {3}


def test_many_threads_may_call_one_operator():
    operator = make_operator((4, 32, 24), random_mask(24))
    images = make_images(operator, 16)
    expected = make_operator((4, 32, 24), random_mask(24)).normal(images)
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(operator.normal, images), expected, strict=True):
            assert torch.equal(found, wanted)


@pytest.mark.parametrize("mask_shape", [(20,), (16, 20)])
def test_derivatives(mask_shape):
    operator = make_operator((3, 16, 20), random_mask(*mask_shape))
    x, direction = make_images(operator, 2), make_images(operator, 2, seed=3)
    leaf = x.clone().requires_grad_()
    operator.normal(leaf).abs().square().sum().backward()
    assert_equal_to_rounding(leaf.grad, 2 * operator.normal(operator.normal(x)))
    value, tangent = torch.func.jvp(operator.normal, (x,), (direction,))
    assert_equal_to_rounding(value, operator.normal(x))
    assert_equal_to_rounding(tangent, operator.normal(direction))
    assert_equal_to_rounding(torch.func.vmap(operator.normal)(x), operator.normal(x))
    assert_equal_to_rounding(
        torch.func.vmap(operator.normal, in_dims=1)(x.transpose(0, 1)), operator.normal(x)
    )


def test_what_has_no_memory_goes_to_torch():
    operator = make_operator((3, 16, 20), random_mask(20))
    calls = []
    operator._gram._fallback = lambda x: (calls.append(x.device.type), x)[1]
    operator._gram(torch.empty(1, 16, 20, dtype=torch.complex64, device="meta"))
    assert calls == ["meta"]


def test_what_is_not_on_the_host_goes_to_torch(monkeypatch):
    operator = make_operator((3, 16, 20), random_mask(20))
    x = make_images(operator, 2)
    monkeypatch.setattr(devices, "runs_on_host", lambda _: False)
    found = operator.normal(x)
    assert operator._gram._slices is None  # no kernel was made
    assert type(make_operator((3, 16, 20), random_mask(20))._gram) is gram.LineGram
    monkeypatch.undo()
    assert_equal_to_rounding(operator.normal(x), found)


def test_small_problems_do_not_wait_for_the_compiler(monkeypatch):
    monkeypatch.setattr(gram, "_FUSED_SIZE", 3 * 16 * 20 + 1)
    assert type(make_operator((3, 16, 20), random_mask(20))._gram) is gram.LineGram


def test_without_a_working_compiler_torch_is_used_and_it_is_said(monkeypatch):
    def broken(*_):
        raise ImportError("no numba here")

    monkeypatch.setattr(fused, "LinePart", broken)
    operator = make_operator((3, 16, 20), random_mask(20))
    x = make_images(operator)
    with pytest.warns(RuntimeWarning, match="cannot be compiled .ImportError: no numba here"):
        found = operator.normal(x)
    assert torch.equal(found, operator.normal(x))  # warns once
    assert_equal_to_rounding(found, operator.adjoint(operator.forward(x)))


def test_nowhere_to_cache(monkeypatch):
    real, options = compiled.numba.njit, []

    def njit(cache=False, **rest):
        options.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**rest)

    monkeypatch.setattr(compiled.numba, "njit", njit)

    def add_one(array):
        array += 1

    array = np.zeros(3)
    compiled._compiled(add_one)(array)
    assert options == [True, False]
    assert (array == 1).all()


def test_importing_the_operators_does_not_import_numba():
    code = "import sys, mri_alps.operators; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("mask_shape", [(20,), (89,), (16, 1), (16, 20)])
def test_double_precision(mask_shape):
    width = mask_shape[-1] if mask_shape[-1] > 1 else 20
    operator = make_operator((3, 16, width), random_mask(*mask_shape), torch.complex128)
    assert_is_normal(operator, make_images(operator, 2))
    check_operator(operator, torch.complex128)
