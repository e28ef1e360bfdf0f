"""Memory banks: which feature vectors of good pictures are kept, and how far a new vector is from the nearest of them."""

from subband.banks.neighbours import Neighbours, nearest, nearest_in_prefixes
from subband.banks.rows import Rows

__all__ = ["Neighbours", "Rows", "nearest", "nearest_in_prefixes"]
