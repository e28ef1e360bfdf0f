"""What only a machine with a GPU can say; run by platform/bench/gpu.sh, and by `pytest -m gpu`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import subband

DATA = "synthetic:?train=8&test=8&size=96&categories=weave"

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")]


@pytest.mark.parametrize("method", ["wepadim", "patchcore", "wedgenet"])
def test_a_detector_gives_the_same_scores_on_a_gpu(method: str) -> None:
    detector = subband.fit(method, DATA, weights="random:0", image_size=96)
    category = subband.open_dataset(DATA).category("weave")
    images = np.stack([detector.preprocess.image(s.image.open()).transpose(2, 0, 1) for s in category.test])
    maps, scores = detector.to("cpu").score(images)
    maps_there, scores_there = detector.to("cuda").score(images)
    np.testing.assert_allclose(scores_there, scores, rtol=1e-3)
    np.testing.assert_allclose(maps_there, maps, rtol=1e-3, atol=1e-3 * float(np.abs(maps).max()))


def test_a_training_on_a_gpu_learns_as_on_a_cpu() -> None:
    model = subband.fit("wpformer", "synthetic-surface:?train=12&test=4&size=64", recipe="smoke")
    assert next(model.parameters()).device.type == "cpu"
    assert 0 <= subband.evaluate(model, "synthetic-surface:?train=12&test=4&size=64")["weighted_f"] <= 1
