"""A physics of ours keeps what deepinv's own promise: parameters that are given, moved, saved."""

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, DtypeError
from mri_alps.core.random import standard_normal
from mri_alps.operators import (
    BlurOperator,
    DownsamplingOperator,
    InpaintingOperator,
    NonCartesianSenseOperator,
    SenseOperator,
    gaussian_kernel,
    golden_radial,
)
from mri_alps.operators.rounding import assert_equal_to_rounding

deepinv = pytest.importorskip("deepinv", reason="pip install 'mri-alps[deepinv]'")

from mri_alps.interop import as_deepinv_physics  # noqa: E402 - after the check for deepinv

SHAPE = (12, 10)


def images(*shape, seed=0):
    return standard_normal(shape, torch.Generator().manual_seed(seed), torch.complex64)


def channels(n_images=1):
    return torch.randn(n_images, 2, *SHAPE, generator=torch.Generator().manual_seed(5))


def lines(step, offset=0):
    return (torch.arange(SHAPE[1]) + offset) % step == 0


def sense(mask=None, n_coils=3, seed=0, weights=None):
    maps = images(n_coils, *SHAPE, seed=seed)
    return SenseOperator(maps, lines(3) if mask is None else mask, weights)


def kinds():
    points = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.5
    blur = BlurOperator(gaussian_kernel(1.0), SHAPE)
    return {
        "lines": sense(),
        "points": sense(points),
        "weights": sense(weights=torch.rand(SHAPE[1]) + 0.5),
        "batch": SenseOperator(images(1, 3, *SHAPE), lines(2)),
        "blur": blur,
        "radial": NonCartesianSenseOperator(images(3, *SHAPE), golden_radial(7, 24, SHAPE)),
        "inpainting": InpaintingOperator(points),
        "downsampling": DownsamplingOperator(SHAPE, 2, "bicubic"),
        "composed": 2 * (sense() @ blur),
    }


@pytest.mark.parametrize("given", ["A", "A_adjoint", "A_adjoint_A", "A_dagger", "call", "update"])
def test_a_mask_that_is_given_counts_from_then_on(given):
    physics, x = as_deepinv_physics(sense()), channels()
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2)) < 0.5
    other = as_deepinv_physics(sense(mask))
    plane = mask.float().expand(1, 2, *SHAPE)  # as deepinv's generators of masks make them
    y = other.A(x)
    if given == "update":
        physics.update(mask=plane)
    elif given == "call":
        assert_equal_to_rounding(physics(x, mask=plane), y)
    else:
        argument = y if given in ("A_adjoint", "A_dagger") else x
        found = getattr(physics, given)(argument, mask=plane)
        assert_equal_to_rounding(found, getattr(other, given)(argument))
    assert_equal_to_rounding(physics.A(x), y)
    assert torch.equal(physics.operator.mask.expand(SHAPE), mask)


def test_it_follows_deepinvs_own_multicoil_mri_through_updates():
    first, second = sense(), sense(lines(2), seed=3)
    ours = as_deepinv_physics(first)
    theirs = deepinv.physics.MultiCoilMRI(
        mask=first.mask.expand(SHAPE).float(), coil_maps=first.sensitivity_maps, img_size=SHAPE
    )
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = channels(2)
    masks = torch.stack([lines(2), lines(4)]).float()[:, None, None].expand(2, 2, *SHAPE)
    for update in (
        {"mask": second.mask.expand(SHAPE).float()},
        {"coil_maps": second.sensitivity_maps[None]},
        {"mask": masks},  # one for each image
        {"coil_maps": images(2, 3, *SHAPE, seed=4)},
    ):
        assert_equal_to_rounding(ours.A(x, **update), theirs.A(x, **update))
        y = theirs.A(x)
        assert_equal_to_rounding(ours.A_adjoint(y), theirs.A_adjoint(y))
        assert_equal_to_rounding(ours.A_adjoint(y, rss=True), theirs.A_adjoint(y, rss=True))
    with pytest.raises(RuntimeError, match="size mismatch"):
        as_deepinv_physics(first).load_state_dict(ours.state_dict())


@pytest.mark.parametrize("kind", list(kinds()))
def test_every_tensor_is_saved_moved_and_copied(kind, tmp_path):
    operator = kinds()[kind]
    physics, x = as_deepinv_physics(operator), channels()
    y = physics.A(x)
    torch.save(physics.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again = as_deepinv_physics(kinds()[kind])
    again.load_state_dict(state)
    assert_equal_to_rounding(again.A(x), y)
    assert torch.equal(physics.clone().A(x), y)
    double = as_deepinv_physics(operator).double()
    found = double.A(x.double())
    assert found.dtype == torch.float64
    assert_equal_to_rounding(found.float(), y)
    assert_equal_to_rounding(double.float().A(x), y)
    assert torch.equal(as_deepinv_physics(operator).to("cpu", torch.float32).A(x), y)


def test_a_state_of_another_scan_takes_effect():
    physics, other = as_deepinv_physics(sense()), as_deepinv_physics(sense(lines(2), seed=7))
    before = physics.operator
    physics.load_state_dict(other.state_dict())
    assert_equal_to_rounding(physics.A(channels()), other.A(channels()))
    assert not torch.equal(before.sensitivity_maps, physics.operator.sensitivity_maps)  # untouched
    physics.coil_maps.mul_(2)
    assert_equal_to_rounding(physics.A(channels()), 2 * other.A(channels()))


def test_what_cannot_be_honoured_is_refused_and_changes_nothing():
    physics, x = as_deepinv_physics(sense(), noise_std=0.1), channels()
    y = physics.A(x)
    for arguments, error, message in (
        ({"angles": torch.ones(3)}, ConfigurationError, "'angles', which neither SenseOperator"),
        ({"mask": torch.full(SHAPE, 0.5)}, DtypeError, "values other than 0 and 1"),
        ({"mask": torch.stack([torch.ones(SHAPE), torch.zeros(SHAPE)])}, DtypeError, "differ"),
        ({"mask": torch.ones(SHAPE, requires_grad=True)}, ConfigurationError, "detach it"),
    ):
        with pytest.raises(error, match=message):
            physics.A(x, **arguments)
        assert torch.equal(physics.A(x), y)
    physics(x, sigma=0.2, seed=None)  # the noise model's
    assert float(physics.noise_model.sigma) == pytest.approx(0.2)
    blur = as_deepinv_physics(kinds()["blur"])
    with pytest.raises(ConfigurationError, match="nor ZeroNoise knows: leave it out"):
        blur.A(x, mask=torch.ones(SHAPE))
    with pytest.raises(ConfigurationError, match="cannot take: make a new operator"):
        blur.update(operator_kernel=2 * blur.operator_kernel)
    with pytest.raises(ConfigurationError, match="has no coils"):
        blur.A_adjoint(x, rss=True)


@pytest.mark.parametrize("solver", ["lsqr", "CG", "minres", "BiCGStab"])
@pytest.mark.parametrize("implicit", [True, False])
def test_deepinvs_solvers_invert_what_is_in_the_range(solver, implicit):
    maps = images(4, *SHAPE)
    operator = SenseOperator(maps / maps.abs().square().sum(0).sqrt(), lines(2))
    physics = as_deepinv_physics(operator, implicit_backward_solver=implicit)
    truth = physics.A_adjoint(physics.A(channels()))
    found = physics.A_dagger(physics.A(truth), solver=solver, tol=1e-5, max_iter=200)
    assert (found - truth).norm() < 1e-2 * truth.norm()
