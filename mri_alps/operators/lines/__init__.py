"""A^H A for masks of whole lines, line by line."""
