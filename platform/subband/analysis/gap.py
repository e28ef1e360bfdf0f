"""Score gap of two detectors: how far defective images score above good ones, as published and on a common footing.

The published gap (WEDGE-Net, semantic stream off and on) is the difference of two mean scores in the detector's own units. A
detector with more channels has larger distances by construction, so such gaps cannot be compared; the gap in pooled standard
deviations and the AUROC can.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from scipy.ndimage import gaussian_filter

from subband.analysis.detectors import DetectorSpec, DetectorTask, obtain, parse_detectors
from subband.analysis.results import Analysis
from subband.analysis.scoring import device, everything_reports, score_batches
from subband.analysis.settings import AnalysisSettings, require_defects
from subband.data import load_images
from subband.errors import ParamsError, UndefinedMetricError
from subband.methods import Detector, get_method, list_staged_methods
from subband.metrics import auroc
from subband.report.gap_dots import gap_dots

TEXTURES = ("carpet", "grid", "leather", "tile", "wood", "weave")
SWITCH = "semantic"
REFERENCE_SIGMA = 4.0
"""Of the published gap score, in cells of the grid: on 28 cells for 224 pixels it equals 32 pixels."""


class GapSettings(AnalysisSettings):
    """Settings of a score-gap analysis."""

    detectors: tuple[str, ...] = Field(
        (),
        description="Exactly two: METHOD:param=value,... , models:/NAME@champion or a saved detector's folder, with {category} "
        "where a category's name stands; by default a method with a semantic stream, off and on.",
    )
    textures: tuple[str, ...] = Field(
        TEXTURES,
        description="Categories that count as textures, also with a suffix (leather_2); all others are objects.",
    )
    batch: int = Field(16, ge=1, description="Images scored at a time.")

    @field_validator("detectors")
    @classmethod
    def _two(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and len(value) != 2:
            raise ParamsError(f"a gap compares two detectors, not {len(value)}")
        return value


@dataclass(frozen=True)
class GapTask(DetectorTask):
    """One detector on one category."""

    batch: int


@dataclass(frozen=True)
class Scores:
    """Scores of the test images under both rules.

    Attributes:
        labels: (N,) 0 good, 1 defective.
        image: (N,) the detector's own image scores.
        grid: (N,) greatest value of the smoothed grid map; None where the detector has no grid of distances.
        notes: for the reader.
    """

    labels: np.ndarray
    image: np.ndarray
    grid: np.ndarray | None
    notes: tuple[str, ...]


def grid_rule(distances_Nhw: np.ndarray) -> np.ndarray:
    """Gap scores (N,) as published: the greatest value of each grid map after a Gaussian, without upsampling."""
    smoothed = gaussian_filter(distances_Nhw, (0, REFERENCE_SIGMA, REFERENCE_SIGMA))
    return np.asarray(smoothed.max(axis=(1, 2)))


@dataclass(frozen=True)
class Gap:
    """How far apart the scores of good and defective images are; NaN where a label has too few images.

    Attributes:
        good: images.
        defective: images.
        mean_good: mean score.
        mean_defective: mean score.
        gap: difference of the means, in the detector's units.
        pooled_std: pooled standard deviation of the scores within the labels.
        standardised: the gap in pooled standard deviations.
        auroc: of the scores.
    """

    good: int
    defective: int
    mean_good: float
    mean_defective: float
    gap: float
    pooled_std: float
    standardised: float
    auroc: float


def score_gap(labels: np.ndarray, scores: np.ndarray) -> Gap:
    """The gap of N labelled scores."""
    good, bad = (scores[labels == label].astype(np.float64) for label in (0, 1))
    means = [float(part.mean()) if len(part) else math.nan for part in (good, bad)]
    degrees = len(good) + len(bad) - 2
    pooled = math.nan
    if len(good) and len(bad) and degrees > 0:
        squares = sum(float(((part - part.mean()) ** 2).sum()) for part in (good, bad))
        pooled = math.sqrt(squares / degrees)
    gap = means[1] - means[0]
    try:
        area = auroc(labels, scores)
    except UndefinedMetricError:
        area = math.nan
    return Gap(len(good), len(bad), means[0], means[1], gap, pooled, gap / pooled if pooled > 0 else math.nan, area)


def improvement(before: float, after: float) -> float:
    """By how many percent the second gap is greater, of the first's size; 0 where the first is 0, as published."""
    return 0.0 if abs(before) < 1e-9 else (after - before) / abs(before) * 100


def score(task: GapTask) -> Iterator[Scores]:
    """Score all test images of a category under both rules."""
    obtained = obtain(task.spec, task.source.category(task.category), task.source)
    category = obtained.category
    truth = everything_reports(category)
    detector = obtained.detector.to(device())
    images = torch.from_numpy(load_images([sample.image for sample in category.test], detector.preprocess))
    batches = [images[start : start + task.batch].float() / 255 for start in range(0, len(images), task.batch)]
    _, scores = score_batches(detector, batches)
    yield Scores(truth.labels, scores, _grid_scores(detector, batches), obtained.notes)


@torch.inference_mode()
def _grid_scores(detector: Detector, batches: Sequence[torch.Tensor]) -> np.ndarray | None:
    where = next(detector.buffers()).device
    parts = []
    for batch in batches:
        distances = detector.grid_scores(batch.to(where))
        if distances is None:
            return None
        parts.append(grid_rule(distances.float().cpu().numpy()))
    return np.concatenate(parts)


