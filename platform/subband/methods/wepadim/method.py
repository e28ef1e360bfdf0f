"""WE-PaDiM as the platform knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from subband.data import Preprocess
from subband.errors import DataError, ModelError
from subband.methods.base import Fitted, grouped_estimate
from subband.methods.detector import LEAVE_ONE_OUT, UNCALIBRATED, Calibration, parse_calibration
from subband.methods.features import IMAGES
from subband.methods.pixel_tail import PixelTail
from subband.methods.wepadim.detector import WEPaDiMDetector, cell_scores, vectors
from subband.methods.wepadim.gaussian import Gaussians, fit_gaussians
from subband.methods.wepadim.params import WEPaDiMParams
from subband.methods.wepadim.stages import FEATURES, choose_chain
from subband.nn.backbones import Backbone, built_backbone
from subband.nn.smoothing import smooth_maps
from subband.stages import Chain, Runner


class WEPaDiM:
    """PaDiM with a wavelet transform of the feature maps in place of random channels (arXiv 2508.16034)."""

    name = "wepadim"
    params_type = WEPaDiMParams

    def preprocess(self, params: WEPaDiMParams) -> Preprocess:
        """How these params frame an image."""
        return params.preprocess()

    def chain(self, params: WEPaDiMParams, fitted: int, scored: int) -> tuple[Chain, str]:
        """The dual or the primal chain, whichever is cheaper, and why.

        Raises:
            DataError: fewer than two training images, so there is no covariance.
        """
        require_training_pictures(fitted)
        return choose_chain(params, fitted, scored)

    def build(self, params: WEPaDiMParams, runner: Runner) -> WEPaDiMDetector:
        """The detector alone; its left-out distances, a by-product of the Gaussians, are dropped."""
        return self._fitted(params, runner)[0]

    @torch.inference_mode()
    def fit(self, params: WEPaDiMParams, runner: Runner) -> Fitted:
        """Fit to all of ``source.fit``; the good scores are exact leave-one-out scores in closed form."""
        groups = runner.source.fit_groups
        detector, left_out = self._fitted(params, runner, groups)
        maps = smooth_maps(cell_scores(left_out, params), detector.rows, detector.columns)
        good_scores = maps.amax(dim=(1, 2)).numpy()
        fitted = Fitted(detector, good_scores, grouped_estimate(LEAVE_ONE_OUT, groups), groups, PixelTail.of(maps))
        chosen = Calibration.at_fpr(fitted.threshold_scores.tolist(), 0.01, estimate=fitted.estimate)
        detector.calibration = chosen.with_pixels(fitted.pixel_tail)
        return fitted

    def fit_inputs(self, params: WEPaDiMParams) -> tuple[tuple[Chain, WEPaDiMParams], ...]:
        """The features."""
        return (((IMAGES, FEATURES), params),)

    @torch.inference_mode()
    def _fitted(
        self, params: WEPaDiMParams, runner: Runner, groups: Sequence[int] = ()
    ) -> tuple[WEPaDiMDetector, Tensor]:
        """The detector, and (N, P) left-out squared distances of the training images."""
        require_training_pictures(len(runner.source.fit))
        features = runner.run((IMAGES, FEATURES), params.model_dump())
        backbone = built_backbone(params.backbone, params.weights, params.normalisation, params.blocks)
        fitted = vectors((features.batches(f"fit.{tap.name}") for tap in backbone.spec.taps), params)
        gaussians, left_out = fit_gaussians(fitted, params.regularisation, groups)
        return WEPaDiMDetector(params, backbone, gaussians, UNCALIBRATED, {}), left_out

    def restore(
        self, params: WEPaDiMParams, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
    ) -> WEPaDiMDetector:
        """The detector that was saved with these tensors.

        Raises:
            ModelError: a tensor is missing or does not fit the params.
        """
        calibration = parse_calibration(description)
        try:
            gaussians = Gaussians(tensors["mean"], tensors["basis"], tensors["variances"])
            expected = (params.grid_side() ** 2, params.channels())
            if tuple(gaussians.mean_PD.shape) != expected:
                raise ModelError(
                    f"the saved means have shape {tuple(gaussians.mean_PD.shape)}; the params ask for {expected}"
                )
            detector = WEPaDiMDetector(
                params,
                Backbone(params.backbone, None, params.normalisation, params.blocks),
                gaussians,
                calibration,
                description["about"],
            )
            detector.load_state_dict(dict(tensors))
        except (KeyError, RuntimeError) as error:
            raise ModelError(
                f"the saved tensors are not those of a WE-PaDiM detector with these params: {error}"
            ) from error
        return detector


def require_training_pictures(count: int) -> None:
    """Refuse a category that has no covariance.

    Raises:
        DataError: fewer than two training images.
    """
    if count < 2:
        raise DataError(f"WE-PaDiM needs at least 2 good training images to estimate how they vary; there is {count}")


WEPADIM = WEPaDiM()
