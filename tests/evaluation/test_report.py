"""The report: what it holds, what it refuses, and that nothing in a file can become code."""

import base64
import dataclasses
import json
import math
import re
import shutil
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.evaluation import write_report
from mri_alps.evaluation.report._data import (
    coverage_curve,
    error_by_std,
    position_counts,
    summary_of_levels,
)
from mri_alps.evaluation.report.page import encode_image
from mri_alps.pipeline import (
    ReconstructionConfiguration,
    load_reconstruction,
    reconstruct_to_file,
)
from mri_alps.rawdata.fastmri.writer import write_fastmri
from mri_alps.uncertainty import UncertaintyFactors
from tests.pipeline.simulated_scan import CROP, centred_ifft, simulate

NAMES = {
    "mean": "reconstruction",
    "std": "reconstruction_std",
    "lower": "reconstruction_lower",
    "upper": "reconstruction_upper",
    "zero_filled": "zero_filled",
}


def decode_image(encoded, shape):
    """What the page's script makes of an encoded image, float64."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(encoded["data"])), np.uint8)
    high, low = planes.reshape(2, *shape).astype(np.uint16)
    quantised = np.cumsum(high * np.uint16(256) + low, axis=1, dtype=np.uint16)
    return encoded["low"] + encoded["step"] * quantised.astype(np.float64)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A scan and its reconstruction, with samples and sensitivity maps."""
    folder = tmp_path_factory.mktemp("report")
    kspace, _ = simulate()
    reference = np.linalg.norm(centred_ifft(kspace), axis=1)[:, 8:72]
    write_fastmri(folder / "scan.h5", kspace, recon_matrix=CROP, reconstruction=reference)
    configuration = ReconstructionConfiguration(
        prior="gaussian", n_samples=4, n_evaluations=5, mask="equispaced", acceleration=2,
        center_fraction=0.3, save_samples=True, save_maps=True,
    )  # fmt: skip
    return folder / "scan.h5", reconstruct_to_file(
        folder / "scan.h5", folder / "out", configuration
    )


@pytest.fixture
def scan_path(made):
    return made[0]


@pytest.fixture
def reconstruction(made, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copy(made[1], tmp_path / "scan.h5"))


def content(page):
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found.group(1))


def change(path, **attributes):
    with h5py.File(path, "a") as file:
        file.attrs.update(attributes)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (16, 3)])
def test_an_encoded_image_is_right_to_half_a_step(shape):
    image = np.random.default_rng(0).normal(3, 5, shape).astype(np.float32)
    encoded = encode_image(image)
    assert encoded["step"] == pytest.approx(np.ptp(image) / 65535) or shape == (1, 1)
    found = decode_image(encoded, shape)
    np.testing.assert_allclose(found, image, atol=0.5001 * encoded["step"], rtol=0)


def test_a_constant_image_survives():
    image = np.full((4, 3), -2.5, np.float32)
    np.testing.assert_array_equal(decode_image(encode_image(image), (4, 3)), image)


def test_the_page_holds_the_numbers_of_the_file(reconstruction, scan_path, run):
    finished = run("report", reconstruction)
    page = reconstruction.with_suffix(".html")
    assert finished.code == 0 and finished.out.strip() == str(page)
    found = load_reconstruction(reconstruction)
    with h5py.File(scan_path) as file:
        truth = file["reconstruction_rss"][()]
    for row, entry in enumerate(content(page)["slices"]):
        assert entry["index"] == found.slices[row]
        for name, field in NAMES.items():
            encoded = entry["images"][name]
            image = decode_image(encoded, CROP)
            expected = getattr(found, field)[row]
            np.testing.assert_allclose(image, expected, atol=0.501 * encoded["step"], rtol=0)
        reference = decode_image(entry["images"]["reference"], CROP)
        np.testing.assert_allclose(reference, truth[row], atol=1e-4)


def test_samples_are_shown_in_the_units_of_the_reconstruction(reconstruction):
    page = write_report(reconstruction)
    found = load_reconstruction(reconstruction)
    weight = np.linalg.norm(found.sensitivity_maps, axis=1)[:, None]
    expected = (np.abs(found.samples) * weight)[..., 8:72, :]
    for row, entry in enumerate(content(page)["slices"]):
        assert len(entry["samples"]) == 4
        for encoded, sample in zip(entry["samples"], expected[row], strict=True):
            shown = decode_image(encoded, CROP)
            np.testing.assert_allclose(shown, sample, atol=encoded["step"], rtol=1e-3)


