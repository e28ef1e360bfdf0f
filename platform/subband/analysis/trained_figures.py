"""Figures of a training: its learning curves, and what the model answers for validation and test examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from subband.methods import Deployable, Detector, ExampleKey, Examples, Task, TrainedMethod, TrainingSet, load
from subband.methods.trained_base import PROGRESS, best_epoch
from subband.metrics import score_sequence
from subband.report import (
    Answer,
    answers_gallery,
    confusion_matrix,
    detection_gallery,
    frame_errors,
    gallery,
    learning_curves,
    prediction_strips,
)

ROWS = 8
CLASSIFIED = 1000
"""Images at most that are classified again for a figure."""
STRIPS = 3
SEQUENCES = 64
"""Sequences at most whose errors are drawn."""


def training_figures(
    method: TrainedMethod,
    dataset: str,
    examples: TrainingSet,
    history: Sequence[Mapping[str, float]],
    model: Path | None,
) -> dict[str, Figure]:
    """Figures by name.

    Args:
        method: that was trained.
        dataset: name of its data.
        examples: of the training.
        history: metrics of every epoch.
        model: folder of the saved model; without one there are no galleries.
    """
    chosen_by = method.chosen_by
    names = [name for name in dict.fromkeys(name for row in history for name in row) if name not in PROGRESS]
    shown = [chosen_by, *(name for name in names if name != chosen_by)][:6]
    title = f"{method.name} on {dataset}"
    best = best_epoch(history, chosen_by)
    figures = {"learning-curves": learning_curves(history, shown, best, title, "; ".join(examples.notes))}
    if model is None:
        return figures
    loaded = load(model)
    for name, part in (examples.tests or {"validation": examples.validation}).items():
        for kind, draw in OF_TASK.get(loaded.task, {}).items():
            figures[f"{kind}-{name}"] = draw(loaded, part, f"{title}: {name}")
    return figures


def maps_gallery(detector: Detector, examples: Examples, title: str) -> Figure:
    """Some images with mask, map and score."""
    rows = _spread(examples, ROWS)
    shown = [examples[ExampleKey(row)] for row in rows]
    images = np.stack([np.rint(255 * example["images"].numpy()).astype(np.uint8) for example in shown])
    masks = [example["masks"][0].numpy() > 0.5 for example in shown]
    maps, scores = detector.score(images)
    return gallery(
        images,
        masks,
        maps,
        scores,
        detector.calibration.threshold,
        [f"{row}" for row in rows],
        title=title,
        labels=[int(mask.any()) for mask in masks],
    )


def confusion(classifier: Any, examples: Any, title: str) -> Figure:
    """Classes against answers."""
    chosen, answers, _ = _classified(classifier, examples)
    truths = examples.pictures.labels[chosen]
    return confusion_matrix(truths, answers, classifier.labels, title, _which(examples, chosen))


def class_answers(classifier: Any, examples: Any, title: str) -> Figure:
    """The wrong answers that were surest, and right ones evenly spread."""
    chosen, answers, probabilities = _classified(classifier, examples)
    truths = examples.pictures.labels[chosen]
    right, wrong = np.flatnonzero(truths == answers), np.flatnonzero(truths != answers)
    wrong = wrong[np.argsort(-probabilities[wrong], kind="stable")]

    def answer(place: int) -> Answer:
        picture = np.asarray(examples.pictures.image(chosen[place]).open())
        truth, said = (str(classifier.labels[index]) for index in (truths[place], answers[place]))
        return Answer(picture, truth, said, float(probabilities[place]))

    shown_right = right[_spread(right, 12)] if len(right) else right
    words = f"the surest of {len(wrong)} wrong answers, then some of {len(right)} right ones"
    return answers_gallery(
        [answer(place) for place in wrong[:12]],
        [answer(place) for place in shown_right],
        title,
        f"{words}; {_which(examples, chosen)}",
    )


@functools.lru_cache(maxsize=1)
@torch.inference_mode()
def _classified(classifier: Any, examples: Examples) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Some examples, the class that each is given and its probability; remembered, since two figures show them."""
    chosen = _spread(examples, CLASSIFIED)
    found = []
    for first in range(0, len(chosen), ROWS):
        images = torch.stack([examples[ExampleKey(index)]["images"] for index in chosen[first : first + ROWS]])
        found.append(classifier(images).float().softmax(dim=1))
    values, classes = torch.cat(found).max(dim=1)
    return chosen, classes.numpy(), values.numpy()


def _which(examples: Examples, chosen: Sequence[int]) -> str:
    return "all images" if len(chosen) == len(examples) else f"{len(chosen)} of {len(examples)} images"


def objects_gallery(detector: Any, examples: Any, title: str) -> Figure:
    """Some images with boxes and masks."""
    pictures = [examples.pictures[row] for row in _spread(examples, ROWS)]
    images = [picture.image.open() for picture in pictures]
    return detection_gallery(
        [np.asarray(image) for image in images],
        [picture.instances() for picture in pictures],
        detector.predict(images),
        detector.classes,
        [picture.name for picture in pictures],
        title=title,
    )


def strips(predictor: Deployable, examples: Examples, title: str) -> Figure:
    """Some sequences: seen, followed, predicted."""
    rows = _spread(examples, STRIPS)
    shown = [examples[ExampleKey(row)] for row in rows]
    seen, followed = ([example[part][:, 0].numpy() for example in shown] for part in ("frames", "following"))
    predicted = [_predicted(predictor, example) for example in shown]
    scores = [score_sequence(*each) for each in zip(predicted, followed, (frames[-1] for frames in seen), strict=True)]
    names = [
        f"sequence {row}: squared error a frame {score.frame_mse_T.mean():.1f}, of repeating the last frame "
        f"{score.copy_last_mse_T.mean():.1f}"
        for row, score in zip(rows, scores, strict=True)
    ]
    return prediction_strips(seen, followed, predicted, names, title)


def errors_by_frame(predictor: Deployable, examples: Examples, title: str) -> Figure:
    """The error of each predicted frame beside that of repeating the last one seen."""
    shown = [examples[ExampleKey(row)] for row in _spread(examples, SEQUENCES)]
    scores = [
        score_sequence(_predicted(predictor, each), each["following"][:, 0].numpy(), each["frames"][-1, 0].numpy())
        for each in shown
    ]
    caption = f"{len(shown)} of {len(examples)} sequences; lines are means, bands quartiles"
    return frame_errors([s.frame_mse_T for s in scores], [s.copy_last_mse_T for s in scores], title, caption)


def _predicted(predictor: Deployable, example: Mapping[str, Tensor]) -> NDArray[np.float32]:
    """Frames (T, H, W) as the metrics see them, not clipped."""
    frames: NDArray[np.float32] = predictor.replay([example]).reshape(example["following"].shape)[:, 0]
    return frames


def _spread(examples: Sized, rows: int) -> list[int]:
    """Indices of up to so many examples, evenly spread."""
    return [int(row) for row in np.unique(np.linspace(0, len(examples) - 1, rows).astype(int))]


OF_TASK: Mapping[Task, Mapping[str, Callable[[Any, Any, str], Figure]]] = {
    "segmentation": {"gallery": maps_gallery},
    "classification": {"confusion": confusion, "gallery": class_answers},
    "object detection": {"gallery": objects_gallery},
    "video prediction": {"strips": strips, "frame-errors": errors_by_frame},
}
"""What is drawn of a model's answers, by its task and the figure's name."""
