"""The library's road, taken apart, is that of `reconstruct`."""

import h5py
import numpy as np
import pytest
import torch

import mri_alps
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import raw_from_arrays

pytestmark = pytest.mark.filterwarnings("ignore:.*the noise was estimated")


def test_a_slice_taken_apart_is_that_of_reconstruct(scan):
    whole = mri_alps.reconstruct(
        scan.path, prior="gaussian", n_samples=2, n_evaluations=8, slices=(1,), save_samples=True
    )
    acquisition = mri_alps.prepare_slice(mri_alps.read_raw(scan.path), 1)
    result = mri_alps.sample_posterior(
        mri_alps.load_prior("gaussian"),
        *acquisition.problem(),
        n_samples=2,
        n_evaluations=8,
        first_slice=1,
        generator=torch.Generator().manual_seed(0),
        antithetic=True,
    )
    samples = (result.samples.numpy() * acquisition.scale).astype(np.complex64)
    assert_equal_to_rounding(samples, whole.samples[0])


def test_the_mean_of_eight_samples_hardly_depends_on_their_seed(scan):
    settings = {"n_samples": 8, "n_evaluations": 10, "slices": (0,), "save_samples": True}
    one, other = (
        mri_alps.reconstruct(scan.path, prior="gaussian", seed=seed, **settings) for seed in (1, 2)
    )
    difference = one.posterior_mean[0] - other.posterior_mean[0]
    # Of independent samples it is 2 / 8 of the variance.
    variance = one.samples[0].var(0, ddof=1).mean()
    assert np.square(np.abs(difference)).mean() < 0.05 * variance
    assert one.scalars["degrees_of_freedom"].tolist() == [6]


def test_the_problem_has_the_weights_that_reconstruct_uses(scan):
    acquisition = mri_alps.prepare_slice(mri_alps.read_raw(scan.path), 0)
    operator, data, noise_std = acquisition.problem()
    assert acquisition.weights is not None and noise_std == acquisition.noise_std
    plain = mri_alps.SenseOperator(acquisition.sensitivity_maps, acquisition.mask)
    unweighted = plain.adjoint(acquisition.kspace)
    difference = torch.linalg.vector_norm(operator.adjoint(data) - unweighted)
    assert difference > 0.1 * torch.linalg.vector_norm(unweighted)


SETTINGS = dict(prior="gaussian", n_samples=2, n_evaluations=6)


def test_arrays_are_reconstructed_as_the_scan_made_of_them(scan):
    """complex128, torch, and a mask that is given; one slice needs no slice axis."""
    mask = np.zeros(64, bool)
    mask[::2] = mask[24:40] = True
    raw = mri_alps.read_raw(scan.path)
    maps = np.stack(
        [mri_alps.prepare_slice(raw, index).raw_sensitivity_maps().numpy() for index in range(2)]
    )
    given = dict(mask=mask, sensitivity_maps=maps, noise_std=0.05, save_samples=True, **SETTINGS)
    ours = mri_alps.reconstruct(torch.from_numpy(scan.kspace.astype(np.complex128)), **given)
    theirs = mri_alps.reconstruct(raw_from_arrays(scan.kspace, mask), **given | {"mask": None})
    assert ours.posterior_mean.shape == (2, 80, 64)
    assert_equal_to_rounding(ours.posterior_mean, theirs.posterior_mean)
    one = mri_alps.reconstruct(scan.kspace[0], **given | {"sensitivity_maps": maps[0]})
    assert_equal_to_rounding(one.posterior_mean[0], ours.posterior_mean[0])
    assert ours.attributes["arrays_given"] == "mask, sensitivity_maps"
    assert ours.attributes["noise_source"] == "user"


def test_exact_zeros_of_an_array_are_not_measured_and_are_named(scan):
    mask = np.zeros(64, bool)
    mask[::2] = mask[24:40] = True
    kspace = scan.kspace[0] * mask
    with pytest.warns(mri_alps.MriAlpsWarning, match="24 of 64 phase encodes are exactly zero"):
        found = mri_alps.reconstruct(kspace, noise_std=0.05, **SETTINGS)
    told = mri_alps.reconstruct(kspace, mask=mask, noise_std=0.05, **SETTINGS)
    np.testing.assert_array_equal(found.mask[0, 0], mask)
    assert_equal_to_rounding(found.posterior_mean, told.posterior_mean)


