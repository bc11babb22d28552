"""mrpro: operators in both directions, its k-space in, its images out."""

import dataclasses

import numpy as np
import pytest
import torch

import mri_alps
from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.operators import (
    BlurOperator,
    MatrixOperator,
    NonCartesianSenseOperator,
    SenseOperator,
    gaussian_kernel,
)
from mri_alps.operators.conformance import check_operator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianPrior, exact_posterior
from mri_alps.sampling import sample_posterior

mrpro = pytest.importorskip("mrpro", reason="pip install 'mri-alps[mrpro]'")

from mrpro.algorithms.optimizers import cg  # noqa: E402 - after the check that mrpro is there
from mrpro.data import KData, KTrajectory, SpatialDimension  # noqa: E402
from mrpro.data.traj_calculators import KTrajectoryCartesian  # noqa: E402
from mrpro.operators import FourierOp, MultiFrequencyFourierOp, SensitivityOp  # noqa: E402

from mri_alps.interop import (  # noqa: E402
    as_mrpro_operator,
    convert,
    from_mrpro_operator,
    images_as_idata,
    raw_from_kdata,
)

GOLDEN_ANGLE = np.deg2rad(111.246)


def noise(*shape, seed=0, dtype=torch.complex64):
    return standard_normal(shape, torch.Generator().manual_seed(seed), dtype)


def sense(*shape, batch=(), dtype=torch.complex64):
    mask = torch.arange(shape[-1]) % 2 == 0
    return SenseOperator(noise(*batch, 3, *shape, dtype=dtype), mask)


def radial(shape, n_spokes=12):
    """mrpro's Fourier operator of golden-angle spokes, twice oversampled along each."""
    angles = torch.arange(n_spokes) * GOLDEN_ANGLE
    radius = torch.arange(-min(shape), min(shape)) / 2
    trajectory = KTrajectory(
        kz=torch.zeros(1, 1, 1, 1, 1),
        ky=(torch.sin(angles)[:, None] * radius)[None, None, None].float(),
        kx=(torch.cos(angles)[:, None] * radius)[None, None, None].float(),
    )
    matrix = SpatialDimension(1, *shape)
    return FourierOp(matrix, matrix, trajectory)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("shape", [(12, 10), (9, 11)])
def test_mrpros_own_checks_hold_for_our_operators(shape, dtype):
    """Adjoint, both derivatives, the Gram: what mrpro's tests ask of its operators."""
    for ours, u, v in (
        (sense(*shape, dtype=dtype), (4, 1, 1, *shape), (4, 3, 1, *shape)),
        (sense(*shape, batch=(2,), dtype=dtype), (5, 2, 1, 1, *shape), (5, 2, 3, 1, *shape)),
        (BlurOperator(gaussian_kernel(1.0).to(dtype.to_real()), shape), (2, 1, 1, *shape), None),
    ):
        operator = as_mrpro_operator(ours)
        u = noise(*u, dtype=dtype)
        v = noise(*(u.shape if v is None else v), seed=1, dtype=dtype)
        (forward,), (adjoint,) = operator(u), operator.adjoint(v)
        assert forward.shape == v.shape and adjoint.shape == u.shape
        products = (
            torch.vdot(forward.flatten(), v.flatten()),
            torch.vdot(u.flatten(), adjoint.flatten()),
        )
        assert_equal_to_rounding(*products, v.numel(), scale=float(forward.norm() * v.norm()))
        _, pull_back = torch.func.vjp(operator.forward, u)
        assert_equal_to_rounding(pull_back((v,))[0], adjoint)
        pushed = torch.func.jvp(operator.forward, (u,), (u,))[1][0]
        assert_equal_to_rounding(pushed, forward)
        assert_equal_to_rounding(operator.gram(u)[0], operator.adjoint(forward)[0])


