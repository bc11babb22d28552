"""A^H A for masks of whole lines, line by line."""

from mri_alps.operators.lines.bands import LineBands
from mri_alps.operators.lines.factors import LineFactors
from mri_alps.operators.lines.sets import SetsLineFactors
from mri_alps.operators.lines.shared import SharedLines

__all__ = ["LineBands", "LineFactors", "SetsLineFactors", "SharedLines"]
