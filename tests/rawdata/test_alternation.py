"""Every second line turned against the others: corrected where each has a known turn, else told."""

import numpy as np
import pytest

from mri_alps.core.errors import CalibrationError, MriAlpsWarning
from mri_alps.pipeline import reconstruct
from mri_alps.rawdata import describe, raw_from_arrays, read_raw, write_fastmri
from mri_alps.rawdata.decoupling import readout_to_image
from tests.pipeline.simulated_scan import NOISE_STD, phantom, simulate
from tests.rawdata.rawdata_helpers import fft_centered, random_complex

SHAPE = (64, 48)


def turned(kspace, phase, delay):
    """Give every second line, not the centre, a phase and a delay of so many samples."""
    n = kspace.shape[-2]
    turn = np.exp(1j * (phase + 2 * np.pi * delay * (np.arange(n) - n // 2) / n))
    lines = fft_centered(readout_to_image(kspace, -2) * turn[:, None], (-2,))
    odd = (np.arange(kspace.shape[-1]) - kspace.shape[-1] // 2) % 2 == 1
    return np.where(odd, lines, kspace).astype(np.complex64)


def one_coil():
    kspace = fft_centered(phantom(0, SHAPE))[None, None]
    return kspace + NOISE_STD * random_complex(0, *kspace.shape)


def notes(raw):
    return [text for text in raw.provenance.get("settled", []) if "every second line" in text]


@pytest.mark.parametrize("phase, delay", [(1.5, 0.0), (0.0, 0.7), (-0.6, -1.2), (0.8, 0.3)])
@pytest.mark.parametrize(
    "kspace", [simulate(1, 3, SHAPE)[0], one_coil()], ids=["4 coils", "1 coil"]
)
def test_every_second_line_is_brought_back(kspace, phase, delay):
    raw = raw_from_arrays(turned(kspace, phase, delay))
    assert len(notes(raw)) == 1 and "were corrected" in notes(raw)[0]
    found = raw.read_slice(0)
    # Their phase is known to about noise / signal of all these lines, 0.3 and 0.5 degrees here.
    error = np.linalg.norm(found - kspace[0]) / np.linalg.norm(kspace[0])
    wrong = np.linalg.norm(turned(kspace, phase, delay) - kspace) / np.linalg.norm(kspace)
    assert error < 0.02 and error < wrong / 5


def test_the_phase_is_that_of_a_file_too(tmp_path):
    kspace = simulate(3, 1, SHAPE)[0]
    write_fastmri(tmp_path / "k.h5", turned(kspace, 1.5, 0.4))
    raw = read_raw(tmp_path / "k.h5")
    assert "phase of 1.5" in notes(raw)[0] and "delay of 0.4" in notes(raw)[0]
    for index in range(3):
        error = np.linalg.norm(raw.read_slice(index) - kspace[index])
        assert error < 0.02 * np.linalg.norm(kspace[index])


def test_undersampled_lines_are_told_and_refused():
    mask = np.arange(48) % 3 == 0
    mask[16:32] = True
    kspace = turned(simulate(1, 0, SHAPE)[0], 1.5, 0.0) * mask
    raw = raw_from_arrays(kspace, mask)
    assert "nothing is corrected" in raw.defect
    assert ("problem", raw.defect) in describe(raw)
    np.testing.assert_array_equal(raw.read_slice(0), kspace[0])
    settings = {"prior": "gaussian", "n_samples": 2, "n_evaluations": 2, "device": "cpu"}
    with pytest.raises(CalibrationError, match=r"every second line .*--force"):
        reconstruct(raw, **settings)
    with pytest.warns(MriAlpsWarning, match="every second line"):
        kept = reconstruct(raw, **settings, force=True)
    assert raw.defect in str(kept.diagnostics)


def test_an_object_that_moves_is_no_alternation():
    kspace = simulate(1, 0, SHAPE)[0]
    moved = kspace * np.exp(2j * np.pi * 4 * np.arange(48) / 48)
    kspace[..., 30:] = moved[..., 30:]
    assert "settled" not in raw_from_arrays(kspace).provenance
