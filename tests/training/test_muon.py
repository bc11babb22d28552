"""Muon's steps are those of its sources, taken of complex matrices."""

import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.priors import NetworkPrior
from mri_alps.training.config import TrainingConfig
from mri_alps.training.muon import Muon, nearest_semi_unitary
from tests.training.tiny_training import TINY_RECIPE

SETTINGS = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1}


def make_matrix(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Singular values over two decades."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, dtype=torch.complex64, generator=generator)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return (u * torch.logspace(0, -2, len(s))) @ vh


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 72), (80, 720), (72, 20), (1, 9), (5, 5)])
def test_singular_vectors_stay_and_values_become_about_one(shape, dtype):
    matrix = make_matrix(*shape)
    found = nearest_semi_unitary(matrix, dtype)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.mH @ found @ vh.mH
    values = inside.diagonal().real
    assert found.dtype == torch.complex64 and values.min() > 0.6 and values.max() < 1.3
    # Rounding mixes directions; what it may leave beside the diagonal is of its size.
    allowed = 60 * torch.finfo(dtype).eps
    assert (inside - torch.diag(inside.diagonal())).abs().max() < allowed


def test_a_phase_of_the_gradient_is_one_of_the_step_and_zero_stays_zero():
    matrix, turn = make_matrix(6, 30), torch.exp(torch.tensor(0.7j))
    turned = nearest_semi_unitary(turn * matrix)
    torch.testing.assert_close(turned, turn * nearest_semi_unitary(matrix), rtol=0, atol=1e-4)
    assert not nearest_semi_unitary(torch.zeros(3, 7, dtype=torch.complex64)).any()


def make_network() -> NetworkPrior:
    torch.manual_seed(0)
    config = TrainingConfig(**TINY_RECIPE)
    return NetworkPrior(config.unet, config.sigma_data, config.sigma_min, config.sigma_max)


def test_convolutions_inside_move_along_orthogonal_directions_and_the_rest_as_with_adamw():
    plain, model = make_network(), make_network()
    unet = model.unet
    adamw = torch.optim.AdamW(plain.parameters(), **SETTINGS)
    muon = Muon(model, (unet.entrance, unet.exit), **SETTINGS)
    torch.manual_seed(1)
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        one.grad = torch.randn_like(one)
        other.grad = one.grad.clone()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    gradients = {name: value.grad for name, value in model.named_parameters()}
    adamw.step()
    muon.step()
    inside = [name.removesuffix(".weight_real") for name in before if name.endswith("weight_real")]
    inside = [name for name in inside if "entrance" not in name and "exit" not in name]
    assert len(inside) == len(muon.kernels) == 10  # of four blocks, and a way down and up
    theirs = dict(plain.named_parameters())
    for name, value in model.named_parameters():
        if name.rsplit(".", 1)[0] not in inside:
            assert torch.equal(value, theirs[name]), name
    after = dict(model.named_parameters())
    for name in inside:
        parts = [name + ".weight_real", name + ".weight_imag"]
        moved = torch.complex(*(after[part] - 0.999 * before[part] for part in parts)).flatten(1)
        gradient = torch.complex(*(gradients[part] for part in parts)).flatten(1)
        u, s, vh = torch.linalg.svd(moved.detach(), full_matrices=False)
        size = 0.01 * 0.2 * max(moved.shape) ** 0.5
        assert 0.6 * size < s.min() and s.max() < 1.3 * size
        exact = torch.linalg.svd(gradient, full_matrices=False)
        polar = exact.U @ exact.Vh
        agreement = -(polar.conj() * (u @ vh)).sum().real / len(s)
        assert agreement > 0.999  # the first step: Nesterov's momentum is the gradient itself


def test_double_precision_is_kept():
    model = make_network().double()
    muon = Muon(model, (model.unet.entrance, model.unet.exit), **SETTINGS)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    before = [part.detach().clone() for part in muon.kernels[0]]
    muon.step()
    for part, old in zip(muon.kernels[0], before, strict=True):
        assert part.dtype == torch.float64 and not torch.equal(part, old)


def test_a_second_step_remembers_the_first():
    model = make_network()
    muon = Muon(model, (model.unet.entrance, model.unet.exit), **SETTINGS)
    kernel = muon.kernels[0]
    for step in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        if step == 0:
            for part in kernel:
                part.grad = torch.randn_like(part)
        before = kernel[0].detach().clone()
        muon.step()
        assert kernel[0].grad is None and muon.state[kernel[0]]["step"] == step + 1
        assert (kernel[0] - 0.999 * before).abs().max() > 1e-4


def test_a_network_without_complex_convolutions_is_refused():
    unet = {**TINY_RECIPE["unet"], "equivariant": False}
    with pytest.raises(ConfigurationError, match="two-channel network has none: choose adamw"):
        TrainingConfig(**{**TINY_RECIPE, "unet": unet, "optimizer": "muon"})