def test_one_coil_needs_no_coil_axis(scan):
    found = mri_alps.reconstruct(scan.kspace[0, 0], noise_std=0.05, **SETTINGS)
    assert found.reconstruction.shape == (1, 80, 64)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.ones((4, 8)), "k-space is complex, and an array of float64"),
        (np.ones(4, complex), "expected k-space"),
        (3, "path"),
        ("a" * 5000, "cannot be read"),
        (torch.zeros(4, 8, dtype=torch.complex64, device="meta"), "that holds data"),
        (torch.eye(8, dtype=torch.complex64).to_sparse(), "give a dense one"),
    ],
)
def test_what_is_no_kspace_is_named(source, words):
    with pytest.raises(mri_alps.MriAlpsError, match=words):
        mri_alps.reconstruct(source, **SETTINGS)


def test_a_mask_may_be_a_list_of_numbers(scan):
    mask = [int(k % 2 or 24 <= k < 40) for k in range(64)]
    listed = mri_alps.reconstruct(scan.path, mask=mask, slices=[0], **SETTINGS)
    array = mri_alps.reconstruct(scan.path, mask=np.array(mask), slices=[0], **SETTINGS)
    np.testing.assert_array_equal(listed.reconstruction, array.reconstruction)


@pytest.mark.parametrize("name", ["mask", "sensitivity_maps"])
@pytest.mark.parametrize("value", [[[1], [1, 0]], ["gaussian"], [], {}])
def test_what_is_neither_a_name_nor_an_array_is_named(scan, name, value):
    with pytest.raises(mri_alps.MriAlpsError, match=f"found {name}=.*a name, a file or an array"):
        mri_alps.reconstruct(scan.path, **{name: value}, **SETTINGS)


def test_samples_that_no_memory_holds_are_refused_before_they_are_drawn(scan, monkeypatch):
    monkeypatch.setattr("mri_alps.pipeline.batches.available_bytes", lambda _: 1e9)
    with pytest.raises(mri_alps.MriAlpsError, match=r"n_samples is 10{12}, .* at most \d+$"):
        mri_alps.reconstruct(scan.path, **SETTINGS | {"n_samples": 10**12})


def test_maps_that_do_not_fit_are_named(scan):
    with pytest.raises(mri_alps.MriAlpsError, match=r"maps of shape \(3, 8, 8\) do not fit"):
        mri_alps.reconstruct(
            scan.path, sensitivity_maps=np.ones((3, 8, 8), complex), noise_std=0.1, **SETTINGS
        )


def test_a_reconstruction_is_saved_drawn_and_shown_in_a_line(scan, tmp_path):
    result = mri_alps.reconstruct(scan.path, save_samples=True, **SETTINGS)
    again = mri_alps.load_reconstruction(result.save(tmp_path / "kept.h5"))
    for name in ("reconstruction", "reconstruction_std", "posterior_mean", "samples", "mask"):
        np.testing.assert_array_equal(getattr(again, name), getattr(result, name))
    assert again.attributes["configuration"]["n_samples"] == 2
    assert "\n" not in repr(result) and "2 slices of 64x64, 2 samples" in repr(result)
    samples = result.samples_in_image_units()
    assert samples.shape == (2, 2, 64, 64)
    assert_equal_to_rounding(np.abs(samples.mean(1)), result.reconstruction, n_summed=8)
    figure = result.plot(1)
    figure.savefig(tmp_path / "shown.png")
    assert len(figure.axes) == 2 * 5  # an image and its colours each
    with pytest.raises(mri_alps.MriAlpsError, match=r"no slice 7, expected one of \[0, 1\]"):
        result.plot(7)
    with pytest.raises(mri_alps.MriAlpsError, match=r"path='a\\x00b', expected a path, without"):
        result.save("a\0b")
    with pytest.raises(mri_alps.MriAlpsError, match="is not a reconstruction"):
        (tmp_path / "other.h5").write_bytes(b"x")
        result.save(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("slices", np.array([np.nan])),
        ("slices", np.arange(5)),
        ("reconstruction", np.ones((1, 3, 3), np.float32)),
        ("reconstruction_std", np.array([b"a"])),
        ("posterior_mean", np.ones(1, np.complex64)),
        ("provenance", "[1]"),
        ("diagnostics", np.array([b"[1]"])),
    ],
)
def test_a_damaged_reconstruction_is_named(scan, tmp_path, name, content):
    path = mri_alps.reconstruct(scan.path, slices=[0], **SETTINGS).save(tmp_path / "result.h5")
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = content
    with pytest.raises(mri_alps.MriAlpsError, match=r"result\.h5.* damaged"):
        mri_alps.load_reconstruction(path)


def test_a_folder_that_is_not_there_is_named(scan, tmp_path):
    result = mri_alps.reconstruct(scan.path, slices=[0], **SETTINGS)
    with pytest.raises(mri_alps.MriAlpsError, match="make it first"):
        result.save(tmp_path / "none" / "result.h5")
