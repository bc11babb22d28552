"""The memory that --dry-run predicts is what the command takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mri_alps
from mri_alps.diagnostics.device_check import make_scan
from mri_alps.rawdata.fastmri.writer import write_fastmri

DEMO = Path(mri_alps.__file__).parent / "data" / "demo_brain.h5"

# The peak of the process itself: what `wait4` tells of a child includes its parent's at the fork.
RUN = """
import sys
from mri_alps.cli.app import main
try:
    main(sys.argv[1:])
finally:
    status = open("/proc/self/status").read()
    print(next(line for line in status.splitlines() if line.startswith("VmHWM")), file=sys.stderr)
"""


def peak_bytes(arguments):
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("size", "n_samples"), [("demo", 12), ("larger", 4)])
def test_the_predicted_memory_is_within_a_quarter(tmp_path, run, size, n_samples):
    path = DEMO
    if size == "larger":
        path = tmp_path / "larger.h5"
        scan = make_scan((320, 288), 12, "lines")
        write_fastmri(
            path,
            1e-4 * scan.kspace.numpy()[None],
            mask=scan.mask.numpy(),
            recon_matrix=(320, 288),
            attributes={"acquisition": "AXT2"},
        )
    options = ["--n-samples", n_samples, "--n-evaluations", 2, "--slices", 0]
    if size == "larger":  # left-out lines take no more, which the other one shows
        options += ["--self-calibration", "off"]
    command = ["reconstruct", path, "-o", tmp_path / "out", *options]
    planned = run(*command, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    plan = json.loads(planned.out)
    plan = plan[0] if isinstance(plan, list) else plan
    found = peak_bytes(command)
    print(f"{size}: predicted {plan['memory_bytes'] / 1e6:.0f} MB, taken {found / 1e6:.0f} MB")
    assert plan["memory_bytes"] == pytest.approx(found, rel=0.25)
    assert plan["batch"] == n_samples