def test_mrpros_solver_on_our_operator():
    operator, truth = sense(12, 10), noise(12, 10)
    ours = as_mrpro_operator(operator)
    damped = ours.gram + 0.1
    data = operator(truth)[None, :, None]
    (found,) = cg(damped, ours.adjoint(data)[0], tolerance=1e-7, max_iterations=500)
    basis = torch.eye(120, dtype=torch.complex64).reshape(-1, 12, 10)
    matrix = operator.normal(basis).flatten(1).T + 0.1 * torch.eye(120)
    exact = torch.linalg.solve(matrix, operator.adjoint(operator(truth)).flatten())
    torch.testing.assert_close(found.flatten(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("shape", [(12, 10), (9, 11)])
def test_mrpros_operators_pass_our_checks(shape, dtype):
    tolerance = 1e-4  # its non-uniform transform approximates
    for n_slices in (None, 2):
        maps = SensitivityOp(noise(n_slices or 1, 3, 1, *shape))
        image_shape = shape if n_slices is None else (n_slices, *shape)
        operator = from_mrpro_operator(radial(shape) @ maps, image_shape).to(dtype=dtype)
        assert operator.dtype == dtype and operator.domain_shape == image_shape
        check_operator(operator, dtype, tolerance=tolerance)


def test_a_cartesian_scan_of_mrpro_is_our_sense_operator():
    ours = sense(12, 10)
    lines = torch.arange(-5, 5)[::2].float()
    trajectory = KTrajectory(
        kz=torch.zeros(1, 1, 1, 1, 1),
        ky=lines[None, None, None, :, None],
        kx=torch.arange(-6, 6)[None, None, None, None].float(),
    )
    matrix = SpatialDimension(1, 10, 12)  # z, y (phase encode), x (readout)
    maps = ours.sensitivity_maps.mT[None, :, None]
    theirs = from_mrpro_operator(
        FourierOp(matrix, matrix, trajectory) @ SensitivityOp(maps), (10, 12)
    )
    x = noise(12, 10)
    found = theirs(x.mT.contiguous())  # (coils, 1, lines, readout)
    assert_equal_to_rounding(found[:, 0], ours(x).mT[:, ::2])
    assert_equal_to_rounding(theirs.normal(x.mT.contiguous()), ours.normal(x).mT)


@pytest.mark.parametrize("shape", [(12, 10), (9, 11)])
def test_a_radial_scan_of_mrpro_is_our_non_cartesian_operator(shape):
    pytest.importorskip("finufft", reason="pip install 'mri-alps[noncartesian]'")
    fourier, maps = radial(shape), noise(3, *shape)
    theirs = from_mrpro_operator(fourier @ SensitivityOp(maps[None, :, None]), shape)
    angles = torch.arange(12) * GOLDEN_ANGLE
    radius = torch.arange(-min(shape), min(shape)) / 2
    ours = NonCartesianSenseOperator(
        maps, torch.stack([torch.sin(angles), torch.cos(angles)], -1)[:, None] * radius[:, None]
    )
    x = noise(*shape, seed=1)
    torch.testing.assert_close(ours(x), theirs(x)[:, 0], rtol=0, atol=1e-4)
    torch.testing.assert_close(ours.normal(x), theirs.normal(x), rtol=0, atol=1e-2)
    wrapped = as_mrpro_operator(ours)
    assert_equal_to_rounding(wrapped(x[None, None])[0][:, 0], ours(x))


def test_its_trajectories_and_field_maps_meet_our_sampler():
    """A spoke's off-resonance included, samples have the moments of the exact posterior."""
    shape, noise_std = (8, 6), 0.3
    fourier = radial(shape, n_spokes=6)
    field_map = 40 * torch.linspace(-1, 1, 48).reshape(1, 1, 1, *shape)  # Hz
    times = torch.linspace(0, 5e-3, 12)
    informed = MultiFrequencyFourierOp(fourier, field_map, times, n_bins=8)
    maps = SensitivityOp(noise(1, 3, 1, *shape))
    operator = from_mrpro_operator(informed @ maps, shape)
    check_operator(operator, torch.complex64, tolerance=1e-4)
    plain = from_mrpro_operator(fourier @ maps, shape)
    truth = noise(*shape, seed=1)
    assert (operator(truth) - plain(truth)).norm() > 0.1 * operator(truth).norm()
    data = operator(truth) + noise_std * noise(*operator.range_shape, seed=2)
    prior = GaussianPrior.power_law(exponent=2.0)
    found = sample_posterior(
        prior,
        operator,
        data,
        noise_std,
        n_samples=400,
        n_evaluations=40,
        generator=torch.Generator().manual_seed(0),
    ).samples
    basis = torch.eye(48, dtype=torch.complex64).reshape(-1, *shape)
    dense = MatrixOperator(operator(basis).flatten(1).T.contiguous(), shape)
    exact = exact_posterior(prior, dense, data.flatten(), noise_std)
    error = (found.mean(0) - exact.mean).abs() / (exact.std / len(found) ** 0.5)
    assert float(error.square().mean()) < 1.7  # 1 in expectation
    assert float((found.var(0).sqrt() / exact.std).mean()) == pytest.approx(1, abs=0.05)


def test_there_and_back_is_the_same_object():
    ours, theirs = sense(8, 6), radial((8, 6))
    assert from_mrpro_operator(as_mrpro_operator(ours), (8, 6)) is ours
    assert as_mrpro_operator(from_mrpro_operator(theirs, (8, 6))) is theirs


def test_what_does_not_fit_is_named():
    maps = SensitivityOp(noise(2, 3, 1, 8, 6))
    with pytest.raises(ShapeError, match=r"differ between slices, give image_shape \(slices"):
        from_mrpro_operator(radial((8, 6)) @ maps, (8, 6))
    with pytest.raises(ShapeError, match="check image_shape"):
        from_mrpro_operator(radial((8, 6)) @ maps, (7, 7))
    with pytest.raises(ShapeError, match=r"expected \(y, x\) or"):
        from_mrpro_operator(maps, (8,))
    with pytest.raises(DtypeError, match="complex64 or complex128"):
        from_mrpro_operator(maps, (2, 8, 6), dtype=torch.float32)
    with pytest.raises(ConfigurationError, match="expected an mrpro LinearOperator"):
        from_mrpro_operator(mrpro.operators.MagnitudeOp(), (8, 6))
    with pytest.raises(ShapeError, match=r"found \(1, 8, 6\), expected \(1, 1, 8, 6\)"):
        as_mrpro_operator(sense(8, 6))(noise(1, 8, 6))
    with pytest.raises(ShapeError, match="expected an image"):
        as_mrpro_operator(MatrixOperator(torch.eye(4, dtype=torch.complex64)))


@pytest.fixture
def kdata(scan, tmp_path):
    """The simulated scan of two slices, as mrpro reads it."""
    convert(scan.path, tmp_path / "scan.mrd", "ismrmrd")
    with pytest.warns(UserWarning, match="No vendor"):
        return KData.from_file(tmp_path / "scan.mrd", KTrajectoryCartesian())


@pytest.mark.parametrize("vendor", ["unknown", "SIEMENS"])
def test_kdata_in_and_idata_out(kdata, tmp_path, vendor):
    """A fully sampled scan comes back as mrpro reconstructs it, in its orientation."""
    if vendor == "SIEMENS":  # whose k-space mrpro conjugates when it reads and when it writes
        kdata.header.vendor, kdata.data = vendor, kdata.data.conj().resolve_conj()
    raw = raw_from_kdata(kdata, tmp_path / "again.mrd")
    direct = mri_alps.read_raw(tmp_path / "scan.mrd")
    assert raw.shape == direct.shape and np.array_equal(raw.read_slice(1), direct.read_slice(1))
    result = mri_alps.reconstruct(
        raw, prior="gaussian", n_samples=2, n_evaluations=4, save_samples=True
    )
    images = images_as_idata(result, kdata.header)
    (coils,) = FourierOp.from_kdata(kdata).adjoint(kdata.data)
    direct = coils.abs().square().sum(-4, keepdim=True).sqrt()
    assert images.mean.data.shape == images.std.data.shape == direct.shape == (2, 1, 1, 64, 64)
    inside = images.mean.data > 0  # where sensitivity maps are not zero
    assert inside.float().mean() > 0.2
    error = ((images.mean.data - direct) * inside).norm()
    assert error < 0.15 * direct.norm()
    for turned in (direct.mT, direct.flip(-1), direct.flip(-2), direct.flip(-1, -2)):
        assert ((images.mean.data - turned) * inside).norm() > 1.5 * error
    assert images.samples.data.shape == (2, 2, 1, 1, 64, 64) and images.samples.data.is_complex()
    spacing = images.mean.header.resolution
    assert spacing.x * 1e3 == pytest.approx(raw.pixel_spacing[0])


@pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")  # of the small scan
def test_radial_kdata_in_and_idata_out(kdata, tmp_path):
    """Spokes of the same scan, made by mrpro, are placed by their trajectory."""
    pytest.importorskip("finufft", reason="pip install 'mri-alps[noncartesian]'")
    fourier = FourierOp.from_kdata(kdata)
    (coils,) = fourier.adjoint(kdata.data)
    spokes = radial((64, 64), n_spokes=96)
    angles = torch.arange(96) * GOLDEN_ANGLE
    radius = torch.arange(-64, 64) / 2
    trajectory = KTrajectory(
        kz=torch.zeros(1, 1, 1, 1, 1),
        ky=(torch.sin(angles)[:, None] * radius)[None, None, None].float(),
        kx=(torch.cos(angles)[:, None] * radius)[None, None, None].float(),
    )
    (samples,) = spokes(coils)
    header = kdata.header
    header.encoding_matrix, header.encoding_fov = header.recon_matrix, header.recon_fov
    header.acq_info = kdata[..., :1, :].header.acq_info
    header.trajectory_type = type(header.trajectory_type).RADIAL
    raw = raw_from_kdata(KData(header, samples, trajectory), tmp_path / "radial.mrd")
    result = mri_alps.reconstruct(raw, prior="gaussian", n_samples=2, n_evaluations=6)
    images = images_as_idata(result, header)
    direct = coils.abs().square().sum(-4, keepdim=True).sqrt()
    inside = images.mean.data > 0
    error = ((images.mean.data - direct) * inside).norm()
    assert error < 0.2 * direct.norm()
    for turned in (direct.mT, direct.flip(-1), direct.flip(-2), direct.flip(-1, -2)):
        assert ((images.mean.data - turned) * inside).norm() > 1.3 * error


def test_what_is_no_kdata_or_does_not_fit_is_refused(kdata, tmp_path):
    with pytest.raises(ConfigurationError, match=r"expected mrpro\.data\.KData"):
        raw_from_kdata(kdata.data, tmp_path / "again.mrd")
    raw = raw_from_kdata(kdata, tmp_path / "again.mrd")
    with pytest.raises(ConfigurationError, match="exists: name another"):
        raw_from_kdata(kdata, tmp_path / "again.mrd")
    result = mri_alps.reconstruct(raw, prior="gaussian", n_samples=2, n_evaluations=4)
    one = dataclasses.replace(result, reconstruction=result.reconstruction[:1])
    with pytest.raises(ShapeError, match="with all its slices"):
        images_as_idata(one, kdata.header)
