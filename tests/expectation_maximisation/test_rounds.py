"""Priors from undersampled scans: rounds, their record, what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsWarning
from mri_alps.core.fourier import fftc
from mri_alps.expectation_maximisation import (
    RoundSettings,
    _gaussian,
    rounds,
    train_from_undersampled,
)
from mri_alps.expectation_maximisation._images import draw_images
from mri_alps.masks import make_mask
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline import ReconstructionConfiguration, load_prior_for
from mri_alps.priors import frequency_radius, load_prior
from mri_alps.rawdata.fastmri.writer import write_fastmri
from mri_alps.training import SessionOptions
from mri_alps.training.raw_images import read_raw_images
from tests.pipeline.simulated_scan import CROP, simulate
from tests.training.tiny_training import TINY_RECIPE

SETTINGS = RoundSettings(rounds=2, posterior_samples=2, posterior_evaluations=5)
OPTIONS = SessionOptions(device="cpu", show_progress=False, changes={**TINY_RECIPE, "steps": 6})

pytestmark = [
    pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning"),
]


@pytest.fixture
def scans(tmp_path):
    """Three patients with one slice each, every other line, another mask for each."""
    folder = tmp_path / "scans"
    folder.mkdir()
    kspace, _ = simulate()
    for number in range(3):
        mask = make_mask("random", kspace.shape[-2:], 2, 0.2, seed=number).reshape(-1)
        write_fastmri(
            folder / f"scan{number}.h5",
            kspace[:1],
            mask=mask,
            recon_matrix=CROP,
            attributes={"patient_id": f"p{number}"},
        )
    return folder


@pytest.mark.slow
def test_rounds_are_trained_judged_and_taken_up_again(scans, tmp_path, monkeypatch):
    output = tmp_path / "run"
    stopped = dataclasses.replace(OPTIONS, stop_after_minutes=0)
    assert not train_from_undersampled([scans], output, stopped, SETTINGS)
    assert not (output / "prior.safetensors").exists()
    assert train_from_undersampled([scans], output, OPTIONS, SETTINGS)
    record = json.loads((output / "rounds.json").read_text())
    errors = record["left_out_db"]
    assert len(errors) == 3 and np.isfinite(errors).all()
    prior = load_prior(output)
    found = prior.provenance["from_undersampled"]
    assert [np.mean(each) for each in record["left_out_errors"]] == pytest.approx(errors)
    best = rounds._Record(output, {}, record["left_out_errors"]).best
    assert found == {"round": best or 1 + int(np.argmin(errors[1:])), "left_out_db": errors}
    chosen = load_prior(output / f"round{found['round']}")
    assert all((a == b).all() for a, b in zip(prior.parameters(), chosen.parameters(), strict=True))
    # The steps are shared among the rounds, and no patient is trained on and judged by.
    assert load_prior(output / "round1").provenance["step"] == 3
    last = load_prior(output / "round2").provenance
    assert (last["step"], last["data"]["n_images"], last["data"]["n_held_out"]) == (6, 4, 2)
    # The samples are of the scan's image, and differ from each other.
    first, second = read_raw_images(scans / "scan0.h5", output / "samples0")
    assert first.image.shape == tuple(CROP) and not np.array_equal(first.image, second.image)

    def forbidden(*arguments):
        raise AssertionError("done again")

    monkeypatch.setattr(rounds, "run_session", forbidden)
    monkeypatch.setattr(rounds, "draw_images", forbidden)
    assert train_from_undersampled([scans], output, OPTIONS, SETTINGS)
    with pytest.raises(ConfigurationError, match=r"other settings \(rounds\)"):
        train_from_undersampled([scans], output, OPTIONS, dataclasses.replace(SETTINGS, rounds=3))


@pytest.mark.slow
def test_samples_are_those_of_the_prior_that_predicts_best(scans, tmp_path, monkeypatch):
    """The first network is worse than the Gaussian, the second is better."""
    errors = iter([[3.0], [4.0], [2.0], [1.0]])
    seeds = set()

    def judge(scans, prior, configuration, device):
        seeds.add(configuration.seed)
        return next(errors)

    monkeypatch.setattr(rounds, "left_out_errors", judge)
    settings = dataclasses.replace(SETTINGS, rounds=3)
    assert train_from_undersampled([scans], tmp_path, OPTIONS, settings)
    assert sorted(path.name for path in tmp_path.glob("samples*")) == ["samples0", "samples2"]
    path = scans / "scan0.h5"
    before, after = (read_raw_images(path, tmp_path / f"samples{n}")[0].image for n in (0, 2))
    assert not np.array_equal(before, after)
    assert len(seeds) == 1  # the same lines each time
    # Each round goes on from the weights of the one before.
    assert [load_prior(tmp_path / f"round{n}").provenance["step"] for n in (1, 2, 3)] == [2, 4, 6]
    assert load_prior(tmp_path).provenance["from_undersampled"]["round"] == 3


def test_the_gaussian_prior_has_the_spectrum_of_the_scans(scans):
    configuration = ReconstructionConfiguration(
        prior="gaussian", n_samples=2, self_calibration="off", seed=1
    )
    paths = sorted(scans.iterdir())
    prior = _gaussian.fit_gaussian(paths, configuration, torch.device("cpu"))
    truth = torch.as_tensor(simulate()[1][0])
    power, radius = fftc(truth).abs().square(), frequency_radius(truth.shape)
    expected = [power[(radius - r).abs() < 0.03].mean() for r in (0.05, 0.15, 0.3)]
    found = [float(prior.power(truth.shape)[(radius - r).abs() < 0.03].mean())
             for r in (0.05, 0.15, 0.3)]  # fmt: skip
    # In the units of the image scale; what is hardly measured at all stays wide.
    for index in (1, 2):
        ratio = (found[index] / found[0]) / float(expected[index] / expected[0])
        assert 0.3 < ratio < 4
    default = load_prior("gaussian")
    other = _gaussian.fit_gaussian([paths[0].with_name("none.h5")], configuration, "cpu")
    assert torch.equal(other.power((16, 16)), default.power((16, 16)))


def test_a_radial_spectrum_goes_through_its_bands():
    power = torch.linspace(3, 0.1, 24)
    power[[0, 7]] = 0  # bands without a frequency
    spectrum = _gaussian._radial(power)
    centers = 0.5 * 2**0.5 * ((torch.arange(24, dtype=torch.float64) + 0.5) / 24) ** 2
    found = spectrum(centers).float()
    assert_equal_to_rounding(found[power > 0].numpy(), power[power > 0].numpy())
    assert power[8] < found[7] < power[6] and found[0] == found[1]
    assert_equal_to_rounding(spectrum(torch.tensor([0.9])).float().numpy(), power[-1:].numpy())


def test_a_scan_that_cannot_be_used_is_left_out(scans, tmp_path):
    (scans / "scan1.h5").write_bytes(b"no scan")
    paths = sorted(scans.iterdir())
    configuration = ReconstructionConfiguration(
        prior="gaussian", n_samples=2, n_evaluations=5, self_calibration="off", seed=1
    )
    prior, device = load_prior_for(configuration)
    with pytest.warns(MriAlpsWarning, match=r"left out: .*scan1\.h5"):
        usable = draw_images(paths, prior, configuration, device, tmp_path / "cache")
    assert usable == [paths[0], paths[2]]
    with pytest.raises(InputFileError, match="none of the 1 scans"):
        draw_images([scans / "scan1.h5"], prior, configuration, device, tmp_path / "cache")


@pytest.mark.parametrize(
    ("errors", "best", "warning"),
    [
        ([[3.0], [2.0], [2.5]], 1, None),
        ([[3.0], [4.0], [3.5]], 2, "no round predicts"),
        ([[], [], []], 2, "unjudged"),
        ([[3.0], [2.0], []], 1, None),  # what could not be judged is not better than what was
        # Worse by .1 on average, by a standard error of .15: as good, and trained for longer.
        ([[3.0, 3.0], [2.0, 2.0], [2.25, 1.95]], 2, None),
        # By .1 everywhere: worse.
        ([[3.0, 3.0], [2.0, 2.0], [2.1, 2.1]], 1, None),
    ],
)
def test_the_best_round_is_taken_and_none_is_said(tmp_path, recwarn, errors, best, warning):
    from mri_alps.priors import NetworkPrior, UNetConfig, save_prior

    for number in (1, 2):
        model = NetworkPrior(UNetConfig((8,), (1,), (0,), 8, 16), 0.4, 0.02, 5.0 + number)
        save_prior(tmp_path / f"round{number}" / "prior.safetensors", model)
    rounds._finish(tmp_path, rounds._Record(tmp_path / "rounds.json", {}, errors))
    assert load_prior(tmp_path).sigma_max == 5.0 + best
    said = [str(w.message) for w in recwarn]
    assert (said == []) if warning is None else warning in said[0]


def test_several_devices_are_refused(scans, tmp_path):
    several = dataclasses.replace(OPTIONS, devices="2")
    with pytest.raises(ConfigurationError, match="one device, found --devices 2"):
        train_from_undersampled([scans], tmp_path / "run", several, SETTINGS)
    assert not (tmp_path / "run").exists()


def test_a_record_that_is_none_is_refused(scans, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rounds.json").write_text("[]")
    with pytest.raises(ConfigurationError, match="not the record of a training"):
        train_from_undersampled([scans], tmp_path / "run", OPTIONS, SETTINGS)
