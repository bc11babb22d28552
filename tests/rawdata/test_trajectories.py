"""Scans along trajectories: formats, units, stacks, and what is refused."""

import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, InputFileError, ShapeError
from mri_alps.rawdata import (
    RawTrajectoryData,
    TrajectoryOptions,
    acceleration,
    covered_radius,
    describe,
    read_raw,
    trajectory_from_arrays,
    visited_points,
)
from tests.rawdata import trajectory_scans as scans
from tests.rawdata.rawdata_helpers import header, write_acquisitions

pytest.importorskip("finufft", reason="shots are simulated with finufft")


@pytest.fixture(scope="module")
def radial():
    places = scans.radial()
    return scans.samples_at(places), places


def refused(path, *words, **options):
    with pytest.raises((InputFileError, ConfigurationError)) as caught:
        raw = read_raw(path, trajectory=TrajectoryOptions(**options) if options else None)
        for index in range(raw.n_slices):
            raw.read_samples(index)
            raw.trajectory(index)
    message = str(caught.value)
    assert "\n" not in message and ": " in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("unit", scans.UNITS)
@pytest.mark.parametrize("told", [True, False])
def test_ismrmrd_in_any_unit(tmp_path, radial, unit, told):
    samples, places = radial
    path = scans.write_radial_ismrmrd(tmp_path / "r.h5", samples, places * scans.UNITS[unit])
    raw = read_raw(path, trajectory=TrajectoryOptions(units=unit) if told else None)
    assert isinstance(raw, RawTrajectoryData) and raw.kind == "radial"
    assert raw.shape == raw.crop == scans.SHAPE and raw.n_shots == 24 and raw.n_coils == 4
    np.testing.assert_array_equal(raw.read_samples(0), samples)
    np.testing.assert_allclose(raw.trajectory(0), places, atol=1e-5)
    assert raw.pixel_spacing == (5.0, 5.0)
    assert ("as was said" in raw.units) == told


def test_every_format_holds_the_same(tmp_path, radial):
    samples, places = radial
    ksp, traj = scans.write_bart(tmp_path, samples, places)
    from_bart = read_raw(ksp, trajectory=TrajectoryOptions(trajectory=traj))
    from_npz = read_raw(scans.write_npz(tmp_path / "r.npz", samples, places))
    in_memory = trajectory_from_arrays(samples, places)
    for raw in (from_bart, from_npz, in_memory):
        assert raw.shape == scans.SHAPE and raw.kind == "radial"
        np.testing.assert_array_equal(raw.read_samples(0), samples)
        np.testing.assert_allclose(raw.trajectory(0), places, atol=1e-5)


def test_discarded_samples_and_a_smaller_recon_matrix(tmp_path, radial):
    samples, places = radial
    path = scans.write_radial_ismrmrd(
        tmp_path / "d.h5", samples, places, recon=(24, 24, 1), discard_pre=3, discard_post=5
    )
    raw = read_raw(path)
    assert raw.shape == scans.SHAPE and raw.crop == (24, 24) and raw.n_samples == 88
    np.testing.assert_array_equal(raw.read_samples(0), samples[:, :, 3:-5])
    np.testing.assert_allclose(raw.trajectory(0), places[:, 3:-5], atol=1e-5)
    assert "cropped to 24 x 24" in " ".join(raw.provenance["processing"])


def test_golden_angle_where_there_is_no_trajectory(tmp_path, radial):
    samples, places = radial
    path = scans.write_radial_ismrmrd(tmp_path / "g.h5", samples, None, name="goldenangle")
    refused(path, "24 of 24 shots carry no trajectory", "--golden-angle")
    raw = read_raw(path, trajectory=TrajectoryOptions(golden_angle=111.24611797))
    np.testing.assert_allclose(raw.trajectory(0), places, atol=1e-4)
    given = tmp_path / "places.npy"
    np.save(given, places)
    raw = read_raw(path, trajectory=TrajectoryOptions(trajectory=given))
    np.testing.assert_allclose(raw.trajectory(0), places)
    np.save(given, places[:20])
    refused(path, "20 shots", "24", trajectory=given)


def test_a_density_is_no_third_dimension(tmp_path, radial):
    samples, places = radial
    density = np.linalg.norm(places, axis=-1, keepdims=True)
    path = scans.write_radial_ismrmrd(
        tmp_path / "w.h5", samples, np.concatenate([places, density], -1)
    )
    np.testing.assert_allclose(read_raw(path).trajectory(0), places, atol=1e-5)
    odd = np.concatenate([places, np.sin(3 * places[..., :1])], -1)
    refused(scans.write_radial_ismrmrd(tmp_path / "z.h5", samples, odd), "3-D trajectory")


