"""The SENSE operator against dense matrices and sigpy; its fast normal; its errors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal
from mri_alps.operators import (
    FourierOperator,
    InpaintingOperator,
    SenseOperator,
    SensitivityOperator,
    single_coil_maps,
    to_dense,
)
from mri_alps.operators import _gram as gram
from mri_alps.operators.rounding import assert_equal_to_rounding


def make_maps(n_coils, size, dtype=torch.complex128, slices=()):
    return standard_normal((*slices, n_coils, *size), torch.Generator().manual_seed(0), dtype)


def make_mask(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.5


def make_images(*shape, dtype=torch.complex128, seed=2):
    return standard_normal(shape, torch.Generator().manual_seed(seed), dtype)


def centred_dft(n):
    """The matrix of the centred orthonormal transform, written out."""
    index = np.arange(n) - n // 2
    return np.exp(-2j * np.pi * np.outer(index, index) / n) / np.sqrt(n)


@pytest.mark.parametrize("size", [(4, 6), (5, 4), (3, 7)])
@pytest.mark.parametrize("lines", [True, False])
def test_is_mask_times_transform_times_maps(size, lines):
    maps, mask = make_maps(2, size), make_mask(size[1]) if lines else make_mask(*size)
    transform = np.kron(centred_dft(size[0]), centred_dft(size[1]))
    diagonal = np.broadcast_to(mask.numpy(), size).reshape(-1, 1)
    expected = np.concatenate([diagonal * transform * m.reshape(1, -1) for m in maps.numpy()])
    assert_equal_to_rounding(to_dense(SenseOperator(maps, mask)), expected)


@pytest.mark.parametrize("size", [(12, 10), (11, 13)])
def test_agrees_with_sigpy(size):
    linop = pytest.importorskip("sigpy.mri.linop")
    maps, mask = make_maps(3, size), make_mask(*size)
    operator = SenseOperator(maps, mask)
    reference = linop.Sense(maps.numpy(), weights=mask.numpy().astype(float))
    x = make_images(*size)
    assert_equal_to_rounding(operator.forward(x), reference(x.numpy()))
    assert_equal_to_rounding(operator.normal(x), reference.N(x.numpy()))


def test_equals_the_composition_of_its_factors():
    size = (6, 5)
    maps, mask = make_maps(3, size), make_mask(*size)
    composed = (
        InpaintingOperator(mask, (3, *size))
        @ FourierOperator((3, *size))
        @ SensitivityOperator(maps)
    )
    x = make_images(2, *size)
    operator = SenseOperator(maps, mask)
    assert_equal_to_rounding(operator.forward(x), composed.forward(x))
    assert_equal_to_rounding(operator.normal(x), composed.normal(x))


def test_single_coil_is_the_masked_transform():
    mask, x = make_mask(7), make_images(6, 7)
    operator = SenseOperator(single_coil_maps((6, 7), torch.complex128), mask)
    assert_equal_to_rounding(operator.forward(x)[0], fftc(x) * mask)


def test_every_way_to_write_a_mask_means_the_same():
    maps, lines = make_maps(2, (5, 6)), make_mask(6)
    x = make_images(5, 6)
    expected = SenseOperator(maps, lines.expand(5, 6)).forward(x)
    array = lines.numpy()
    reversed_view, read_only = array[::-1].copy()[::-1], np.broadcast_to(array, (5, 6))
    for mask in (
        lines,
        lines[None],
        lines[None, None],
        lines.float(),
        lines.int(),
        array,
        reversed_view,
        read_only,
    ):
        assert torch.equal(SenseOperator(maps, mask).forward(x), expected)


def test_slices_have_their_own_maps_and_masks():
    maps, mask = make_maps(2, (5, 6), slices=(3,)), make_mask(3, 5, 6)
    x = make_images(4, 3, 5, 6)
    together = SenseOperator(maps, mask)
    for i in range(3):
        alone = SenseOperator(maps[i], mask[i])
        assert_equal_to_rounding(together.forward(x)[:, i], alone.forward(x[:, i]))
        assert_equal_to_rounding(together.normal(x)[:, i], alone.normal(x[:, i]))
    beside_kspace = SenseOperator(maps, mask[:, None])
    assert torch.equal(beside_kspace.forward(x), together.forward(x))


def test_chooses_the_gram_form_by_what_varies_in_the_mask():
    maps = make_maps(2, (6, 5))
    for mask, form in (
        (make_mask(5), gram.LineGram),
        (make_mask(5).expand(6, 5), gram.LineGram),
        (make_mask(6, 1).expand(6, 5), gram.TransposedGram),
        (make_mask(6, 5), gram.PlaneGram),
        (torch.ones(6, 5), gram.DiagonalGram),
    ):
        assert type(SenseOperator(maps, mask)._gram) is form


@pytest.mark.parametrize("in_cache", [True, False], ids=["cpu path", "gpu path"])
@pytest.mark.parametrize("budget", [1, 1000, 1 << 28])
@pytest.mark.parametrize("mask_shape", [(10,), (9, 1), (9, 10), (3, 9, 10), (3, 1, 10)])
def test_normal_does_not_depend_on_path_or_chunks(monkeypatch, mask_shape, budget, in_cache):
    monkeypatch.setattr(gram, "_works_in_cache", lambda x: in_cache)
    monkeypatch.setattr(gram, "_CPU_CHUNK_BYTES", budget)
    monkeypatch.setattr(gram, "_DEVICE_CHUNK_BYTES", budget)
    operator = SenseOperator(make_maps(4, (9, 10), slices=(3,)), make_mask(*mask_shape))
    x = make_images(2, 3, 9, 10)
    expected = operator.adjoint(operator.forward(x))
    assert_equal_to_rounding(operator.normal(x), expected)


@pytest.mark.parametrize("width", [41, 82, 89, 94, 131])
def test_awkward_lengths_are_embedded(width):
    mask = make_mask(width)
    for maps, shape in (
        (make_maps(2, (3, width)), mask),
        (make_maps(2, (width, 3)), mask[:, None]),
    ):
        operator = SenseOperator(maps, shape)
        line_gram = operator._gram if shape is mask else operator._gram.gram
        assert line_gram.weights.shape[-2] >= 2 * width - 1
        x = make_images(2, *operator.domain_shape)
        expected = operator.adjoint(operator.forward(x))
        assert_equal_to_rounding(operator.normal(x), expected)


def test_unmeasured_entries_are_zero_and_ignored():
    mask = torch.tensor([True, False, True, True, False])
    operator = SenseOperator(make_maps(2, (4, 5)), mask)
    kspace = operator.forward(make_images(4, 5))
    assert (kspace[..., ~mask] == 0).all()
    garbage = kspace.clone()
    garbage[..., ~mask] = float("nan")
    assert torch.equal(operator.adjoint(garbage), operator.adjoint(kspace))
    assert torch.equal(operator.measured.expand(operator.range_shape)[0, 0], mask)


def test_does_not_share_the_callers_mask():
    mask, x = make_mask(4, 5), make_images(4, 5)
    operator = SenseOperator(make_maps(2, (4, 5)), mask)
    before = operator.forward(x)
    mask.fill_(False)
    assert torch.equal(operator.forward(x), before)


def test_normal_can_run_in_threads():
    operator = SenseOperator(make_maps(4, (32, 24), torch.complex64), make_mask(24))
    images = make_images(16, 32, 24, dtype=torch.complex64)
    expected = [operator.normal(x) for x in images]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(operator.normal, images), expected, strict=True):
            assert torch.equal(found, wanted)


@pytest.mark.parametrize("mask_shape", [(10,), (9, 1), (9, 10)])
def test_gradients_flow_through_all_three(mask_shape):
    operator = SenseOperator(make_maps(2, (9, 10)), make_mask(*mask_shape))
    x, y = make_images(9, 10), make_images(2, 9, 10)
    for apply, argument in ((operator.normal, x), (operator.forward, x), (operator.adjoint, y)):
        leaf = argument.clone().requires_grad_()
        result = apply(leaf)
        (result.abs() ** 2).sum().backward()
        back = operator.adjoint if apply == operator.forward else operator.forward
        expected = 2 * (operator.normal(result) if apply == operator.normal else back(result))
        assert_equal_to_rounding(leaf.grad, expected.detach())


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("mask_shape", [(20,), (16, 1), (16, 20)])
def test_functional_transforms_of_normal(mask_shape):
    operator = SenseOperator(make_maps(3, (16, 20)), make_mask(*mask_shape))
    x, direction = make_images(2, 16, 20), make_images(2, 16, 20, seed=9)
    value, tangent = torch.func.jvp(operator.normal, (x,), (direction,))
    assert_equal_to_rounding(value, operator.normal(x))
    assert_equal_to_rounding(tangent, operator.normal(direction))
    assert_equal_to_rounding(torch.func.vmap(operator.normal)(x), operator.normal(x))


@pytest.mark.parametrize("mask_shape", [(20,), (16, 1), (16, 20)])
def test_normal_of_strided_and_lazily_conjugated_images(mask_shape):
    operator = SenseOperator(make_maps(3, (16, 20)), make_mask(*mask_shape))
    x = make_images(2, 4, 16, 20)
    for view in (x[:, ::2], x.transpose(0, 1), x.conj(), x.mT.contiguous().mT):
        plain = view.clone(memory_format=torch.contiguous_format).resolve_conj()
        assert_equal_to_rounding(operator.normal(view), operator.normal(plain))


class NoHostReads(TorchDispatchMode):
    """Fails where a value would be read back by the host, which stalls a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(func), "the loop waits for a value"
        assert "nonzero" not in str(func), "the loop waits for a size"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("in_cache", [True, False], ids=["cpu path", "gpu path"])
