"""From vectors to maps as a chain of stages that every ratio and sigma shares.

Greedy selection is nested: what a small ratio picks is where a larger one begins. So the selection climbs rungs, each a stage that
goes on from the one below, and so does the search for the nearest bank vector, whose minimum is associative::

    ...             the method's own, to vectors
    projected       projection, coreset_seed                 only where greedy selection measures in another space
    picks@0.001     coreset, coreset_start, coreset_seed     the first 0.1 % of the vectors
    nearest@0.001   neighbours                               what is scored, against them
    picks@0.003     the same                                 goes on from the rung below
    nearest@0.003   the same
    ...
    picks           ratio                                    the rest, where the ratio lies between two rungs
    nearest         neighbours
    reweighted      reweight                                 only where it is on
    maps            sigma, distance, image_score, image_size

A sweep over ratios up to 10 % costs the selection and the search at 10 %, a sweep over sigma the last stage alone. A ratio of 1
needs no selection: its one search follows the vectors. What no later stage asks for is not computed: a fit searches nothing.

Shapes: N vectors to fit on, Q vectors to score, K neighbours, M vectors of the bank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from subband.banks import (
    GreedyKCenter,
    Neighbours,
    Rows,
    coreset_size,
    nearest,
    project,
    projection_matrix,
    random_order,
    reweighted_scores,
)
from subband.data import Split
from subband.errors import ParamsError
from subband.methods.memorybank.embedding import Embedding
from subband.methods.memorybank.params import MemoryBankParams
from subband.methods.memorybank.scoring import cell_scores, highest_cells, maps_and_scores, operators
from subband.methods.memorybank.starting import starting_point
from subband.stages import Chain, Chunk, ParamView, Stage, Upstream

RATIOS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Ratios at which selection and search are kept: the published ones, and one between each two of them."""