def test_the_page_loads_nothing(reconstruction):
    text = write_report(reconstruction).read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    text = text.replace(' src="data:image/png;base64,', " ")  # the pictures are in the page
    assert not re.search(r"\b(src|href|action)\s*=|@import|url\(|fetch\(|XMLHttp", text)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert len(text) < 1e6


def test_text_of_a_file_is_never_code(reconstruction):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&\"'"
    change(reconstruction, acquisition=evil, source=evil, prior=evil)
    with h5py.File(reconstruction, "a") as file:
        del file["provenance"]
        file["provenance"] = json.dumps({evil: evil, "warnings": [evil]})
        del file["diagnostics"]
        text = h5py.string_dtype()
        level = {"sigma": evil, "data_misfit": 1.0}
        file.create_dataset("diagnostics", data=[json.dumps({"levels": [level]})] * 2, dtype=text)
    text = write_report(reconstruction).read_text(encoding="utf-8")
    assert text.count("<script") == 2 and text.count("</script>") == 2
    assert "<img" not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text


def test_text_that_is_no_utf8_is_spelt_out(reconstruction):
    with h5py.File(reconstruction, "a") as file:
        del file["diagnostics"]
        levels = json.dumps({"levels": [{"sigma": "\udc92", "data_misfit": 1.0}]})
        file.create_dataset("diagnostics", data=[levels] * 2, dtype=h5py.string_dtype())
        file.attrs["source"] = b"a\xff.h5"
    text = write_report(reconstruction).read_text(encoding="utf-8")
    assert "a\\udcff.h" in text


def test_a_large_volume_is_shown_in_fewer_slices(reconstruction):
    page = write_report(reconstruction, max_megabytes=0)
    assert len(content(page)["slices"]) == 1
    assert "1 of 2 reconstructed slices" in page.read_text(encoding="utf-8")


def test_without_a_reference_nothing_is_compared(reconstruction, scan_path, tmp_path, run):
    with h5py.File(reconstruction, "a") as file:
        del file["reference"]
    page = tmp_path / "page.html"
    assert run("report", reconstruction, "-o", page).code == 0
    shown = content(page)
    assert "reference" not in shown["slices"][0]["images"]
    assert shown["calibration"] == {"curve": [], "errors": [], "positions": []}
    assert "No reference image is known" in page.read_text(encoding="utf-8")
    assert run("report", reconstruction, "-o", page, "--target", scan_path).code == 0
    assert len(content(page)["calibration"]["curve"]) == 10


def test_an_older_file_without_mask_and_diagnostics_has_a_report(reconstruction):
    with h5py.File(reconstruction, "a") as file:
        for name in ("mask", "diagnostics", "samples", "sensitivity_maps"):
            del file[name]
    shown = content(write_report(reconstruction))
    assert shown["slices"][0]["samples"] == [] and "mask" not in shown["slices"][0]


def test_a_bad_data_misfit_is_said(reconstruction):
    with h5py.File(reconstruction, "a") as file:
        file["facts/data_misfit"][...] = [1.0, 4.0]
    text = write_report(reconstruction).read_text(encoding="utf-8")
    assert "do not explain the measurement to within" in text and "in 1 of 2 slices" in text
    assert "closer to the measurement" not in text
    with h5py.File(reconstruction, "a") as file:
        file["facts/data_misfit"][...] = [1.0, 0.2]
    text = write_report(reconstruction).read_text(encoding="utf-8")
    assert "closer to the measurement than its noise lets expect in 1 of 2 slices" in text
    assert "misfit 0.2 where" in text and "do not explain the measurement to within" not in text


def with_diagnostics(path, r_hat, diagnostics):
    """Put other convergence figures into a file, and return its page's section on them."""
    with h5py.File(path, "a") as file:
        file["facts/split_r_hat"][...] = r_hat
        del file["diagnostics"]
        texts = [json.dumps(each) for each in diagnostics]
        file.create_dataset("diagnostics", data=texts, dtype=h5py.string_dtype())
    text = write_report(path).read_text(encoding="utf-8")
    return text[text.index("Did the sampler converge?") : text.index(">Acquisition<")]