def stack(tmp_path, samples, places, rotated=False, n_partitions=4, left_out=None):
    """A stack whose slices are `samples` times 1, 2, 3, ...: kz by an FFT."""
    strengths = np.arange(1, n_partitions + 1)
    centred = np.fft.ifftshift(strengths)
    weights = np.fft.fftshift(np.fft.fft(centred, norm="ortho"))
    made = []
    for partition, weight in enumerate(weights):
        if partition == left_out:
            continue
        here = places[::-1] if rotated and partition else places
        made += scans.shots(
            (samples * weight).astype(np.complex64), here, kspace_encode_step_2=partition
        )
    view = (scans.VIEW_MM, scans.VIEW_MM, 20.0)
    text = header((*scans.SHAPE, n_partitions), trajectory="radial", view=view)
    write_acquisitions(tmp_path / "stack.h5", text, made)
    return tmp_path / "stack.h5"


@pytest.mark.parametrize("n_partitions", [4, 5])
def test_stack_of_stars(tmp_path, radial, n_partitions):
    samples, places = radial
    raw = read_raw(stack(tmp_path, samples, places, n_partitions=n_partitions))
    assert raw.n_slices == n_partitions
    for index in range(n_partitions):
        np.testing.assert_allclose(raw.read_samples(index), (index + 1) * samples, atol=1e-3)
    steps = np.diff(raw.geometry.slice_positions[:, 2])
    np.testing.assert_allclose(steps, 20.0 / n_partitions)


def test_stacks_that_do_not_decouple(tmp_path, radial):
    samples, places = radial
    refused(stack(tmp_path, samples, places, rotated=True), "partition 1", "rotated stack")
    refused(stack(tmp_path, samples, places, left_out=3), "3 partitions", "complete kz")


def test_shots_are_chosen_in_the_order_of_acquisition(radial):
    samples, places = radial
    raw = trajectory_from_arrays(samples, places)
    np.testing.assert_array_equal(raw.with_shots("10").read_samples(0), samples[:, :10])
    part = raw.with_shots("5:9")
    np.testing.assert_array_equal(part.read_samples(0), samples[:, 5:9])
    np.testing.assert_allclose(part.trajectory(0), places[5:9])
    assert part.n_used_shots == 4 and part.mask.sum() < raw.mask.sum()
    fourth = raw.with_shots("1:24:4")
    assert fourth.n_used_shots == 6
    np.testing.assert_array_equal(fourth.trajectory(0), raw.trajectory(0)[1::4])
    np.testing.assert_array_equal(fourth.read_samples(0), samples[:, 1::4])
    for text in ("0", "25", "7:7", "9:5", "x", "-3", "1:2:0", "1:2:3:4"):
        with pytest.raises(ConfigurationError, match="24 shots"):
            raw.with_shots(text)


def test_nothing_takes_shots_for_lines(radial):
    raw = trajectory_from_arrays(*radial)
    for read in (raw.read_slice, raw.slice_mask, raw.read_calibration):
        with pytest.raises(ConfigurationError, match="Cartesian lines"):
            read(0)


def test_kinds_coverage_and_description(radial):
    samples, places = radial
    raw = trajectory_from_arrays(samples, places)
    told = dict(describe(raw))
    assert told["trajectory"] == "radial, 24 shots x 96 samples"
    assert told["undersampling"].startswith("3.14 (about 75 spokes")
    # 24 spokes over half a turn, at most twice the mean gap apart: 2 cycles at 2 / (pi / 12)
    assert 2 / (np.pi / 12) - 0.5 <= covered_radius(places) <= 2 / (np.pi / 24) + 0.5
    assert covered_radius(places + np.array([50.0, 0.0])) == 0
    assert covered_radius(places[:1]) < 2
    spiral = scans.spirals()
    scan = trajectory_from_arrays(scans.samples_at(spiral), spiral)
    assert scan.kind == "spiral"
    assert acceleration(spiral, scans.SHAPE, "spiral") == pytest.approx(1, abs=0.05)
    assert 2.5 < acceleration(spiral[::3], scans.SHAPE, "spiral") < 3.5
    marked = visited_points(np.array([[0.2, -1.4], [30, 0]]), (8, 6))
    assert np.argwhere(marked).tolist() == [[4, 2]]


@pytest.mark.parametrize("factor", [0.3, 0.01, 3.0])
def test_units_that_are_not_recognised(tmp_path, radial, factor):
    samples, places = radial
    path = scans.write_radial_ismrmrd(tmp_path / "u.h5", samples, places * factor)
    refused(path, "no unit", "24 (fov)", "--trajectory-units")


def test_a_unit_that_cannot_be(tmp_path, radial):
    samples, places = radial
    path = scans.write_radial_ismrmrd(tmp_path / "u.h5", samples, places / 48)
    refused(path, "reaches 0.5 cycles", "24", "--trajectory-units", units="fov")
    path = scans.write_radial_ismrmrd(tmp_path / "v.h5", samples, places)
    refused(path, "reaches 1152 cycles", units="pixel")
    refused(path, "found the unit 'miles'", units="miles")