@dataclass(frozen=True)
class Rung:
    """One step of the climb.

    Attributes:
        ratio: share of the vectors that are picked when it is done; None stands for the param `ratio`.
        below: the rung that it goes on from.
    """

    ratio: float | None
    below: Rung | None

    def stage(self, kind: str) -> str:
        """Name of its stage of a kind, ``picks`` or ``nearest``."""
        return kind if self.ratio is None else f"{kind}@{self.ratio:g}"

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the params that say how far it goes."""
        return ("ratio",) if self.ratio is None else ()

    def count(self, vectors: int, params: ParamView) -> int:
        """How many of the vectors are picked when it is done."""
        # Whether a ratio may leave nothing is the method's to say, before anything runs; the rungs on the way keep at least one.
        ratio = params.ratio if self.ratio is None else self.ratio
        return coreset_size(vectors, ratio=ratio, at_least_one=True)


def climb(ratio: float) -> list[Rung]:
    """The rungs up to a ratio below 1, lowest first."""
    rungs: list[Rung] = []
    for step in (*(kept for kept in RATIOS if kept <= ratio), *(() if ratio in RATIOS else (None,))):
        rungs.append(Rung(step, rungs[-1] if rungs else None))
    return rungs


def bank_chain(embedding: Embedding, params: MemoryBankParams) -> Chain:
    """The whole chain, from images to maps."""
    chain = list(embedding.stages)
    last = None
    if params.ratio < 1:
        projected = params.coreset == "greedy" and params.projection != "none"
        if projected:
            chain.append(_projected_stage(embedding))
        for last in climb(params.ratio):
            chain += [_picks_stage(embedding, last, projected), _nearest_stage(embedding, last)]
    else:
        chain.append(_nearest_stage(embedding, None))
    if params.reweight:
        chain.append(_reweighted_stage(embedding, last))
    return (*chain, MAPS)


def selection_chain(embedding: Embedding, params: MemoryBankParams) -> Chain:
    """The chain up to the last picks; nothing where the ratio is 1 and every vector is kept."""
    if params.ratio == 1:
        return ()
    chain = bank_chain(embedding, params)
    names = [stage.name for stage in chain]
    return chain[: names.index(climb(params.ratio)[-1].stage("picks")) + 1]


def _projected_stage(embedding: Embedding) -> Stage:
    def compute(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
        rows = embedding.rows(upstream, "fit")
        return {"fit": project(rows, projection_matrix(params.projection, *rows.shape, params.coreset_seed))}

    return Stage("projected", 1, ("projection", "coreset_seed", *embedding.reads), compute)


def _picks_stage(embedding: Embedding, rung: Rung, projected: bool) -> Stage:
    def compute(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
        rows = Rows.of(upstream("projected").array("fit")) if projected else embedding.rows(upstream, "fit")
        count = rung.count(len(rows), params)
        if params.coreset == "random":
            return {"picks": random_order(len(rows), params.coreset_seed)[:count]}
        if rung.below is None:
            start, criterion = starting_point(rows, params.coreset_start, params.coreset_seed)
            selection = GreedyKCenter(rows, start=start, initial=criterion)
        else:
            before = upstream(rung.below.stage("picks"))
            selection = GreedyKCenter.from_state(rows, {name: before.array(name) for name in before.arrays})
        selection.extend(count)
        return selection.state()

    reads = ("coreset", "coreset_start", "coreset_seed", *rung.reads, *embedding.reads)
    return Stage(rung.stage("picks"), 1, reads, compute)


def _nearest_stage(embedding: Embedding, rung: Rung | None) -> Stage:
    """Search of a rung's own picks, going on from the search of the rung below; of all vectors without a rung."""

    @torch.inference_mode()
    def compute(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
        queries, bank = (embedding.rows(upstream, role) for role in ("query", "fit"))
        initial, offset = None, 0
        if rung is not None:
            picks = upstream(rung.stage("picks")).array("picks")
            if rung.below is not None:
                before = upstream(rung.below.stage("nearest"))
                initial = Neighbours(*(torch.tensor(before.array(name)) for name in ("distances", "indices")))
                offset = len(upstream(rung.below.stage("picks")).array("picks"))
                if offset == len(picks):
                    return {name: before.array(name) for name in before.arrays}
            bank = Rows.of(bank.take(picks[offset:]))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        found = nearest(queries, bank, neighbours=params.neighbours, initial=initial, offset=offset, device=device)
        return {"distances": found.distances.numpy(), "indices": found.indices.numpy()}

    return Stage(rung.stage("nearest") if rung else "nearest", 1, ("neighbours", *embedding.reads), compute)


def _reweighted_stage(embedding: Embedding, rung: Rung | None) -> Stage:
    @torch.inference_mode()
    def compute(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
        if len(source.query) == 0:
            return {}
        found = Neighbours(*(torch.tensor(upstream().array(name)) for name in ("distances", "indices")))
        queries, bank = (embedding.rows(upstream, role) for role in ("query", "fit"))
        if rung is not None:
            bank = Rows.of(bank.take(upstream(rung.stage("picks")).array("picks")))
        highest = highest_cells(found.distances.reshape(len(source.query), -1))
        scores = reweighted_scores(
            queries.take(highest)[:, None], Neighbours(*(part[highest] for part in found)), bank, params.reweight
        )
        return {"scores": scores.numpy(), "distances": found.distances.numpy()}

    return Stage("reweighted", 1, ("reweight", *embedding.reads), compute)


@torch.inference_mode()
def _maps(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
    found = upstream()
    reweighted = torch.tensor(found.array("scores")) if "scores" in found.arrays else None
    count, size = len(source.query), params.image_size
    if count == 0:
        return {"maps": np.zeros((0, size, size), np.float32), "scores": np.zeros(0, np.float32)}
    distances = torch.tensor(found.array("distances"))
    if not torch.isfinite(distances).all():
        raise ParamsError(
            f"neighbours {distances.shape[1]} is more than the vectors in the bank; choose fewer, or a larger ratio"
        )
    cells = cell_scores(distances, params.distance).reshape(count, -1)
    rows, columns = operators(round(cells.shape[1] ** 0.5), size, params.sigma)
    maps, scores = maps_and_scores(cells, rows, columns, params.image_score, reweighted)
    return {"maps": maps.numpy(), "scores": scores.numpy()}


MAPS = Stage("maps", 1, ("sigma", "distance", "image_score", "image_size"), _maps, keep=False)
