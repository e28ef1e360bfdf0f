"""The frozen-backbone methods on networks of timm: stages and detector agree, a saved model needs nothing but itself."""

import numpy as np
import pytest
import timm
import torch

import subband
from subband.data import load_images, open_dataset
from subband.errors import ParamsError
from subband.evaluation import CategoryBench
from subband.methods import get_method, make_params

URI = "synthetic:?train=6&test=4&size=64&difficulty=0&categories=weave"
METHODS = ("wepadim", "wedgenet", "patchcore")


@pytest.fixture(scope="module")
def category():
    return open_dataset(URI).category("weave")


@pytest.fixture(scope="module")
def bench(category):
    return CategoryBench(category, "test", 0, None)


def made(method, **values):
    given = {"weights": "random:0", "image_size": 64, **({} if method == "wepadim" else {"ratio": 0.5})}
    return make_params(get_method(method), {**given, **values})


@pytest.mark.parametrize(
    "values",
    [
        {"backbone": "timm:test_vit"},
        {"backbone": "timm:test_vit", "blocks": "2+5"},
        {"backbone": "timm:test_convnext"},
        {"backbone": "timm:vit_tiny_patch16_224", "blocks": "3"},
    ],
    ids=["plain", "two-blocks", "strides", "one-block"],
)
@pytest.mark.parametrize("name", METHODS)
def test_a_saved_detector_has_the_scores_of_the_stages(category, bench, tmp_path, name, values):
    method, params = get_method(name), made(name, **values)
    maps, scores = bench.maps(method, params)
    method.fit(params, bench.runner).detector.save(tmp_path / "model")
    detector = subband.load(str(tmp_path / "model"))
    images = load_images([sample.image for sample in category.test], params.preprocess())
    with torch.inference_mode():
        own_maps, own_scores = detector(torch.from_numpy(images).float() / 255)
    np.testing.assert_allclose(own_maps, maps, rtol=1e-4, atol=1e-4 * maps.max())
    np.testing.assert_allclose(own_scores, scores, rtol=1e-4)


def test_one_map_is_kept_once(bench):
    """A memory bank that reads one block holds that block's numbers, not the same numbers twice."""
    assert made("patchcore", backbone="timm:test_vit", features="averages").channels() == 64
    assert made("patchcore", backbone="timm:test_vit", features="averages", blocks="2+5").channels() == 128
    assert made("wedgenet", backbone="timm:test_vit", semantic=False).channels() == 128, "its two gates differ"


def test_blocks_decide_about_the_result(bench):
    method = get_method("patchcore")
    first, last = (
        bench.maps(method, made("patchcore", backbone="timm:test_vit", blocks=blocks))[1] for blocks in ("1", "6")
    )
    assert not np.allclose(first, last)


def test_weights_of_a_file_are_taken(bench, tmp_path):
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "mine.pth")
    for name in METHODS:
        params = made(name, backbone="timm:test_vit", weights=str(tmp_path / "mine.pth"))
        detector = get_method(name).build(params, bench.runner)
        detector.save(tmp_path / name)
    (tmp_path / "mine.pth").unlink()
    for name in METHODS:
        assert subband.load(str(tmp_path / name)).params.backbone == "timm:test_vit.r160_in1k"


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (
            "wepadim",
            {"backbone": "timm:test_vit", "image_size": 70},
            "multiple of the patch .*choose for instance 64 or 80",
        ),
        ("wepadim", {"backbone": "timm:nothing"}, "'nothing' is not a network of timm"),
        ("patchcore", {"backbone": "timm:test_vit", "blocks": "1+2+3"}, "one block or two"),
        ("wedgenet", {"backbone": "timm:levit_128s"}, "no features at strides"),
        ("wepadim", {"backbone": "timm:test_vit", "weights": "packaged"}, "no pip package has weights"),
    ],
)
def test_what_does_not_go_together_is_refused(name, values, words):
    with pytest.raises(ParamsError, match=words):
        made(name, **values)
