"""Sampling along any trajectory: non-uniform Fourier transform, A^H A, the operator, patterns."""
