"""Comparing undersampling masks on the same truth, noise and coils."""
