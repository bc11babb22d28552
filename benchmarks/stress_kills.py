"""Kill -9 each command many times at random moments, and compare what comes out in the end.

    python benchmarks/stress_kills.py FOLDER --kills 30 --minutes 15

A run is killed a random time after its start and started again until it comes to its end; then
everything that it wrote is compared with an undisturbed run, and the next one begins, until the
command was killed so often. What is counted so far is in FOLDER/stress_kills.json: the same command
goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import random
import shutil
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mri_alps.priors.checkpoint import load_tensors
from tests.pipeline import killed_runs
from tests.pipeline.tiny_scans import TINY, contents, write_tiny
from tests.training.tiny_training import TINY_RECIPE

SAMPLER = ("--prior", "gaussian", "--n-samples", "3", "--n-evaluations", "4")
TIMES = ("seconds", "finished", "written", "created", "images_per_second")
STATE = "stress_kills.json"
NAMED_ONLY = ("training.csv",)  # its mean loss is that of the steps since the run went on
# Everything a run needs is imported before the fork, so that moments fall into the work.
for name in (
    "cli.design_mask",
    "cli.masks",
    "cli.convert",
    "training.session",
    "training._monitor",
    "masks.study",
    "masks.design",
    "interop._convert_ismrmrd",
):
    import_module(f"mri_alps.{name}")  # fmt: skip
import_module("lightning.fabric")
import_module("torch.utils.tensorboard")


def make_inputs(folder: Path) -> dict[str, list[str]]:
    """Write the inputs; return the arguments of each command without its output."""
    folder.mkdir(parents=True, exist_ok=True)
    scans = [str(write_tiny(folder / f"scan{i}.h5", n_slices=4, seed=i)) for i in range(2)]
    large = str(write_tiny(folder / "large.h5", n_slices=64, shape=(128, 96)))
    recipe, images = folder / "recipe.json", folder / "images.npz"
    recipe.write_text(json.dumps(TINY_RECIPE | {"steps": 30}))
    rng = np.random.default_rng(0)
    np.savez(
        images, images=rng.random((12, 48, 40), np.float32), patient=np.repeat(list("abcd"), 3)
    )
    kinds = ("--masks", "random,equispaced", "--accelerations", "2", "--center-fraction", "0.4")
    return {
        "reconstruct": ["reconstruct", *scans, *TINY, "--save-samples"],
        "masks": ["masks", scans[0], *kinds, *SAMPLER, "--slices", "0"],
        "design-mask": ["design-mask", scans[0], "--budget", "20", "--batch", "2", *SAMPLER,
                        "--slices", "0"],
        "train": ["train", str(images), "--config", str(recipe), "--device", "cpu",
                  "--checkpoint-minutes", "0", "--cache", str(folder / "cache")],
        "convert": ["convert", large],
    }  # fmt: skip


def with_output(name: str, arguments: list[str], folder: Path) -> list[str]:
    """Return the whole command line, which writes into a folder."""
    if name == "convert":
        return [*arguments, str(folder / "out.mrd"), "--to", "ismrmrd", "--overwrite"]
    return [*arguments, "-o", str(folder / "mask.npy" if name == "design-mask" else folder)]


def everything(folder: Path) -> dict[str, object]:
    """Return what a folder holds, apart from times."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "tensorboard" not in path.parts:
            found[str(path.relative_to(folder))] = content(path)
    return found


def content(path: Path) -> object:
    """Return what a file says, apart from times; pictures are drawn with them and only named."""
    if path.suffix in (".png", ".jsonl", ".html") or path.name in NAMED_ONLY:
        return "there"
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {key: array_content(arrays[key]) for key in arrays}
    if path.suffix == ".h5":
        return {key: np.asarray(value).tobytes() for key, value in contents(path).items()}
    if path.suffix == ".json":
        return json.dumps(without_times(json.loads(path.read_text())))
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return json.dumps(without_times(list(csv.DictReader(file))))
    if path.suffix == ".safetensors":
        return {key: value.numpy().tobytes() for key, value in load_tensors(path)[0].items()}
    return path.read_bytes()


def array_content(array: np.ndarray) -> object:
    """Return the bytes of numbers, and JSON apart from times."""
    if array.dtype.kind == "U":
        return json.dumps(without_times(json.loads(str(array))))
    return array.tobytes()


def without_times(value: object) -> object:
    """Leave out all that is named like a time, at any depth."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not any(t in k for t in TIMES)}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def is_whole(folder: Path, reference: Path) -> bool:
    """Whether each file of an interrupted conversion is missing or as it should be."""
    return all(
        not (folder / path.name).exists() or content(folder / path.name) == content(path)
        for path in reference.iterdir()
    )


def quietly(arguments: list[str], delay: float | None = None) -> bool:
    """Run a command, killed after a while; return whether it came to its end."""

    def wait(child: int) -> None:
        end = time.monotonic() + delay
        while time.monotonic() < end:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.002)

    with contextlib.redirect_stdout(io.StringIO()):
        return killed_runs.run(["--quiet", *arguments], wait=None if delay is None else wait)


def stress(name: str, arguments: list[str], folder: Path, tally: dict, kills: int, end: float):
    """Kill and compare until there were enough kills or the time is up; yield after each round."""
    reference, work = folder / f"{name}_reference", folder / f"{name}_work"
    shutil.rmtree(reference, ignore_errors=True)
    reference.mkdir()
    started = time.monotonic()
    assert quietly(with_output(name, arguments, reference))
    duration = time.monotonic() - started
    expected = everything(reference)
    rng = random.Random(tally["kills"])
    while tally["kills"] < kills and time.monotonic() < end:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        command = with_output(name, arguments, work)
        while tally["kills"] < kills and time.monotonic() < end:
            if quietly(command, rng.uniform(0, duration)):
                break
            tally["kills"] += 1
            if name == "convert" and not is_whole(work, reference):
                tally["torn"] += 1
        quietly(command)
        found = everything(work)
        leftover = sorted(set(found) - set(expected))
        differing = sorted(key for key in expected if found.get(key) != expected[key])
        tally["rounds"] += 1
        tally["equal"] += not differing
        tally["leftover"] += leftover
        tally["differing"] += differing
        yield


def main() -> int:
    """Go on with what is not done; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=30, help="of each command")
    parser.add_argument("--minutes", type=float, default=15.0, help="at most, in all")
    parser.add_argument("--commands", nargs="+", help="only these")
    options = parser.parse_args()
    commands = make_inputs(options.folder / "in")
    path = options.folder / STATE
    state = json.loads(path.read_text()) if path.exists() else {}
    end = time.monotonic() + 60 * options.minutes
    chosen = options.commands or list(commands)
    for number, name in enumerate(chosen):
        empty = {"kills": 0, "rounds": 0, "equal": 0, "torn": 0, "leftover": [], "differing": []}
        tally = state.setdefault(name, empty)
        # What is left of the time is shared out among the commands that are left.
        own = time.monotonic() + (end - time.monotonic()) / (len(chosen) - number)
        for _ in stress(name, commands[name], options.folder, tally, options.kills, own):
            path.write_text(json.dumps(state, indent=2))
    print(
        "| command | kills | results compared | equal | torn files | leftover files | differing |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, tally in state.items():
        lists = [", ".join(sorted(set(tally[key]))) or "none" for key in ("leftover", "differing")]
        counts = [str(tally[key]) for key in ("kills", "rounds", "equal", "torn")]
        print(f"| `{name}` | {' | '.join([*counts, *lists])} |")
    good = all(
        t["equal"] == t["rounds"] and not t["torn"] + len(t["leftover"]) for t in state.values()
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
