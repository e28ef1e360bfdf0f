"""How far each pixel's colour is from its mean over good images, in standard deviations: a method in a hundred lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from subband.data import Preprocess, Split
from subband.errors import DataError, ModelError
from subband.methods import LEAVE_ONE_OUT, UNCALIBRATED, Calibration, Detector, Fitted
from subband.methods.base import grouped_estimate
from subband.methods.detector import parse_calibration
from subband.methods.features import IMAGES
from subband.methods.pixel_tail import PixelTail
from subband.nn.smoothing import smooth_maps, smoothing_matrices
from subband.stages import Chain, Chunk, ParamView, Runner, Stage, Upstream


class ColourParams(BaseModel):
    """Every field becomes a flag, a column and something that can be searched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    framing: Literal["stretch", "crop"] = Field("stretch", description="Whole image, or its centre after `resize`.")
    resize: int = Field(256, ge=16, le=4096, description="Shorter side before the crop, pixels.")
    image_size: int = Field(64, ge=16, le=1024, description="Side of the inspected square, pixels.")
    resampling: Literal["lanczos", "bilinear"] = Field("lanczos", description="Filter that resizes images.")
    floor: float = Field(0.02, gt=0, le=1, description="Smallest standard deviation, of values between 0 and 1.")
    sigma: float = Field(2.0, gt=0, le=64, description="Standard deviation of the smoothing, pixels.")


def distances(images: np.ndarray, learnt: np.ndarray, floor: float, sigma: float) -> tuple[Tensor, Tensor]:
    """Maps (N, S, S) and scores (N,) of uint8 images (N, 3, S, S) by the statistics of others, (M, 3, S, S)."""
    known = torch.tensor(learnt).float() / 255
    return judged(torch.tensor(images).float() / 255, known.mean(0), known.std(0), floor, sigma)


def judged(images: Tensor, mean: Tensor, std: Tensor, floor: float, sigma: float) -> tuple[Tensor, Tensor]:
    """The same of images in [0, 1], from mean and standard deviation (3, S, S)."""
    raw = ((images - mean) / std.clamp_min(floor)).square().sum(1).sqrt()
    side = (images.shape[2], images.shape[3])
    rows, columns = smoothing_matrices(side, side, sigma, "gaussian")
    maps = smooth_maps(raw, rows.to(raw), columns.to(raw))
    return maps, maps.amax(dim=(1, 2))


def _maps(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
    images = upstream()
    maps, scores = distances(images.array("query"), images.array("fit"), params.floor, params.sigma)
    return {"maps": maps.numpy(), "scores": scores.numpy()}


# Version 1 reads two params: a result is shared by all configurations that agree in these and in what IMAGES reads.
MAPS = Stage("colour", 1, ("floor", "sigma"), _maps, keep=False)


class ColourDetector(Detector):
    """Mean and standard deviation of every pixel."""

    def __init__(
        self, params: ColourParams, mean: Tensor, std: Tensor, calibration: Calibration, about: Mapping[str, Any]
    ):
        super().__init__("colour", params, _frame(params), calibration, about)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return judged(images, self.mean, self.std, self.params.floor, self.params.sigma)


def _frame(params: ColourParams) -> Preprocess:
    return Preprocess(**params.model_dump(include={"framing", "resize", "image_size", "resampling"}))


class Colour:
    """The interface `StagedMethod`: see its docstring for who calls what, and when."""

    name = "colour"
    params_type = ColourParams

    def preprocess(self, params: ColourParams) -> Preprocess:
        return _frame(params)

    def chain(self, params: ColourParams, fitted: int, scored: int) -> tuple[Chain, str]:
        _require_images(fitted)
        return (IMAGES, MAPS), "the only form"

    def fit_inputs(self, params: ColourParams) -> tuple[tuple[Chain, ColourParams], ...]:
        return (((IMAGES,), params),)

    def build(self, params: ColourParams, runner: Runner) -> ColourDetector:
        learnt = torch.tensor(self._learnt(params, runner)).float() / 255
        return ColourDetector(params, learnt.mean(0), learnt.std(0), UNCALIBRATED, {})

    def fit(self, params: ColourParams, runner: Runner) -> Fitted:
        learnt, groups = self._learnt(params, runner), runner.source.fit_groups
        maps = torch.cat(list(_left_out(learnt, groups or range(len(learnt)), params)))
        detector = self.build(params, runner)
        scores = maps.amax(dim=(1, 2)).numpy()
        fitted = Fitted(detector, scores, grouped_estimate(LEAVE_ONE_OUT, groups), groups, PixelTail.of(maps))
        chosen = Calibration.at_fpr(fitted.threshold_scores.tolist(), 0.01, estimate=fitted.estimate)
        detector.calibration = chosen.with_pixels(fitted.pixel_tail)
        return fitted

    def restore(
        self, params: ColourParams, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
    ) -> ColourDetector:
        shape = (3, params.image_size, params.image_size)
        if any(name not in tensors or tuple(tensors[name].shape) != shape for name in ("mean", "std")):
            raise ModelError(f"the saved tensors are not mean and std of shape {shape}")
        about, calibration = description["about"], parse_calibration(description)
        return ColourDetector(params, tensors["mean"], tensors["std"], calibration, about)

    def _learnt(self, params: ColourParams, runner: Runner) -> np.ndarray:
        _require_images(len(runner.source.fit))
        return runner.run((IMAGES,), params.model_dump()).array("fit")


def _left_out(learnt: np.ndarray, groups: Sequence[int], params: ColourParams) -> list[Tensor]:
    """Maps of every image by the statistics of those that do not belong to it, in order."""
    group = np.asarray(groups)
    rest = [learnt[group != own] for own in group]
    return [distances(learnt[i : i + 1], rest[i], params.floor, params.sigma)[0] for i in range(len(learnt))]


def _require_images(count: int) -> None:
    if count < 3:
        raise DataError(f"colour needs at least 3 good training images to estimate how they vary; there are {count}")


COLOUR = Colour()
