"""Training of network priors by denoising score matching."""
