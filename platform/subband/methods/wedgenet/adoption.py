"""A detector around a published bank, so that it can be evaluated and served like any other.

What the bank does not hold must be said or is lost: the backbone's weights are given, the encoder's seed is a guess (the
published code drew a new encoder in every process, specification B1), and the images behind the bank are known only if they
are given again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from subband.errors import ModelError
from subband.methods.detector import UNCALIBRATED, Calibration
from subband.methods.memorybank.detector import MemoryBankDetector
from subband.methods.memorybank.params import MemoryBankParams
from subband.methods.patchcore.method import PATCHCORE
from subband.methods.patchcore.params import PatchCoreParams
from subband.methods.wedgenet.checkpoint import Bank
from subband.methods.wedgenet.method import WEDGENET
from subband.methods.wedgenet.params import WedgeNetParams
from subband.nn.backbones import Backbone
from subband.validating import validated

ESTIMATE = "estimated on training images, which the bank may have seen: expect more false alarms"


def detector_of(bank: Bank, values: dict[str, Any]) -> MemoryBankDetector:
    """The uncalibrated detector of a bank.

    Args:
        bank: read by `read_bank`.
        values: params that the bank's facts leave open, for instance ``weights`` and ``encoder_seed``.

    Raises:
        ParamsError: an illegal value.
        ModelError: the params make vectors of another width than the bank's, or the weights cannot be read.
    """
    facts = bank.facts
    known: dict[str, Any] = {"mode": facts.mode, "backbone": facts.backbone, "ratio": facts.ratio or 1.0}
    params: MemoryBankParams
    method: Any = PATCHCORE if facts.method == PATCHCORE.name else WEDGENET
    if method is PATCHCORE:
        known |= {"features": "averages", "distance": "euclidean", "image_score": "map"}
        params = validated(PatchCoreParams, {**known, **values}, method.name)
    else:
        known |= {"semantic": facts.semantic}
        params = validated(WedgeNetParams, {**known, **values}, method.name)
    if params.channels() != bank.vectors_MD.shape[1]:
        raise ModelError(
            f"the bank has vectors of {bank.vectors_MD.shape[1]} numbers, {params.backbone} with these params makes vectors of "
            f"{params.channels()}: give the backbone that the bank was made with"
        )
    embedder = method.embedder(params, Backbone(params.backbone, params.weights, params.normalisation, params.blocks))
    about = {"bank": facts.model_dump(mode="json"), "bank_rows": len(bank.vectors_MD)}
    return MemoryBankDetector(method.name, params, embedder, bank.vectors_MD, UNCALIBRATED, about).eval()


@torch.inference_mode()
def calibrate(detector: MemoryBankDetector, images: np.ndarray, fpr: float) -> None:
    """Set the threshold from good images, uint8 (N, 3, S, S).

    The vectors of a published bank cannot be traced to images, so that none can be left out: the rule says so.
    """
    _, scores = detector.score(images)
    detector.calibration = Calibration.at_fpr(scores.tolist(), fpr, estimate=ESTIMATE)
