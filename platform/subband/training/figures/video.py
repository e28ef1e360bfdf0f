"""What a video predictor foresees: strips of frames, and its error frame by frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from subband.methods import Deployable, Draw, Examples
from subband.metrics import score_sequence
from subband.report import frame_errors, prediction_strips
from subband.training.figures.spread import spread

STRIPS = 3
SEQUENCES = 64
"""Whose errors are drawn."""


def strips(predictor: Deployable, examples: Examples, title: str) -> Figure:
    """Some sequences: seen, followed, predicted."""
    rows = spread(examples, STRIPS)
    shown = [examples[Draw(row)] for row in rows]
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
    shown = [examples[Draw(row)] for row in spread(examples, SEQUENCES)]
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
