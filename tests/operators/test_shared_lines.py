"""Adjacent lines that share a matrix: exact where maps do not change, and noise that always is."""

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.operators import SenseOperator, sense
from mri_alps.operators.lines import shared as shared_lines
from mri_alps.operators.lines._structure import line_axis
from mri_alps.operators.lines.factors import LineFactors
from mri_alps.operators.lines.shared import SharedLines
from mri_alps.operators.rounding import assert_equal_to_rounding

C128 = torch.complex128
CASES = [
    {"shape": (20, 13)},
    {"shape": (13, 20), "axis": -2},
    {"shape": (35, 12), "n_slices": 2},
    {"shape": (12, 21), "n_slices": 2, "axis": -2},
    {"shape": (3, 8)},
    {"shape": (11, 9), "whole": True},
    {"shape": (9, 11), "axis": -2, "whole": True},
]


def make_operator(shape, axis=-1, n_slices=None, equal_lines=False, weighted=False, whole=False):
    """Random maps, all lines alike or not, which vanish at the ends of the lines."""
    generator = torch.Generator().manual_seed(0)
    batch = () if n_slices is None else (n_slices,)
    maps = standard_normal((*batch, 3, *shape), generator, C128)
    if equal_lines:
        across = -3 - axis
        maps = maps.narrow(across, 0, 1).expand(maps.shape).clone()
    inside = torch.zeros(shape[axis], dtype=torch.bool)
    inside[1:-2] = True
    mask = torch.arange(shape[axis]) % 3 == 1
    weights = 1 + torch.rand(shape[axis], generator=generator, dtype=torch.float64)
    if axis == -2:
        inside, mask, weights = inside[:, None], mask[:, None], weights[:, None]
    if whole:  # the mask of an image, all of whose lines are alike
        mask, weights = (a.expand(shape).clone() for a in (mask, weights))
    return SenseOperator(maps * inside, mask, weights if weighted else None)


def shared_of(operator):
    return SharedLines(operator.sensitivity_maps, operator._power, line_axis(operator.mask))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_lines_that_are_alike_are_filtered_as_by_factors_of_their_own(case, weighted):
    operator = make_operator(**case, equal_lines=True, weighted=weighted)
    own, shared = LineFactors(operator.sensitivity_maps, operator._power), shared_of(operator)
    x = standard_normal((2, *operator.domain_shape), torch.Generator().manual_seed(1), C128)
    outside = (torch.tensor(0.7).double(),) * 2
    weights = [1 / (0.5 + factors.values) for factors in (own, shared)]
    expected = own.filter(x, None, weights[0], weights[0], (torch.tensor(2.0).double(),) * 2)
    found = shared.filter(x, None, weights[1], weights[1], (torch.tensor(2.0).double(),) * 2)
    assert_equal_to_rounding(found, expected)
    assert found.is_contiguous() and len(shared.values) == len(shared.slice_of_value)
    same = torch.ones_like(shared.values)
    seen = (operator.sensitivity_maps != 0).any(-3)
    expected = torch.where(seen, x, outside[0] * x)
    assert_equal_to_rounding(shared.filter(x, None, same, same, outside), expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_noise_has_the_covariance_of_the_normal_operator(case, weighted):
    """It is linear in white noise: the matrix times its adjoint is A^H A, also of unlike lines."""
    operator = make_operator(**case, weighted=weighted)
    slices = () if operator.n_slices is None else (operator.n_slices,)
    n_coils, n_lines = (
        operator.n_coils,
        int((torch.arange(case["shape"][line_axis(operator.mask)]) % 3 == 1).sum()),
    )
    across = operator.domain_shape[-2 if line_axis(operator.mask) == -1 else -1]
    each = n_lines * across
    calls = []

    def draw(shape):
        """One unit number of one coil after the other, in every slice."""
        assert torch.Size(shape).numel() == each
        units = torch.zeros((n_coils, each, each), dtype=C128)
        units[len(calls)] = torch.eye(each, dtype=C128)
        calls.append(shape)
        units = units.reshape(-1, *[1] * len(slices), *shape)
        return units.expand(-1, *slices, *shape)

    columns = shared_of(operator).draw_noise(draw)
    n = torch.Size(operator.domain_shape[-2:]).numel()
    assert len(calls) == n_coils
    columns = columns.reshape(len(columns), -1, n)
    found = torch.einsum("nsi,nsj->sij", columns, columns.conj())
    basis = torch.eye(n, dtype=C128).reshape(n, *[1] * len(slices), *operator.domain_shape[-2:])
    normal = operator.normal(basis.expand(n, *operator.domain_shape).contiguous())
    expected = normal.reshape(n, -1, n).permute(1, 2, 0)
    assert_equal_to_rounding(found, expected, n_summed=n)


def test_matrices_are_means_over_neighbours(monkeypatch):
    operator = make_operator((32, 9))
    monkeypatch.setattr(shared_lines, "SHARED_MATRICES", 4)
    shared = shared_of(operator)
    assert shared.matrices.shape == (1, 4, 9, 9)
    basis = torch.eye(9, dtype=C128)
    for index in range(4):
        total = torch.zeros(9, 9, dtype=C128)
        for line in range(8 * index, 8 * index + 8):
            images = torch.zeros(9, 32, 9, dtype=C128)
            images[:, line] = basis
            total += operator.normal(images)[:, line].mT
        assert_equal_to_rounding(shared.matrices[0, index], total / 8)


@pytest.mark.parametrize("axis", [-1, -2])
def test_large_images_share(monkeypatch, axis):
    operator = make_operator((20, 20), axis)
    monkeypatch.setattr(sense, "SHARED_LIMIT", 20**3)
    assert isinstance(operator.line_factors(), LineFactors)
    monkeypatch.setattr(sense, "SHARED_LIMIT", 20**3 - 1)
    operator = make_operator((20, 20), axis)
    assert isinstance(operator.line_factors(), SharedLines)
    assert operator.line_factors() is operator.line_factors()


@pytest.mark.parametrize("n_slices", [None, 2])
def test_coils_at_a_time_are_all_coils(monkeypatch, n_slices):
    operator = make_operator((20, 13), n_slices=n_slices, weighted=True)
    generator = torch.Generator().manual_seed(3)
    x = standard_normal((2, *operator.domain_shape), generator, C128)
    y = standard_normal((2, *operator.range_shape), generator, C128)
    forward, adjoint = operator.forward(x), operator.adjoint(y)
    monkeypatch.setattr(sense, "_COIL_IMAGES_BYTES", 1)
    assert_equal_to_rounding(operator.forward(x), forward)
    assert_equal_to_rounding(operator.adjoint(y), adjoint)


def test_the_fourier_diagonal_is_that_of_all_coils(monkeypatch):
    from mri_alps.operators.lines import _structure

    operator = make_operator((20, 13))
    expected = operator.normal_fourier_diagonal()
    monkeypatch.setattr(_structure, "_SPECTRA_BYTES", 1)
    assert_equal_to_rounding(operator.normal_fourier_diagonal(), expected)
