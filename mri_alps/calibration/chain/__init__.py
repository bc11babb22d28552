"""The stages of a slice's calibration: each a record, and a function that makes it of the former.

Whitened, with maps, scaled, (compressed,) weighted: `mri_alps.calibration.prepare_slice` goes along
them.
"""

from mri_alps.calibration.chain.compressed import CompressedSlice, compress
from mri_alps.calibration.chain.mapped import MappedSlice, estimate_maps, use_given_maps
from mri_alps.calibration.chain.scaled import ScaledSlice, choose_maps, refine_maps, scale
from mri_alps.calibration.chain.weighted import WeightedSlice, weigh
from mri_alps.calibration.chain.whitened import WhitenedSlice, whiten

__all__ = [
    "CompressedSlice",
    "MappedSlice",
    "ScaledSlice",
    "WeightedSlice",
    "WhitenedSlice",
    "choose_maps",
    "compress",
    "estimate_maps",
    "refine_maps",
    "scale",
    "use_given_maps",
    "weigh",
    "whiten",
]
