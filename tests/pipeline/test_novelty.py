"""`reconstruct` says when an image is unlike those that the prior was trained on."""

import warnings

import h5py
import numpy as np
import pytest
import torch

from mri_alps.calibration import prepare_slice
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.operators import SenseOperator
from mri_alps.pipeline import load_reconstruction, reconstruct, reconstruct_to_file
from mri_alps.pipeline.configuration import ReconstructionConfiguration
from mri_alps.priors import load_prior
from mri_alps.priors.novelty import NOVELTY_LIMIT, measure_novelty
from mri_alps.rawdata import read_raw
from mri_alps.rawdata.fastmri.writer import write_fastmri
from tests.pipeline.simulated_scan import SHAPE, centred_fft, coil_maps

FEW = {"n_samples": 2, "n_evaluations": 4, "prior": "brain-small"}


def write_scan(path, image):
    rng = np.random.default_rng(1)
    clean = centred_fft(image * coil_maps())
    noise = rng.standard_normal((2, *clean.shape))
    write_fastmri(path, (clean + 0.02 * (noise[0] + 1j * noise[1]))[None].astype(np.complex64))
    return path


@pytest.fixture
def texture(tmp_path):
    """A disc of bars two pixels wide: sharp everywhere, as no head is."""
    y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij")
    disc = np.hypot(y / SHAPE[0], x / SHAPE[1]) < 0.3
    return write_scan(tmp_path / "bars.h5", disc * (0.3 + (x // 2 + y // 2) % 2))


def test_a_foreign_image_warns_and_the_file_says_so(texture, tmp_path):
    with pytest.warns(MriAlpsWarning, match="unlike those that the prior was trained on"):
        path = reconstruct_to_file(texture, tmp_path / "out", ReconstructionConfiguration(**FEW))
    assert load_reconstruction(path).scalars["novelty"][0] > NOVELTY_LIMIT
    with h5py.File(path) as file:
        assert file.attrs["novelty"] > NOVELTY_LIMIT


def test_a_prior_that_cannot_tell_says_nothing(texture):
    found = reconstruct(texture, **(FEW | {"prior": "gaussian"}))
    assert np.isnan(found.scalars["novelty"]).all()


def test_a_brain_does_not_warn(shared_data):
    path = shared_data / "raw" / "brain_axial_8ch.h5"
    acquisition = prepare_slice(read_raw(path), 0)
    operator = SenseOperator(acquisition.sensitivity_maps, acquisition.mask)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        assert measure_novelty(load_prior("brain-small"), operator.adjoint(acquisition.kspace)) < 3
