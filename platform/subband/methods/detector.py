"""Detector: a model that scores images and marks places in them, with the calibration that turns scores into decisions."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from subband.data import Preprocess
from subband.errors import ModelError, ParamsError
from subband.methods.deployable import DESCRIPTION, Deployable, Task, as_pictures, read_description, write_description
from subband.methods.pixel_tail import PIXEL_FPR, PixelTail
from subband.metrics import threshold_at_fpr

NO_PIXEL_THRESHOLD = (
    "this model was saved without a pixel threshold; fit it again (jobs/train.py METHOD, or a sweep) to get one"
)
LEAVE_ONE_OUT = "estimated by leaving each training image out in turn"


class Calibration(BaseModel):
    """How scores become decisions: an image is defective if its score is above the threshold.

    Attributes:
        good_scores: left-out scores of the good training images, ascending: no image is scored by a fit that has seen it.
        fpr: share of good images that may be called defective.
        threshold: the threshold in force.
        rule: how it was chosen, in words.
        f1_threshold: the threshold of the highest F1 on labelled test images, where there are any.
        pixel_threshold: a pixel is called defective if its value in the anomaly map is above it; None where none was found (models
            saved before there was one) and of segmenters, whose threshold is one of pixels.
        pixel_fpr: share of left-out good pixels that exceed it.
        estimate: how `good_scores` were obtained, in the words that end the rule; detectors saved before it was kept left one out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    good_scores: tuple[float, ...]
    fpr: float = Field(0.01, gt=0, lt=1)
    threshold: float
    rule: str
    f1_threshold: float | None = None
    estimate: str = LEAVE_ONE_OUT
    pixel_threshold: float | None = None
    pixel_fpr: float | None = None

    @classmethod
    def at_fpr(
        cls,
        good_scores: Sequence[float],
        fpr: float,
        f1_threshold: float | None = None,
        estimate: str = LEAVE_ONE_OUT,
    ) -> Calibration:
        """Calibration for a stated false-positive rate.

        Raises:
            ParamsError: `fpr` is not between 0 and 1.
        """
        if not 0 < fpr < 1:
            raise ParamsError(
                f"false-positive rate {fpr} is out of range; give a share above 0 and below 1, for instance 0.01"
            )
        chosen = threshold_at_fpr(np.asarray(good_scores, dtype=np.float64), fpr)
        scores = tuple(sorted(float(score) for score in good_scores))
        return cls(
            good_scores=scores,
            fpr=fpr,
            threshold=chosen.threshold,
            rule=f"{chosen.note}, {estimate}",
            f1_threshold=f1_threshold,
            estimate=estimate,
        )

    def with_fpr(self, fpr: float) -> Calibration:
        """The same calibration for another false-positive rate.

        Raises:
            ParamsError: `fpr` is not between 0 and 1, or no scores of good images were kept.
        """
        if not self.good_scores:
            raise ParamsError(
                f"this model came without scores of good images, which would choose a threshold for the rate {fpr}: "
                "give the threshold"
            )
        chosen = self.at_fpr(self.good_scores, fpr, self.f1_threshold, self.estimate)
        return chosen.model_copy(update={"pixel_threshold": self.pixel_threshold, "pixel_fpr": self.pixel_fpr})

    def with_pixels(self, tail: PixelTail | None, pixel_fpr: float = PIXEL_FPR) -> Calibration:
        """The same calibration with a threshold for pixels, where a tail of left-out good pixels is known.

        Raises:
            ParamsError: `pixel_fpr` is out of range.
        """
        if tail is None:
            return self
        return self.model_copy(update={"pixel_threshold": tail.threshold(pixel_fpr), "pixel_fpr": pixel_fpr})

    def with_threshold(self, threshold: float, rule: str = "set by hand") -> Calibration:
        """The same calibration with another threshold."""
        return self.model_copy(update={"threshold": float(threshold), "rule": rule})


UNCALIBRATED = Calibration(
    good_scores=(), fpr=0.01, threshold=math.inf, rule="not calibrated: no image is called defective"
)
"""Of a detector that is only measured."""


@dataclass(frozen=True)
class Predictions:
    """Answers for N images.

    Attributes:
        scores: (N,) float32, higher is worse.
        decisions: (N,) bool, whether each score is above the threshold.
        maps: (N, S, S) float32 anomaly maps in the preprocessed frame.
        threshold: what the scores were compared with.
        pixel_threshold: above it a pixel of a map is defective; None where it is unknown.
    """

    scores: np.ndarray
    decisions: np.ndarray
    maps: np.ndarray
    threshold: float
    pixel_threshold: float | None = None

    @property
    def masks(self) -> np.ndarray:
        """(N, S, S) bool, the defective pixels.

        Raises:
            ModelError: the model has no pixel threshold.
        """
        if self.pixel_threshold is None:
            raise ModelError(NO_PIXEL_THRESHOLD)
        return np.asarray(self.maps > self.pixel_threshold)

    @property
    def defective_areas(self) -> np.ndarray:
        """(N,) share of each map that is defective; errors as `masks`."""
        return np.asarray(self.masks.mean(axis=(1, 2)))


