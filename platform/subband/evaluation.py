"""The final scorer: the only place where labels and masks meet anomaly maps.

Stages see pictures alone; a `Scorer` adds one last stage behind a method's chain that compares maps with the truth. It gives two sets
of metrics: ``choose``, which selection may look at, and ``report``, on the samples that it may not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel

from subband.data import Category, Preprocess, Selection, Split, Truth, load_masks, split_category
from subband.errors import UndefinedMetricError
from subband.methods.base import Method
from subband.metrics import Regions, image_metrics, label_regions, pixel_metrics
from subband.stages import Chunk, ParamView, Runner, Stage, Store, Upstream

METRICS = ("image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "au_pro_0.3", "au_pro_0.05")
PRO_LIMITS = (0.3, 0.05)


@dataclass(frozen=True)
class Evaluation:
    """One category under one params.

    Attributes:
        choose: metrics on the samples that selection may look at; a metric that is undefined there is absent.
        report: metrics on the samples that selection did not look at.
        scores: (M,) image scores in the order of the split's queries.
        notes: what a reader must know, for instance why a metric is absent.
        seconds: by stage, what this evaluation computed.
        form: which equal form of the chain ran, and why.
    """

    choose: Mapping[str, float]
    report: Mapping[str, float]
    scores: np.ndarray
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    form: str


@dataclass
class Scorer:
    """Labels and masks of one split, and the stage that compares maps with them.

    Args:
        truth: labels, masks and which samples choose and report.
        fingerprint: of the truth's content.
    """

    truth: Truth
    fingerprint: str
    _loaded: dict[str, tuple[np.ndarray | None, dict[tuple[int, ...], Regions], tuple[str, ...]]] = field(default_factory=dict)

    def stage(self, preprocess: Preprocess) -> Stage:
        """The last stage: ``choose`` and ``report`` metrics, notes, and the image scores."""
        return Stage(
            "metrics",
            1,
            (),
            lambda upstream, params, source: self._compute(upstream, preprocess),
            content=lambda params: f"{self.fingerprint}:{preprocess.model_dump_json()}",
        )

    def masks(self, preprocess: Preprocess) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Masks (M, S, S) of all queries in the preprocessed frame, None if the dataset has none; and notes about them."""
        masks, _, notes = self._masks(preprocess)
        return masks, notes

    def _masks(self, preprocess: Preprocess) -> tuple[np.ndarray | None, dict[tuple[int, ...], Regions], tuple[str, ...]]:
        key = preprocess.model_dump_json()
        if key not in self._loaded:
            masks = load_masks(self.truth, preprocess)
            notes: tuple[str, ...] = ()
            if masks is not None:
                vanished = int(((self.truth.labels == 1) & ~masks.any(axis=(1, 2))).sum())
                if vanished:
                    notes = (f"{vanished} defective sample(s) have an empty mask in the inspected frame",)
            self._loaded[key] = (masks, {}, notes)
        return self._loaded[key]

    def _compute(self, upstream: Upstream, preprocess: Preprocess) -> Chunk:
        scored = upstream()
        maps, scores = scored.array("maps"), scored.array("scores")
        masks, regions, mask_notes = self._masks(preprocess)
        notes = list(mask_notes)
        results: dict[str, dict[str, float]] = {}
        for role in ("choose", "report"):
            chosen: tuple[int, ...] = getattr(self.truth, role)
            if role == "report" and chosen == self.truth.choose:
                results["report"] = results["choose"]
                continue
            index = np.asarray(chosen, dtype=np.int64)
            metrics: dict[str, float] = {}
            try:
                metrics |= image_metrics(self.truth.labels[index], scores[index])
            except UndefinedMetricError as undefined:
                notes.append(f"{role}: image metrics are undefined: {undefined}")
            if masks is None:
                notes.append(f"{role}: pixel metrics are undefined: the dataset has no masks")
            else:
                try:
                    if chosen not in regions:
                        regions[chosen] = label_regions(masks[index])
                    metrics |= pixel_metrics(maps[index], masks[index], limits=PRO_LIMITS, regions=regions[chosen])
                except UndefinedMetricError as undefined:
                    notes.append(f"{role}: pixel metrics are undefined: {undefined}")
            results[role] = metrics
        return {"scores": scores, "notes": notes, **results}


class CategoryBench:
    """One category under one selection, ready to evaluate any params on this worker.

    Args:
        category: the samples.
        selection: which samples choose and which report.
        seed: of the split.
        store: shared results, or None to keep everything in memory.
    """

    def __init__(self, category: Category, selection: Selection, seed: int, store: Store | None) -> None:
        self.name = category.name
        self.split, truth = split_category(category, selection, seed)
        self.truth = truth
        self.runner = Runner(self.split, self.split.fingerprint(), store)
        self.scorer = Scorer(truth, truth.fingerprint())

    def evaluate(self, method: Method, params: BaseModel) -> Evaluation:
        """Metrics of one params; only stages that nobody has computed yet are computed."""
        chain, form = method.chain(params, len(self.split.fit), len(self.split.query))
        before = dict(self.runner.seconds)
        entry = self.runner.run((*chain, self.scorer.stage(method.preprocess(params))), params.model_dump())
        seconds = {
            stage: spent - before.get(stage, 0.0) for stage, spent in self.runner.seconds.items() if spent != before.get(stage)
        }
        return Evaluation(
            entry.values["choose"], entry.values["report"], entry.array("scores"), tuple(entry.values["notes"]), seconds, form
        )

    def maps(self, method: Method, params: BaseModel) -> tuple[np.ndarray, np.ndarray]:
        """Anomaly maps (M, S, S) and scores (M,) of every query."""
        chain, _ = method.chain(params, len(self.split.fit), len(self.split.query))
        entry = self.runner.run(chain, params.model_dump())
        return entry.array("maps"), entry.array("scores")


def mean_metrics(per_category: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Unweighted mean of every metric over the categories in which it is defined."""
    return {
        name: float(np.mean([metrics[name] for metrics in per_category if name in metrics]))
        for name in METRICS
        if any(name in metrics for metrics in per_category)
    }
