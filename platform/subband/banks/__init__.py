"""Memory banks: which feature vectors of good images are kept, and how far a new vector is from the nearest of them."""

from subband.banks.criteria import matrix_norms, mean_distances, starting_rows
from subband.banks.kcenter import GreedyKCenter, distances_to
from subband.banks.neighbours import nearest, nearest_in_prefixes
from subband.banks.projection import Projection, check_projection, project, projected_width, projection_matrix
from subband.banks.reweighting import reweighted_scores
from subband.banks.rows import Rows
from subband.banks.search import Neighbours
from subband.banks.served import NearestNeighbours
from subband.banks.shards import MergedSelection, merged_selection, random_order, shard_edges
from subband.banks.sizes import coreset_size

__all__ = [
    "GreedyKCenter",
    "MergedSelection",
    "NearestNeighbours",
    "Neighbours",
    "Projection",
    "Rows",
    "check_projection",
    "coreset_size",
    "distances_to",
    "matrix_norms",
    "mean_distances",
    "merged_selection",
    "nearest",
    "nearest_in_prefixes",
    "project",
    "projected_width",
    "projection_matrix",
    "random_order",
    "reweighted_scores",
    "shard_edges",
    "starting_rows",
]