FACTORS = dataclasses.asdict(
    UncertaintyFactors(
        1.83, 0.12, (0.25, 0.75), (1.5, 2.0), (0.1, 0.2), 0.71, 0.89, 12, 120, (0, 1),
        (0.5, 0.9), (0.375, 0.71), (0.5, 0.89),
    )
)  # fmt: skip


def with_factors(path, records, factors=(1.83, 1.83)):
    """Put factors of left-out samples into a file."""
    with h5py.File(path, "a") as file:
        file["facts/uncertainty_factor"][...] = factors
        file["facts/uncertainty_factor_error"][...] = 0.12
        del file["diagnostics"]
        texts = [json.dumps({"self_calibration": record}) for record in records]
        file.create_dataset("diagnostics", data=texts, dtype=h5py.string_dtype())
    page = write_report(path)
    return page.read_text(encoding="utf-8"), [s["left_out"] for s in content(page)["slices"]]


def test_left_out_samples_are_shown_before_and_after(reconstruction):
    text, plots = with_factors(reconstruction, [FACTORS, FACTORS])
    assert plots[0] == plots[1] == {
        "overall": 1.83,
        "before": [[0.5, 0.375], [0.9, 0.71]],
        "after": [[0.5, 0.5], [0.9, 0.89]],
        "bands": [[0.25, 1.5, 0.1], [0.75, 2.0, 0.2]],
    }  # fmt: skip
    assert "12 measured lines of slices 0, 1 were left out" in text
    assert "1.83 +/- 0.12 times" in text and "held 71 %" in text and "hold 89 % now" in text
    assert ">factor of the deviation<" in text and "The image is not what the prior knows" in text


def test_slices_that_were_calibrated_each_for_itself_have_plots_of_their_own(reconstruction):
    other = FACTORS | {"overall": 1.25}
    text, plots = with_factors(reconstruction, [FACTORS, other], factors=(1.4, 1.25))
    assert [plot["overall"] for plot in plots] == [1.83, 1.25]
    assert "lines of each slice were left out" in text and "1.25 to 1.83 times" in text
    assert "The image is not what the prior knows" not in text


def test_without_left_out_samples_the_report_says_so(reconstruction):
    page = write_report(reconstruction)
    text = page.read_text(encoding="utf-8")
    assert "No samples were left out and predicted" in text
    assert ">factor of the deviation<" not in text  # it is 1, and nothing of the scan said so
    assert all(entry["left_out"] is None for entry in content(page)["slices"])


@pytest.mark.parametrize(
    "spoilt",
    [
        "<b>",
        {},
        {"unknown": 1},
        {"overall": "<b>"},
        {"overall": None},
        {"radius": [0.5]},
        {"slices": ["<b>"]},
        {"slices": [[1]]},
        {"factor": 2.0},
        {"observed_after": [0.5, math.nan]},
    ],
)
def test_factors_that_are_none_are_not_shown(reconstruction, spoilt):
    record = FACTORS | spoilt if isinstance(spoilt, dict) and spoilt else spoilt
    text, plots = with_factors(reconstruction, [record, record])
    assert plots == [None, None] and "No samples were left out" in text


def ended(energy, **others):
    levels = [{"sigma": 1.0, "score_energy": 9.75}, {"sigma": 0.1, "score_energy": energy}]
    return {"levels": levels, **others}


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (1, "<b>R-hat: not available</b> with one final step, chains are independent"),
        (3, "<b>R-hat: not available</b> with 3 final steps, chains are independent"),
        (None, "<b>R-hat: not available</b> for this run, chains are independent"),
        (["<b>"], "<b>R-hat: not available</b> for this run, chains are independent"),
    ],
)
def test_a_missing_r_hat_is_explained_and_what_there_is_stands_instead(
    reconstruction, steps, words
):
    others = {} if steps is None else {"n_final_steps": steps}
    diagnostics = [ended(1.0625, **others), ended(None, **others)]
    section = with_diagnostics(reconstruction, np.nan, diagnostics)
    assert words in section and "split R-hat" not in section
    assert ">score energy<" in section and "<b>Score energy</b> is" in section
    # That of the last level; "-" for the slice that has none.
    assert ">1.062<" in section and ">9.75<" not in section and ">-<" in section
    assert ">nan<" not in section and ">None<" not in section


