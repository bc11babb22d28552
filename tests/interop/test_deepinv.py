"""deepinv: physics, denoisers and reconstructors in both directions, its own tests on ours."""

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.operators import BlurOperator, SenseOperator, gaussian_kernel
from mri_alps.operators.conformance import check_operator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianPrior, exact_posterior, load_prior
from mri_alps.sampling import sample_posterior

deepinv = pytest.importorskip("deepinv", reason="pip install 'mri-alps[deepinv]'")

from mri_alps.interop import (  # noqa: E402 - after the check that deepinv is there
    DeepinvDenoiser,
    DeepinvReconstructor,
    as_deepinv_physics,
    from_deepinv_denoiser,
    from_deepinv_physics,
)
from mri_alps.interop._channels import channels_to_complex, complex_to_channels  # noqa: E402


def noise(*shape, seed=0, dtype=torch.complex64):
    return standard_normal(shape, torch.Generator().manual_seed(seed), dtype)


def lines(width):
    mask = torch.arange(width) % 3 == 0
    mask[width // 2 - 2 : width // 2 + 2] = True
    return mask


def sense(shape=(12, 10), *batch, n_coils=3, dtype=torch.complex64):
    return SenseOperator(noise(*batch, n_coils, *shape, dtype=dtype), lines(shape[-1]))


def multi_coil_mri(operator, **options):
    """deepinv's own physics of the same scan."""
    shape = operator.domain_shape[-2:]
    mask = operator.mask.expand(operator.domain_shape).float()
    mask = mask.reshape(-1, 1, *shape).expand(-1, 2, -1, -1).clone()
    return deepinv.physics.MultiCoilMRI(
        mask=mask, coil_maps=operator.sensitivity_maps, img_size=shape, **options
    )


def check_adjointness(physics, x, **options):
    """deepinv's own check: |<A x, y> - <x, A^H y>| over |<A x, y>|, of random images."""
    found = physics.adjointness_test(x, **options)
    assert_equal_to_rounding(found, 0.0, physics.A(x).numel(), scale=1.0, dtype=x.dtype)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("shape", [(12, 10), (9, 11)])
def test_physics_pass_deepinvs_own_tests(shape, dtype):
    operator = sense(shape, dtype=dtype)
    physics = as_deepinv_physics(operator)
    assert isinstance(physics, deepinv.physics.LinearPhysics)
    x = complex_to_channels(noise(1, *shape, dtype=dtype))
    check_adjointness(physics, x)
    found = physics.compute_sqnorm(x, max_iter=500, tol=1e-6, verbose=False)
    basis = torch.eye(shape[0] * shape[1], dtype=dtype).reshape(-1, *shape)
    largest = torch.linalg.eigvalsh(operator.normal(basis).flatten(1))[-1]
    assert float(found) == pytest.approx(float(largest), rel=2e-2)
    assert physics.A(x).shape == (1, 2, 3, *shape)


def test_it_is_deepinvs_own_multicoil_mri():
    operator = sense()
    ours, theirs = as_deepinv_physics(operator), multi_coil_mri(operator)
    x = complex_to_channels(noise(2, 12, 10))
    assert_equal_to_rounding(ours.A(x), theirs.A(x))
    y = complex_to_channels(noise(2, 3, 12, 10))
    assert_equal_to_rounding(ours.A_adjoint(y), theirs.A_adjoint(y))
    assert_equal_to_rounding(ours.A_adjoint_A(x), theirs.A_adjoint_A(x))


def test_maps_for_each_image_of_a_batch():
    operator = sense((12, 10), 2)
    ours, theirs = as_deepinv_physics(operator), multi_coil_mri(operator)
    x = complex_to_channels(noise(2, 12, 10))
    assert_equal_to_rounding(ours.A(x), theirs.A(x))
    check_adjointness(ours, x, num_samples=2)
    with pytest.raises(ShapeError, match="for 2 images, found a batch of 3"):
        ours.A(complex_to_channels(noise(3, 12, 10)))


def test_prox_and_pseudo_inverse_of_deepinv_work_on_ours():
    operator = sense((8, 6))
    physics = as_deepinv_physics(operator, max_iter=300, tol=1e-7, solver="CG")
    z, y = noise(1, 8, 6), operator.forward(noise(1, 8, 6, seed=1))
    found = physics.prox_l2(complex_to_channels(z), complex_to_channels(y), gamma=0.7)
    basis = torch.eye(48, dtype=torch.complex64).reshape(-1, 8, 6)
    matrix = torch.eye(48) + 0.7 * operator.normal(basis).flatten(1).T
    right = (z + 0.7 * operator.adjoint(y)).flatten()
    exact = torch.linalg.solve(matrix, right).reshape(1, 8, 6)
    torch.testing.assert_close(channels_to_complex(found), exact, rtol=1e-3, atol=1e-3)


def test_noise_is_per_real_component_and_only_where_measured():
    operator = sense((40, 30))
    physics = as_deepinv_physics(operator, noise_std=0.3)
    x = torch.zeros(4, 2, 40, 30)
    y = channels_to_complex(physics(x))
    measured = operator.measured.expand(operator.range_shape)
    assert (y[:, ~measured] == 0).all()
    assert float(y[:, measured].real.std()) == pytest.approx(0.3, rel=0.05)
    batched = as_deepinv_physics(sense((12, 10), 2), noise_std=0.3)
    assert (batched(torch.zeros(2, 2, 12, 10))[..., 1] == 0).all()


def test_to_takes_the_operator_along():
    physics = as_deepinv_physics(sense()).double()
    assert physics.operator.dtype == torch.complex128
    assert physics.A(torch.zeros(1, 2, 12, 10).double()).dtype == torch.float64
    assert as_deepinv_physics(sense(dtype=torch.complex128)).operator.dtype == torch.complex128


def test_other_operators_act_on_both_channels():
    operator = BlurOperator(gaussian_kernel(1.0), (12, 9))
    physics = as_deepinv_physics(operator)
    x = noise(2, 12, 9)
    check_adjointness(physics, complex_to_channels(x))
    assert_equal_to_rounding(channels_to_complex(physics.A(complex_to_channels(x))), operator(x))


def test_deepinvs_physics_pass_our_checks():
    operator = sense()
    check_operator(from_deepinv_physics(multi_coil_mri(operator), (12, 10)), torch.complex64)
    batch = sense((6, 5), 2)
    theirs = from_deepinv_physics(multi_coil_mri(batch), (6, 5), n_slices=2)
    assert theirs.domain_shape == (2, 6, 5) and theirs.range_shape == (2, 3, 6, 5)
    check_operator(theirs, torch.complex64)
    inpainting = deepinv.physics.Inpainting(img_size=(1, 6, 5), mask=0.5)
    check_operator(from_deepinv_physics(inpainting, (1, 6, 5), dtype=torch.float32), torch.float32)
    downsampling = deepinv.physics.Downsampling(img_size=(3, 8, 8), factor=2, filter="bicubic")
    real = from_deepinv_physics(downsampling, (3, 8, 8), dtype=torch.float32)
    assert real.range_shape == (3, 4, 4)
    check_operator(real, torch.float32)


def test_where_deepinvs_physics_measures():
    operator = sense()
    theirs = from_deepinv_physics(multi_coil_mri(operator), (12, 10))
    assert torch.equal(theirs.measured, operator.measured.expand(operator.range_shape))


def test_there_and_back_is_the_same_object():
    operator = sense()
    assert from_deepinv_physics(as_deepinv_physics(operator), (12, 10)) is operator


def test_physics_that_cannot_be_sampled_are_named():
    with pytest.raises(ConfigurationError, match="expected a deepinv LinearPhysics"):
        from_deepinv_physics(deepinv.physics.Physics(), (4, 4))
    with pytest.raises(ShapeError, match="check image_shape"):
        from_deepinv_physics(multi_coil_mri(sense()), (7, 7))
    physics = as_deepinv_physics(sense())
    with pytest.raises(ShapeError, match="one tensor"):
        from_deepinv_physics(physics.stack(physics), (12, 10))
    with pytest.raises(ShapeError, match=r"expected real \(B, 2, ...\)"):
        physics.A(torch.zeros(1, 1, 12, 10))


def test_our_prior_is_a_deepinv_denoiser():
    prior = GaussianPrior.power_law(exponent=2.5)
    denoiser = DeepinvDenoiser(prior)
    assert isinstance(denoiser, deepinv.models.base.Denoiser)
    x = noise(3, 16, 12)
    for sigma in (0.3, torch.tensor(0.3), torch.full((3,), 0.3), torch.full((3, 1, 1, 1), 0.3)):
        found = channels_to_complex(denoiser(complex_to_channels(x), sigma))
        assert_equal_to_rounding(found, prior.denoise(x, 0.3))
    levels = torch.tensor([0.1, 0.2, 0.3])
    assert_equal_to_rounding(
        channels_to_complex(denoiser(complex_to_channels(x), levels)), prior.denoise(x, levels)
    )
    assert torch.isfinite(denoiser(complex_to_channels(x), 1e-9)).all()


def test_the_network_in_deepinvs_plug_and_play():
    """deepinv's own algorithm with our network and operator comes closer than the adjoint."""
    prior = load_prior("brain-small")
    y_axis, x_axis = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 2, indexing="ij")
    image = ((y_axis / 0.7) ** 2 + (x_axis / 0.6) ** 2 < 1).to(torch.complex64)
    image -= 0.4 * ((y_axis / 0.3) ** 2 + ((x_axis - 0.1) / 0.2) ** 2 < 1)
    angles = torch.arange(4) * torch.pi / 2
    maps = torch.stack([1.5 + torch.cos(a) * x_axis + torch.sin(a) * y_axis for a in angles])
    maps = (maps / maps.square().sum(0).sqrt()).to(torch.complex64)
    physics = as_deepinv_physics(SenseOperator(maps, lines(64)), noise_std=0.01)
    truth = complex_to_channels(image[None])
    y = physics(truth)
    algorithm = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.PnP(denoiser=DeepinvDenoiser(prior)),
        stepsize=1.0,
        g_param=0.05,
        max_iter=20,
    )
    with torch.no_grad():
        found = algorithm(y, physics)
    error = (found - truth).norm() / truth.norm()
    assert error < 0.6 * (physics.A_adjoint(y) - truth).norm() / truth.norm()


