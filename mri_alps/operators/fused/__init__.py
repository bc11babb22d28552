"""A fused kernel for A^H A on the CPU, compiled by numba at first use and cached.

Importing this package does not import numba.
"""

LANES = 8
"""Image rows that are worked on side by side."""
ELEMENT = 2 * LANES
"""Numbers per point of a transform: the real parts of all lanes, then the imaginary parts."""
RADICES = (2, 3, 4, 5, 7, 8)
"""DFT sizes that are written out as straight-line code (16 needs more registers than there are,
and took 1.5 times as long as 4 after 4)."""