def test_an_r_hat_that_is_there_is_shown_with_its_number_of_steps(reconstruction):
    diagnostics = [{"n_final_steps": 6}, {"n_final_steps": 6}]
    section = with_diagnostics(reconstruction, [1.25, np.nan], diagnostics)
    assert ">split R-hat<" in section and ">1.25<" in section
    assert "compares the chains in their 6 final steps" in section
    assert "not available (-) in 1 of 2 slices" in section
    assert "R-hat: not available" not in section and "core energy" not in section


def test_the_final_steps_of_a_run_reach_its_page(reconstruction):
    # A Gaussian prior needs no annealing: all five steps are at its smallest noise level.
    found = load_reconstruction(reconstruction)
    assert [each["n_final_steps"] for each in found.diagnostics] == [5, 5]
    text = write_report(reconstruction).read_text(encoding="utf-8")
    assert "compares the chains in their 5 final steps" in text
    assert f">{found.scalars['split_r_hat'][0]:.4g}<" in text


def spoil(path, name, array):
    with h5py.File(path, "a") as file:
        del file[name]
        if array is not None:
            file[name] = array


@pytest.mark.parametrize(
    ("name", "array", "word"),
    [
        ("reconstruction_std", None, "no dataset reconstruction_std"),
        ("reconstruction_std", np.zeros((2, 3, 3), np.float32), "shape"),
        ("zero_filled", np.full((2, *CROP), np.nan, np.float32), "NaN"),
        ("reference", np.full((2, *CROP), np.inf, np.float32), "NaN or Inf"),
    ],
)
def test_a_damaged_file_is_refused(reconstruction, tmp_path, run, name, array, word):
    spoil(reconstruction, name, array)
    finished = run("report", reconstruction, "-o", tmp_path / "page.html")
    assert finished.code != 0 and word in finished.err and finished.err.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_a_target_of_another_scan_is_refused(reconstruction, tmp_path):
    target = tmp_path / "other.h5"
    with h5py.File(target, "w") as file:
        file["reconstruction_rss"] = np.zeros((2, 5, 5), np.float32)
    with pytest.raises(InputFileError, match="belongs to it"):
        write_report(reconstruction, target=target)
    with h5py.File(target, "a") as file:
        del file["reconstruction_rss"]
        file["reconstruction_rss"] = np.zeros((1, *CROP), np.float32)
    with pytest.raises(InputFileError, match="another scan"):
        write_report(reconstruction, target=target)


def test_the_page_does_not_overwrite_the_reconstruction(reconstruction, run):
    before = reconstruction.read_bytes()
    assert "overwrite" in run("report", reconstruction, "-o", reconstruction).err
    assert reconstruction.read_bytes() == before


def gaussian_draws(n_samples=6, n_pixels=40_000):
    rng = np.random.default_rng(n_samples)
    spread = rng.uniform(0.5, 2, n_pixels)
    draws = 10 + spread * rng.standard_normal((n_samples + 1, n_pixels))
    return draws[0], draws[1:]


def predicted(samples):
    return samples.std(0, ddof=1) * math.sqrt(1 + 1 / len(samples))


def test_the_coverage_curve_of_a_true_posterior_is_the_diagonal():
    truth, samples = gaussian_draws()
    region = np.ones(truth.shape, bool)
    arrays = (truth, samples.mean(0), predicted(samples), region)
    for point in coverage_curve(*arrays, len(samples) - 1):
        p = point["nominal"]
        # Four Monte-Carlo standard errors of a proportion.
        assert point["observed"] == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 40_000))


def test_a_spread_that_is_half_of_the_truth_shows():
    truth, samples = gaussian_draws()
    region = np.ones(truth.shape, bool)
    mean, std = samples.mean(0), predicted(samples)
    narrow = coverage_curve(truth, mean, std / 2, region, len(samples) - 1)
    assert next(p["observed"] for p in narrow if p["nominal"] == 0.9) < 0.75
    points = error_by_std(truth, mean, std, region)
    total = [math.sqrt(np.mean([p[k] ** 2 for p in points])) for k in ("predicted", "actual")]
    assert total[0] == pytest.approx(total[1], rel=0.03)


