"""inspect, demo, train, help, and what the README shows."""

import json
import re
from pathlib import Path

import pytest

import mri_alps
from mri_alps.cli.app import app
from mri_alps.cli.help_texts import shown_default
from mri_alps.rawdata.fastmri.writer import write_fastmri
from tests.pipeline.simulated_scan import simulate

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = app.registered_commands


def test_inspect_says_what_is_in_the_file(scan, run):
    finished = run("inspect", scan.path)
    assert finished.code == 0 and not finished.err
    for words in ("fastMRI HDF5", "80 x 64", "64 x 64", "coils", "full", "standard deviation"):
        assert words in finished.out


def test_inspect_as_json(scan, run):
    entries = json.loads(run("inspect", scan.path, "--json").out)
    assert entries["coils"] == 4 and entries["slices"] == 2
    assert entries["shape"] == [80, 64] and entries["crop"] == [64, 64]
    assert entries["is_fully_sampled"] is True and entries["noise_is_measured"] is False
    assert all(size > 0 for size in entries["pixel_spacing_mm"])
    assert any("whiten 4 coils" in text for text in entries["what will be done"])
    assert any("5 % is allowed for" in str(text) for text in entries.values())


def test_inspect_takes_the_noise_that_reconstruct_takes(scan, run):
    finished = run("inspect", scan.path, "--noise-std", "0.03,0.04,0.05,0.06")
    assert "from the user: standard deviation 0.03 to 0.06" in finished.out
    refused = run("inspect", scan.path, "--noise-std", "30")
    assert "is plausible" in refused.out


def test_inspect_draws_the_calibration(scan, run, tmp_path):
    assert run("inspect", scan.path, "--figure", tmp_path / "picture.svg").code == 0
    drawn = (tmp_path / "picture.svg").read_text("utf-8")
    assert drawn.count("<image") >= 5 and drawn.rstrip().endswith("</svg>")
    refused = run("inspect", scan.path, "--figure", tmp_path / "picture.bmp")
    assert refused.code == 1 and "use .png, .pdf, .svg" in refused.err


def test_inspect_of_something_else_is_one_sentence(tmp_path, run):
    (tmp_path / "x.h5").write_bytes(b"no scan")
    finished = run("inspect", tmp_path / "x.h5")
    assert finished.code != 0
    assert finished.err.startswith("mri-alps: error: ") and finished.err.count("\n") == 1


@pytest.mark.parametrize("command", [each.name or each.callback.__name__ for each in COMMANDS])
def test_every_command_has_help_in_one_spelling(run, command):
    finished = run(command, "--help")
    assert finished.code == 0 and "Usage" in finished.out
    options = [line for line in finished.out.splitlines() if re.search(r" --[a-z]", line)]
    assert options and not re.search(r"Left out: |\bINTEGER\b|\bTEXT\b", finished.out)
    assert not [line for line in options if re.search(r"<(int|str|float|path)\b", line)]


def test_help_shows_groups_and_defaults_and_what_samples_takes_a_device(run):
    shown = run("reconstruct", "--help").out
    assert "anatomy-small]" in shown and "[default: 40]" in shown
    for group in ("Prior and sampler", "Scan and sampling", "Output", "Many scans, many machines"):
        assert group in shown
    takers = ["demo", "reconstruct", "masks", "design-mask", "train", "serve", "stream", "verify"]
    assert all("--device" in run(command, "--help").out for command in takers)


def test_a_default_in_words_is_shown_as_one():
    assert shown_default("Of it. Left out: FILE with .h5.") == "Of it. \\[default: FILE with .h5]"
    assert shown_default("Left out: a. Then more.") == "Left out: a. Then more."


def test_version(run):
    assert mri_alps.__version__ in run("--version").out


def test_unknown_options_are_refused(run):
    finished = run("reconstruct", "x.h5", "--no-such-option")
    assert finished.code != 0 and "no-such-option" in finished.err


@pytest.mark.slow
def test_demo(tmp_path, run):
    finished = run("demo", "--output", tmp_path / "demo")
    assert finished.code == 0, finished.err
    for words in ("error", "coverage", "perfect", "Prior anatomy-small, equispaced lines, 4x"):
        assert words in finished.out
    assert (tmp_path / "demo" / "demo_brain.h5").exists()
    picture = tmp_path / "demo" / "demo_brain.png"
    curve = picture.with_name("demo_brain_reliability.png")
    for path in (picture, curve):
        assert path.exists() and str(path) in finished.out
    ours, theirs = map(float, re.search(r"NMSE\)\W+([\d.e-]+)\W+([\d.e-]+)", finished.out).groups())
    # The Gaussian prior knows no anatomy; the network's gain is measured elsewhere.
    assert ours < 0.5 * theirs
    coverage = float(re.search(r"90 % interval\W+([\d.]+)", finished.out).group(1))
    assert 0.8 < coverage <= 1


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    kspace, _ = simulate(n_slices=1, shape=(160, 128))
    write_fastmri(tmp_path / "scan.h5", kspace, recon_matrix=(128, 128))
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "(1, 128, 128)" in capsys.readouterr().out


def test_the_readme_starts_with_the_two_commands_and_names_every_command():
    text = (ROOT / "README.md").read_text()
    assert text.index("make demo") < text.index("make test") < text.index("## ")
    for command in ("inspect", "reconstruct", "evaluate", "train"):
        assert f"mri-alps {command}" in text
