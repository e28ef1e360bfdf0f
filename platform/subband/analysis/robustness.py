"""How a detector's metrics fall as test images get worse; bank and model stay clean.

Every detector sees the same distorted images: noise is drawn from the seed and the image, not from the detector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from subband.analysis import perturb
from subband.analysis.detectors import DetectorTask, obtain, parse_detectors
from subband.analysis.results import Analysis
from subband.analysis.scoring import as_uint8, device, everything_reports, score_batches
from subband.analysis.settings import AnalysisSettings, require_defects
from subband.data import load_images
from subband.evaluation import Scorer
from subband.report.level_curves import level_curves
from subband.report.robustness_tile import TileCell, robustness_tile

CURVE_METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "au_pro_0.3": "AU-PRO up to 0.3"}


_WORDS = {"noise": "Gaussian noise", "colour": "colour jitter"}


class RobustnessSettings(AnalysisSettings):
    """Settings of a robustness analysis."""

    kind: Literal["noise", "colour"] = Field("noise", description="What is done to the test images.")
    detectors: tuple[str, ...] = Field(
        (),
        description="Each a curve: METHOD, METHOD:param=value,..., models:/NAME@champion or a saved detector's folder, with "
        "{category} where a category's name stands; by default every method with its defaults.",
    )
    levels: tuple[float, ...] = Field(
        (),
        description="By default as published: 0 10 20 30 40 (noise, standard deviation on the 0..255 scale) or "
        "0 0.5 1 1.5 2 2.5 3 (colour, factor).",
    )
    draw: perturb.NoiseDraw = Field(
        "common",
        description="common: one noise draw an image, scaled by the level. reference: fresh noise for every image and "
        "level, as published.",
    )
    seed: int = Field(42, ge=0, description="Seed of the noise.")
    tile_range: Literal["row", "detector"] = Field(
        "detector",
        description="Colour range of the image tile. detector: one for each detector in all rows, since distances of two "
        "detectors have different units. row: one for both detectors in each row, as published.",
    )
    batch: int = Field(16, ge=1, description="Images scored at a time.")


@dataclass(frozen=True)
class CurveTask(DetectorTask):
    """One detector on one category at every level."""

    kind: Literal["noise", "colour"]
    levels: tuple[float, ...]
    tile_levels: tuple[float, ...]
    draw: perturb.NoiseDraw
    seed: int
    batch: int

    def distortion(self) -> perturb.Distortion:
        """A new one, whose stream starts at the seed."""
        return distortion_of(self.kind, self.draw, self.seed)


def distortion_of(kind: Literal["noise", "colour"], draw: perturb.NoiseDraw, seed: int) -> perturb.Distortion:
    """A new distortion, whose stream starts at the seed."""
    return perturb.Noise(draw, seed) if kind == "noise" else perturb.Colour()


@dataclass(frozen=True)
class LevelResult:
    """What one detector did at one level.

    Attributes:
        level: of the distortion.
        metrics: of all test images; an undefined one is absent.
        notes: for the reader.
        cell: what the tile shows of the first good test image, where the tile has this level.
    """

    level: float
    metrics: dict[str, float]
    notes: tuple[str, ...]
    cell: TileCell | None


def curve(task: CurveTask) -> Iterator[LevelResult]:
    """Score every level.

    Raises:
        DataError: the category has no test images.
        SubbandError: the detector cannot be obtained.
    """
    obtained = obtain(task.spec, task.source.category(task.category), task.source)
    category = obtained.category
    truth = everything_reports(category)
    detector = obtained.detector.to(device())
    scorer = Scorer(truth)
    images = torch.from_numpy(load_images([sample.image for sample in category.test], detector.preprocess))
    names = [f"{category.name}/{sample.name}" for sample in category.test]
    shown = next((index for index, sample in enumerate(category.test) if sample.label == 0), 0)
    distortion = task.distortion()
    for level in task.levels:
        seen = Seen(shown)
        maps, scores = score_batches(detector, seen.watch(distortion.batches(images, names, level, task.batch)))
        metrics, remarks = scorer.judge(maps, scores, detector.preprocess)
        cell = None
        if level in task.tile_levels:
            cell = TileCell(level, as_uint8(images[shown].float() / 255), as_uint8(seen.picture), maps[shown])
        yield LevelResult(level, metrics, (*obtained.notes, *remarks), cell)


class Seen:
    """Remembers one image of those that pass by.

    Args:
        index: of the image.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        self.picture = torch.empty(0)

    def watch(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The same batches."""
        passed = 0
        for batch in batches:
            if passed <= self._index < passed + len(batch):
                self.picture = batch[self._index - passed]
            passed += len(batch)
            yield batch


def run(analysis: Analysis, settings: RobustnessSettings) -> None:
    """Curves of every detector on every category; tables, figures and tiles.

    Raises:
        SubbandError: a setting is wrong, or nothing could be analysed.
    """
    dataset, source = settings.dataset(), settings.source()
    require_defects(dataset)
    specs = parse_detectors(settings.detectors, source.data)
    published, tile, most = {
        "noise": (perturb.NOISE_LEVELS, perturb.NOISE_TILE_LEVELS, perturb.MOST_NOISE),
        "colour": (perturb.COLOUR_LEVELS, perturb.COLOUR_TILE_LEVELS, perturb.MOST_COLOUR),
    }[settings.kind]
    levels = perturb.check_levels(settings.levels or published, most)
    if not set(tile) <= set(levels):
        tile = tuple(levels[index] for index in np.unique(np.linspace(0, len(levels) - 1, 4).astype(int)))
    tasks = [
        CurveTask(spec, name, source, settings.kind, levels, tile, settings.draw, settings.seed, settings.batch)
        for name in dataset.categories
        for spec in specs
    ]
    about = distortion_of(settings.kind, settings.draw, settings.seed).about
    analysis.say(f"{settings.kind}: {about}")
    analysis.findings.tags["distortion"] = about
    found: dict[tuple[str, str], list[LevelResult]] = {}
    for task, result in analysis.spread(curve, tasks):
        found.setdefault((task.category, task.spec.label), []).append(result)
        value = result.metrics.get("image_auroc")
        shown = "image AUROC undefined" if value is None else f"image AUROC {100 * value:.2f} %"
        analysis.say(f"{task}: {settings.kind} {result.level:g}: {shown}")
        analysis.note(*(f"{task.category}: {note}" for note in result.notes))
    complete = {key: results for key, results in found.items() if len(results) == len(levels)}
    labels = [spec.label for spec in specs if any(label == spec.label for _, label in complete)]
    for name in dataset.categories:
        here = {label: complete[name, label] for label in labels if (name, label) in complete}
        if here:
            _write(analysis, settings, name, levels, {label: _metrics(results) for label, results in here.items()})
            _write_tile(analysis, settings, name, here)
    # A mean over categories compares detectors only where all of them have a curve.
    common = [name for name in dataset.categories if all((name, label) in complete for label in labels)]
    if len(common) > 1:
        means = {label: _mean([_metrics(complete[name, label]) for name in common]) for label in labels}
        _write(analysis, settings, "mean", levels, means)
    analysis.table(f"{settings.kind}_long", _long_rows(complete))


Curves = dict[str, list[float]]
"""By metric, its value in percent at every level; NaN where it is undefined."""


def _metrics(results: Sequence[LevelResult]) -> Curves:
    return {name: [100 * result.metrics.get(name, float("nan")) for result in results] for name in CURVE_METRICS}


def _mean(curves: Sequence[Curves]) -> Curves:
    """Mean over the categories in which a metric is defined at every level."""
    mean: Curves = {}
    for name in CURVE_METRICS:
        defined = [each[name] for each in curves if np.isfinite(each[name]).all()]
        mean[name] = np.mean(defined, axis=0).tolist() if defined else [float("nan")] * len(curves[0][name])
    return mean


def _write(
    analysis: Analysis, settings: RobustnessSettings, name: str, levels: Sequence[float], curves: dict[str, Curves]
) -> None:
    labels = list(curves)
    rows = []
    for index, level in enumerate(levels):
        values = {label: curves[label]["image_auroc"][index] for label in labels}
        # As published, how far the first detector is ahead.
        gaps = {f"Gap ({labels[0]} - {label})": values[labels[0]] - values[label] for label in labels[1:]}
        rows.append({"Level": f"{level:g}", **{n: f"{v:.2f}" for n, v in {**values, **gaps}.items()}})
    analysis.table(f"{settings.kind}_{name}", rows, title=f"{name}: image AUROC (%) over {settings.kind}")
    panels = {
        title: {label: curves[label][metric] for label in labels}
        for metric, title in CURVE_METRICS.items()
        if any(np.isfinite(curves[label][metric]).any() for label in labels)
    }
    distortion = distortion_of(settings.kind, settings.draw, settings.seed)
    figure = level_curves(
        levels,
        panels,
        distortion.unit,
        f"{name}: robustness against {_WORDS[settings.kind]}",
        f"All test images, distorted after framing: {distortion.about}. The detectors stay as they were.",
    )
    analysis.figure(f"{settings.kind}_curves_{name}", figure)
    whole = all(float(level).is_integer() for level in levels)
    if not whole:
        analysis.findings.tags["step"] = "100 x level"
    for label in labels:
        for metric in CURVE_METRICS:
            for level, value in zip(levels, curves[label][metric], strict=True):
                step = int(level) if whole else round(100 * level)
                analysis.number(f"{name}/{metric}/{label}", value / 100, step)


def _write_tile(
    analysis: Analysis, settings: RobustnessSettings, name: str, here: dict[str, list[LevelResult]]
) -> None:
    columns = {
        label: [result.cell for result in results if result.cell is not None]
        for label, results in list(here.items())[:2]
    }
    unit = "sigma" if settings.kind == "noise" else "factor"
    figure = robustness_tile(columns, unit, f"{name}: one image under {_WORDS[settings.kind]}", settings.tile_range)
    analysis.figure(f"{settings.kind}_tile_{name}", figure)


def _long_rows(complete: dict[tuple[str, str], list[LevelResult]]) -> Iterator[dict[str, object]]:
    for (name, label), results in complete.items():
        for result in results:
            for metric, value in result.metrics.items():
                yield {"category": name, "detector": label, "level": result.level, "metric": metric, "value": value}
