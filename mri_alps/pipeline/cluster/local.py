"""A cluster on this machine: one process per GPU, or per group of cores.

Whoever reaches a port of Dask runs code there. So everything listens on the loopback address
only, and behind TLS with a key that lives in the memory of this run: other users of the machine
reach the loopback address too.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from mri_alps.core.errors import ConfigurationError, MissingDependencyError, MriAlpsWarning
from mri_alps.pipeline.cluster._tasks import THREADS_OF_A_WORKER
from mri_alps.pipeline.cluster.certificates import temporary_security

try:
    import dask
    from distributed import Client, Nanny, Scheduler, SpecCluster, WorkerPlugin
except ImportError as error:
    raise MissingDependencyError(
        "--workers and --scheduler need Dask, which is not installed: pip install "
        "'mri-alps[cluster]'"
    ) from error

CORES = "MRI_ALPS_CORES"
THREADS = "MRI_ALPS_THREADS"
SHARING = "MRI_ALPS_SHARING"
"""How many workers share the memory of a device."""
_KEPT_BYTES = 1 << 30
_NANNY_LOGGER = logging.getLogger("distributed.nanny")
_LOOPBACK = "127.0.0.1"
_GUARDED = ("tls://", "wss://", "inproc://")
LOST_WORKERS = 10
"""So many workers may be lost with a slice before it is given up."""


class PinCores(WorkerPlugin):
    """Keeps each worker of a local cluster on its own cores."""

    name = "mri-alps-cores"

    def setup(self, worker: object) -> None:
        """Pin all threads that the process has; later ones inherit it.

        Parameters
        ----------
        worker : distributed.Worker
            The worker that starts.
        """
        cores = os.environ.get(CORES)
        if not cores or not hasattr(os, "sched_setaffinity"):
            return
        chosen = {int(core) for core in cores.split(",")}
        for thread in psutil.Process().threads():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread.id, chosen)


def worker_environments(n_workers: int, device: str, n_threads: int | None) -> list[dict[str, str]]:
    """Return the environment of each worker: its GPU, or its cores, and its threads.

    Parameters
    ----------
    n_workers : int
        At least 1.
    device : str
        As the configuration has it.
    n_threads : int or None
        CPU threads of each; None shares the cores out.

    Raises
    ------
    ConfigurationError
        If one GPU is named for all workers.
    """
    if device.startswith("cuda:"):
        raise ConfigurationError(
            f"--workers gives each process a GPU of its own, found --device {device}: use cuda, "
            "and CUDA_VISIBLE_DEVICES to choose among them"
        )
    cores = _cores()
    threads = n_threads or max(1, len(cores) // n_workers)
    gpus = _visible_gpus() if device in ("auto", "cuda") else []
    environments = []
    for number in range(n_workers):
        # Waiting threads that spin would take the cores from those that work.
        environment = {THREADS: str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        environment[SHARING] = str(math.ceil(n_workers / len(gpus)) if gpus else n_workers)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = str(threads)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        if n_workers * threads <= len(cores):
            share = len(cores) // n_workers
            own = cores[number * share : (number + 1) * share]
            environment[CORES] = ",".join(map(str, own))
        environments.append(environment)
    return environments


@contextlib.contextmanager
def connect(
    workers: int | None, scheduler: str | None, device: str, n_threads: int | None
) -> Iterator[Client]:
    """Give a client of a local cluster, or of the one at an address.

    Parameters
    ----------
    workers : int or None
        Processes of a local cluster.
    scheduler : str or None
        Address, or scheduler file, of a cluster that runs already.
    device : str
        As the configuration has it.
    n_threads : int or None
        CPU threads of each process of a local cluster.

    Raises
    ------
    ConfigurationError
        If both or neither are given, or no scheduler answers.

    Warns
    -----
    MriAlpsWarning
        If that cluster does not use TLS.
    """
    if (workers is None) == (scheduler is None):
        raise ConfigurationError("give either --workers or --scheduler")
    settings = {
        "distributed.scheduler.allowed-failures": LOST_WORKERS,
        # Dask's own 64 kB gives every image back to the system, and half of a worker's time goes
        # into getting the pages again (measured: 3 million faults in 4 slices).
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES,
    }
    with dask.config.set(settings):
        if scheduler is not None:
            with _join(scheduler) as client:
                yield client
            return
        assert workers is not None
        environments = worker_environments(workers, device, n_threads)
        listen = {"host": _LOOPBACK, "protocol": "tls://", "security": temporary_security()}
        specification = {
            number: {
                "cls": Nanny,
                "options": {
                    **listen,
                    # Without an address of its own, a worker's pages are served to everybody.
                    "dashboard_address": f"{_LOOPBACK}:0",
                    "nthreads": THREADS_OF_A_WORKER,
                    "env": environment,
                    "memory_limit": 0,
                    # Failures come back in one sentence; tracebacks are for --verbose.
                    "silence_logs": logging.INFO if _is_verbose() else logging.CRITICAL,
                },
            }
            for number, environment in enumerate(environments)
        }
        with (
            SpecCluster(
                workers=specification,
                scheduler={
                    "cls": Scheduler,
                    "options": {**listen, "port": 0, "dashboard_address": f"{_LOOPBACK}:0"},
                },
                security=listen["security"],
                silence_logs=_log_level(),
            ) as cluster,
            Client(cluster) as client,
        ):
            client.register_plugin(PinCores())
            try:
                yield client
            finally:
                _NANNY_LOGGER.setLevel(logging.ERROR)  # that one takes seconds to end is no news
        _NANNY_LOGGER.setLevel(logging.NOTSET)


def _is_verbose() -> bool:
    return logging.getLogger("mri_alps").getEffectiveLevel() <= logging.DEBUG


def _log_level() -> int:
    """Return the level of Dask's own log: that a worker is lost, but not every connection."""
    ours = logging.getLogger("mri_alps").getEffectiveLevel()
    return logging.INFO if _is_verbose() else max(ours, logging.WARNING)


def _join(scheduler: str) -> Client:
    try:
        if Path(scheduler).is_file():
            client = Client(scheduler_file=scheduler, timeout="30s")
        else:
            client = Client(scheduler, timeout="30s")
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ConfigurationError(
            f"no Dask scheduler answers at {scheduler} ({error}): give --scheduler an address "
            "such as tls://node1:8786, or the file that dask scheduler --scheduler-file wrote; "
            "tls:// needs the certificates of the cluster, named in Dask's configuration "
            "(distributed.comm.tls)"
        ) from error
    address = str(client.scheduler_info(n_workers=0)["address"])
    if not address.startswith(_GUARDED):
        warnings.warn(
            f"the scheduler at {address} has no TLS: whoever reaches a port of this cluster runs "
            "code as you on all of its machines; use tls:// with certificates of your own (the "
            "guide to clusters says how)",
            MriAlpsWarning,
            stacklevel=3,
        )
    return client


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _visible_gpus() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]