@pytest.mark.parametrize("units", ["auto", "fov"])
def test_slices_in_several_units_are_refused(tmp_path, radial, units):
    samples, places = radial
    path = tmp_path / "slices.npz"
    for factors in ((1, 1 / scans.SHAPE[0]), (1 / scans.SHAPE[0], 1), (1, 1, 0.5)):
        several = np.stack([places * factor for factor in factors])
        scans.write_npz(path, np.stack([samples] * len(factors)), several)
        odd = int(np.argmin(factors))
        with pytest.raises(InputFileError, match=f"the trajectory of slice {odd} reaches"):
            read_raw(path, trajectory=TrajectoryOptions(units=units))
    turned = np.stack([places, places[..., ::-1] * 0.98])  # of other angles, in the same unit
    scans.write_npz(path, np.stack([samples] * 2), turned)
    assert read_raw(path).n_slices == 2


def test_slices_of_acquisitions_in_several_units_are_refused(tmp_path, radial):
    samples, places = radial
    text = header((*scans.SHAPE, 1), trajectory="radial", view=(scans.VIEW_MM, scans.VIEW_MM, 5.0))
    for factor in (1, 0.5):
        slices = [scans.shots(samples, places), scans.shots(samples, factor * places, slice=1)]
        path = tmp_path / f"{factor}.h5"
        write_acquisitions(path, text, [*slices[0], *slices[1]])
        if factor == 1:
            assert read_raw(path).n_slices == 2
        else:
            refused(path, "the trajectory of slice 1 reaches")


def test_fields_of_view_that_make_two_units_alike(tmp_path, radial):
    samples, places = radial
    text = header((*scans.SHAPE, 1), trajectory="radial", view=(1000.0, 1000.0, 5.0))
    write_acquisitions(tmp_path / "two.h5", text, scans.shots(samples, places))
    refused(tmp_path / "two.h5", "fov and 1/m", "--trajectory-units")


@pytest.mark.parametrize("what", ["samples", "trajectory"])
@pytest.mark.parametrize("form", ["npz", "ismrmrd", "bart"])
def test_not_finite(tmp_path, radial, what, form):
    samples, places = (array.copy() for array in radial)
    (samples[1] if what == "samples" else places)[7, 3] = np.nan
    options = {}
    if form == "npz":
        path = scans.write_npz(tmp_path / "n.npz", samples, places)
    elif form == "ismrmrd":
        path = scans.write_radial_ismrmrd(tmp_path / "n.h5", samples, places)
    else:
        path, traj = scans.write_bart(tmp_path, samples, places)
        options = {"trajectory": traj}
    refused(path, f"the {what} of shot 7", **options)


def test_shots_of_different_lengths(tmp_path, radial):
    samples, places = radial
    made = scans.shots(samples, places)
    made[5].discard_post = 2
    text = header((*scans.SHAPE, 1), trajectory="radial")
    write_acquisitions(tmp_path / "l.h5", text, made)
    refused(tmp_path / "l.h5", "shot 5 has 94 samples", "shot 0 has 96")


def test_a_trajectory_of_another_length(tmp_path, radial):
    samples, places = radial
    ksp, traj = scans.write_bart(tmp_path, samples, places[:, :90])
    refused(ksp, "24 shots of 90", "24 shots of 96", trajectory=traj)
    with pytest.raises(ShapeError, match="24 shots of 90"):
        trajectory_from_arrays(samples, places[:, :90])


def test_npz_files_that_are_no_scan(tmp_path, radial):
    samples, places = radial
    np.savez(tmp_path / "a.npz", trajectory=places)
    refused(tmp_path / "a.npz", "no array `kspace`")
    np.savez(tmp_path / "b.npz", kspace=samples, matrix=scans.SHAPE)
    refused(tmp_path / "b.npz", "no trajectory", "--trajectory")
    np.savez(tmp_path / "c.npz", kspace=samples, trajectory=places / 48)
    refused(tmp_path / "c.npz", "--matrix")
    np.savez(tmp_path / "d.npz", kspace=samples.real, trajectory=places, matrix=scans.SHAPE)
    refused(tmp_path / "d.npz", "float32", "complex")
    np.savez(tmp_path / "e.npz", kspace=samples, trajectory=places, matrix=[48.5, 48])
    refused(tmp_path / "e.npz", "48.5")
    np.savez(tmp_path / "f.npz", kspace=np.array([None, {}], object), allow_pickle=True)
    refused(tmp_path / "f.npz", "cannot be read as numpy arrays")
    (tmp_path / "g.npz").write_bytes(
        scans.write_npz(tmp_path / "h.npz", *radial).read_bytes()[:900]
    )
    refused(tmp_path / "g.npz", "cannot be read as numpy arrays")


def test_cartesian_layouts_take_no_trajectory(tmp_path, radial):
    from mri_alps.rawdata import write_fastmri

    write_fastmri(tmp_path / "f.h5", np.ones((1, 2, 8, 8), np.complex64))
    refused(tmp_path / "f.h5", "Cartesian lines alone", golden_angle=111.2)


def test_real_radial_scan(shared_data):
    raw = read_raw(shared_data / "raw" / "radial_abdomen_golden_1ch.npz")
    assert raw.kind == "radial" and raw.shape == (384, 384) and raw.n_shots == 600
    assert "cycles per pixel" in raw.units
    assert covered_radius(raw.with_shots("55").trajectory(0)) == 26
