"""``mri-alps masks`` from scans to files: what is written, resumed and refused."""

import csv
import json
import re

import h5py
import numpy as np
import pytest

from mri_alps.cli.app import main
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.masks import make_mask
from mri_alps.masks.study import compare, compare_masks
from mri_alps.masks.study.measure import METRICS, WITH_REFERENCE
from mri_alps.rawdata.bart.cfl import write_cfl
from tests.masks.test_design_command import SHAPE, make_scan

SAMPLER = ("--prior", "gaussian", "--n-samples", 3, "--n-evaluations", 4)
KIND = ("--center-fraction", 0.25)
pytestmark = pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["masks", *map(str, arguments)])
    return int(stop.value.code or 0), capsys.readouterr()


def test_fewer_evaluations_than_for_an_image_unless_asked(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, said = run(capsys, "--help")
    assert code == 0
    option = next(line for line in said.out.splitlines() if "--n-evaluations" in line)
    assert "[default: 50]" in option


@pytest.fixture
def scans(tmp_path):
    return [make_scan(tmp_path / f"scan{i}.h5", i) for i in range(2)]


def test_tables_figures_and_page_are_written_and_an_interrupted_run_goes_on(
    scans, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "160")  # pytest's workers set the width of a narrow terminal
    mine = tmp_path / "mine.npy"
    np.save(mine, make_mask("gaussian", SHAPE, 2, 0.25, seed=5))
    folder = tmp_path / "study"
    arguments = (*scans, "--masks", f"random,{mine}", "--accelerations", "2,3", *KIND, *SAMPLER)
    code, said = run(capsys, *arguments, "-o", folder, "--report")
    assert code == 0, said.err
    assert "Pearson within slices" in said.err
    assert "6 posteriors are sampled, one per slice and mask: 3 samples of 4" in said.err
    for name in ("mine", "random"):
        assert name in said.out
    with (folder / "masks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    # both scans with random at 2 and 3, and with the file once, beside the 2
    assert len(rows) == 6
    assert [row["acceleration"] for row in rows if row["mask"] == "mine"] == ["2.0", "2.0"]
    assert all(row[name] for row in rows for name in METRICS)
    found = json.loads((folder / "masks.json").read_text())
    assert [len(found[name]) for name in ("results", "summary")] == [6, 3]
    assert found["configuration"]["n_samples"] == 3
    assert all(10 < float(row["wavelet_PSNR"]) < 60 for row in rows)
    assert {entry["metric"] for entry in found["differences"]} >= {"PSNR", "predicted_NMSE"}
    assert found["correlation"]["n"] == 6
    for name in ("masks_2x", "masks_3x", "error_against_acceleration", "predicted_against_actual"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "masks.html").read_text()
    assert page.count("data:image/png") == 4
    assert not re.search(r"https?://", page)

    lost = folder / "slices" / "scan1_slice000_random_3x.npz"
    lost.write_bytes(lost.read_bytes()[:100])  # as a full disk might leave it
    drawn = []
    original = compare.measure_mask
    monkeypatch.setattr(
        compare, "measure_mask", lambda *args: drawn.append(args[1:3]) or original(*args)
    )
    assert run(capsys, *arguments, "-o", folder)[0] == 0
    assert drawn == [("random", 3.0)]
    again = json.loads((folder / "masks.json").read_text())
    for first, second in zip(found["results"], again["results"], strict=True):
        del first["metrics"]["seconds"], second["metrics"]["seconds"]
        assert first == second
    drawn.clear()
    assert run(capsys, *arguments, "-o", folder, "--seed", 1)[0] == 0
    assert len(drawn) == 6  # other settings, nothing is taken over


def test_truth_noise_and_coils_are_the_same_whatever_the_mask_is_called(scans, tmp_path):
    mask = make_mask("equispaced", SHAPE, 2, 0.25, seed=0)
    np.savez(tmp_path / "a.npz", mask=mask)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["mask"] = mask[0]
    write_cfl(tmp_path / "c.cfl", mask.astype(np.complex64)[None])
    given = {"kind": "equispaced", "array": mask}
    given |= {name: str(tmp_path / name) for name in ("a.npz", "b.h5", "c.cfl")}
    study = compare_masks(
        scans[:1], given, [2], prior="gaussian", n_samples=3, n_evaluations=4, seed=0,
        center_fraction=0.25,
    )  # fmt: skip
    numbers = [{**r.metrics, "seconds": 0} for r in study.results]
    assert len(numbers) == 5
    assert all(entry == numbers[0] for entry in numbers)
    references = [r.images["reference"] for r in study.results]
    assert all(np.array_equal(reference, references[0]) for reference in references)
    # and no difference between equal masks is significant
    assert {d.p for d in study.differences()} == {None}


def test_an_undersampled_scan_gives_what_needs_no_reference(tmp_path, capsys):
    lines = np.arange(32) % 2 == 0
    lines[12:20] = True
    scan = make_scan(tmp_path / "part.h5", mask=lines)
    folder = tmp_path / "study"
    code, said = run(capsys, scan, "--masks", "measured,gaussian", "--accelerations", "2", *KIND,
                     *SAMPLER, "-o", folder, "--report")  # fmt: skip
    assert code == 0, said.err
    assert "no reference" in said.err
    found = json.loads((folder / "masks.json").read_text())
    for entry in found["results"]:
        for name, value in entry["metrics"].items():
            assert (value is None) == (name in WITH_REFERENCE), name
    whole = next(entry for entry in found["results"] if entry["mask"] == "measured")
    assert whole["n_measured"] == lines.sum()
    cut = next(entry for entry in found["results"] if entry["mask"] == "gaussian")
    assert cut["n_measured"] < lines.sum()
    assert found["summary"][0]["mask"] == "measured"  # it predicts the smaller error
    assert found["correlation"] is None
    assert "NMSE" not in said.out.replace("predicted", "")
    assert not (folder / "predicted_against_actual.png").exists()


@pytest.mark.parametrize(
    ("masks", "accelerations", "message"),
    [
        ("random,spiral", "2", "'spiral' is neither a kind of mask"),
        ("random,random", "2", "two of the masks are called random"),
        ("", "2", "no mask to compare was given"),
        ("random", "2,x", "is not a list of numbers"),
        ("random", "0.5", "at least 1, found 0.5"),
        ("random", "", "at least 1, found none"),
        ("random", "16", "lower the centre fraction or the acceleration"),
        ("short.npy", "2", "short.npy: found a mask of shape (31,)"),
        ("empty.npy", "2", "empty.npy: found a mask without a single measured entry"),
        ("text.npy", "2", "text.npy: found a file that cannot be read as a mask"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(
    scans, tmp_path, capsys, monkeypatch, masks, accelerations, message
):
    monkeypatch.chdir(tmp_path)
    np.save("short.npy", np.ones(31, bool))
    np.save("empty.npy", np.zeros(32, bool))
    (tmp_path / "text.npy").write_text("1 0 1")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, said = run(capsys, *scans, "--masks", masks, "--accelerations", accelerations, *KIND,
                     *SAMPLER, "-o", "study")  # fmt: skip
    assert code == 1
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_scans_that_cannot_be_used_are_named(tmp_path, capsys):
    centre = np.zeros(32, bool)
    centre[12:20] = True
    part = make_scan(tmp_path / "part.h5", mask=centre)
    edge = tmp_path / "edge.npy"
    np.save(edge, ~centre)
    (tmp_path / "other").mkdir()
    twin = make_scan(tmp_path / "other" / "part.h5")
    for inputs, message in (
        ((part,), f"{part}: the scan measured nothing of what the mask edge"),
        ((part, twin), "two of the inputs are called part"),
        ((tmp_path / "none.h5",), "none.h5 does not exist"),
    ):
        code, said = run(capsys, *inputs, "--masks", edge, *SAMPLER, "-o", tmp_path / "study")
        assert code == 1
        assert message in said.err
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_predicted_and_actual_error_of_the_network_correlate_on_a_real_scan(shared_data):
    path = shared_data / "raw" / "brain_axial_16ch_96.h5"
    study = compare_masks(
        [path], ["equispaced", "gaussian"], [2, 4, 8], prior="brain-small", n_samples=4,
        n_evaluations=12, center_fraction=0.085,
    )  # fmt: skip
    assert study.correlation().spearman > 0.6
    errors = [s.metrics["NMSE"].mean for s in study.summary() if s.mask == "gaussian"]
    assert errors == sorted(errors)


def test_a_warning_about_calibration_names_the_scan(scans):
    with h5py.File(scans[0], "r+") as file:
        n = file["kspace"].shape[-1]
        falling = 0.05 + 0.95 * np.hanning(n + 2)[1:-1] ** 2
        file["kspace"][...] = file["kspace"][()] * falling.astype(np.float32)
    with pytest.warns(MriAlpsWarning, match="scan0.h5: slice 0"):
        compare_masks(scans[:1], ["measured"], prior="gaussian", n_samples=2, n_evaluations=4)


def test_deviations_calibrate_themselves_where_it_is_asked_for(tmp_path):
    # the Gaussian prior knows no edges: lines that are left out say how far it is wrong
    scan = make_scan(tmp_path / "scan.h5", shape=(32, 48))
    mask = make_mask("equispaced", (32, 48), 2, 0.25, seed=0)
    rows = {}
    for kind in (None, "off", "scan", "slice"):
        study = compare_masks(
            [scan], {"mask": mask}, [2], prior="gaussian", n_samples=4, n_evaluations=6,
            seed=0, center_fraction=0.25, self_calibration=kind,
        )  # fmt: skip
        rows[kind] = study.results[0].metrics
    assert rows[None] == {**rows["off"], "seconds": rows[None]["seconds"]}
    assert rows["off"]["uncertainty_factor"] == 1.0
    for kind in ("scan", "slice"):
        factor = rows[kind]["uncertainty_factor"]
        assert abs(factor - 1) > 0.05
        assert rows[kind]["NMSE"] == rows["off"]["NMSE"]  # the mean stays
        # errors that are predicted go with the square of deviations, frequency by frequency
        ratio = rows[kind]["predicted_NMSE"] / rows["off"]["predicted_NMSE"]
        assert (ratio > 1) == (factor > 1)
        assert 0.5 < ratio / factor**2 < 2
