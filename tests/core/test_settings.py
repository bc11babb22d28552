"""Settings: described once, checked wherever they come from."""

import dataclasses
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mri_alps.cli.app import app
from mri_alps.cli.run_settings import RunSettings
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import (
    MAX_SETTINGS_BYTES,
    checked,
    description,
    property_of,
    read_settings,
)
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.training.config import TrainingConfig


def test_values_are_kept_as_json_can_hold_them():
    made = ReconstructionConfiguration(
        prior=Path("weights"), n_samples=np.int64(4), slices="0,2-4", acceleration=np.float32(8)
    )
    assert (made.prior, made.n_samples, made.slices) == ("weights", 4, (0, 2, 3, 4))
    assert type(made.n_samples) is int and type(made.acceleration) is float
    assert pickle.loads(pickle.dumps(made)) == made
    assert ReconstructionConfiguration(slices=[np.int64(1)]).slices == (1,)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n_samples", 1, "of at least 2"),
        ("n_samples", "x", "a whole number"),
        ("acceleration", float("nan"), "a number of at least 1"),
        ("acceleration", float("inf"), "a number"),
        ("center_fraction", 0, "above 0 and of at most 1"),
        ("coil_compression_tolerance", 1.0, "above 0 and below 1"),
        ("seed", -1, "at least 0"),
        ("seed", 2**63, r"at least 0 and below 2\^63, or none"),
        ("seed", str(-(2**70)), r"at least 0 and below 2\^63, or none"),
        ("n_evaluations", 1, "a whole number of at least 2"),
        ("n_evaluations", 10**20, r"at least 2 and below 2\^63"),
        ("method", None, "a text"),
        ("slices", "one", "numbers and ranges such as 0,2,5-7"),
        ("save_maps", "perhaps", "true or false"),
    ],
)
def test_a_bad_value_is_named_with_what_is_expected(name, value, words):
    for make in (
        lambda: ReconstructionConfiguration(**{name: value}),
        lambda: dataclasses.replace(ReconstructionConfiguration(), **{name: value}),
        lambda: checked(ReconstructionConfiguration, name, value),
    ):
        with pytest.raises(ConfigurationError, match=f"^{name} is .*, expected .*{words}"):
            make()


def test_an_unknown_setting_is_named_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"unknown setting n_sample: .*n_samples"):
        ReconstructionConfiguration(n_sample=3)


def test_a_client_is_held_to_its_own_limit():
    assert checked(ReconstructionConfiguration, "n_samples", "12") == 12
    with pytest.raises(ConfigurationError, match="at most 256"):
        checked(ReconstructionConfiguration, "n_samples", "257")


def test_a_file_of_settings_is_overruled_by_options(scan, tmp_path, run):
    file = tmp_path / "run.toml"
    file.write_text('n_samples = 3\nn_evaluations = 4\nprior = "gaussian"\nslices = "1"\n')
    out = tmp_path / "out"
    options = ("--config", file, "--n-samples", "2", "--json")
    assert run("reconstruct", scan.path, "-o", out, *options).code == 0
    from mri_alps import load_reconstruction

    found = load_reconstruction(out / "scan.h5").attributes["configuration"]
    assert (found["n_samples"], found["n_evaluations"], found["slices"]) == (2, 4, [1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n_sample = 3", "unknown setting n_sample"),
        ("n_samples 3", "expected TOML"),
        (None, "read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, words):
    file = tmp_path / "run.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"run\.toml.*{words}"):
        read_settings((ReconstructionConfiguration, RunSettings), file)


def test_a_file_without_an_end_is_refused(tmp_path):
    classes = (ReconstructionConfiguration, RunSettings)
    file = tmp_path / "run.toml"
    file.write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigurationError, match=r"run\.toml"):
        read_settings(classes, file)
    file.write_bytes(b"#" * (MAX_SETTINGS_BYTES + 1))
    with pytest.raises(ConfigurationError, match="more than 1 MiB"):
        read_settings(classes, file)
    os.mkfifo(tmp_path / "pipe.toml")  # opening it would wait for ever
    for path in (tmp_path / "pipe.toml", Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match="no regular file"):
            read_settings(classes, path)
        with pytest.raises(ConfigurationError, match="no regular file"):
            TrainingConfig.entries(path)


def test_help_shows_every_setting_with_its_description():
    shown = CliRunner().invoke(app, ["reconstruct", "--help"], env={"COLUMNS": "300"}).output
    for cls in (ReconstructionConfiguration, RunSettings):
        for name, field in description(cls).items():
            assert (property_of(field, "option") or f"--{name.replace('_', '-')}") in shown
            assert field.description.split(".")[0][:40] in shown
