"""What this core can do, and what A^H A asks of it, for `benchmark_normal.py`."""

from __future__ import annotations

import math
import statistics
import time


def medians(candidates, repeats, clock=time.process_time):
    """Return the median time of each candidate in ms, interleaved.

    The process' own CPU time leaves out what others did on the core in the meantime; everything
    here runs on one thread.
    """
    times = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            start = clock()
            run()
            times[name].append(1e3 * (clock() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def measure_core():
    """Return this core's rates: FFT and matrix products in GF/s, memory in GB/s."""
    import torch

    rows = torch.randn(512, 256, dtype=torch.complex64)
    flops = 5 * 256 * math.log2(256) * 512
    product = torch.randn(1024, 1024)
    source = torch.randn(1 << 24)
    target = torch.empty_like(source)
    candidates = {
        "fft": lambda: torch.fft.fft(rows),
        "product": lambda: product @ product,
        "copy": lambda: target.copy_(source),
    }
    times = medians(candidates, 7)
    return {
        "fft": flops / times["fft"] / 1e6,
        "product": 2 * 1024**3 / times["product"] / 1e6,
        "memory": 2 * 4 * len(source) / times["copy"] / 1e6,
    }


def work(n_coils, shape, kind, batch):
    """Return (flops, bytes) of A^H A by plain FFTs, masks and maps read once.

    5 N log2 N per transform, along the lines alone where the other axis cancels; 14 per
    coil pixel for the two products with the maps and the sum.
    """
    height, width = shape
    length = {"lines": width, "rows": height, "points": height * width}[kind]
    pixels = n_coils * height * width * batch
    flops = pixels * (2 * 5 * math.log2(length) + 14)
    maps_bytes, image_bytes = 8 * n_coils * height * width, 8 * height * width * batch
    return flops, maps_bytes + 2 * image_bytes


def limit_ms(flops, n_bytes, core):
    """Return the roofline's time: transforms at the core's FFT rate, or memory."""
    return max(flops / core["fft"], n_bytes / core["memory"]) / 1e6


def peak_extra_bytes(run):
    """Return by how much the process grew at most during `run()`, sampled by the kernel.

    Linux only; None elsewhere.
    """
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets the peak
        before = _status("VmRSS")
        result = run()
        peak = _status("VmHWM")
    except OSError:
        return None
    del result
    return peak - before


def _status(field):
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return 1024 * int(line.split()[1])
