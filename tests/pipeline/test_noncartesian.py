"""Radial and spiral scans through the program: from file to posterior, and what is refused."""

import h5py
import numpy as np
import pytest

from mri_alps.calibration import prepare_slice
from mri_alps.core.errors import (
    CalibrationError,
    ConfigurationError,
    InputFileError,
    MriAlpsWarning,
)
from mri_alps.pipeline import load_reconstruction, reconstruct
from mri_alps.pipeline.cg_sense import cg_sense
from mri_alps.rawdata import TrajectoryOptions, read_raw, trajectory_from_arrays
from tests.rawdata import trajectory_scans as scans

pytest.importorskip("finufft", reason="scans along trajectories take finufft")
FEW = {"prior": "gaussian", "n_samples": 2, "n_evaluations": 2, "noise_std": scans.NOISE_STD}
MORE = FEW | {"n_samples": 4, "n_evaluations": 15}
OPTIONS = [
    *("--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "2"),
    *("--noise-std", str(scans.NOISE_STD)),
]


@pytest.fixture(scope="module")
def radial():
    places = scans.radial(40)
    return scans.samples_at(places), places


def error_of(image):
    """Relative error against the truth, and against the truth with its axes exchanged."""
    expected = scans.root_sum_of_squares()
    return [float(np.linalg.norm(image - t) / np.linalg.norm(t)) for t in (expected, expected.T)]


def test_the_same_scan_in_all_formats_gives_the_same_image(tmp_path, radial):
    samples, places = radial
    ksp, traj = scans.write_bart(tmp_path, samples, places)
    raws = [
        trajectory_from_arrays(samples, places),
        read_raw(ksp, trajectory=TrajectoryOptions(trajectory=traj)),
        read_raw(scans.write_npz(tmp_path / "r.npz", samples, places)),
    ]
    for unit, factor in scans.UNITS.items():
        path = tmp_path / f"{unit.replace('/', '_')}.h5"
        raws.append(read_raw(scans.write_radial_ismrmrd(path, samples, places * factor)))
    images = [image_of(raw) for raw in raws]
    good, exchanged = error_of(images[0])
    assert good < 0.2 and exchanged > 0.4
    with_maps = [image_of(raw, sensitivity_maps=scans.coil_maps()) for raw in raws]
    for other in with_maps[1:]:
        np.testing.assert_allclose(other, with_maps[0], atol=1e-5 * with_maps[0].max())
    # Files hold places in single precision, 1e-6 of a cycle off, which estimated maps multiply.
    inside = np.abs(scans.truth()) > 0.1
    for other in images[1:]:
        np.testing.assert_allclose(other[inside], images[0][inside], atol=5e-3 * images[0].max())


def image_of(raw, **options):
    """Of few iterations, which do not multiply rounding, in the units of the scan."""
    acquisition = prepare_slice(raw, 0, noise_std=scans.NOISE_STD, maps_error=0.0, **options)
    operator, data, _ = acquisition.problem()
    weight = acquisition.rss_weight * acquisition.scale
    return (cg_sense(operator, data, 4).abs() * weight).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("places", [scans.radial(40), scans.spirals(6)])
def test_interval_and_misfit(places):
    result = reconstruct(scans.samples_at(places), trajectory=places, matrix=scans.SHAPE, **MORE)
    assert 0.8 < result.scalars["data_misfit"][0] < 1.1
    assert result.scalars["calibration_misfit"][0] < 0.05
    assert np.isfinite(result.reconstruction_std).all() and result.reconstruction_std.max() > 0


def test_from_the_command_line(tmp_path, radial, run):
    samples, places = radial
    path = scans.write_radial_ismrmrd(tmp_path / "r.h5", samples, places / scans.SHAPE[0])
    output = tmp_path / "out"
    found = run("inspect", path)
    assert found.code == 0
    told = found.out
    for word in ("radial, 40 shots x 96 samples", "cycles per pixel", "covered radius", "delays"):
        assert word in told
    assert run("reconstruct", path, "-o", output, "--shots", "30", "--report", *OPTIONS).code == 0
    assert (output / "r.html").stat().st_size > 10_000
    with h5py.File(output / "r.h5") as file:
        marked = file["mask"][0]
    assert 0.2 < marked.mean() < 0.9 and marked[24, 24]
    again = load_reconstruction(output / "r.h5")
    assert again.reconstruction.shape == (1, *scans.SHAPE)


def test_shots_change_what_is_reconstructed(tmp_path, radial):
    samples, places = radial
    part = reconstruct(samples, trajectory=places, shots="20", **FEW)
    alone = reconstruct(samples[:, :20], trajectory=places[:20], **FEW)
    np.testing.assert_allclose(part.reconstruction, alone.reconstruction, atol=1e-5)


@pytest.mark.slow
def test_self_calibration_leaves_out_shots(radial):
    samples, places = radial
    result = reconstruct(samples[:, :20], trajectory=places[:20], self_calibration="scan", **MORE)
    factor = result.scalars["uncertainty_factor"][0]
    assert np.isfinite(result.scalars["uncertainty_factor_error"][0]) and 0.3 <= factor < 3


def refused(run, output, *arguments):
    found = run(*arguments, "-o", output, *OPTIONS)
    said = found.err.strip()
    assert found.code != 0 and said.count("mri-alps: error") == 1
    assert not list(output.glob("*.h5")) if output.exists() else True
    return " ".join(said.split())


def test_bad_input_is_one_sentence_and_no_output(tmp_path, radial, run):
    samples, places = radial
    output = tmp_path / "out"
    ksp, _ = scans.write_bart(tmp_path, samples, places)
    good = scans.write_radial_ismrmrd(tmp_path / "good.h5", samples, places)
    assert "--trajectory" in refused(run, output, "reconstruct", ksp)
    assert "--shots" in refused(run, output, "reconstruct", good, "--mask", "random")
    cartesian = scans.write_radial_ismrmrd(tmp_path / "c.h5", samples, places, name="cartesian")
    assert "trajectory of their own" in refused(run, output, "reconstruct", cartesian)
    unknown = scans.write_radial_ismrmrd(tmp_path / "u.h5", samples, places * 0.3)
    assert "--trajectory-units" in refused(run, output, "reconstruct", unknown)
    few = scans.write_radial_ismrmrd(tmp_path / "few.h5", samples[:, :6], places[:6])
    assert "densely only up to" in refused(run, output, "reconstruct", few)
    broken = places.copy()
    broken[3, 5] = np.inf
    broken = scans.write_npz(tmp_path / "nan.npz", samples, broken)
    assert "shot 3" in refused(run, output, "reconstruct", broken)


def damaged(places, samples):
    """What is wrong with a .npz, and a part of the sentence that says so."""
    square = scans.radial(96)
    return {
        "exchanged": (
            {"kspace": scans.samples_at(square), "trajectory": square.swapaxes(0, 1)},
            "jumps from sample to sample",
        ),
        "slices": (
            {"kspace": np.stack([samples] * 2), "trajectory": np.stack([places] * 3)},
            "trajectories of 3 slices and k-space of 2",
        ),
        "words": ({"matrix": np.array(["a", "b"])}, "expected two whole numbers"),
        "large": ({"matrix": (10**6, 10**6)}, "or give --matrix"),
        "view": ({"field_of_view": (-240.0, 240.0, 5.0)}, "three lengths in mm"),
        "two": ({"field_of_view": (240.0, 240.0)}, "three lengths in mm"),
        "coils": ({"noise_covariance": np.eye(3)}, "for 4 coils"),
        "tiny": ({"kspace": (samples * 1e-42).astype(np.complex64)}, "too small to compute with"),
    }


@pytest.mark.parametrize("name", damaged(np.zeros((2, 2, 2)), np.zeros((1, 2, 2))))
def test_a_damaged_npz_is_one_sentence_and_no_output(tmp_path, radial, run, name):
    samples, places = radial
    changes, said = damaged(places, samples)[name]
    path = tmp_path / "r.npz"
    arrays = {"kspace": samples, "trajectory": places, "matrix": scans.SHAPE} | changes
    np.savez(path, **arrays)
    options = [option for option in OPTIONS if option not in ("--noise-std", OPTIONS[-1])]
    found = run("reconstruct", path, "-o", tmp_path / "out", *options)
    assert found.code != 0 and found.err.count("mri-alps: error") == 1
    assert said in " ".join(found.err.split())
    assert not (tmp_path / "out").exists()


def test_an_angle_without_pixels_is_not_passed_over(tmp_path, radial, run):
    samples, places = radial
    np.savez(tmp_path / "r.npz", kspace=samples, trajectory=places)
    said = refused(
        run, tmp_path / "out", "reconstruct", tmp_path / "r.npz", "--golden-angle", "111.2"
    )
    assert "give them by --matrix" in said
    path = scans.write_npz(tmp_path / "m.npz", samples, places)
    for size in ("0", "-5"):
        assert "from 1 on" in refused(run, tmp_path / "out", "reconstruct", path, "--matrix", size)


def test_shots_that_are_broken_can_be_left_out(tmp_path, radial):
    samples, places = radial
    broken = places.copy()
    broken[3, 5] = np.nan
    path = scans.write_radial_ismrmrd(tmp_path / "r.h5", samples, broken)
    part = reconstruct(path, shots="4:40", **FEW)
    whole = scans.write_radial_ismrmrd(tmp_path / "w.h5", samples, places)
    expected = reconstruct(whole, shots="4:40", **FEW)
    np.testing.assert_array_equal(part.reconstruction, expected.reconstruction)
    with pytest.raises(InputFileError, match="shot 3"):
        reconstruct(path, **FEW)


def test_a_unit_that_puts_samples_beyond_the_grid_is_a_warning(tmp_path, radial):
    samples, places = radial
    path = scans.write_npz(tmp_path / "r.npz", samples, places / 24)  # from -1 to 1
    raw = read_raw(path, trajectory=TrajectoryOptions(units="pixel"))
    (said,) = raw.provenance["warnings"]
    assert "check --trajectory-units" in said and "48 cycles per field of view" in said


def test_large_units_leave_the_image_as_it_is(radial):
    samples, places = radial
    quick = FEW | {"matrix": scans.SHAPE}
    plain = reconstruct(samples, trajectory=places, **quick)
    factor = np.float32(2.0**66)  # 7e19: its squares leave single precision
    options = quick | {"noise_std": float(scans.NOISE_STD * factor)}
    large = reconstruct(samples * factor, trajectory=places, **options)
    np.testing.assert_allclose(
        large.reconstruction / factor, plain.reconstruction, atol=1e-5 * plain.reconstruction.max()
    )


def test_an_override_reads_what_the_header_calls_cartesian(tmp_path, radial):
    samples, places = radial
    path = scans.write_radial_ismrmrd(tmp_path / "c.h5", samples, places, name="cartesian")
    result = reconstruct(path, trajectory_units="fov", **FEW)
    assert error_of(result.reconstruction[0])[0] < 0.12


def test_a_wrong_trajectory_gives_no_image(radial):
    samples, places = radial
    shuffled = places[np.random.default_rng(0).permutation(len(places))]
    with pytest.raises(CalibrationError, match="trajectory"), pytest.warns(MriAlpsWarning):
        reconstruct(samples, trajectory=shuffled, **FEW)


def test_settings_that_do_not_go_together(tmp_path, radial):
    samples, places = radial
    with pytest.raises(ConfigurationError, match="both as arrays"):
        path = scans.write_npz(tmp_path / "r.npz", samples, places)
        reconstruct(path, trajectory=places, **FEW)
    kspace = np.ones((2, 16, 16), np.complex64)
    with pytest.raises(ConfigurationError, match="is Cartesian"):
        reconstruct(kspace, shots="5", **FEW)


def test_a_run_that_was_interrupted_knows_the_trajectory(tmp_path, radial, run):
    samples, places = radial
    path = scans.write_npz(tmp_path / "r.npz", samples, places)
    output = tmp_path / "out"
    assert run("reconstruct", path, "-o", output, *OPTIONS).code == 0
    before = (output / "r.h5").stat().st_mtime_ns
    assert run("reconstruct", path, "-o", output, *OPTIONS).code == 0
    assert (output / "r.h5").stat().st_mtime_ns == before
    assert run("reconstruct", path, "-o", output, "--shots", "30", *OPTIONS).code == 0
    assert (output / "r.h5").stat().st_mtime_ns > before
