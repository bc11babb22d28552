"""A run can be stopped, killed and resumed, and ends where an unbroken one does."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.priors import load_prior
from mri_alps.priors.checkpoint import load_tensors, save_tensors
from mri_alps.training._loop import Trainer
from mri_alps.training._state import CHECKPOINT, PRIOR
from mri_alps.training.config import CropPlan
from mri_alps.training.images import split
from mri_alps.training.sources import load_images
from tests.training.tiny_training import TINY_RECIPE
from tests.waiting import LONG, until


def make_trainer(data: Path, recipe, output: Path) -> Trainer:
    training, _ = split(load_images([data]), 0.25, (), 0)
    fabric = Fabric(accelerator="cpu", devices=1)
    facts = {"fingerprint": training.fingerprint()}
    return Trainer(fabric, recipe, training, output, facts)


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / CHECKPOINT)[0]


def assert_same_state(first: Path, second: Path) -> None:
    a, b = tensors_of(first), tensors_of(second)
    assert a.keys() == b.keys()
    assert any(name.startswith("optimizer.exp_avg_sq.") for name in a)
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_interrupted_run_ends_where_an_unbroken_one_does(data, recipe, tmp_path, optimizer):
    recipe = dataclasses.replace(recipe, optimizer=optimizer)
    assert make_trainer(data, recipe, tmp_path / "whole").run(10)
    assert make_trainer(data, recipe, tmp_path / "parts").run(4)
    assert make_trainer(data, recipe, tmp_path / "parts").run(7)
    resumed = make_trainer(data, recipe, tmp_path / "parts")
    assert resumed.progress.step == 7
    seen = []
    assert resumed.run(10, workers=1, on_step=lambda report: seen.append(report.progress.step))
    assert seen == [8, 9, 10]
    assert_same_state(tmp_path / "whole", tmp_path / "parts")
    whole, parts = (load_prior(tmp_path / name) for name in ("whole", "parts"))
    assert whole.provenance["images_seen"] == parts.provenance["images_seen"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_changes_the_weights_and_lowers_the_loss(data, recipe, tmp_path, optimizer):
    recipe = dataclasses.replace(recipe, optimizer=optimizer)
    plans = (CropPlan(16, 8, 0.1, 0.5),)  # levels at which discs are easily told from noise
    recipe = dataclasses.replace(
        recipe, plans=plans, steps=150, warmup_steps=10, decay_steps=0, learning_rate=0.01
    )
    losses = []
    trainer = make_trainer(data, recipe, tmp_path / "run")
    trainer.run(150, on_step=lambda report: losses.append(report.losses.mean().item()))
    assert sum(losses[-40:]) < 0.6 * sum(losses[:40])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_training_that_diverges_says_so_and_leaves_what_was_good(
    data, recipe, tmp_path, optimizer
):
    recipe = dataclasses.replace(recipe, optimizer=optimizer, warmup_steps=0)
    assert make_trainer(data, recipe, tmp_path / "run").run(1)
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    hot = make_trainer(data, dataclasses.replace(recipe, learning_rate=1e30), tmp_path / "run")
    with pytest.raises(ConfigurationError, match=r"diverged.*after 5 steps.*lower --learning-rate"):
        hot.run(5)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before
    load_prior(tmp_path / "run")


def test_seed_decides_everything(data, recipe, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_trainer(data, dataclasses.replace(recipe, seed=seed), tmp_path / name).run(3)
    assert_same_state(tmp_path / "a", tmp_path / "b")
    a, c = tensors_of(tmp_path / "a"), tensors_of(tmp_path / "c")
    assert not torch.equal(a["model.unet.exit.weight_real"], c["model.unet.exit.weight_real"])


def test_a_signal_saves_and_stops(data, recipe, tmp_path):
    trainer = make_trainer(data, recipe, tmp_path / "run")

    def interrupt(report):
        if report.progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not trainer.run(10, on_step=interrupt)
    assert make_trainer(data, recipe, tmp_path / "run").progress.step == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_session_ends_when_its_time_is_up(data, recipe, tmp_path):
    assert not make_trainer(data, recipe, tmp_path / "run").run(10, session_seconds=0.0)
    assert make_trainer(data, recipe, tmp_path / "run").progress.step == 1


def test_checkpoints_come_at_intervals(data, recipe, tmp_path):
    trainer = make_trainer(data, recipe, tmp_path / "run")
    found = []

    def look(report):
        path = tmp_path / "run" / CHECKPOINT
        found.append(load_tensors(path)[1]["progress"]["step"] if path.exists() else 0)

    trainer.run(4, on_step=look, checkpoint_seconds=0.0)
    assert found == [0, 1, 2, 3]


def test_other_data_or_another_network_cannot_take_over(data, recipe, tmp_path):
    make_trainer(data, recipe, tmp_path / "run").run(1)
    layout = dataclasses.replace(recipe.unet, channels=(8, 16))
    with pytest.raises(ConfigurationError, match="another layout"):
        make_trainer(data, dataclasses.replace(recipe, unet=layout), tmp_path / "run")
    with pytest.raises(ConfigurationError, match=r"optimizer adamw.*leave out --optimizer muon"):
        make_trainer(data, dataclasses.replace(recipe, optimizer="muon"), tmp_path / "run")
    tensors, metadata = load_tensors(tmp_path / "run" / CHECKPOINT)
    metadata["data"]["fingerprint"] = "0" * 64
    save_tensors(tmp_path / "run" / CHECKPOINT, tensors, metadata)
    with pytest.raises(ConfigurationError, match="other images"):
        make_trainer(data, recipe, tmp_path / "run")
    (tmp_path / "run" / CHECKPOINT).write_bytes((tmp_path / "run" / PRIOR).read_bytes())
    with pytest.raises(InputFileError, match=r"mri_alps\.prior/1"):
        make_trainer(data, recipe, tmp_path / "run")


def _first(tensors, beginning):
    return next(name for name in tensors if name.startswith(beginning))


def _forget_one(tensors):
    suffix = _first(tensors, "optimizer.exp_avg.").removeprefix("optimizer.exp_avg")
    for name in [n for n in tensors if n.startswith("optimizer.") and n.endswith(suffix)]:
        del tensors[name]


DAMAGES = {
    "no progress": lambda tensors, facts: facts.pop("progress"),
    "no fingerprint": lambda tensors, facts: facts["data"].pop("fingerprint"),
    "a step that is no number": lambda tensors, facts: facts["progress"].update(step="many"),
    "a step before the first": lambda tensors, facts: facts["progress"].update(step=-5),
    "an average that lacks a weight": lambda tensors, _: tensors.pop(_first(tensors, "average.")),
    "an average of another shape": lambda tensors, _: tensors.update(
        {_first(tensors, "average."): torch.zeros(1)}
    ),
    "no moments of one weight": lambda tensors, _: _forget_one(tensors),
    "a moment less": lambda tensors, _: tensors.pop(_first(tensors, "optimizer.exp_avg.")),
    "a moment of another shape": lambda tensors, _: tensors.update(
        {_first(tensors, "optimizer.exp_avg."): torch.zeros(1)}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_is_not_whole_is_refused(data, recipe, tmp_path, damage):
    make_trainer(data, recipe, tmp_path / "run").run(1)
    path = tmp_path / "run" / CHECKPOINT
    tensors, facts = load_tensors(path)
    save_tensors(path, tensors, facts)
    make_trainer(data, recipe, tmp_path / "run")  # as it was
    DAMAGES[damage](tensors, facts)
    save_tensors(path, tensors, facts)
    with pytest.raises(InputFileError, match=r"is damaged.*--initial"):
        make_trainer(data, recipe, tmp_path / "run")


def command(data: Path, output: Path, config: Path, *options: str) -> list[str]:
    return [
        sys.executable, "-m", "mri_alps", "train", str(data), "--output", str(output),
        "--config", str(config), "--device", "cpu", *options,
    ]  # fmt: skip


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(TINY_RECIPE))
    return path


@pytest.mark.slow
def test_command_writes_everything_and_resumes_after_a_kill(data, config, tmp_path):
    output = tmp_path / "run"
    endless = command(data, output, config, "--steps", "100000", "--checkpoint-minutes", "0")
    with subprocess.Popen(endless, stdout=subprocess.DEVNULL) as process:
        until(lambda: (output / CHECKPOINT).exists() or process.poll() is not None)
        assert process.poll() is None
        process.kill()  # no chance to save
    step = load_tensors(output / CHECKPOINT)[1]["progress"]["step"]
    assert step > 0
    last = str(step + 5)
    done = subprocess.run(
        command(data, output, config, "--steps", last), capture_output=True, text=True, check=True
    )
    assert f"step {last}/{last}" in done.stderr and "time left" in done.stderr
    with open(output / "training.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["step"]) == step + 5
    with open(output / "validation.csv", newline="") as file:
        levels = {float(row["sigma"]) for row in csv.DictReader(file)}
    assert levels == {0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0}
    pictures = sorted(path.name.split("_")[0] for path in (output / "pictures").glob("*.png"))
    assert {"denoised", "samples"} == set(pictures)
    assert list((output / "tensorboard").glob("events*"))
    prior = load_prior(output)
    assert len(prior.provenance["data"]["fingerprint"]) == 64
    assert prior.prior_spectrum.error_power.shape == (16, 40)


LISTENING = """
import json, os, sys
from pathlib import Path

