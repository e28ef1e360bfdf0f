"""The deployable detector of every memory-bank method: embedder, bank and smoothing in one torch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from subband.banks import NearestNeighbours, Neighbours, reweighted_scores
from subband.methods.detector import Calibration, Detector
from subband.methods.memorybank.params import MemoryBankParams
from subband.methods.memorybank.scoring import cell_scores, highest_cells, maps_and_scores, operators


@runtime_checkable
class Explains(Protocol):
    """An embedder that has further maps to show."""

    def explain(self, images: Tensor) -> Mapping[str, Tensor]:
        """Maps (N, h, w) by name, for images (N, 3, S, S) in [0, 1]."""
        ...


class MemoryBankDetector(Detector):
    """Scores images by the distance of each cell's vector to the nearest bank vector.

    Args:
        method: name in the registry.
        params: the params it was fitted with.
        embedder: images (N, 3, S, S) to vectors (N, P, D); its tensors are saved with the bank, so a bank is never searched with
            the vectors of another network or encoder seed.
        bank: (M, D) float32, in the order of selection.
        calibration: how scores become decisions.
        about: what a reader must know.
    """

    frozen: ClassVar[tuple[str, ...]] = ("embedder",)

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        method: str,
        params: MemoryBankParams,
        embedder: nn.Module,
        bank: Tensor,
        calibration: Calibration,
        about: Mapping[str, Any],
    ) -> None:
        super().__init__(method, params, params.preprocess(), calibration, about)
        self.params: MemoryBankParams = params
        self.embedder = embedder
        self.search = NearestNeighbours(bank, max(params.neighbours, params.reweight))
        rows, columns = operators(params.grid_side(), params.image_size, params.sigma)
        self.register_buffer("rows", rows.clone(), persistent=False)
        self.register_buffer("columns", columns.clone(), persistent=False)

    @property
    def bank(self) -> Tensor:
        """(M, D) float32, in the order of selection."""
        return self.search.bank

    @property
    def bank_rows(self) -> int:
        """Vectors in the memory bank."""
        return len(self.bank)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Anomaly maps (N, S, S) and scores (N,) of images (N, 3, S, S) in [0, 1]."""
        vectors: Tensor = self.embedder(images)
        found = self._nearest(vectors)
        cells = self._cells(found, len(images))
        reweighted = None
        if self.params.reweight:
            highest = highest_cells(cells)
            queries = vectors.flatten(0, 1)[highest]
            nearest_of_these = Neighbours(*(part[highest] for part in found))
            reweighted = reweighted_scores(queries[:, None], nearest_of_these, self.search, self.params.reweight)
        return maps_and_scores(cells, self.rows, self.columns, self.params.image_score, reweighted)

    def grid_scores(self, images: Tensor) -> Tensor:
        """Score of every grid cell (N, h, w), before upsampling and smoothing."""
        side = self.params.grid_side()
        return self._cells(self._nearest(self.embedder(images)), len(images)).reshape(-1, side, side)

    def explain(self, images: Tensor) -> Mapping[str, Tensor]:
        """Further maps for display by name, if the embedder has any."""
        return self.embedder.explain(images) if isinstance(self.embedder, Explains) else {}

    def _nearest(self, vectors_NPD: Tensor) -> Neighbours:
        """Of all N x P vectors; distances and indices (N * P, K)."""
        if self.params.neighbours == 1:
            return Neighbours(*(part.reshape(-1, 1) for part in self.search(vectors_NPD)))
        return self.search.search(vectors_NPD.flatten(0, 1), self.params.neighbours)

    def _cells(self, found: Neighbours, images: int) -> Tensor:
        return cell_scores(found.distances, self.params.distance).reshape(images, -1)
