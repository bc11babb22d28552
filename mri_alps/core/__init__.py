"""What everything else stands on: errors, Fourier transforms, solvers, randomness, settings."""
