"""The reader for napari, without a window: its manifest, its layers, and what is not its file."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import mri_alps
from mri_alps.interop.napari_reader import get_reader

npe2 = pytest.importorskip("npe2", reason="pip install npe2 (Python 3.11 and later)")

MANIFEST = Path(mri_alps.__file__).with_name("napari.yaml")


@pytest.fixture
def result(scan, tmp_path):
    """A reconstruction that was written, with its samples."""
    made = mri_alps.reconstruct(
        scan.path, prior="gaussian", n_samples=3, n_evaluations=4, save_samples=True
    )
    return made.save(tmp_path / "head.h5")


@pytest.fixture
def plugin():
    """This plug-in, where npe2 looks for plug-ins."""
    manager = npe2.PluginManager.instance()
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manager.register(manifest)
    yield manifest.name
    manager.unregister(manifest.name)


def test_the_manifest_is_valid_and_leads_to_the_reader():
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    (reader,) = manifest.contributions.readers
    assert reader.filename_patterns == ["*.h5"] and not reader.accepts_directories
    assert manifest.contributions.commands[0].python_name == (
        "mri_alps.interop.napari_reader:get_reader"
    )


def test_a_result_is_opened_as_mean_deviation_and_samples(result, plugin):
    layers, reader = npe2.io_utils.read_get_reader([str(result)], stack=False, plugin_name=plugin)
    assert reader.command == "mri-alps.get_reader"
    expected = mri_alps.load_reconstruction(result)
    by_name = {arguments["name"]: (data, arguments) for data, arguments, _ in layers}
    assert list(by_name) == ["head mean", "head deviation", "head samples"]
    assert all(kind == "image" for _, _, kind in layers)
    np.testing.assert_array_equal(by_name["head mean"][0], expected.reconstruction)
    np.testing.assert_array_equal(by_name["head deviation"][0], expected.reconstruction_std)
    samples, arguments = by_name["head samples"]
    assert samples.shape == (3, *expected.reconstruction.shape) and not np.iscomplexobj(samples)
    np.testing.assert_array_equal(samples[1], np.abs(expected.samples_in_image_units()[:, 1]))
    geometry = expected.attributes["provenance"]["geometry"]
    assert by_name["head mean"][1]["scale"] == (5.0, *geometry["pixel_spacing"])
    assert arguments["scale"][1:] == by_name["head mean"][1]["scale"]
    for _, arguments, _ in layers:
        low, high = arguments["contrast_limits"]
        assert low == 0 < high


def test_several_results_at_once(result, tmp_path):
    other = tmp_path / "other.h5"
    shutil.copy(result, other)
    layers = get_reader([str(result), str(other)])([str(result), str(other)])
    assert [arguments["name"] for _, arguments, _ in layers][::3] == ["head mean", "other mean"]


def test_a_slice_that_failed_is_shown_as_nothing(result):
    made = mri_alps.load_reconstruction(result)
    made.reconstruction[:] = made.reconstruction_std[:] = np.nan
    made.save(result)
    for _, arguments, _ in get_reader(str(result))(str(result)):
        assert np.isfinite(arguments["contrast_limits"]).all()


def test_other_files_are_left_to_others(scan, tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    for path in (scan.path, tmp_path / "text.h5", tmp_path / "missing.h5", tmp_path):
        assert get_reader(str(path)) is None
    assert get_reader([]) is None


def test_opening_needs_neither_napari_nor_torch():
    import subprocess

    code = (
        "import sys; from mri_alps.interop.napari_reader import get_reader; get_reader('x.h5'); "
        "print([name for name in ('napari', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
