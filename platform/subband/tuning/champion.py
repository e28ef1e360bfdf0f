"""From the winning params to a detector that may be served: refit, calibrate, save, load afresh, compare, only then register."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from subband import __version__
from subband.data import Category, Split, Truth, fingerprint, load_images
from subband.errors import ModelError
from subband.evaluation import Scorer, split_runner
from subband.methods import Calibration, Method, load
from subband.metrics import f1_max
from subband.report import gallery, roc_and_pro_curves
from subband.stages import Store

PARITY = 1e-5
GALLERY_ROWS = 8


@dataclass(frozen=True)
class ChampionReport:
    """One category's champion.

    Attributes:
        category: its category.
        folder: of the saved detector.
        threshold: in force.
        rule: how it was chosen.
        false_alarms: share of good test pictures above it, None where there are none.
        detected: share of defective test pictures above it, None where there are none.
        parity: greatest difference between the loaded detector's scores and the evaluated ones, relative to the greatest score.
        figures: PNG files by name.
        scores: one row a scored picture: name, label, score and decision.
    """

    category: str
    folder: Path
    threshold: float
    rule: str
    false_alarms: float | None
    detected: float | None
    parity: float
    figures: dict[str, Path]
    scores: list[dict[str, Any]]


def build_champion(
    method: Method,
    params: Any,
    category: Category,
    store: Store,
    folder: Path,
    fpr: float,
    report: tuple[int, ...] | None,
    about: dict[str, Any],
) -> ChampionReport:
    """Fit the winner to every good training picture and prove that the saved detector is the one that was evaluated.

    Args:
        method: the method.
        params: the winning params.
        category: its samples.
        store: shared stages.
        folder: where the detector is saved; a half-made one of an interrupted run is replaced.
        fpr: share of good pictures that may be called defective.
        report: indices of the test samples whose labels may be reported on; None for all.
        about: what a reader must know, saved with the detector.

    Raises:
        ModelError: the detector loaded afresh does not give the evaluated scores; nothing is kept.
    """
    scored = category.test or category.train
    fit_pictures, query_pictures = (tuple(s.image for s in samples) for samples in (category.train, scored))
    split = Split(fit_pictures, query_pictures, tuple(s.name for s in category.train), tuple(s.name for s in scored))
    # The split of a sweep under selection=test or holdout: its stages are found in the store.
    runner = split_runner(split, store)
    chain, _ = method.chain(params, len(split.fit), len(split.query))
    evaluated = runner.run(chain, params.model_dump())
    maps, scores = evaluated.array("maps"), evaluated.array("scores")
    labels = np.array([sample.label for sample in scored])
    reported = np.arange(len(scored)) if report is None else np.asarray(report, dtype=np.int64)

    fitted = method.fit(params, runner)
    both = len(set(labels[reported].tolist())) == 2
    best_f1 = float(f1_max(labels[reported], scores[reported])[1]) if both else None
    detector = fitted.detector
    detector.calibration = Calibration.at_fpr(fitted.good_scores.tolist(), fpr, best_f1, fitted.estimate)
    detector.about = {
        **about,
        "category": category.name,
        "training_pictures": len(category.train),
        "training_fingerprint": fingerprint(category.train, include_labels=True),
        "subband": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    # Saved beside its place, and moved there only when it is proven: what lies in the folder may be served at any time.
    unproven = folder.with_name(f".{folder.name}.unproven")
    shutil.rmtree(unproven, ignore_errors=True)
    detector.save(unproven)
    images = load_images(split.query, method.preprocess(params))
    _, served = load(unproven).score(images)
    parity = float(np.abs(served - scores).max() / max(float(np.abs(scores).max()), 1e-12))
    if not parity <= PARITY:
        shutil.rmtree(unproven, ignore_errors=True)
        raise ModelError(
            f"the detector of {category.name}, loaded afresh, differs from the evaluated "
            f"scores by {parity:.2e} (allowed: {PARITY:.0e}); "
            "it was not kept"
        )
    shutil.rmtree(folder, ignore_errors=True)
    unproven.rename(folder)
    threshold = detector.calibration.threshold
    good, bad = (reported[labels[reported] == label] for label in (0, 1))
    scorer = Scorer(Truth(tuple(scored), (), tuple(int(i) for i in reported)))
    figures = _figures(
        category.name, images, maps, scores, labels, reported, scorer, method, params, threshold, split, folder
    )
    return ChampionReport(
        category=category.name,
        folder=folder,
        threshold=threshold,
        rule=detector.calibration.rule,
        false_alarms=float((scores[good] > threshold).mean()) if len(good) and category.test else None,
        detected=float((scores[bad] > threshold).mean()) if len(bad) else None,
        parity=parity,
        figures=figures,
        scores=[
            {"name": sample.name, "label": sample.label, "score": float(score), "defective": bool(score > threshold)}
            for sample, score in zip(scored, scores, strict=True)
        ],
    )


def _figures(
    name: str,
    images: np.ndarray,
    maps: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    reported: np.ndarray,
    scorer: Scorer,
    method: Method,
    params: Any,
    threshold: float,
    split: Split,
    folder: Path,
) -> dict[str, Path]:
    """Gallery of evenly chosen samples, and ROC and PRO curves over the reported ones."""
    masks = scorer.masks(method.preprocess(params))
    rows = _spread(labels, reported)
    figures = {
        f"gallery-{name}": gallery(
            images[rows],
            [masks.values[i] if masks.known[i] else None for i in rows],
            maps[rows],
            scores[rows],
            threshold,
            [split.query_names[i] for i in rows],
            title=f"{name}: {method.name}",
            labels=labels[rows].tolist(),
        )
    }
    if len(set(labels[reported].tolist())) == 2:
        known = bool(masks.known[reported].all()) and bool(masks.values[reported].any())
        figures[f"curves-{name}"] = roc_and_pro_curves(
            labels[reported],
            scores[reported],
            maps[reported] if known else None,
            masks.values[reported] if known else None,
            title=f"{name}: {method.name}",
        )
    paths = {}
    target = folder.parent.parent / "champion-figures"
    target.mkdir(parents=True, exist_ok=True)
    for title, figure in figures.items():
        paths[title] = target / f"{title}.png"
        figure.savefig(paths[title], dpi=110)
    return paths


def _spread(labels: np.ndarray, reported: np.ndarray) -> np.ndarray:
    """A quarter good and the rest defective samples, evenly spaced over the reported ones."""
    good, bad = (reported[labels[reported] == label] for label in (0, 1))
    few = min(len(good), GALLERY_ROWS // 4 if len(bad) else GALLERY_ROWS)
    parts = [
        pool[np.unique(np.linspace(0, len(pool) - 1, count).astype(int))]
        for pool, count in ((good, few), (bad, GALLERY_ROWS - few))
        if len(pool)
    ]
    return np.concatenate(parts)
