"""Priors: what is known about images, as denoisers and scores at every noise level."""
