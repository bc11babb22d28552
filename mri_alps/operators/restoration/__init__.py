"""Operators of other inverse problems: blur, inpainting, down-sampling."""
