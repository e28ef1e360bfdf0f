"""What a classifier takes pictures for: the confusion matrix, and answers that were wrong and right."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from subband.methods import Draw, Examples
from subband.report import Answer, answers_gallery, confusion_matrix
from subband.training.figures.spread import ROWS, spread

CLASSIFIED = 1000
"""Pictures at most that are classified again for a figure."""


def confusion(classifier: Any, examples: Any, title: str) -> Figure:
    """Classes against answers."""
    chosen, answers, _ = _classified(classifier, examples)
    truths = examples.pictures.labels[chosen]
    return confusion_matrix(truths, answers, classifier.labels, title, _which(examples, chosen))


def answers(classifier: Any, examples: Any, title: str) -> Figure:
    """The wrong answers that were surest, and right ones evenly spread."""
    chosen, answers, probabilities = _classified(classifier, examples)
    truths = examples.pictures.labels[chosen]
    right, wrong = np.flatnonzero(truths == answers), np.flatnonzero(truths != answers)
    wrong = wrong[np.argsort(-probabilities[wrong], kind="stable")]

    def answer(place: int) -> Answer:
        picture = np.asarray(examples.pictures.image(chosen[place]).open())
        truth, said = (str(classifier.labels[index]) for index in (truths[place], answers[place]))
        return Answer(picture, truth, said, float(probabilities[place]))

    shown_right = right[spread(right, 12)] if len(right) else right
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
    chosen = spread(examples, CLASSIFIED)
    found = []
    for first in range(0, len(chosen), ROWS):
        images = torch.stack([examples[Draw(index)]["images"] for index in chosen[first : first + ROWS]])
        found.append(classifier(images).float().softmax(dim=1))
    values, classes = torch.cat(found).max(dim=1)
    return chosen, classes.numpy(), values.numpy()


def _which(examples: Examples, chosen: Sequence[int]) -> str:
    return "all pictures" if len(chosen) == len(examples) else f"{len(chosen)} of {len(examples)} pictures"
