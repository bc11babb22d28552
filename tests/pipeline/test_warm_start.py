"""`reconstruct --initial`: any reconstruction is a warm start, in the units of the image."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

import mri_alps
from mri_alps.core.errors import ConfigurationError
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file
from mri_alps.pipeline.identity import initial_identity
from mri_alps.pipeline.warm_start import warm_start, wavelet_image
from mri_alps.rawdata import write_cfl
from tests.pipeline.tiny_scans import write_tiny

FAST = ("--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "8")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*the noise was estimated"),
    pytest.mark.filterwarnings("ignore:sigma = radius / delta"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A scan of 40x32, cropped to 32x32, and a reconstruction of its two slices."""
    folder = tmp_path_factory.mktemp("start")
    path = write_tiny(folder / "scan.h5", n_slices=2)
    settings = ReconstructionConfiguration(prior="gaussian", n_samples=2, n_evaluations=12)
    return path, reconstruct_to_file(path, folder / "out", settings)


def rewritten(path, found, **datasets):
    """Write other datasets than those of a reconstruction."""
    with h5py.File(found) as source, h5py.File(path, "w") as target:
        for name, change in datasets.items():
            target[name] = change(source[name][()])
    return path


def as_cfl(path, images):
    """BART's dimensions: READ, PHS1, 11 of length one, SLICE."""
    array = np.moveaxis(images, 0, -1)
    write_cfl(path, array.reshape(*array.shape[:2], *(1,) * 11, array.shape[2]))
    return path.with_suffix(".cfl")


def our_file(folder, found):
    return found


def turned_file(folder, found):
    """A phase for all of the image is nobody's."""
    return rewritten(folder / "turned.h5", found, posterior_mean=lambda x: x * np.exp(2j))


def magnitudes(folder, found):
    """As fastMRI's programs write it."""
    return rewritten(folder / "fastmri.h5", found, reconstruction=lambda x: x)


def bart(folder, found):
    """In units of the root sum of squares, with the phase of other sensitivity maps."""
    result = mri_alps.load_reconstruction(found)
    mean = result.posterior_mean
    inside = np.abs(mean[:, 4:36])
    weight = np.median((result.reconstruction / inside)[inside > 0.3 * inside.max()])
    other = np.exp(1j * np.linspace(0, 6, mean.shape[-1]))
    return as_cfl(folder / "image", mean * weight * other)


def prepared(made, index=1, **settings):
    raw = mri_alps.read_raw(made[0])
    configuration = ReconstructionConfiguration(**settings)
    acquisition = mri_alps.prepare_slice(raw, index)
    return acquisition, warm_start(configuration, raw, index, acquisition)


def alikeness(first, second):
    """Correlation of complex images, 1 where they differ by a factor."""
    return abs(np.vdot(first, second)) / np.linalg.norm(first) / np.linalg.norm(second)


@pytest.mark.parametrize(
    "write, phase",
    [(our_file, "file"), (turned_file, "file"), (magnitudes, "cg-sense"), (bart, "cg-sense")],
)
def test_each_kind_of_file_is_the_image_in_the_samplers_units(made, tmp_path, write, phase):
    expected = mri_alps.load_reconstruction(made[1]).posterior_mean[1]
    acquisition, start = prepared(
        made, initial=str(write(tmp_path, made[1])), initial_sigma=0.1, n_samples=2
    )
    found = start.estimate.image.numpy() * acquisition.scale
    assert found.shape == (40, 32) and start.facts["phase"] == phase
    assert start.facts["times_what_data_say"] == pytest.approx(1, abs=0.05)
    assert alikeness(found, expected) > (0.999 if phase == "file" else 0.95)
    inside = np.abs(expected) > 0.3 * np.abs(expected).max()
    inside[:4] = inside[36:] = False  # beyond the crop
    inside &= acquisition.rss_weight.numpy() > 0  # where there is a root sum of squares
    ratio = np.abs(found)[inside] / np.abs(expected)[inside]
    assert np.isclose(ratio, 1, atol=0.1 if write is bart else 0.01).mean() > 0.99