def test_a_draw_of_the_posterior_lies_anywhere_in_it():
    truth, samples = gaussian_draws()
    arrays = (samples.mean(0), predicted(samples), np.ones(truth.shape, bool), len(samples) - 1)
    counts = np.array(position_counts(truth, *arrays))
    assert counts.sum() == truth.size and len(counts) == 10
    expected = truth.size / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # chi-square, 9 degrees, p = 0.001
    assert position_counts(arrays[0] - 5 * arrays[1], *arrays)[0] == truth.size
    assert position_counts(truth, arrays[0], arrays[1], ~arrays[2], arrays[3]) == []


def test_pixels_without_spread_or_outside_do_not_count():
    truth, samples = gaussian_draws(n_pixels=200)
    region = np.arange(200) < 100
    std = predicted(samples)
    wrong = np.where(region, truth, 1e9)
    inside = coverage_curve(wrong, samples.mean(0), std, region, 5)
    full = coverage_curve(truth[:100], samples.mean(0)[:100], std[:100], region[:100], 5)
    assert inside == full
    assert coverage_curve(truth, truth, 0 * std, region, 5) == []
    assert error_by_std(truth, truth, std, np.zeros(200, bool)) == []


def test_levels_are_numbers_only():
    levels = [{"sigma": 1.0, "data_misfit": None, "noise_std": [1.0]}, "no level"]
    assert summary_of_levels({"levels": levels}) == [{"sigma": 1.0}]
    assert summary_of_levels({"levels": [{"sigma": math.inf, "data_misfit": 1}]}) == [
        {"data_misfit": 1.0}
    ]
    assert summary_of_levels({}) == []


def test_reconstruct_writes_the_page_as_well(scan, tmp_path, run):
    options = ("--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "5", "--report")
    command = ("reconstruct", scan.path, "-o", tmp_path / "out", *options, "--slices", "0")
    assert str(tmp_path / "out" / "scan.html") in run(*command).out
    assert len(content(tmp_path / "out" / "scan.html")["slices"][0]["samples"]) == 2
    (tmp_path / "out" / "scan.html").unlink()
    assert run(*command).code == 0 and (tmp_path / "out" / "scan.html").exists()


def test_a_foreign_image_is_warned_of(reconstruction):
    text = write_report(reconstruction).read_text(encoding="utf-8")
    # The Gaussian prior cannot tell, so there is neither a column nor a warning.
    assert "slices look unlike" not in text and ">foreignness<" not in text
    with h5py.File(reconstruction, "a") as file:
        file["facts/novelty"][...] = [0.5, 7.25]
    text = write_report(reconstruction).read_text(encoding="utf-8")
    assert "1 of 2 slices look unlike the images" in text
    assert ">foreignness<" in text and ">7.25<" in text


def test_the_page_names_the_prior_as_people_do(reconstruction):
    text = write_report(reconstruction).read_text(encoding="utf-8")
    assert "with the prior gaussian" in text
    assert load_reconstruction(reconstruction).attributes["prior"] == "gaussian"


def set_diagnostics(path, change_one):
    with h5py.File(path, "a") as file:
        texts = file["diagnostics"].asstr()[()]
        file["diagnostics"][...] = [json.dumps(change_one(json.loads(text))) for text in texts]


def pictures_of(page):
    found = re.findall(r'<img class="calibration"[^>]* src="data:image/png;base64,([^"]+)"', page)
    return [base64.b64decode(each) for each in found]


def test_the_calibration_of_slices_is_shown(reconstruction):
    page = write_report(reconstruction).read_text("utf-8")
    pictures = pictures_of(page)
    assert len(pictures) == 2 and all(p.startswith(b"\x89PNG") for p in pictures)
    assert pictures[0] != pictures[1]


def test_without_a_calibration_the_page_says_so(reconstruction):
    def spoil(diagnostics):
        return diagnostics | {"calibration": {"support": "<script>"}}

    set_diagnostics(reconstruction, spoil)
    page = write_report(reconstruction).read_text("utf-8")
    assert not pictures_of(page) and "holds no calibration" in page and "&lt;script" not in page
