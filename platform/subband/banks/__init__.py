"""Memory banks: which feature vectors of good pictures are kept, and how far a new vector is from the nearest of them."""

from subband.banks.criteria import matrix_norms, mean_distances, starting_rows
from subband.banks.kcenter import GreedyKCenter, distances_to
from subband.banks.rows import Rows
from subband.banks.shards import MergedSelection, merged_selection, random_order, shard_edges
from subband.banks.sizes import coreset_size

__all__ = [
    "GreedyKCenter",
    "MergedSelection",
    "Rows",
    "coreset_size",
    "distances_to",
    "matrix_norms",
    "mean_distances",
    "merged_selection",
    "random_order",
    "shard_edges",
    "starting_rows",
]
