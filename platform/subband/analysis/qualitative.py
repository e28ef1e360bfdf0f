"""Images of what a detector sees, one file an image: defects of every kind, and good images beside them."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from subband.analysis.detectors import DetectorTask, obtain, parse_detectors
from subband.analysis.results import Analysis
from subband.analysis.scoring import as_uint8, device, everything_reports, score_batches
from subband.analysis.settings import AnalysisSettings
from subband.data import Sample, load_images
from subband.evaluation import Scorer
from subband.methods import Detector
from subband.report.qualitative import ANOMALY, Range, Seen, qualitative

PERCENTILES = (1.0, 99.9)


class QualitativeSettings(AnalysisSettings):
    """Settings of qualitative figures."""

    detectors: tuple[str, ...] = Field(
        (),
        description="Each a set of figures: METHOD, METHOD:param=value,..., models:/NAME@champion or a saved detector's folder, "
        "with {category} where a category's name stands; by default every method with its defaults.",
    )
    defective: int = Field(10, ge=0, description="Defective images a category, evenly from its kinds of defect.")
    good: int = Field(2, ge=0, description="Good test images a category.")
    scale: Literal["category", "image"] = Field(
        "category",
        description="Colours of the maps. category: one scale for all images of a category, so that good ones look good. "
        "image: from the lowest to the highest value of each image, as published: every image shows a hot spot.",
    )
    batch: int = Field(16, ge=1, description="Images scored at a time.")


@dataclass(frozen=True)
class FigureTask(DetectorTask):
    """One detector's figures of one category."""

    defective: int
    good: int
    scale: Literal["category", "image"]
    batch: int


@dataclass(frozen=True)
class DrawnFigure:
    """One figure, as a PNG, and its line in the index.

    Attributes:
        sample: its sample's name.
        defect: ``good`` or the kind of defect.
        score: of the image.
        threshold: of the detector.
        png: the file.
        notes: for the reader.
    """

    sample: str
    defect: str
    score: float
    threshold: float
    png: bytes
    notes: tuple[str, ...]


def choose_samples(samples: Sequence[Sample], defective: int, good: int) -> list[int]:
    """Indices of the first good samples and of defective ones, in turn from every kind of defect.

    Args:
        samples: test samples.
        defective: how many defective ones, if there are as many.
        good: how many good ones.
    """
    kinds: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        kinds.setdefault(sample.defect if sample.label else "", []).append(index)
    first_good = kinds.pop("", [])[:good]
    rounds = itertools.zip_longest(*(kinds[name] for name in sorted(kinds)))
    in_turn = [index for each in rounds for index in each if index is not None]
    return [*sorted(in_turn[:defective]), *first_good]


def draw(task: FigureTask) -> Iterator[DrawnFigure]:
    """Score the whole category, which gives the scale, and draw the chosen samples."""
    obtained = obtain(task.spec, task.source.category(task.category), task.source)
    category = obtained.category
    truth = everything_reports(category)
    detector = obtained.detector.to(device())
    images = torch.from_numpy(load_images([sample.image for sample in category.test], detector.preprocess))
    batches = [images[start : start + task.batch].float() / 255 for start in range(0, len(images), task.batch)]
    maps, scores = score_batches(detector, batches)
    further = _explained(detector, batches)
    masks = Scorer(truth).masks(detector.preprocess)
    ranges = {name: _range(values) for name, values in {**further, ANOMALY: maps}.items()}
    for index in choose_samples(category.test, task.defective, task.good):
        sample = category.test[index]
        seen = Seen(
            name=sample.name,
            image=as_uint8(images[index].float() / 255),
            mask=masks.values[index] if masks.known[index] else None,
            map=maps[index],
            score=float(scores[index]),
            threshold=detector.calibration.threshold,
            further={name: values[index] for name, values in further.items()},
        )
        title = f"{category.name}: {sample.name} ({task.spec.label})"
        figure = qualitative(seen, ranges if task.scale == "category" else None, title)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        yield DrawnFigure(sample.name, sample.defect, seen.score, seen.threshold, stream.getvalue(), obtained.notes)


@torch.inference_mode()
def _explained(detector: Detector, batches: Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
    """The detector's further maps of all images, (N, h, w) by name."""
    where = next(detector.buffers()).device
    parts = [detector.explain(batch.to(where)) for batch in batches]
    return {name: torch.cat([part[name].float().cpu() for part in parts]).numpy() for name in parts[0]}


def _range(values: np.ndarray) -> Range:
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


def run(analysis: Analysis, settings: QualitativeSettings) -> None:
    """Draw every detector's figures of every category, and write an index.

    Raises:
        SubbandError: a setting is wrong, or nothing could be drawn.
    """
    dataset, source = settings.dataset(), settings.source()
    specs = parse_detectors(settings.detectors, source.data)
    folders = {spec.label: f"{number:02d}-{plain(spec.label)}/" for number, spec in enumerate(specs, start=1)}
    if len(specs) == 1:
        folders = {specs[0].label: ""}
    tasks = [
        FigureTask(spec, name, source, settings.defective, settings.good, settings.scale, settings.batch)
        for name in dataset.categories
        for spec in specs
    ]
    rows = []
    counts: dict[str, int] = {}
    for task, drawn in analysis.spread(draw, tasks):
        # The sample's own path keeps images of one file name and different kinds of defect apart.
        file = f"{folders[task.spec.label]}{task.category}/{drawn.sample.removeprefix('test/')}.png"
        analysis.path(file).write_bytes(drawn.png)
        rows.append(
            {
                "file": file,
                "detector": task.spec.label,
                "category": task.category,
                "sample": drawn.sample,
                "defect": drawn.defect,
                "score": f"{drawn.score:.6g}",
                "threshold": f"{drawn.threshold:.6g}",
            }
        )
        counts[str(task)] = counts.get(str(task), 0) + 1
        analysis.say(f"{task}: {drawn.sample}")
        analysis.note(*(f"{task.category}: {note}" for note in drawn.notes))
    analysis.table("figures", rows)
    for what, count in counts.items():
        analysis.number(f"figures/{what}", count)


def plain(label: str) -> str:
    """A label as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", label).strip("_")
