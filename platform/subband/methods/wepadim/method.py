"""WE-PaDiM as the platform knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from subband.data import Preprocess
from subband.errors import DataError, ModelError
from subband.methods.base import Fitted
from subband.methods.detector import Calibration
from subband.methods.features import IMAGES
from subband.methods.wepadim.detector import WEPaDiMDetector, cell_scores, vectors
from subband.methods.wepadim.gaussian import Gaussians, fit_gaussians
from subband.methods.wepadim.params import WEPaDiMParams
from subband.methods.wepadim.stages import FEATURES, choose_chain
from subband.nn.backbones import Backbone
from subband.nn.smoothing import smooth_maps, smoothing_matrices
from subband.stages import Chain, Runner


class WEPaDiM:
    """PaDiM with a wavelet transform of the feature maps in place of random channels (arXiv 2508.16034)."""

    name = "wepadim"
    params_type = WEPaDiMParams

    def preprocess(self, params: WEPaDiMParams) -> Preprocess:
        """How these params frame a picture."""
        return params.preprocess()

    def chain(self, params: WEPaDiMParams, fitted: int, scored: int) -> tuple[Chain, str]:
        """The dual or the primal chain, whichever is cheaper, and why.

        Raises:
            DataError: fewer than two training pictures, so there is no covariance.
        """
        require_training_pictures(fitted)
        return choose_chain(params, fitted, scored)

    @torch.inference_mode()
    def fit(self, params: WEPaDiMParams, runner: Runner) -> Fitted:
        """Fit to all of ``source.fit``; the good scores are exact leave-one-out scores in closed form."""
        require_training_pictures(len(runner.source.fit))
        values = params.model_dump()
        features = runner.run((IMAGES, FEATURES), values)
        backbone = Backbone(params.backbone, params.weights)
        fitted = vectors((features.batches(f"fit.{tap.name}") for tap in backbone.spec.taps), params)
        gaussians, left_out = fit_gaussians(fitted, params.regularisation)
        side, size = params.grid_side(), params.image_size
        rows, columns = smoothing_matrices((side, side), (size, size), params.sigma, params.smoothing)
        good_scores = smooth_maps(cell_scores(left_out, params), rows, columns).amax(dim=(1, 2)).numpy()
        calibration = Calibration.at_fpr(good_scores.tolist(), 0.01)
        return Fitted(WEPaDiMDetector(params, backbone, gaussians, calibration, {}), good_scores)

    def restore(
        self, params: WEPaDiMParams, tensors: Mapping[str, Tensor], calibration: Calibration, about: Mapping[str, Any]
    ) -> WEPaDiMDetector:
        """The detector that was saved with these tensors.

        Raises:
            ModelError: a tensor is missing or does not fit the params.
        """
        try:
            gaussians = Gaussians(tensors["mean"], tensors["basis"], tensors["variances"])
            expected = (params.grid_side() ** 2, params.channels())
            if tuple(gaussians.mean_PD.shape) != expected:
                raise ModelError(
                    f"the saved means have shape {tuple(gaussians.mean_PD.shape)}; the params ask for {expected}"
                )
            detector = WEPaDiMDetector(params, Backbone(params.backbone, None), gaussians, calibration, about)
            detector.load_state_dict(dict(tensors))
        except (KeyError, RuntimeError) as error:
            raise ModelError(
                f"the saved tensors are not those of a WE-PaDiM detector with these params: {error}"
            ) from error
        return detector


def require_training_pictures(count: int) -> None:
    """Refuse a category that has no covariance.

    Raises:
        DataError: fewer than two training pictures.
    """
    if count < 2:
        raise DataError(f"WE-PaDiM needs at least 2 good training pictures to estimate how they vary; there is {count}")


WEPADIM = WEPaDiM()
