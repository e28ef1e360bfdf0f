"""The method interface of every memory-bank method: a subclass says how images become vectors, and no more."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from subband.banks import Rows, check_projection, coreset_size, distances_to, nearest, reweighted_scores
from subband.data import Preprocess
from subband.errors import DataError, ModelError, ParamsError
from subband.methods.base import Fitted, grouped_estimate
from subband.methods.detector import UNCALIBRATED, Calibration, parse_calibration
from subband.methods.memorybank.detector import MemoryBankDetector
from subband.methods.memorybank.embedding import Embedding
from subband.methods.memorybank.params import MemoryBankParams
from subband.methods.memorybank.scoring import cell_scores, highest_cells, maps_and_scores, operators
from subband.methods.memorybank.stages import bank_chain, selection_chain
from subband.methods.pixel_tail import PixelTail
from subband.nn.backbones import Backbone, built_backbone
from subband.stages import Chain, Entry, Runner

AnyParams = TypeVar("AnyParams", bound=MemoryBankParams)

BANK = "search.bank"
# An image's own vectors were picked because nothing else was near: without them it scores higher than a new image would.
LEFT_OUT = (
    "estimated by scoring each training image against the bank without its own vectors, which errs towards fewer false "
    "alarms"
)


class MemoryBankMethod(abc.ABC, Generic[AnyParams]):
    """A method whose detector keeps some vectors of good images.

    Life cycle: see `Method`. A subclass names itself and its params, and gives `embedding` for the stages and `embedder` for the
    detector: two forms of one computation, which the parity gate of every champion compares.
    """

    name: str
    params_type: type[AnyParams]

    def keeps_one(self, params: AnyParams) -> bool:
        """Whether a ratio that leaves no vector keeps one; else it is an error."""
        return False

    def as_scored(self, params: AnyParams) -> AnyParams:
        """Params under which a training image has the vectors that it would have if it were scored."""
        return params

    @abc.abstractmethod
    def embedding(self, params: AnyParams) -> Embedding:
        """The stages from images to vectors."""

    @abc.abstractmethod
    def embedder(self, params: AnyParams, backbone: Backbone, drawn: bool = True) -> nn.Module:
        """The network from images (N, 3, S, S) to vectors (N, P, D).

        Args:
            params: of the method.
            backbone: frozen network.
            drawn: whether random weights are drawn by their seed; else `load_state_dict` will replace them.
        """

    def preprocess(self, params: AnyParams) -> Preprocess:
        """How these params frame an image."""
        return params.preprocess()

    def chain(self, params: AnyParams, fitted: int, scored: int) -> tuple[Chain, str]:
        """The stages, and the size of the bank.

        Raises:
            DataError: fewer than two training images: none could be scored against the vectors of the others.
            ParamsError: the ratio leaves no vector, or fewer than `neighbours`; or the projection does not make vectors narrower.
        """
        if fitted < 2:
            raise DataError(
                f"{self.name} needs at least 2 good training images, to score each by the others; there is {fitted}"
            )
        vectors = fitted * params.grid_side() ** 2
        kept = coreset_size(vectors, ratio=params.ratio, at_least_one=self.keeps_one(params))
        if kept < params.neighbours:
            raise ParamsError(
                f"neighbours {params.neighbours} is more than the {kept} vectors in the bank; choose fewer, or a larger ratio"
            )
        if params.coreset == "greedy" and params.ratio < 1:
            check_projection(params.projection, vectors, params.channels())
        return bank_chain(self.embedding(params), params), f"bank of {kept} of {vectors} vectors"

    def build(self, params: AnyParams, runner: Runner) -> MemoryBankDetector:
        """The detector that `fit` gives, not calibrated."""
        return self._detector(params, self._bank(params, runner)[0])

    def fit(self, params: AnyParams, runner: Runner) -> Fitted:
        """The detector of the whole bank; each good image is scored against the bank without its own vectors.

        What the detector tells about itself has the bank's size and its covering radius, the largest distance of a training
        vector to the nearest one that was kept.
        """
        bank, picture_M, radius = self._bank(params, runner)
        groups = runner.source.fit_groups
        scores, tail = self._left_out(params, runner, bank, picture_M)
        detector = self._detector(params, bank)
        fitted = Fitted(detector, scores, grouped_estimate(LEFT_OUT, groups), groups, tail)
        chosen = Calibration.at_fpr(fitted.threshold_scores.tolist(), 0.01, estimate=fitted.estimate)
        detector.calibration = chosen.with_pixels(tail)
        detector.about = {"bank_rows": len(bank), "covering_radius": radius}
        return fitted

    def fit_inputs(self, params: AnyParams) -> tuple[tuple[Chain, AnyParams], ...]:
        """The vectors of the bank, and those by which training images are scored."""
        return tuple(
            (embedding.chain(name), each)
            for each in (params, self.as_scored(params))
            for embedding in [self.embedding(each)]
            for name in embedding.vectors
        )

    def restore(
        self, params: AnyParams, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
    ) -> MemoryBankDetector:
        """The detector that was saved with these tensors.

        Raises:
            ModelError: a tensor is missing or does not fit the params.
        """
        bank = tensors.get(BANK)
        if bank is None or bank.ndim != 2 or len(bank) == 0:
            raise ModelError(f"the saved tensors are not those of a {self.name} detector: they hold no bank (M, D)")
        if bank.shape[1] != params.channels():
            raise ModelError(
                f"saved bank is {bank.shape[1]}-dimensional, but these params give {params.channels()} dimensions: the bank "
                "belongs to another backbone, or to other features"
            )
        embedder = self.embedder(
            params, Backbone(params.backbone, None, params.normalisation, params.blocks), drawn=False
        )
        calibration = parse_calibration(description)
        detector = MemoryBankDetector(self.name, params, embedder, bank, calibration, description["about"])
        try:
            detector.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise ModelError(
                f"the saved tensors are not those of a {self.name} detector with these params: {error}"
            ) from error
        return detector

    def _detector(self, params: AnyParams, bank: Tensor) -> MemoryBankDetector:
        backbone = built_backbone(params.backbone, params.weights, params.normalisation, params.blocks)
        return MemoryBankDetector(self.name, params, self.embedder(params, backbone), bank, UNCALIBRATED, {}).eval()

    def _fit_rows(self, params: AnyParams, runner: Runner) -> Rows:
        embedding, values = self.embedding(params), params.model_dump()
        names = [stage.name for stage in embedding.stages]

        def upstream(stage: str | None = None, /) -> Entry:
            end = len(names) if stage is None else names.index(stage) + 1
            return runner.run(embedding.stages[:end], values)

        return embedding.rows(upstream, "fit")

    def _bank(self, params: AnyParams, runner: Runner) -> tuple[Tensor, Tensor, float]:
        """Vectors (M, D) of the bank, the number (M,) of the image that each comes from, and the covering radius."""
        rows = self._fit_rows(params, runner)
        selection = selection_chain(self.embedding(params), params)
        picks, radius = torch.arange(len(rows)), 0.0
        if selection:
            found = runner.run(selection, params.model_dump())
            picks = torch.tensor(found.array("picks"))
            # The selection knows it where it measured distances of whole vectors; else they are measured now.
            known = params.coreset == "greedy" and (params.coreset_start, params.projection) == ("first", "none")
            radius = float(found.array("radii")[-1] if known else distances_to(rows, picks.numpy()).max())
        return rows.take(picks), picks // params.grid_side() ** 2, radius

    @torch.inference_mode()
    def _left_out(
        self, params: AnyParams, runner: Runner, bank: Tensor, picture_M: Tensor
    ) -> tuple[np.ndarray, PixelTail]:
        """Scores (N,) of the training images against the bank without the vectors of their group, and the tail of their maps."""
        rows = self._fit_rows(self.as_scored(params), runner)
        pictures, cells = len(runner.source.fit), params.grid_side() ** 2
        # Vectors of images that belong together are no neighbours: a score leaves all of them out.
        group_N = torch.tensor(runner.source.fit_groups or range(pictures))
        group_M = group_N[picture_M]
        found = nearest(
            rows,
            bank,
            neighbours=params.neighbours,
            query_group=group_N.repeat_interleave(cells),
            bank_group=group_M,
            device="cuda" if torch.cuda.is_available() else "cpu",
        )
        cell_NP = cell_scores(found.distances, params.distance).reshape(pictures, cells)
        known = torch.isfinite(cell_NP).all(dim=1)
        if not known.any():
            raise DataError(
                f"the bank of {len(bank)} vectors comes from too few training images to score any of them by the others; choose "
                "a larger ratio"
            )
        smoothing = operators(params.grid_side(), params.image_size, params.sigma)
        maps, scores = maps_and_scores(cell_NP[known], *smoothing, params.image_score)
        if params.reweight:
            scores = torch.cat(
                [
                    reweighted_scores(
                        rows.take([cell])[:, None],
                        nearest(rows.take([cell]), others := bank[group_M != group_N[cell // cells]]),
                        others,
                        params.reweight,
                    )
                    for cell in highest_cells(cell_NP)[known].tolist()
                ]
            )
        every = torch.empty(pictures)
        every[known] = scores
        # Without such an image's own vectors the bank is empty: it is as far from the rest as any.
        every[~known] = scores.amax()
        return every.numpy(), PixelTail.of(maps)
