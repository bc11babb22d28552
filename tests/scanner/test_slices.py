"""A unit of a scanner with several slices: a bad one is black, and the client is told."""

import numpy as np
import pytest
import torch

from mri_alps.calibration import calibrate_volume
from mri_alps.core.errors import InputFileError, MriAlpsWarning
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.priors import load_prior
from mri_alps.rawdata import Selection, read_raw
from mri_alps.scanner._work import Job, _reconstruct
from tests.pipeline.test_bad_slices import with_slice

CONFIGURATION = ReconstructionConfiguration(prior="gaussian", n_samples=2, n_evaluations=4)
pytestmark = pytest.mark.filterwarnings("ignore:.*the noise was estimated")


def reconstruct(path, **changes):
    raw = read_raw(path)
    job = Job(None, None, Selection(), CONFIGURATION, 0, keep_samples=True, **changes)
    prior, cpu = load_prior("gaussian"), torch.device("cpu")
    return _reconstruct(job, raw, calibrate_volume(raw), prior, cpu, lambda done, total: None)


def test_a_bad_slice_of_a_unit_is_black(tmp_path):
    path = with_slice(tmp_path / "scan.h5", 1, np.nan)
    with pytest.warns(MriAlpsWarning, match="slice 1 failed"):
        result = reconstruct(path)
    for images in (result.mean, result.std, *result.samples):
        assert np.isfinite(images).all()
        assert images.any((1, 2)).tolist() == [True, False, True]
    with pytest.raises(InputFileError, match="NaN or Inf"):  # the rest of it may be coming
        reconstruct(path, is_early=True)


def test_an_empty_slice_of_a_unit_is_black(tmp_path):
    result = reconstruct(with_slice(tmp_path / "scan.h5", 2, 0))
    assert result.mean.any((1, 2)).tolist() == [True, True, False]
    assert result.scalars["n_evaluations"] == 4 and np.isfinite(result.scalars["data_misfit"])
