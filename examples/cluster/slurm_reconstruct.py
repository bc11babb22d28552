"""Reconstruct a folder on a SLURM cluster, with one job per GPU.

    python examples/cluster/slurm_reconstruct.py multicoil_test -o results --jobs 64 \
        --partition gpu --account mri -- --mask equispaced --acceleration 4

What stands after `--` goes to `mri-alps reconstruct`. Input and output must lie on a file system
that all nodes see under the same path, and the environment with mri-alps must be there too. If
the driver or a job is killed, the same command goes on where it was.

Scheduler, workers and client speak TLS with a key that is made for this run; it lies in a hidden
folder of --output that only you can read, until the run ends.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed import Security


def make_cluster(options: argparse.Namespace) -> SLURMCluster:
    """Describe one job: one GPU, one worker process."""
    return SLURMCluster(
        queue=options.partition,
        account=options.account,
        cores=2,  # one thread samples, one prepares; theirs come from OMP_NUM_THREADS
        processes=1,
        job_cpu=options.cpus,
        memory=options.memory,
        walltime=options.walltime,
        interface=options.interface,
        python=sys.executable,
        job_extra_directives=[f"--gres=gpu:{options.gpus}"] if options.gpus else [],
        job_script_prologue=[
            f"export OMP_NUM_THREADS={options.cpus} MRI_ALPS_THREADS={options.cpus}"
        ],
        protocol="tls://",
        security=Security(),  # the certificates that Dask's configuration names
        # The pages ask for no password: from elsewhere through ssh -L 8787:localhost:8787.
        scheduler_options={"dashboard_address": "127.0.0.1:8787"},
        worker_extra_args=["--dashboard-address", "127.0.0.1:0"],
        log_directory=options.logs,
    )


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return this script's options and those of mri-alps."""
    own, _, rest = (
        (arguments, [], [])
        if "--" not in arguments
        else (arguments[: arguments.index("--")], 0, arguments[arguments.index("--") + 1 :])
    )
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", help="files, folders or patterns")
    parser.add_argument("--output", "-o", required=True, help="folder on the shared file system")
    parser.add_argument("--jobs", type=int, default=8, help="most jobs at a time")
    parser.add_argument("--partition", help="SLURM partition")
    parser.add_argument("--account", help="SLURM account")
    parser.add_argument("--gpus", type=int, default=1, help="per job; 0 for CPU jobs")
    parser.add_argument("--cpus", type=int, default=4, help="per job")
    parser.add_argument("--memory", default="16GB", help="per job")
    parser.add_argument("--walltime", default="08:00:00", help="per job; lost ones are replaced")
    parser.add_argument("--interface", help="network interface of the nodes, for example ib0")
    parser.add_argument("--logs", default="dask-logs", help="folder of the jobs' logs")
    parser.add_argument("--print-job", action="store_true", help="print the job script and stop")
    return parser.parse_args(own), list(rest)


def main(arguments: list[str] | None = None) -> int:
    """Start the cluster, and mri-alps on it."""
    options, rest = parse(sys.argv[1:] if arguments is None else arguments)
    from mri_alps.cli.app import main as mri_alps
    from mri_alps.pipeline.cluster import shared_certificates

    Path(options.output).mkdir(parents=True, exist_ok=True)
    with shared_certificates(options.output), make_cluster(options) as cluster:
        if options.print_job:
            print(cluster.job_script())
            return 0
        # Jobs that end early or at their walltime are replaced as long as there is work.
        cluster.adapt(minimum_jobs=1, maximum_jobs=options.jobs)
        command = ["reconstruct", *options.inputs, "-o", options.output]
        command += ["--scheduler", cluster.scheduler_address, *rest]
        try:
            mri_alps(command)
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
