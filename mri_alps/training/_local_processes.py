"""Processes of one machine that train together find each other on its loopback address only.

Left alone, PyTorch's store of addresses listens on every address of the machine, for anybody: a
stranger could name himself as one of the processes, which send each other pickled objects.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

_LOOPBACK = "127.0.0.1"
_OWN_LAUNCHERS = ("LOCAL_RANK", "MASTER_ADDR", "SLURM_NTASKS", "TORCHELASTIC_RUN_ID")
"""Set in our own children, and by launchers that arrange the meeting themselves."""


_STORES: list[Any] = []  # open as long as this process lives


def meet_on_loopback(fabric: Mapping[str, Any]) -> None:
    """Open the store through which the processes of a run on one machine meet.

    Nothing is opened for one device, for several machines, or where somebody else's launcher
    arranges the meeting.

    Parameters
    ----------
    fabric : mapping
        The options of ``lightning.fabric.Fabric``, which is made afterwards and reads the
        environment that is set here.
    """
    alone = fabric.get("devices", 1) == 1
    if alone or fabric.get("num_nodes", 1) != 1 or any(map(os.environ.get, _OWN_LAUNCHERS)):
        return
    from torch.distributed import TCPStore

    listener = socket.create_server((_LOOPBACK, 0))
    port = listener.getsockname()[1]
    _STORES.append(
        TCPStore(
            _LOOPBACK,
            port,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
        )
    )
    # The store is there already: as under torchrun, the first process does not open another.
    os.environ |= {
        "MASTER_ADDR": _LOOPBACK,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
