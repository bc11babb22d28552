"""The fused CPU kernel against the pure-torch form."""

import pytest
import torch

from mri_alps.operators import SenseOperator, gram


@pytest.mark.parametrize(
    ("maps_shape", "mask_shape"),
    [
        ((3, 20, 24), (24,)),
        ((3, 9, 46), (46,)),
        ((2, 3, 21, 89), (2, 1, 89)),
        ((3, 20, 24), (20, 24)),
    ],
)
def test_the_kernel_equals_torch(monkeypatch, maps_shape, mask_shape):
    monkeypatch.setattr(gram, "_FUSED_SIZE", 0)
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(maps_shape, dtype=torch.complex64, generator=generator)
    mask = torch.rand(mask_shape, generator=generator) < 0.3
    x = torch.randn(
        2, *maps_shape[:-3], *maps_shape[-2:], dtype=torch.complex64, generator=generator
    )
    operator = SenseOperator(maps, mask)
    assert type(operator._gram).__name__ == "FusedGram"
    reference = operator._gram.fallback(x)
    assert (operator.normal(x) - reference).norm() < 1e-5 * reference.norm()
