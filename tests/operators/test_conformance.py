"""Every operator passes the shipped checks, and the checks catch broken operators."""

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.operators import (
    BlurOperator,
    DownsamplingOperator,
    FourierOperator,
    IdentityOperator,
    InpaintingOperator,
    MatrixOperator,
    SenseOperator,
    SensitivityOperator,
    gaussian_kernel,
    motion_kernel,
    random_pixel_mask,
    to_dense,
)
from mri_alps.operators.conformance import (
    check_adjoint,
    check_dense,
    check_linear,
    check_normal,
    check_operator,
)

REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}
COMPLEX_DTYPES = [torch.complex64, torch.complex128]
DTYPES = [*COMPLEX_DTYPES, torch.float32, torch.float64]
MASK_KINDS = ["lines", "rows", "points", "all", "nothing"]
WEIGHTED = [f"weighted {kind}" for kind in ("lines", "rows", "points", "all")]
SIZES = [(8, 6), (7, 9), (6, 7), (9, 4)]


def seeded():
    return torch.Generator().manual_seed(3)


def make_sense(size, dtype, mask_kind, slices=()):
    generator = seeded()
    maps = standard_normal((*slices, 3, *size), generator, dtype)
    maps[..., : size[0] // 4, :] = 0  # a margin without signal, as oversampling leaves it
    weights = None
    if mask_kind.startswith("weighted "):
        mask_kind = mask_kind.removeprefix("weighted ")
        varies = {"lines": (size[1],), "rows": (size[0], 1), "all": (size[1],)}.get(mask_kind, size)
        weights = 0.3 + torch.rand(varies, generator=generator, dtype=REAL[dtype])
    shape = {
        "lines": (size[1],),
        "rows": (size[0], 1),
        "points": size,
        "lines of each slice": (*slices, 1, size[1]),
        "points of each slice": (*slices, *size),
    }
    if mask_kind in ("all", "nothing"):
        return SenseOperator(maps, torch.full((1, size[1]), mask_kind == "all"), weights)
    return SenseOperator(maps, torch.rand(shape[mask_kind], generator=generator) < 0.5, weights)


def make_real_weight_operators(size, dtype):
    precision = REAL.get(dtype, dtype)
    generator = seeded()
    return {
        "identity": IdentityOperator(size),
        "inpainting": InpaintingOperator(random_pixel_mask(size, 0.4, generator)),
        "gaussian circular": BlurOperator(gaussian_kernel(0.9, 5, precision), size),
        "gaussian reflect": BlurOperator(gaussian_kernel(0.7, 3, precision), size, "reflect"),
        "motion reflect": BlurOperator(motion_kernel(3, 30, 5, precision), size, "reflect"),
        "even kernel circular": BlurOperator(standard_normal((4, 2), generator, precision), size),
        "even kernel reflect": BlurOperator(
            standard_normal((4, 2), generator, precision), size, "reflect"
        ),
        "kernel larger than image": BlurOperator(
            standard_normal((11, 13), generator, precision), size
        ),
        "average": DownsamplingOperator((2 * size[0], 2 * size[1]), 2),
        "bicubic": DownsamplingOperator((3 * size[0], 3 * size[1]), 3, "bicubic", precision),
        "bicubic by 4": DownsamplingOperator((8, 12), 4, "bicubic", precision),
        "real matrix": MatrixOperator(
            standard_normal((5, size[0] * size[1]), generator, precision), domain_shape=size
        ),
        "sum": IdentityOperator(size) - 2.0 * BlurOperator(gaussian_kernel(1, 3, precision), size),
        "inpainted blur": InpaintingOperator(random_pixel_mask(size, 0.4, generator))
        @ BlurOperator(gaussian_kernel(0.9, 5, precision), size),
        "masked small image": InpaintingOperator(random_pixel_mask(size, 0.5, generator))
        @ DownsamplingOperator((2 * size[0], 2 * size[1]), 2),
    }


REAL_WEIGHT_NAMES = list(make_real_weight_operators((8, 6), torch.float32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", REAL_WEIGHT_NAMES)
def test_real_weight_operators_conform(name, size, dtype):
    operator = make_real_weight_operators(size, dtype)[name]
    check_operator(operator, dtype, generator=seeded())
    check_operator(operator.H, dtype, generator=seeded())


@pytest.mark.parametrize("dtype", COMPLEX_DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mask_kind", MASK_KINDS + WEIGHTED)
def test_sense_conforms(mask_kind, size, dtype):
    check_operator(make_sense(size, dtype, mask_kind), dtype, generator=seeded())


@pytest.mark.parametrize("dtype", COMPLEX_DTYPES)
@pytest.mark.parametrize(
    "mask_kind",
    ["lines", "rows", "points", "lines of each slice", "points of each slice", *WEIGHTED],
)
def test_sense_of_several_slices_conforms(mask_kind, dtype):
    operator = make_sense((7, 6), dtype, mask_kind, slices=(2,))
    assert operator.domain_shape == (2, 7, 6)
    assert operator.range_shape == (2, 3, 7, 6)
    check_operator(operator, dtype, generator=seeded())


@pytest.mark.parametrize("dtype", COMPLEX_DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_complex_operators_conform(size, dtype):
    maps = standard_normal((3, *size), seeded(), dtype)
    matrix = standard_normal((5, size[0] * size[1]), seeded(), dtype)
    for operator in (
        FourierOperator(size),
        FourierOperator(size, inverse=True),
        SensitivityOperator(maps),
        MatrixOperator(matrix, domain_shape=size),
        (0.5 - 2j) * FourierOperator(size),
        FourierOperator((3, *size)) @ SensitivityOperator(maps),
        make_sense(size, dtype, "lines").H,
        make_sense(size, dtype, "lines") @ BlurOperator(gaussian_kernel(1, 3, REAL[dtype]), size),
    ):
        check_operator(operator, dtype, generator=seeded())


@pytest.mark.parametrize("dtype", COMPLEX_DTYPES)
def test_to_dense_is_the_matrix(dtype):
    matrix = standard_normal((4, 6), seeded(), dtype)
    operator = MatrixOperator(matrix, domain_shape=(2, 3), range_shape=(2, 2))
    assert torch.equal(to_dense(operator), matrix)
    check_dense(operator, dtype, seeded(), matrix=matrix)


class Broken(MatrixOperator):
    """A matrix operator with one method replaced."""

    def __init__(self, **replaced):
        super().__init__(standard_normal((6, 6), seeded(), torch.complex128), (2, 3), (2, 3))
        for name, method in replaced.items():
            setattr(self, name, method)


def test_checks_catch_a_broken_adjoint():
    good = Broken()
    transposed = MatrixOperator(good.matrix.T.contiguous(), (2, 3), (2, 3))
    with pytest.raises(AssertionError, match="not the adjoint"):
        check_adjoint(Broken(adjoint=transposed.forward), torch.complex128, seeded())


def test_checks_catch_an_adjoint_of_the_wrong_shape():
    good = Broken()
    with pytest.raises(AssertionError, match=r"shape .*6.* expected .*2, 3.*adjoint"):
        check_adjoint(
            Broken(adjoint=lambda y: good.adjoint(y).flatten(-2)), torch.complex128, seeded()
        )


def test_checks_catch_a_mix_up_of_the_batch():
    good = Broken()
    mixed = Broken(
        forward=lambda x: good.forward(x.flip(0)) if x.ndim > 2 else good.forward(x),
    )
    with pytest.raises(AssertionError, match="not the adjoint"):
        check_adjoint(mixed, torch.complex128, seeded())


def test_checks_catch_a_wrong_normal():
    good = Broken()
    with pytest.raises(AssertionError, match="normal is adjoint after forward"):
        check_normal(
            Broken(normal=lambda x: good.normal(x) * (1 + 1e-6)), torch.complex128, seeded()
        )


def test_checks_catch_an_operator_that_is_not_linear():
    good = Broken()
    for broken in (lambda x: good.forward(x) + 1e-3, lambda x: good.forward(x.conj())):
        with pytest.raises(AssertionError, match="forward is linear"):
            check_linear(Broken(forward=broken), torch.complex128, seeded())


def test_checks_catch_a_changed_argument():
    good = Broken()
    with pytest.raises(AssertionError, match="changed its argument"):
        check_normal(
            Broken(
                normal=lambda x: good.normal(x) if x.mul_(1.5) is None else good.normal(x / 1.5)
            ),
            torch.complex128,
            seeded(),
        )


def test_checks_catch_a_wrong_dtype_and_nan():
    good = Broken()
    with pytest.raises(AssertionError, match="dtype"):
        check_normal(
            Broken(normal=lambda x: good.normal(x).to(torch.complex64)), torch.complex128, seeded()
        )
    with pytest.raises(AssertionError, match="nan"):
        check_normal(
            Broken(normal=lambda x: good.normal(x) * float("nan")), torch.complex128, seeded()
        )


def test_dense_check_catches_a_different_matrix():
    operator = Broken()
    with pytest.raises(AssertionError, match="columns"):
        check_dense(operator, torch.complex128, seeded(), matrix=operator.matrix * 1.001)
