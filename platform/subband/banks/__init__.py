"""Memory banks: which feature vectors of good pictures are kept, and how far a new vector is from the nearest of them."""

from subband.banks.neighbours import nearest, nearest_in_prefixes
from subband.banks.projection import Projection, project, projected_width, projection_matrix
from subband.banks.reweighting import reweighted_scores
from subband.banks.rows import Rows
from subband.banks.search import Neighbours
from subband.banks.served import NearestNeighbours

__all__ = [
    "NearestNeighbours",
    "Neighbours",
    "Projection",
    "Rows",
    "nearest",
    "nearest_in_prefixes",
    "project",
    "projected_width",
    "projection_matrix",
    "reweighted_scores",
]