@pytest.mark.parametrize("mask_shape", [(10,), (9, 1), (9, 10)])
def test_normal_never_waits_for_the_device(monkeypatch, mask_shape, in_cache):
    monkeypatch.setattr(gram, "_works_in_cache", lambda x: in_cache)
    operator = SenseOperator(make_maps(2, (9, 10)), make_mask(*mask_shape))
    x = make_images(3, 9, 10)
    with NoHostReads():
        operator.normal(x)
        operator.forward(x)
        with pytest.raises(AssertionError, match="waits"):
            x.abs().max().item()


def test_to_changes_precision():
    operator = SenseOperator(make_maps(2, (6, 5)), make_mask(5))
    x = make_images(6, 5)
    for dtype in (torch.complex64, torch.float32):
        single = operator.to(dtype)
        assert single.dtype == torch.complex64
        found = single.normal(x.to(torch.complex64))
        assert_equal_to_rounding(found, operator.normal(x).to(torch.complex64))
    assert operator.to("cpu").dtype == torch.complex128
    assert operator.to("cpu", torch.complex64).to(torch.float64).dtype == torch.complex128


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[:, :4], ShapeError, r"SenseOperator.forward.*\(6, 4\).*\(\.\.\., 6, 5\)"),
        (lambda x: x[0], ShapeError, r"found shape \(5,\)"),
        (lambda x: x.real, DtypeError, r"found torch.float64, expected torch.complex128"),
        (lambda x: x.to(torch.complex64), DtypeError, r"found torch.complex64, expected"),
        (lambda x: x.numpy(), DtypeError, r"found ndarray, expected a torch.Tensor"),
        (lambda x: x.to("meta"), DtypeError, r"found a tensor on meta, expected it on cpu"),
    ],
)
def test_images_that_do_not_fit_are_named(change, error, message):
    operator = SenseOperator(make_maps(2, (6, 5)), make_mask(5))
    with pytest.raises(error, match=message):
        operator.forward(change(make_images(6, 5)))
    with pytest.raises(error):
        operator.normal(change(make_images(6, 5)))