def test_sigma_and_radius_are_in_units_of_the_image(made):
    """The same fraction of the image before and after."""
    size = np.linalg.norm(mri_alps.load_reconstruction(made[1]).reconstruction[1])
    trusts = ({"initial_radius": 0.1 * size, "initial_delta": 0.3}, {"initial_sigma": 0.1 * size})
    for trust in trusts:
        _, start = prepared(made, initial=str(made[1]), **trust)
        estimate = start.estimate
        bound = estimate.radius if "initial_radius" in trust else estimate.sigma
        assert bound / float(estimate.image.norm()) == pytest.approx(0.1, rel=0.03)
    assert prepared(made, initial=str(made[1]), **trusts[0])[1].estimate.delta == 0.3


def test_a_file_of_ours_states_its_own_radius(made):
    """Real and imaginary part vary alike, and the deviation is that of one of them."""
    deviation = mri_alps.load_reconstruction(made[1]).reconstruction_std[1]
    _, start = prepared(made, initial=str(made[1]))
    assert start.facts["radius"] == pytest.approx(2**0.5 * np.linalg.norm(deviation), rel=1e-5)


def test_computed_starts_are_near_the_image(made):
    expected = mri_alps.load_reconstruction(made[1]).posterior_mean[1]
    for name in ("cg-sense", "wavelet"):
        acquisition, start = prepared(made, initial=name, initial_sigma=0.1)
        found = start.estimate.image.numpy() * acquisition.scale
        assert alikeness(found, expected) > 0.95
        assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(expected), rel=0.1)


def test_wavelets_leave_the_weights_of_samples_out(made):
    """With them, small where k-space is large, FISTA was 14 dB short on a scan of little noise."""
    acquisition, start = prepared(made, initial="wavelet", initial_sigma=0.1)
    light = replace(acquisition, weights=torch.full(acquisition.kspace.shape[-2:], 0.05))
    torch.testing.assert_close(wavelet_image(light), start.estimate.image)


@pytest.mark.parametrize(
    "method, options",
    [
        ("alps", ("--initial-radius", "1e-4", "--initial-delta", "0.5")),
        ("alps", ("--initial-sigma", "1e-4")),
        ("xgp2", ("--initial-sigma", "1e-4")),
        ("xgp3", ("--initial-radius", "1e-4", "--initial-delta", "0.5")),
    ],
)
def test_a_start_that_is_trusted_fully_stays(made, tmp_path, run, method, options):
    """Noise of 1e-4 where the image has the size 1: data and prior add next to nothing."""
    start = magnitudes(tmp_path, made[1])
    command = ("reconstruct", made[0], "-o", tmp_path / "out", *FAST, "--method", method)
    finished = run(*command, "--slices", "1", "--initial", start, *options)
    assert finished.code == 0, finished.err
    result = mri_alps.load_reconstruction(tmp_path / "out" / "scan.h5")
    expected = mri_alps.load_reconstruction(made[1]).reconstruction[1]
    assert np.linalg.norm(result.reconstruction[0] - expected) < 0.02 * np.linalg.norm(expected)
    facts = result.diagnostics[0]["initial"]
    assert facts["source"] == result.attributes["initial"] == "fastmri.h5"
    assert result.attributes["initial_sha256"] == initial_identity(str(start))
    assert [facts["radius"], facts["sigma"]].count(1e-4) == 1
    assert facts["delta"] == (0.5 if facts["radius"] else None)


def test_the_library_starts_from_the_same_settings(made, tmp_path):
    start = magnitudes(tmp_path, made[1])
    result = mri_alps.reconstruct(
        made[0], prior="gaussian", n_samples=2, n_evaluations=110, slices=(1,), method="xgp2",
        initial=start, initial_sigma=1e-4,
    )  # fmt: skip
    expected = mri_alps.load_reconstruction(made[1]).reconstruction[1]
    assert np.linalg.norm(result.reconstruction[0] - expected) < 0.02 * np.linalg.norm(expected)
    assert result.attributes["initial"] == "fastmri.h5"


def test_a_dry_run_finds_a_start_that_does_not_fit(made, tmp_path, run):
    command = ("reconstruct", made[0], "-o", tmp_path / "out", *FAST, "--dry-run", "--initial")
    assert run(*command, made[1]).code == 0
    finished = run(*command, missing(tmp_path, made[1]))
    assert finished.code == 1 and "does not exist" in finished.err