def run(analysis: Analysis, settings: GapSettings) -> None:
    """The published table, the fair one, and a figure.

    Raises:
        SubbandError: a setting is wrong, or nothing could be compared.
    """
    dataset, source = settings.dataset(), settings.source()
    require_defects(dataset)
    specs = parse_detectors(settings.detectors or _switched(), source.data)
    first, second = (spec.label for spec in specs)
    found: dict[tuple[str, str], Scores] = {}
    tasks = [GapTask(spec, name, source, settings.batch) for name in dataset.categories for spec in specs]
    for task, scores in analysis.spread(score, tasks):
        found[task.category, task.spec.label] = scores
        fair = score_gap(scores.labels, scores.image)
        analysis.say(f"{task}: gap {fair.gap:.4g}, {fair.standardised:.2f} standard deviations, AUROC {fair.auroc:.4f}")
        analysis.note(*(f"{task.category}: {note}" for note in scores.notes))
    names = [name for name in dataset.categories if (name, first) in found and (name, second) in found]
    gridded = all(found[name, label].grid is not None for name in names for label in (first, second))
    rule = "grid" if gridded else "image"
    analysis.findings.tags["published_rule"] = {
        "grid": f"greatest value of the grid's distances after a Gaussian of {REFERENCE_SIGMA:g} cells, without upsampling",
        "image": "image scores: a detector here has no grid of distances",
    }[rule]
    gaps = {
        (name, label, each): gap
        for name in names
        for label in (first, second)
        for each, gap in _gaps(found[name, label])
    }
    headings = _headings(specs)
    pairs = {name: (gaps[name, first, rule].gap, gaps[name, second, rule].gap) for name in names}
    analysis.table(
        "score_gap", _published(pairs, headings, settings.textures), title=f"Score gap, published form ({rule} scores)"
    )
    fair_rows = [_fair_row(name, label, each, gap, settings.textures) for (name, label, each), gap in gaps.items()]
    analysis.table("score_gap_fair", fair_rows)
    shown = [row for row in fair_rows if row["rule"] == "image"]
    columns = ("category", "detector", "gap", "gap_in_std", "auroc")
    analysis.findings.shown["Score gap on a common footing (image scores)"] = [
        {c: row[c] for c in columns} for row in shown
    ]
    for (name, label, each), gap in gaps.items():
        for what, value in (("gap", gap.gap), ("gap_in_std", gap.standardised), ("auroc", gap.auroc)):
            analysis.number(f"{name}/{each}/{what}/{label}", value)
    in_std, area = "gap in pooled standard deviations", "image AUROC (%)"
    floors = {in_std: 0.0, area: 50.0}
    panels = {
        in_std: {label: [gaps[name, label, "image"].standardised for name in names] for label in (first, second)},
        area: {label: [100 * gaps[name, label, "image"].auroc for name in names] for label in (first, second)},
    }
    analysis.figure("score_gap", gap_dots(names, panels, floors, "Good and defective scores: how far apart?"))


def _switched() -> tuple[str, str]:
    """The published comparison, of the first method that has such a switch."""
    for name in list_staged_methods():
        if SWITCH in get_method(name).params_type.model_fields:
            return f"{name}:{SWITCH}=false", f"{name}:{SWITCH}=true"
    raise ParamsError(
        f"no method here has a {SWITCH} stream to switch off and on; name two detectors, for instance "
        f"--detectors {list_staged_methods()[-1]} models:/NAME@champion"
    )


def _headings(specs: Sequence[DetectorSpec]) -> tuple[str, str]:
    """``OFF`` and ``ON``, as published, where that is the difference; else the labels."""
    switches = [str(spec.values.get(SWITCH, "")).lower() for spec in specs]
    if specs[0].method == specs[1].method is not None and switches == ["false", "true"]:
        return "OFF", "ON"
    return specs[0].label, specs[1].label


def _gaps(scores: Scores) -> Iterator[tuple[str, Gap]]:
    yield "image", score_gap(scores.labels, scores.image)
    if scores.grid is not None:
        yield "grid", score_gap(scores.labels, scores.grid)


def kind_of(category: str, textures: Sequence[str]) -> str:
    """``Texture`` or ``Object``."""
    return "Texture" if any(category == each or category.startswith(f"{each}_") for each in textures) else "Object"


def _published(
    pairs: Mapping[str, tuple[float, float]], headings: tuple[str, str], textures: Sequence[str]
) -> list[dict[str, str]]:
    """Rows in the published form: categories, an empty row, and the mean of each group of categories."""

    def row(name: str, kind: str, before: float, after: float) -> dict[str, str]:
        return {
            "Category": name,
            "Type": kind,
            f"Gap_{headings[0]}": f"{before:.5f}",
            f"Gap_{headings[1]}": f"{after:.5f}",
            "Improvement(%)": f"{improvement(before, after):.2f}",
        }

    rows = [row(name, kind_of(name, textures), *pair) for name, pair in pairs.items()]
    rows.append({})
    for kind in ("Texture", "Object"):
        group = [pair for name, pair in pairs.items() if kind_of(name, textures) == kind and np.isfinite(pair).all()]
        if group:
            before, after = np.mean(group, axis=0).tolist()
            rows.append(row(f"AVG ({kind})", kind, before, after))
    return rows


def _fair_row(name: str, label: str, rule: str, gap: Gap, textures: Sequence[str]) -> dict[str, Any]:
    return {
        "category": name,
        "type": kind_of(name, textures),
        "detector": label,
        "rule": rule,
        "good": gap.good,
        "defective": gap.defective,
        "mean_good": f"{gap.mean_good:.6g}",
        "mean_defective": f"{gap.mean_defective:.6g}",
        "gap": f"{gap.gap:.6g}",
        "pooled_std": f"{gap.pooled_std:.6g}",
        "gap_in_std": f"{gap.standardised:.4f}",
        "auroc": f"{gap.auroc:.4f}",
    }
