"""WE-PaDiM under the platform's contract, in every form it can take; and proof that the contract's checks can fail."""

from typing import ClassVar

import numpy as np
import torch

from subband.methods import get_method
from subband.methods.wepadim import stages
from subband.methods.wepadim.gaussian import primal_spectrum
from subband.methods.wepadim.method import WEPaDiM, require_training_pictures
from subband.stages import Stage
from subband.testing import MethodContract

SMALL = {"weights": "random:0", "image_size": 64, "grid": 4}


class TestWEPaDiM(MethodContract):
    """Corrected mode, dual form: fewer training images than channels."""

    name = "wepadim"
    params = SMALL
    variations: ClassVar = {
        "mode": {"mode": "reference", "resize": 64, "grid": "smallest"},
        "backbone": "resnet34",
        "weights": "random:1",
        "normalisation": {"normalisation": "imagenet", "backbone": "efficientnet_lite0"},
        "blocks": {"blocks": "2", "backbone": "timm:test_vit"},
        "framing": {"framing": "crop", "resize": 72},
        "image_size": 80,
        "resampling": "bilinear",
        "wavelet": "db2",
        "level": 2,
        "subbands": "LL+HH",
        "grid": 3,
        "antialias": False,
        "placement": {"placement": "resized", "wavelet": "db2"},
        "cov_reg": 0.1,
        "jitter": 0.01,
        "distance": "squared",
        "smoothing": "reference",
        "sigma": 2.0,
    }
    bad_params: ClassVar = {
        "mode": "corected",
        "backbone": "resnet-19",
        "weights": "random:",
        "normalisation": "none",
        "blocks": "0",
        "framing": "zoom",
        "resize": 8,
        "image_size": 16,
        "resampling": "nearest",
        "wavelet": "harr",
        "level": 5,
        "subbands": "LL+LX",
        "grid": 1,
        "antialias": "perhaps",
        "placement": "left",
        "cov_reg": 0,
        "jitter": -1,
        "distance": "euclidean",
        "smoothing": "box",
        "sigma": 65,
    }

    def test_every_param_is_varied_and_refused(self):
        fields = set(get_method("wepadim").params_type.model_fields)
        assert set(self.variations) == fields - {"resize"}, "resize is varied together with framing"
        assert set(self.bad_params) == fields


@torch.inference_mode()
def primal(upstream, params, source):
    """The D x D covariance whatever the number of images, as the chain chooses it for more images than channels."""
    vectors = upstream()
    names = [name for name in vectors.arrays if name.rsplit(".", 1)[1] in params.subbands.split("+")]
    joined = torch.from_numpy(np.concatenate([vectors.array(name) for name in names], axis=2))
    count = vectors.values["count"]
    found = primal_spectrum(joined[:, :count], joined[:, count:])
    return {
        "variances": found.variances_PR.numpy(),
        "energies": found.energies_PRM.numpy(),
        "residual": found.residual_PM.numpy(),
    }


class PrimalWEPaDiM(WEPaDiM):
    """WE-PaDiM that always takes the primal form: 450 images would choose it, and take minutes."""

    def chain(self, params, fitted, scored):
        chain = (*stages.DIRECT_CHAIN[:3], Stage("spectrum", 1, ("subbands",), primal), *stages.DIRECT_CHAIN[4:])
        require_training_pictures(fitted)
        return chain, "primal: forced"


class TestReferenceModeInPrimalForm(MethodContract):
    """The published code's behaviour; evaluated in the primal form and fitted in the dual one, which must agree."""

    name = "wepadim"
    params: ClassVar = {
        "mode": "reference",
        "weights": "random:0",
        "image_size": 64,
        "resize": 72,
        "subbands": "LL",
    }
    variations: ClassVar = {"resize": 80, "sigma": 2.0, "cov_reg": 0.1}
    bad_params: ClassVar = {"cov_reg": float("nan"), "resize": "large"}

    def method(self):
        return PrimalWEPaDiM()