def test_another_content_of_the_file_is_another_reconstruction(made, tmp_path, run):
    start = magnitudes(tmp_path, made[1])
    command = ("reconstruct", made[0], "-o", tmp_path / "out", *FAST, "--slices", "1")
    command += ("--initial", start, "--initial-sigma", "0.1")
    assert run(*command, "--json").code == 0
    assert json.loads(run(*command, "--json").out)[0]["status"] == "skipped"
    rewritten(start, made[1], reconstruction=lambda x: 1.01 * x)
    assert json.loads(run(*command, "--json").out)[0]["status"] == "finished"


def flipped(folder, found):
    # The object is nearly symmetric, so only its place is wrong.
    return rewritten(
        folder / "moved.h5", found, reconstruction=lambda x: np.roll(x, 16, axis=(-2, -1))
    )


def scaled(folder, found):
    return rewritten(folder / "scaled.h5", found, reconstruction=lambda x: 7 * x)


def with_nan(folder, found):
    return rewritten(folder / "nan.h5", found, reconstruction=lambda x: x * np.nan)


def cut(folder, found):
    return rewritten(folder / "cut.h5", found, posterior_mean=lambda x: x[:, 1:])


def too_few(folder, found):
    return rewritten(folder / "one.h5", found, reconstruction=lambda x: x[:1])


def of_text(folder, found):
    return rewritten(folder / "text.h5", found, reconstruction=lambda x: x.astype("S4"))


def without_image(folder, found):
    return rewritten(folder / "none.h5", found, slices=lambda x: x)


def cut_cfl(folder, found):
    return as_cfl(folder / "cut", mri_alps.load_reconstruction(found).posterior_mean[:, 1:])


def missing(folder, found):
    return folder / "missing.h5"


@pytest.mark.parametrize(
    "write, sentence",
    [
        (flipped, "does not agree with what"),
        (scaled, "times as large as"),
        (with_nan, "holds NaN or Inf"),
        (cut, "has slices of 40 x 32"),
        (too_few, "which has 2 slices where `reconstruction` has 1"),
        (of_text, "is |S4 of shape (2, 32, 32)"),
        (without_image, "neither a dataset `posterior_mean` nor `reconstruction`"),
        (cut_cfl, "has the dimensions 39 32 1"),
        (missing, "does not exist"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(made, tmp_path, run, write, sentence):
    start = write(tmp_path, made[1])
    command = ("reconstruct", made[0], "-o", tmp_path / "out", *FAST, "--slices", "1")
    finished = run(*command, "--initial", start, "--initial-sigma", "0.1")
    assert finished.code == 1 and finished.err.count("error") == 1
    assert sentence in " ".join(finished.err.split())
    assert not (tmp_path / "out").exists()


def test_a_file_without_deviation_needs_a_radius(made, tmp_path, run):
    start = magnitudes(tmp_path, made[1])
    finished = run("reconstruct", made[0], "-o", tmp_path / "out", *FAST, "--initial", start)
    assert finished.code == 1 and "states no standard deviation" in finished.err


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"method": "xgp2"}, "xgp2 starts from one"),
        ({"method": "xgp3"}, "xgp3 starts from one"),
        ({"initial_radius": 1.0}, "a bound is given"),
        ({"method": "xgp1", "initial": "x.h5"}, "xgp1 starts from no reconstruction"),
        ({"method": "dps", "initial": "x.h5"}, "dps starts from no reconstruction"),
        ({"initial": "x", "initial_radius": 1.0, "initial_sigma": 1.0}, "one of the two"),
        ({"method": "xgp2", "initial": "x", "initial_radius": 1.0}, "initial_sigma is missing"),
        ({"method": "xgp3", "initial": "x", "initial_sigma": 1.0}, "xgp3 adds noise itself"),
        ({"initial": "cg-sense"}, "initial_radius is missing"),
        ({"initial": "cg-sense", "initial_radius": 0.0}, "expected a number above 0"),
        ({"initial": "cg-sense", "initial_radius": 1.0, "initial_delta": 1.0}, "below 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        ReconstructionConfiguration(**settings)
