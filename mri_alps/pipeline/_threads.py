"""How many CPU threads the work may use: sums come out the same only at equal numbers."""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_limits


def use_threads(count: int) -> None:
    """Let torch and the linear algebra behind numpy use this many threads from now on.

    Parameters
    ----------
    count : int
        At least 1.
    """
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    threadpool_limits(limits=count, user_api="blas")
