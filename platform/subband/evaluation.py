"""The final scorer: the only place where labels and masks meet anomaly maps.

Stages see images alone; a `Scorer` adds one last stage behind a method's chain that compares maps with the truth. It gives
two sets of metrics: ``choose``, which selection may look at, and ``report``, on the samples that it may not.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from subband.data import (
    Category,
    Masks,
    Preprocess,
    Sample,
    Selection,
    Split,
    Truth,
    fingerprint,
    fingerprint_images,
    load_masks,
    split_category,
)
from subband.data.similar import group_by_content
from subband.errors import UndefinedMetricError
from subband.methods.base import StagedMethod
from subband.metrics import Regions, image_metrics, label_regions, pixel_metrics
from subband.stages import Chunk, Runner, Stage, Store, Upstream

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


class Scorer:
    """Labels and masks of one split, and the stage that compares maps with them.

    Args:
        truth: labels, masks and which samples choose and report.
    """

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        parts = [fingerprint(truth.samples, include_labels=True), truth.choose, truth.report]
        self._fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        self._masks: dict[Preprocess, Masks] = {}
        self._regions: dict[tuple[Preprocess, tuple[int, ...]], Regions] = {}

    def stage(self, preprocess: Preprocess) -> Stage:
        """The last stage: ``choose`` and ``report`` metrics, notes, and the image scores."""
        return Stage(
            "metrics",
            1,
            (),
            lambda upstream, params, source: self._compute(upstream, preprocess),
            content=lambda params: f"{self._fingerprint}:{preprocess.model_dump_json()}",
        )

    def masks(self, preprocess: Preprocess) -> Masks:
        """Masks of all scored samples in the preprocessed frame."""
        if preprocess not in self._masks:
            self._masks[preprocess] = load_masks(self.truth.samples, preprocess)
        return self._masks[preprocess]

    def judge(self, maps: np.ndarray, scores: np.ndarray, preprocess: Preprocess) -> tuple[dict[str, float], list[str]]:
        """Metrics on the reported samples, and notes, of maps and scores that no chain made: a saved detector's, for instance.

        Args:
            maps: (M, S, S) in the preprocessed frame.
            scores: (M,).
            preprocess: the frame.
        """
        notes = self._vanished(preprocess)
        return self._metrics("report", maps, scores, preprocess, notes), notes

    def _vanished(self, preprocess: Preprocess) -> list[str]:
        vanished = self.masks(preprocess).vanished
        return [f"the masks of {len(vanished)} defective samples are empty in the inspected frame"] if vanished else []

    def _compute(self, upstream: Upstream, preprocess: Preprocess) -> Chunk:
        scored = upstream()
        maps, scores = scored.array("maps"), scored.array("scores")
        notes = self._vanished(preprocess)
        results = {"choose": self._metrics("choose", maps, scores, preprocess, notes)}
        same = self.truth.report == self.truth.choose
        results["report"] = results["choose"] if same else self._metrics("report", maps, scores, preprocess, notes)
        return {"scores": scores, "notes": notes, **results}

    def _metrics(
        self, role: str, maps: np.ndarray, scores: np.ndarray, preprocess: Preprocess, notes: list[str]
    ) -> dict[str, float]:
        chosen: tuple[int, ...] = getattr(self.truth, role)
        if not chosen:
            notes.append(f"{role}: there are no labelled test images for it")
            return {}
        index = np.asarray(chosen, dtype=np.int64)
        metrics: dict[str, float] = {}
        try:
            metrics |= image_metrics(self.truth.labels[index], scores[index])
        except UndefinedMetricError as undefined:
            notes.append(f"{role}: {undefined}")
        masks = self.masks(preprocess)
        if not masks.known[index].all():
            notes.append(
                f"{role}: pixel metrics are undefined: {int((~masks.known[index]).sum())} defective samples have no mask"
            )
            return metrics
        try:
            if (preprocess, chosen) not in self._regions:
                self._regions[preprocess, chosen] = label_regions(masks.values[index])
            regions = self._regions[preprocess, chosen]
            metrics |= pixel_metrics(maps[index], masks.values[index], limits=PRO_LIMITS, regions=regions)
        except UndefinedMetricError as undefined:
            notes.append(f"{role}: {undefined}")
        return metrics


def fit_split(category: Category, query: Sequence[Sample]) -> Split:
    """The split of a detector that is fitted to all training images of a category, those that belong together in groups.

    Under selection=test or holdout a sweep scores the same images, so its stages are found in the store.

    Args:
        category: its training images.
        query: samples that are scored; there may be none.
    """
    return Split(
        tuple(sample.image for sample in category.train),
        tuple(sample.image for sample in query),
        tuple(sample.name for sample in category.train),
        tuple(sample.name for sample in query),
        group_by_content(category.train),
    )


def split_runner(split: Split, store: Store | None) -> Runner:
    """A runner for one split, keyed by its images and by how many of them are learnt from: equal splits share their stages."""
    pictures = fingerprint_images((*split.fit, *split.query))
    return Runner(split, f"{pictures}:{len(split.fit)}", store)


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
        self.split, self.truth = split_category(category, selection, seed)
        self.runner = split_runner(self.split, store)
        self.scorer = Scorer(self.truth)

    def evaluate(self, method: StagedMethod, params: BaseModel) -> Evaluation:
        """Metrics of one params; only stages that nobody has computed yet are computed."""
        chain, form = method.chain(params, len(self.split.fit), len(self.split.query))
        before = dict(self.runner.seconds)
        entry = self.runner.run((*chain, self.scorer.stage(method.preprocess(params))), params.model_dump())
        seconds = {
            stage: spent - before.get(stage, 0.0)
            for stage, spent in self.runner.seconds.items()
            if spent != before.get(stage)
        }
        return Evaluation(
            entry.values["choose"],
            entry.values["report"],
            entry.array("scores"),
            tuple(entry.values["notes"]),
            seconds,
            form,
        )

    def prepare(self, method: StagedMethod, params: BaseModel, searched: Collection[str]) -> None:
        """Compute what every trial shares: the longest run of first stages that read nothing that is searched.

        Workers that prepare several categories at the same time share them out: a stage that another is computing is passed over.
        """
        chain, _ = method.chain(params, len(self.split.fit), len(self.split.query))
        shared = tuple(itertools.takewhile(lambda stage: not set(stage.reads) & set(searched), chain))
        if shared:
            self.runner.prepare(shared, params.model_dump())

    def maps(self, method: StagedMethod, params: BaseModel) -> tuple[np.ndarray, np.ndarray]:
        """Anomaly maps (M, S, S) and scores (M,) of every query."""
        chain, _ = method.chain(params, len(self.split.fit), len(self.split.query))
        entry = self.runner.run(chain, params.model_dump())
        return entry.array("maps"), entry.array("scores")


def mean_metrics(per_category: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Unweighted mean of every metric and cost over the categories in which it is defined."""
    return {
        name: float(np.mean([metrics[name] for metrics in per_category if name in metrics]))
        for name in dict.fromkeys(name for metrics in per_category for name in metrics)
    }
