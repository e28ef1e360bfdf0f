"""The threshold of pixels: chosen from left-out maps, saved, and used for masks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from subband.data import open_dataset
from subband.errors import ModelError, ParamsError
from subband.evaluation import CategoryBench
from subband.methods import get_method, load, make_params, set_calibration
from subband.methods.pixel_tail import PixelTail

TINY = {"image_size": 64, "backbone": "resnet18", "weights": "random:0"}


@given(seed=st.integers(0, 1000), images=st.integers(1, 150), share=st.sampled_from([0.001, 0.003, 0.01]))
def test_at_most_the_share_of_the_pixels_exceeds_the_threshold(seed, images, share):
    maps = torch.from_numpy(np.random.default_rng(seed).standard_normal((images, 9, 9)).astype(np.float32))
    threshold = PixelTail.of(maps).threshold(share)
    above = int((maps > threshold).sum())
    assert above <= share * maps.numel()
    assert above >= np.floor(share * maps.numel())
    assert threshold in maps


@pytest.mark.parametrize("share", [0.0, -0.1, 0.02, 1.0])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ParamsError, match="pixel_fpr"):
        PixelTail.of(torch.zeros(2, 9, 9)).threshold(share)


@pytest.mark.parametrize("name", ["wepadim", "patchcore", "wedgenet"])
def test_a_fit_finds_one_that_is_saved_and_makes_masks(name, tmp_path):
    category = open_dataset("synthetic:?train=8&test=8&size=64&categories=weave&difficulty=0").category("weave")
    more = {"grid": 8} if name == "wepadim" else {"ratio": 0.5}
    params = make_params(get_method(name), {**TINY, **more})
    detector = get_method(name).fit(params, CategoryBench(category, "test", 0, None).runner).detector
    assert detector.calibration.pixel_fpr == 0.001
    detector.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.calibration == detector.calibration
    predicted = again.predict([sample.image.open() for sample in category.test])
    above = predicted.maps > again.calibration.pixel_threshold
    np.testing.assert_array_equal(predicted.masks, above)
    np.testing.assert_allclose(predicted.defective_areas, above.mean(axis=(1, 2)))
    assert again.calibration.with_fpr(0.2).pixel_threshold == again.calibration.pixel_threshold
    older = again.calibration.model_copy(update={"pixel_threshold": None, "pixel_fpr": None})
    set_calibration(tmp_path / "model", older)
    with pytest.raises(ModelError, match="saved without a pixel threshold"):
        _ = load(tmp_path / "model").predict([category.test[0].image.open()]).masks