class Detector(Deployable):
    """A model that scores images and marks where they are unusual or defective.

    Args:
        method: name in the registry.
        params: the method's params.
        preprocess: how an image becomes the square that the backbone sees.
        calibration: how scores become decisions.
        about: what a reader must know (category, dataset and its fingerprint, versions); plain JSON values.

    Attributes:
        task: what its maps say. ``anomaly detection``: how unusual a place is, on the model's own scale. ``segmentation``: the
            probability of a defect, which is compared with the threshold pixel by pixel.
    """

    frozen: ClassVar[tuple[str, ...]] = ("backbone",)
    task: ClassVar[Task] = "anomaly detection"

    def __init__(
        self, method: str, params: BaseModel, preprocess: Preprocess, calibration: Calibration, about: Mapping[str, Any]
    ) -> None:
        super().__init__(method, params, about)
        self.preprocess = preprocess
        self.calibration = calibration

    @abc.abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            images: (N, 3, S, S) float32 in [0, 1], S the preprocessing's image_size.

        Returns:
            Anomaly maps (N, S, S) and image scores (N,), float32, higher is worse.
        """

    def kept(self) -> dict[str, Any]:
        """How scores become decisions."""
        return {"calibration": self.calibration.model_dump(mode="json")}

    def replay(self, examples: Sequence[Mapping[str, Tensor]]) -> np.ndarray:
        """Maps and scores of examples, which hold ``images``."""
        images = np.stack([example["images"].numpy() for example in examples])
        maps, scores = self.score(np.asarray(np.rint(255 * images), np.uint8))
        return np.asarray(np.concatenate([maps.ravel(), scores.ravel()]))

    def timing_probe(self) -> Callable[[], object]:
        """`score` of one image that is preprocessed already."""
        side = self.preprocess.image_size
        picture = np.random.default_rng(0).integers(0, 256, (1, 3, side, side), dtype=np.uint8)
        return lambda: self.score(picture)

    @property
    def bank_rows(self) -> int | None:
        """Vectors in the memory bank; None for a detector without one."""
        return None

    def grid_scores(self, images: Tensor) -> Tensor | None:
        """Distances of the grid cells (N, h, w), before upsampling and smoothing; None where there is no such step."""
        return None

    def explain(self, images: Tensor) -> Mapping[str, Tensor]:
        """Further maps for display by name, each (N, h, w) of any size; their values decide nothing."""
        return {}

    @torch.inference_mode()
    def score(self, images: np.ndarray, batch: int = 16) -> tuple[np.ndarray, np.ndarray]:
        """Maps (N, S, S) and scores (N,) of preprocessed images, uint8 (N, 3, S, S)."""
        device = next(self.buffers()).device
        # As the feature stages compute them: TF32 would round scores to 1e-3.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            parts = [
                self(torch.tensor(images[start : start + batch]).to(device).float() / 255)
                for start in range(0, len(images), batch)
            ]
        if not parts:
            side = self.preprocess.image_size
            return np.zeros((0, side, side), np.float32), np.zeros(0, np.float32)
        # Under autocast both come in half precision, which numpy does not always know.
        maps, scores = (torch.cat([part[index] for part in parts]).float().cpu().numpy() for index in (0, 1))
        return maps, scores

    def predict(self, pictures: Sequence[Image | np.ndarray], threshold: float | None = None) -> Predictions:
        """Decide about images of any size.

        Args:
            pictures: PIL images of any mode, or arrays (`subband.data.images.to_picture`).
            threshold: used instead of the calibrated one.

        Raises:
            ParamsError: a single image, or an array of another form.
        """
        prepared = [self.preprocess.image(image).transpose(2, 0, 1) for image in as_pictures(pictures, self.reading)]
        side = self.preprocess.image_size
        images = np.stack(prepared) if prepared else np.zeros((0, 3, side, side), np.uint8)
        maps, scores = self.score(images)
        limit = self.calibration.threshold if threshold is None else threshold
        # In float64: numpy would round the threshold to the scores' float32 before it compares.
        pixels = limit if self.task == "segmentation" else self.calibration.pixel_threshold
        return Predictions(scores, scores.astype(np.float64) > limit, maps, limit, pixels)

    def prediction_maps(
        self, pictures: Sequence[Image], order: str | None = None, stretch: bool | None = None
    ) -> list[np.ndarray]:
        """Maps of probabilities as 8-bit grey images, uint8 (H, W), each of its image's own size.

        Args:
            pictures: PIL images.
            order: ``defect`` or ``object``, the two published ways to that size; None as trained.
            stretch: whether each map is brought to full contrast by its own extremes; None as trained.

        Raises:
            ModelError: the detector gives anomaly scores, which have no common scale.
        """
        raise ModelError(
            f"{self.method} gives anomaly scores, which are no probabilities: prediction maps come from segmenters; "
            "jobs/figures.py draws what this detector sees"
        )


def set_calibration(folder: Path | str, calibration: Calibration) -> None:
    """Change the threshold of a saved detector; its tensors are not touched."""
    folder = Path(folder)
    description = read_description(folder)
    description["calibration"] = calibration.model_dump(mode="json")
    write_description(folder, description)


def parse_calibration(description: Mapping[str, Any]) -> Calibration:
    """The calibration in the description of a saved detector.

    Raises:
        ModelError: it is damaged.
    """
    if "calibration" not in description:
        raise ModelError(f"the saved {DESCRIPTION} is damaged: it lacks calibration")
    try:
        return Calibration.model_validate(description["calibration"])
    except ValidationError as error:
        raise ModelError(f"the saved model's {DESCRIPTION} has no usable calibration: {error}") from error
