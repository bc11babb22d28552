"""Run the command line in forked children that are killed; started as a script by the tests.

Importing torch takes seconds, so it is done once here and every run is a fork. The argument is
JSON with "inputs", "options", "output", "seed" and "kind": "disk", killed at random operations
that make files last, again and again; "time", killed a random time after some more slices are
there; "every", killed at each of these operations once, each time in a folder of its own.
"""

import functools
import json
import os
import random
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

from mri_alps.cli.app import main

LOADED_ONCE = [
    import_module(name)
    for name in ("mri_alps.cli.reconstruct", "matplotlib.backends.backend_agg", "sigpy.mri")
]
MOST_RUNS = 60


def count_operations(fatal):
    """Kill this process before its `fatal`-th rename or flush; count them."""
    counter = {"n": 0}

    def guarded(function):
        def call(*arguments, **options):
            counter["n"] += 1
            if counter["n"] == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    os.replace, os.fsync = guarded(os.replace), guarded(os.fsync)


def finished_slices(folder):
    """Count the slices that are safe; the folder may vanish meanwhile, when a scan is done."""
    try:
        return len(list(folder.rglob("slice_*.npz")))
    except FileNotFoundError:
        return 0


def wait_for_slices(child, folder, enough, delay):
    """Wait until the run is over or has finished some more slices, and then a little."""
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if finished_slices(folder) >= enough:
            break
        time.sleep(0.002)
    time.sleep(delay)


def hold_at_rename(folder, enough):
    """Rename nothing more once these slices are there: the kill never comes too late."""
    real = os.replace

    def replace(*arguments):
        if finished_slices(folder) >= enough:
            threading.Event().wait()
        real(*arguments)

    os.replace = replace


def run(arguments, fatal=0, wait=None, prepare=None):
    """Fork a run, killed when `wait` of its process id is over; return if it came to its end.

    `prepare` is called in the child before it begins.
    """
    child = os.fork()
    if child == 0:
        count_operations(fatal)
        if prepare is not None:
            prepare()
        code = 1
        try:
            main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            sys.stderr.flush()
            os._exit(code)
    if wait is not None:
        wait(child)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"a run failed with {os.WEXITSTATUS(status)}")
    return os.WIFEXITED(status)


def main_script():
    """Kill runs until one of them finishes; print how many were killed."""
    task = json.loads(sys.argv[1])
    rng = random.Random(task["seed"])
    arguments = ["reconstruct", *task["inputs"], *task["options"], "-o"]
    output = task["output"]
    assert run([*arguments, output + "_reference"])
    killed = every(arguments, output) if task["kind"] == "every" else 0
    while task["kind"] != "every" and not attempt(arguments, output, task["kind"], rng):
        killed += 1
        assert killed < MOST_RUNS
    print(json.dumps({"killed": killed}))


def attempt(arguments, output, kind, rng):
    """Let a run live for a random time; return whether it came to its end."""
    if kind == "disk":
        return run([*arguments, output], fatal=rng.randint(4, 6))
    more, delay = rng.randint(1, 2), rng.uniform(0, 0.1)
    folder = Path(output, ".unfinished")
    enough = finished_slices(folder) + more
    wait = functools.partial(wait_for_slices, folder=folder, enough=enough, delay=delay)
    hold = functools.partial(hold_at_rename, folder, enough)
    return run([*arguments, output], wait=wait, prepare=hold)


def every(arguments, output):
    """Kill a run at each operation and let a second one end it; return how many there are."""
    point = 1
    while not run([*arguments, f"{output}_{point}"], fatal=point):
        assert run([*arguments, f"{output}_{point}"])
        point += 1
    return point - 1


if __name__ == "__main__":
    main_script()
