"""Several measurements, contrasts, repetitions in a file: one is chosen, the others are said."""

import warnings

import h5py
import numpy as np
import pytest

import mri_alps
from mri_alps.core.errors import ConfigurationError, MriAlpsWarning
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file, scan_identity
from mri_alps.rawdata import Selection, describe, make_header, read_raw
from mri_alps.rawdata.ismrmrd import make_acquisition, write_acquisitions
from tests.pipeline.simulated_scan import centred_ifft, simulate

SHAPE = (40, 32)
SETTINGS = {
    "prior": "gaussian", "n_samples": 2, "n_evaluations": 4, "device": "cpu", "noise_std": 0.05,
}  # fmt: skip
PARTS = {
    (contrast, repetition): 2 * contrast + repetition
    for contrast in (0, 1)
    for repetition in (0, 1)
}


@pytest.fixture(scope="module")
def parts():
    """k-space of another object for each contrast and repetition."""
    return {part: simulate(1, seed, SHAPE)[0][0] for part, seed in PARTS.items()}


@pytest.fixture(scope="module")
def scan(parts, tmp_path_factory):
    """Two contrasts and two repetitions in `dataset_2`, and a small scan in `dataset_1`."""
    path = tmp_path_factory.mktemp("parts") / "two.h5"
    acquisitions = [
        make_acquisition(
            kspace[:, :, row], kspace_encode_step_1=row, contrast=contrast, repetition=repetition
        )
        for (contrast, repetition), kspace in parts.items()
        for row in range(SHAPE[1])
    ]
    write_part(path, SHAPE, acquisitions, "dataset_2")
    other = path.with_name("other.h5")
    small = [
        make_acquisition(np.ones((4, 16), np.complex64), kspace_encode_step_1=k) for k in range(12)
    ]
    write_part(other, (16, 12), small, "dataset_1")
    with h5py.File(path, "a") as file, h5py.File(other) as source:
        source.copy("dataset_1", file)
    return path


def write_part(path, shape, acquisitions, name):
    matrix, view = (*shape, 1), (220.0, 176.0, 5.0)
    write_acquisitions(path, make_header(matrix, matrix, view, view), acquisitions, name)


def likeness(found, kspace):
    image = np.linalg.norm(centred_ifft(kspace), axis=0)
    return np.corrcoef(found.ravel(), image.ravel())[0, 1]


@pytest.mark.parametrize("part", PARTS)
def test_what_is_chosen_is_what_is_reconstructed(scan, parts, part):
    contrast, repetition = part
    chosen = {"dataset": "dataset_2", "contrast": contrast, "repetition": repetition}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*--contrast", MriAlpsWarning)  # all of it was chosen
        warnings.filterwarnings("error", ".*--dataset", MriAlpsWarning)
        found = mri_alps.reconstruct(scan, **SETTINGS, **chosen)
    alike = {other: likeness(found.zero_filled[0], kspace) for other, kspace in parts.items()}
    assert max(alike, key=alike.get) == part and alike[part] > 0.999
    assert "asked for" in " ".join(found.attributes["provenance"]["processing"])


def test_what_was_not_chosen_is_said_with_how_to_choose(scan):
    with pytest.warns(MriAlpsWarning) as caught:
        mri_alps.reconstruct(scan, **SETTINGS, dataset="dataset_2", repetition=1)
    (said,) = [str(w.message) for w in caught if "--contrast" in str(w.message)]
    assert "contrast 0 is read, the file has 0, 1" in said
    assert "repetition" not in said and "dataset" not in said.partition(": ")[2]


def test_inspect_lists_what_there_is(scan):
    first = dict(describe(read_raw(scan)))
    assert first["datasets"] == (
        "dataset_1 (12 lines, 16 x 12 x 1), dataset_2 (128 lines, 40 x 32 x 1); "
        "dataset dataset_1 is read"
    )
    second = dict(describe(read_raw(scan, selection=Selection("dataset_2", contrast=1))))
    assert second["contrasts"] == "0, 1; contrast 1 is read"
    assert second["repetitions"] == "0, 1; repetition 0 is read"


@pytest.mark.parametrize("wrong", [{"contrast": 2}, {"dataset": "dataset_3"}, {"encoding": 1}])
def test_what_is_not_there_is_refused_with_what_is(scan, wrong):
    with pytest.raises(ConfigurationError, match=r"0, 1|dataset_1, dataset_2|0 to 0"):
        mri_alps.reconstruct(scan, **SETTINGS, **{"dataset": "dataset_2"} | wrong)


def test_parts_do_not_overwrite_each_other(scan, tmp_path):
    parts = [Selection("dataset_2", contrast=contrast) for contrast in (0, 1)]
    assert len({scan_identity(read_raw(scan, selection=part)) for part in parts}) == 2
    chosen = {"dataset": "dataset_2", "repetition": 1}
    made = [
        reconstruct_to_file(
            scan, tmp_path, ReconstructionConfiguration(**SETTINGS, **chosen, contrast=contrast)
        )
        for contrast in (0, 1)
    ]
    assert [path.name for path in made] == [
        f"two_dataset-dataset_2_contrast-{contrast}_repetition-1.h5" for contrast in (0, 1)
    ]
    images = []
    for path in made:
        with h5py.File(path) as file:
            images.append(file["zero_filled"][0].ravel())
    assert np.corrcoef(images)[0, 1] < 0.999


def test_nothing_can_be_chosen_of_what_is_opened_already(scan, tmp_path):
    raw = read_raw(scan)
    with pytest.raises(ConfigurationError, match="opened already"):
        mri_alps.reconstruct(raw, **SETTINGS, contrast=1)
    with pytest.raises(ConfigurationError, match="opened already"):
        reconstruct_to_file(raw, tmp_path, ReconstructionConfiguration(**SETTINGS, contrast=1))
