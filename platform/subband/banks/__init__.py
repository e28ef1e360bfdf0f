"""Memory banks: which feature vectors of good pictures are kept, and how far a new vector is from the nearest of them."""

from subband.banks.rows import Rows

__all__ = ["Rows"]
