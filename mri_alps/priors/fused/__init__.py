"""The U-Net without gradients on the CPU: channels last, everything between convolutions compiled.

Importing this package does not import numba.
"""

from mri_alps.priors.fused._unet import FusedUNet, fast_dtype, load_kernels, may_be_fused

__all__ = ["FusedUNet", "fast_dtype", "load_kernels", "may_be_fused"]