class DeepinvWiener(deepinv.models.base.Denoiser):
    """A deepinv denoiser whose posterior is known in closed form: white images of power 1/2."""

    def forward(self, x, sigma, **kwargs):
        sigma = self._handle_sigma(sigma, batch_size=len(x), ndim=4)
        return x * 0.5 / (0.5 + sigma**2)


def test_deepinvs_denoiser_and_physics_in_our_sampler():
    """The exact posterior of the white prior is met by samples made of deepinv's parts alone."""
    operator, noise_std = sense((6, 5)), 0.4
    prior = from_deepinv_denoiser(DeepinvWiener(), 0.01, 10.0)
    physics = from_deepinv_physics(multi_coil_mri(operator), (6, 5))
    data = operator(noise(6, 5, seed=1)) + noise_std * noise(3, 6, 5, seed=2) * operator.measured
    found = sample_posterior(
        prior,
        physics,
        data,
        noise_std,
        n_samples=400,
        n_evaluations=40,
        generator=torch.Generator().manual_seed(0),
    ).samples
    white = GaussianPrior(torch.full((6, 5), 0.5))
    exact = exact_posterior(white, operator, data, noise_std)
    check_moments(found, exact)


def check_moments(found, exact):
    error = (found.mean(0) - exact.mean).abs() / (exact.std / len(found) ** 0.5)
    assert float(error.square().mean()) < 1.7  # 1 in expectation
    ratio = found.var(0).sqrt() / exact.std
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("model", ["TVDenoiser", "DRUNet"])
def test_deepinvs_models_are_taken(model):
    if model == "DRUNet":
        network = deepinv.models.DRUNet(2, 2, nc=[8, 8, 16, 16], nb=1, pretrained=None)
        prior = from_deepinv_denoiser(network.eval(), 0.01, 1.0, size_multiple=8)
    else:
        prior = from_deepinv_denoiser(deepinv.models.TVDenoiser(n_it_max=20), 0.01, 1.0)
    x = noise(2, 13, 10)
    found = prior.denoise(x, 0.2)
    assert found.shape == x.shape and torch.isfinite(torch.view_as_real(found)).all()