import psutil

from mri_alps.cli.app import main
from mri_alps.training._loop import Trainer

real = Trainer.run


def run(trainer, *arguments, **options):
    found = psutil.Process().net_connections(kind="inet")
    where = [found.laddr.ip for found in found if found.status == psutil.CONN_LISTEN]
    Path(os.environ["SEEN"], str(os.getpid())).write_text(json.dumps(where))
    return real(trainer, *arguments, **options)


Trainer.run = run
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_agree_see_twice_as_much_and_listen_to_nobody_else(data, config, tmp_path):
    output, script, seen = tmp_path / "run", tmp_path / "listening.py", tmp_path / "seen"
    script.write_text(LISTENING)
    seen.mkdir()
    options = ("--devices", "2", "--strategy", "ddp", "--steps", "4")
    arguments = command(data, output, config, *options)
    arguments[1:4] = [str(script), "train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SEEN": str(seen)}
    subprocess.run(arguments, check=True, capture_output=True, env=environment, timeout=LONG)
    found = [json.loads(path.read_text()) for path in seen.iterdir()]
    assert len(found) == 2 and all(found)
    assert {address for each in found for address in each} == {"127.0.0.1"}
    both = load_tensors(output / CHECKPOINT)[1]["progress"]
    alone = tmp_path / "alone"
    subprocess.run(
        command(data, alone, config, "--steps", "4"), check=True, capture_output=True,
        env=environment, timeout=LONG,
    )  # fmt: skip
    single = load_tensors(alone / CHECKPOINT)[1]["progress"]
    assert both["step"] == single["step"] == 4
    assert both["images_seen"] == 2 * single["images_seen"]
    a, b = tensors_of(output), tensors_of(alone)
    assert a.keys() == b.keys()
    assert not torch.equal(a["model.unet.exit.weight_real"], b["model.unet.exit.weight_real"])
