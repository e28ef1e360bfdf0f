"""The champion of a method that is fitted: refit the winning params, calibrate, save, load afresh, compare."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from subband import __version__
from subband.champions.parity import save_proven
from subband.data import Category, Sample, Split, fingerprint, load_images, load_masks
from subband.data.ruled import rule_of
from subband.data.similar import describe_groups
from subband.decisions import Decision
from subband.errors import DataError, ModelError
from subband.evaluation import fit_split, split_runner
from subband.methods import Calibration, Detector, StagedMethod
from subband.methods.pixel_tail import PIXEL_FPR
from subband.metrics import f1_max
from subband.report import gallery, roc_and_pro_curves
from subband.stages import Runner, Store

GALLERY_ROWS = 8


@dataclass(frozen=True)
class ChampionReport:
    """One category's champion.

    Attributes:
        category: its category.
        folder: of the saved model.
        threshold: in force; None for a model that calls nothing defective.
        rule: how it was chosen.
        false_alarms: share of good test images above it, None where there are none.
        detected: share of defective test images above it, None where there are none.
        parity: see `subband.champions.parity.difference`.
        figures: PNG files by name.
        scores: one row a scored image: name, label, score and decision.
    """

    category: str
    folder: Path
    threshold: float | None
    rule: str
    false_alarms: float | None
    detected: float | None
    parity: float
    figures: dict[str, Path]
    scores: list[dict[str, Any]]


@dataclass(frozen=True)
class Winner:
    """What becomes one category's champion.

    Attributes:
        method: the method.
        params: the winning params.
        category: its samples.
        reported: indices of the test samples whose labels may be reported on; None for all.
        fpr: share of good images that may be called defective.
        about: what a reader must know, saved with the detector.
        pixel_fpr: share of the pixels of good images that may be called defective.
    """

    method: StagedMethod
    params: Any
    category: Category
    reported: tuple[int, ...] | None
    fpr: float
    about: dict[str, Any]
    pixel_fpr: float = PIXEL_FPR


@dataclass(frozen=True)
class _Scored:
    """The M images on which a champion is judged: all test images, or the training images where there are none.

    Attributes:
        samples: the images.
        labels: (M,) 0 or 1.
        images: uint8 (M, 3, S, S), preprocessed.
        maps: (M, S, S), as evaluated.
        scores: (M,), as evaluated.
        reported: indices of those whose labels may be reported on.
    """

    samples: tuple[Sample, ...]
    labels: np.ndarray
    images: np.ndarray
    maps: np.ndarray
    scores: np.ndarray
    reported: np.ndarray

    def reported_with(self, label: int) -> np.ndarray:
        """Indices of the reported images of one label."""
        return np.asarray(self.reported[self.labels[self.reported] == label])

    @property
    def has_both_labels(self) -> bool:
        """Whether there are good and defective images to report on."""
        return bool(len(self.reported_with(0)) and len(self.reported_with(1)))


def champion_split(category: Category) -> Split:
    """What a champion is fitted to and judged on: all test images, or the training images where there are none.

    It is the split of a sweep under selection=test or holdout: that one's stages are found in the store.

    Raises:
        DataError: training images are defective, as those are that a segmenter learns from, or all belong together.
    """
    if defective := [sample.name for sample in category.train if sample.label]:
        raise DataError(
            f"{len(defective)} of {len(category.train)} training images of {category.name} may be defective ({defective[0]}): "
            "they are examples for segmentation, with masks, and a method without training takes all that it is fitted to for "
            "good. Use data with good training images (mvtec:PATH, visa:PATH, synthetic:), or train a segmenter on these"
        )
    split = fit_split(category, category.test or category.train)
    groups = split.fit_groups
    if len(groups) > 1 and len(set(groups)) == 1:
        raise DataError(
            f"{category.name}: all {len(groups)} good training images belong together (copies, near copies or one group), so no "
            "threshold can be found: each would be judged by a fit that has seen it; add images of other pieces"
        )
    return split


def copies_noticed(category: Category) -> list[Decision]:
    """What is decided of training images that belong together; nothing where there are none.

    Raises:
        DataError: as of `champion_split`.
    """
    groups = champion_split(category).fit_groups
    together = describe_groups(groups)
    if not together:
        return []
    why = f"{together}; left-out scores leave them out together"
    return [Decision(f"{category.name}: copies", f"{len(set(groups))} distinct images", why)]


def fit_winner(winner: Winner, runner: Runner, best_f1: float | None = None) -> Detector:
    """The detector of a winner, calibrated by its rates, in eval mode.

    Args:
        winner: what is fitted.
        runner: of its `champion_split`.
        best_f1: threshold of the highest F1 on labelled test images, where there are any.
    """
    category = winner.category
    fitted = winner.method.fit(winner.params, runner)
    detector = fitted.detector
    detector.reading = rule_of(sample.image for sample in category.train)
    chosen = Calibration.at_fpr(fitted.threshold_scores.tolist(), winner.fpr, best_f1, fitted.estimate)
    detector.calibration = chosen.with_pixels(fitted.pixel_tail, winner.pixel_fpr)
    detector.about = {
        **detector.about,
        **winner.about,
        "category": category.name,
        "training_images": len(category.train),
        "training_fingerprint": fingerprint(category.train, include_labels=True),
        "subband": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    return detector.eval()


def build_champion(winner: Winner, store: Store, folder: Path, figures_folder: Path | None = None) -> ChampionReport:
    """Fit the winner to every good training image and prove that the saved detector is the one that was evaluated.

    Args:
        winner: what is fitted, and to what.
        store: shared stages.
        folder: where the detector is saved; a half-made one of an interrupted run is replaced.
        figures_folder: where figures are saved; by default champion-figures/ beside the folder's parent.

    Raises:
        ModelError: the detector loaded afresh does not give the evaluated scores; nothing is kept.
    """
    method, params, category = winner.method, winner.params, winner.category
    samples, split = category.test or category.train, champion_split(category)
    runner = split_runner(split, store)
    chain, _ = method.chain(params, len(split.fit), len(split.query))
    evaluated = runner.run(chain, params.model_dump())
    scored = _Scored(
        samples=samples,
        labels=np.array([sample.label for sample in samples]),
        images=load_images(split.query, method.preprocess(params)),
        maps=evaluated.array("maps"),
        scores=evaluated.array("scores"),
        reported=np.asarray(range(len(samples)) if winner.reported is None else winner.reported, dtype=np.int64),
    )
    reported = scored.reported
    best_f1 = float(f1_max(scored.labels[reported], scored.scores[reported])[1]) if scored.has_both_labels else None
    detector = fit_winner(winner, runner, best_f1)
    try:
        parity = save_proven(detector, folder, lambda saved: saved.score(scored.images)[1], scored.scores)
    except ModelError as error:
        raise ModelError(f"{category.name}: {error}") from error
    threshold = detector.calibration.threshold
    good, bad = (scored.scores[scored.reported_with(label)] for label in (0, 1))
    figures = _figures(winner, scored, threshold)
    return ChampionReport(
        category=category.name,
        folder=folder,
        threshold=threshold,
        rule=detector.calibration.rule,
        false_alarms=float((good > threshold).mean()) if len(good) and category.test else None,
        detected=float((bad > threshold).mean()) if len(bad) else None,
        parity=parity,
        figures=_save_figures(figures, figures_folder or folder.parent.parent / "champion-figures"),
        scores=[
            {"name": sample.name, "label": sample.label, "score": float(score), "defective": bool(score > threshold)}
            for sample, score in zip(samples, scored.scores, strict=True)
        ],
    )


def _figures(winner: Winner, scored: _Scored, threshold: float) -> dict[str, Figure]:
    """Gallery of evenly chosen samples, and ROC and PRO curves over the reported ones."""
    name, title = winner.category.name, f"{winner.category.name}: {winner.method.name}"
    masks = load_masks(scored.samples, winner.method.preprocess(winner.params))
    rows, reported = _spread(scored), scored.reported
    figures = {
        f"gallery-{name}": gallery(
            scored.images[rows],
            [masks.values[i] if masks.known[i] else None for i in rows],
            scored.maps[rows],
            scored.scores[rows],
            threshold,
            [scored.samples[i].name for i in rows],
            title=title,
            labels=scored.labels[rows].tolist(),
        )
    }
    if scored.has_both_labels:
        known = bool(masks.known[reported].all()) and bool(masks.values[reported].any())
        figures[f"curves-{name}"] = roc_and_pro_curves(
            scored.labels[reported],
            scored.scores[reported],
            scored.maps[reported] if known else None,
            masks.values[reported] if known else None,
            title=title,
        )
    return figures


def _save_figures(figures: Mapping[str, Figure], folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {title: folder / f"{title}.png" for title in figures}
    for title, figure in figures.items():
        figure.savefig(paths[title], dpi=110)
    return paths


def _spread(scored: _Scored) -> np.ndarray:
    """A quarter good and the rest defective samples, evenly spaced over the reported ones."""
    good, bad = (scored.reported_with(label) for label in (0, 1))
    few = min(len(good), GALLERY_ROWS // 4 if len(bad) else GALLERY_ROWS)
    parts = [
        pool[np.unique(np.linspace(0, len(pool) - 1, count).astype(int))]
        for pool, count in ((good, few), (bad, GALLERY_ROWS - few))
        if len(pool)
    ]
    return np.concatenate(parts)