@pytest.mark.parametrize("kind", ["ours", "deepinv's"])
def test_our_sampler_is_a_deepinv_reconstructor(kind):
    """The posterior mean of a Gaussian prior is linear in y and known."""
    operator, noise_std = sense((8, 6)), 0.2
    prior = GaussianPrior.power_law(exponent=2.0)
    model = DeepinvReconstructor(prior, n_samples=60, n_evaluations=20)
    assert isinstance(model, deepinv.models.base.Reconstructor)
    if kind == "ours":
        physics = as_deepinv_physics(operator, noise_std=noise_std)
    else:
        physics = multi_coil_mri(operator)
        physics.noise_model = deepinv.physics.GaussianNoise(sigma=noise_std)
    y = physics(complex_to_channels(noise(2, 8, 6, seed=3)))
    for measured in (y[:1], y):  # one image, and a batch
        samples = model.sample(measured, physics)
        assert samples.shape == (60, len(measured), 2, 8, 6)
        for image in range(len(measured)):
            data = channels_to_complex(measured)[image]
            exact = exact_posterior(prior, operator, data, noise_std)
            check_moments(channels_to_complex(samples[:, image]), exact)
            mean = channels_to_complex(model(measured, physics))[image]
            error = (mean - exact.mean).abs() / (exact.std / 60**0.5)
            assert float(error.square().mean()) < 0.3  # antithetic samples; 1 of independent ones


def test_a_reconstructor_without_a_noise_level():
    model = DeepinvReconstructor(GaussianPrior.power_law(exponent=2.0), 2, 4)
    physics = multi_coil_mri(sense((8, 6)))
    y = physics(torch.zeros(1, 2, 8, 6))
    with pytest.raises(ConfigurationError, match="noise level is not known"):
        model(y, physics)
    given = DeepinvReconstructor(GaussianPrior.power_law(exponent=2.0), 2, 4, noise_std=0.1)
    assert given(y, physics).shape == (1, 2, 8, 6)
