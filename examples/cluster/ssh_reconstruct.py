"""Reconstruct a folder on machines that are reached by SSH.

    python examples/cluster/ssh_reconstruct.py node1 node2 node2 --input multicoil_test -o results

Each name starts one worker; name a machine once per GPU. The first name also runs the scheduler.
The login must work without a password, Python and mri-alps must be installed alike, and input and
output must be seen by all machines under the same path. What stands after `--` goes to
`mri-alps reconstruct`.

Scheduler, workers and client speak TLS with a key that is made for this run; it lies in a hidden
folder of --output that only you can read, until the run ends.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from distributed import Security, SpecCluster, SSHCluster


def remote_pythons(hosts: list[str], n_threads: int) -> list[str]:
    """Return the interpreter of the scheduler and of each worker, which has a GPU of its own."""
    seen: Counter[str] = Counter()
    commands = [sys.executable]
    for host in hosts:
        environment = f"CUDA_VISIBLE_DEVICES={seen[host]} OMP_NUM_THREADS={n_threads}"
        commands.append(f"env {environment} MRI_ALPS_THREADS={n_threads} {sys.executable}")
        seen[host] += 1
    return commands


def make_cluster(options: argparse.Namespace) -> SpecCluster:
    """Log in and start scheduler and workers, with the certificates that are in use here."""
    return SSHCluster(
        [options.hosts[0], *options.hosts],
        worker_options={"nthreads": 2, "dashboard_address": "127.0.0.1:0"},
        # The pages ask for no password: from elsewhere through ssh -L 8787:localhost:8787.
        scheduler_options={
            "protocol": "tls://",
            "port": 0,
            "dashboard_address": "127.0.0.1:8787",
        },
        remote_python=remote_pythons(options.hosts, options.threads),
        security=Security(),
    )


def main() -> int:
    """Start the cluster, and mri-alps on it."""
    arguments, rest = sys.argv[1:], []
    if "--" in arguments:
        rest = arguments[arguments.index("--") + 1 :]
        arguments = arguments[: arguments.index("--")]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("hosts", nargs="+", help="one worker each")
    parser.add_argument("--input", nargs="+", required=True, help="files, folders or patterns")
    parser.add_argument("--output", "-o", required=True, help="folder on the shared file system")
    parser.add_argument("--threads", type=int, default=4, help="CPU threads per worker")
    options = parser.parse_args(arguments)
    from mri_alps.cli.app import main as mri_alps
    from mri_alps.pipeline.cluster import shared_certificates

    Path(options.output).mkdir(parents=True, exist_ok=True)
    with shared_certificates(options.output), make_cluster(options) as cluster:
        command = ["reconstruct", *options.input, "-o", options.output]
        command += ["--scheduler", cluster.scheduler_address, *rest]
        try:
            mri_alps(command)
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
