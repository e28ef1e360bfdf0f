"""Prediction maps of a segmenter as 8-bit PNG files at the images' own sizes, and their scores where masks are known."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from subband.analysis.detectors import REGISTRY
from subband.analysis.results import Analysis
from subband.analysis.scoring import device
from subband.analysis.settings import AnalysisSettings, Source
from subband.data import Dataset, Sample, open_dataset
from subband.data.decoding import opened
from subband.data.images import decode_grey
from subband.data.ruled import sample_as_taught
from subband.data.segmentation.masks import open_mask
from subband.errors import DataError, ParamsError
from subband.methods import adopt, load
from subband.metrics.segmentation import PictureScores, score_picture, summarise_scores

SMOKE_DATA = "synthetic-surface:?train=4&test=8&size=64"
_PICTURES_A_TASK = 32


class PredictionSettings(AnalysisSettings):
    """Settings of predictions."""

    model: str = Field(
        "",
        description="Folder of a saved segmenter, models:/NAME@champion, or a published .pth file; not needed with --maps.",
    )
    recipe: str | None = Field(
        None, description="With a published file: the named params of its training, for what the file does not tell."
    )
    data: str = Field(
        "synthetic-surface:",
        description="Dataset URI whose test images are predicted: pairs:PATH, images:PATH (any folder), synthetic-surface:, ...",
    )
    maps: Path | None = Field(
        None,
        description="Score the PNG maps in this folder instead of predicting: CATEGORY/NAME.png as this job writes, or NAME.png.",
    )
    order: Literal["defect", "object"] | None = Field(
        None,
        description="How a map gets its image's size. defect: 8-bit values are resized. object: logits are. Default: as trained.",
    )
    stretch: Literal["on", "off"] | None = Field(
        None, description="Bring every map to full contrast by its own extremes, as published. By default as trained."
    )
    strict: bool = Field(
        False, description="Give 0 where the published evaluation has no S-measure, instead of the proper value."
    )
    batch: int = Field(4, ge=1, description="Images predicted at a time.")

    def dataset(self) -> Dataset:
        """The dataset, opened; a tiny one in a smoke run that names no other."""
        return open_dataset(SMOKE_DATA if self.smoke and self.data == "synthetic-surface:" else self.data)


@dataclass(frozen=True)
class PredictionTask:
    """Some test images of one category."""

    settings: PredictionSettings
    category: str
    source: Source
    first: int
    stop: int

    def __str__(self) -> str:
        return f"{self.category}, images {self.first + 1} to {self.stop}"


@dataclass(frozen=True)
class Predicted:
    """One image's map.

    Attributes:
        sample: its name.
        png: the file; None for a map that was there before.
        scores: None without a mask.
    """

    sample: str
    png: bytes | None
    scores: PictureScores | None


def predict(task: PredictionTask) -> Iterator[Predicted]:
    """Predict, or read, the maps of some images and compare them with their masks."""
    settings = task.settings
    samples = task.source.category(task.category).test[task.first : task.stop]
    if settings.maps is not None:
        for sample in samples:
            yield Predicted(
                sample.name, None, _scores(_read_map(settings.maps, task.category, sample), sample, settings)
            )
        return
    segmenter = _segmenter(settings)
    samples = tuple(sample_as_taught(sample, segmenter.reading) for sample in samples)
    stretch = None if settings.stretch is None else settings.stretch == "on"
    for start in range(0, len(samples), settings.batch):
        batch = samples[start : start + settings.batch]
        maps = segmenter.prediction_maps([sample.image.open() for sample in batch], settings.order, stretch)
        for sample, map_HW in zip(batch, maps, strict=True):
            file = io.BytesIO()
            Image.fromarray(map_HW).save(file, format="PNG")
            yield Predicted(sample.name, file.getvalue(), _scores(map_HW, sample, settings))


def run(analysis: Analysis, settings: PredictionSettings) -> None:
    """Write every test image's map, and tables of scores where masks are known.

    Raises:
        SubbandError: a setting is wrong, or nothing could be predicted.
    """
    if (settings.maps is None) == (not settings.model):
        raise ParamsError("give the model that predicts, or --maps FOLDER with maps to score, not both")
    if settings.maps is not None:
        settings = settings.model_copy(update={"maps": settings.maps.expanduser().absolute()})
    elif not settings.model.startswith(REGISTRY):
        settings = settings.model_copy(update={"model": str(Path(settings.model).expanduser().absolute())})
    dataset, source = settings.dataset(), settings.source()
    tasks = []
    for name in dataset.categories:
        samples = dataset.category(name).test
        _check_names(name, samples)
        count = len(samples)
        firsts = range(0, count, _PICTURES_A_TASK)
        tasks += [
            PredictionTask(settings, name, source, first, min(first + _PICTURES_A_TASK, count)) for first in firsts
        ]
    if not tasks:
        raise DataError(f"{dataset.uri} has no test images to predict")
    scores: dict[str, dict[str, PictureScores]] = {}
    written = 0
    for task, predicted in analysis.spread(predict, tasks):
        if predicted.png is not None:
            analysis.path(map_name(task.category, predicted.sample)).write_bytes(predicted.png)
            written += 1
        if predicted.scores is not None:
            scores.setdefault(task.category, {})[predicted.sample] = predicted.scores
    rows = [
        {
            "category": category,
            "image": name,
            **{key: f"{value:.6g}" for key, value in summarise_scores([each]).items()},
        }
        for category, pictures in scores.items()
        for name, each in sorted(pictures.items())
    ]
    if rows:
        analysis.table("images", rows)
    means = {category: summarise_scores(list(pictures.values())) for category, pictures in scores.items()}
    metrics = next(iter(means.values()), {})
    analysis.table(
        "metrics",
        [
            {"metric": metric, **{category: f"{row[metric]:.4f}" for category, row in means.items()}}
            for metric in metrics
        ],
        title="maps and masks" if means else None,
    )
    for category, row in means.items():
        for metric, value in row.items():
            analysis.number(f"{category}/{metric}", value)
    if not means:
        analysis.note("there are no masks to compare the maps with")
    analysis.number("maps", written)


def map_name(category: str, sample: str) -> str:
    """Where an image's map lies below the results' folder."""
    return f"{category}/{sample.removeprefix('test/')}.png"


def _check_names(category: str, samples: Sequence[Sample]) -> None:
    """Refuse maps that would be written over each other."""
    seen: dict[str, Sample] = {}
    for sample in samples:
        # Some file systems do not tell capitals from small letters.
        other = seen.setdefault(map_name(category, sample.name).casefold(), sample)
        if other is not sample:
            raise DataError(
                f"{other.name} and {sample.name} of {category} would both have the map {map_name(category, sample.name)}; "
                "rename one"
            )


def _segmenter(settings: PredictionSettings) -> Any:
    path = Path(settings.model)
    if path.is_file():
        segmenter = adopt(path, settings.recipe)
    elif settings.recipe is not None:
        raise ParamsError(f"recipe {settings.recipe} is for a published file; {settings.model} has its own params")
    else:
        segmenter = load(settings.model, settings.tracking_uri)
    if segmenter.task != "segmentation":
        raise ParamsError(
            f"{settings.model} is a {segmenter.method}: it gives anomaly maps, and only a segmenter's are predicted"
        )
    return segmenter.to(device())


def _scores(map_HW: np.ndarray, sample: Sample, settings: PredictionSettings) -> PictureScores | None:
    if sample.mask is None:
        return None
    mask = np.asarray(open_mask(sample))
    if mask.shape != map_HW.shape:
        raise DataError(
            f"the map of {sample.name} has {map_HW.shape[1]} x {map_HW.shape[0]} pixels, its mask {mask.shape[1]} x "
            f"{mask.shape[0]}; they must be equal"
        )
    return score_picture(map_HW, mask, strict_reference=settings.strict)


def _read_map(folder: Path, category: str, sample: Sample) -> np.ndarray:
    for name in (map_name(category, sample.name), f"{sample.name.rsplit('/', 1)[-1]}.png"):
        if (folder / name).is_file():
            with opened(folder / name) as stream:
                return np.asarray(decode_grey(stream, str(folder / name)))
    raise DataError(f"{sample.name} has no map: neither {folder / map_name(category, sample.name)} nor {name} is there")