def test_kspace_that_does_not_fit_is_named():
    operator = SenseOperator(make_maps(2, (6, 5)), make_mask(5))
    with pytest.raises(ShapeError, match=r"SenseOperator.adjoint.*\(3, 6, 5\).*2, 6, 5"):
        operator.adjoint(make_images(3, 6, 5))


@pytest.mark.parametrize(
    ("maps", "mask", "error", "message"),
    [
        (
            make_maps(2, (6, 5)).real,
            make_mask(5),
            DtypeError,
            "sensitivity_maps: found torch.float",
        ),
        (make_maps(2, (6, 5)).numpy(), make_mask(5), DtypeError, "found ndarray"),
        (make_maps(2, (6, 5))[0], make_mask(5), ShapeError, r"found shape \(6, 5\)"),
        (make_maps(2, (6, 5)), make_mask(6), ShapeError, r"sampling mask.*lines along the last"),
        (make_maps(2, (6, 5)), make_mask(2, 6, 5), ShapeError, r"found shape \(2, 6, 5\)"),
        (make_maps(2, (6, 5), slices=(3,)), make_mask(2, 6, 5), ShapeError, r"sampling mask"),
        (make_maps(2, (6, 5)), torch.full((5,), 0.5), DtypeError, "other than 0 and 1"),
        (make_maps(2, (6, 5)), torch.full((5,), torch.nan), DtypeError, "other than 0 and 1"),
    ],
)
def test_maps_and_masks_that_do_not_fit_are_named(maps, mask, error, message):
    with pytest.raises(error, match=message):
        SenseOperator(maps, mask)


@pytest.mark.parametrize(
    "weights", [torch.ones(6, dtype=torch.int64), torch.tensor([1.0, 0, 1, 1, 1, 1])]
)
def test_weights_that_are_no_positive_numbers(weights):
    maps = torch.ones((2, 8, 6), dtype=torch.complex64)
    with pytest.raises(DtypeError, match="sampling weights: found"):
        SenseOperator(maps, torch.ones(6, dtype=torch.bool), weights)


def test_weights_of_another_length():
    maps = torch.ones((2, 8, 6), dtype=torch.complex64)
    with pytest.raises(ShapeError, match=r"sampling weights: found shape \(1, 5\)"):
        SenseOperator(maps, torch.ones(6, dtype=torch.bool), torch.ones(5))
