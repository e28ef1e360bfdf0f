"""Method: the one small interface through which sweeps, training and serving know a method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel
from torch import Tensor

from subband.data import Preprocess
from subband.methods.deployable import Deployable
from subband.methods.detector import Detector
from subband.methods.pixel_tail import PixelTail
from subband.stages import Chain, Runner, per_picture_part


@dataclass(frozen=True)
class Fitted:
    """A detector, and what its threshold is chosen from.

    Attributes:
        detector: fitted to every good image; its calibration is provisional until the caller sets the rate.
        good_scores: (N,) score of every training image by a fit that has not seen it.
        estimate: how that was done, in the words that end the threshold's rule: "estimated by leaving each training image out in
            turn" (`LEAVE_ONE_OUT`).
        groups: a number for each training image, equal for those that were left out together; empty where each stood alone.
        pixel_tail: the highest values of pixels in those left-out maps; None where they were not made.
    """

    detector: Detector
    good_scores: np.ndarray
    estimate: str
    groups: tuple[int, ...] = ()
    pixel_tail: PixelTail | None = None

    @property
    def threshold_scores(self) -> np.ndarray:
        """Scores that a threshold is chosen from: the highest of each group, since images that belong together tell the same."""
        return highest_of_groups(self.good_scores, self.groups)


def highest_of_groups(scores: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """The highest score of each group, in the order of the groups' first images.

    Args:
        scores: (N,).
        groups: N numbers, or empty where each image stands alone.
    """
    if not groups:
        return scores
    highest: dict[int, float] = {}
    for score, group in zip(scores.tolist(), groups, strict=True):
        highest[group] = max(score, highest.get(group, score))
    return np.asarray(list(highest.values()), scores.dtype)


def grouped_estimate(estimate: str, groups: Sequence[int]) -> str:
    """The words on how good scores were obtained, with what was left out together.

    Args:
        estimate: for images that stand alone.
        groups: N numbers, or empty.
    """
    if len(set(groups)) == len(groups):
        return estimate
    return f"{estimate}, together with those that belong to it ({len(groups)} images, {len(set(groups))} distinct)"


class Method(Protocol):
    """What every recipe of the platform has, whether it is fitted stage by stage (`StagedMethod`) or trained (`TrainedMethod`).

    Life cycle: `params_type` validates what a user or a search space proposes; fitting or training gives a model; `restore`
    builds it again from saved tensors.
    """

    name: str
    params_type: type[BaseModel]

    def restore(self, params: Any, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> Deployable:
        """The model that was saved with these tensors.

        Args:
            params: validated, as saved.
            tensors: its state dict.
            description: the JSON part of the saved model: ``about``, and what the model's `kept` gave.

        Raises:
            ModelError: the tensors or the description do not fit the params.
        """
        ...


class StagedMethod(Method, Protocol):
    """A method without training: its stages turn images into anomaly maps, and a sweep shares them.

    Life cycle: in a sweep, `chain` says which stages turn the images of a category into anomaly maps under these params; the
    runner computes what the store lacks. Where a sweep weighs costs, `build` gives the detector to measure. For the champion, `fit`
    builds the deployable detector from the same stages, of which several workers may have computed `fit_inputs`.
    """

    def preprocess(self, params: Any) -> Preprocess:
        """How images and masks are framed under these params."""
        ...

    def chain(self, params: Any, fitted: int, scored: int) -> tuple[Chain, str]:
        """Stages whose last gives ``maps`` (M, S, S) and ``scores`` (M,), and why this form of them.

        Args:
            params: validated params.
            fitted: number of images that are learnt from.
            scored: number of images that are scored.
        """
        ...

    def build(self, params: Any, runner: Runner) -> Detector:
        """The detector that `fit` gives, as fast as can be: its calibration is `UNCALIBRATED`."""
        ...

    def fit_inputs(self, params: Any) -> tuple[tuple[Chain, Any], ...]:
        """The chains, each with its params, that `fit` starts from: several workers divide the images of these among them."""
        ...

    def fit(self, params: Any, runner: Runner) -> Fitted:
        """Fit a detector to every image in the runner's ``source.fit``, using stages that are stored already."""
        ...


def divided_chains(method: StagedMethod, params: Any) -> Iterator[tuple[Chain, dict[str, Any]]]:
    """What several workers may compute and join before a fit (`Runner.join`): chains, each with the values of its params."""
    for chain, given in method.fit_inputs(params):
        divided, values = per_picture_part(chain), given.model_dump()
        # What comes behind the divided part of a chain may ask for any of its stages; what comes behind a whole one, for its last.
        for length in [len(chain)] if len(divided) == len(chain) else range(1, len(divided) + 1):
            yield divided[:length], values
