"""The method from data to a saved detector: what a training does with it, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from subband.analysis.trained_figures import training_figures
from subband.champions.trained import finished, save_finished
from subband.data import open_dataset
from subband.data.detection.instances import box_of_mask
from subband.errors import DataError, ModelError, ParamsError
from subband.methods import load, make_params
from subband.methods.wsfvit.detect.backbone import make_body
from subband.methods.wsfvit.detect.detector import ObjectDetector, detections, make_network
from subband.methods.wsfvit.detect.method import WSFVIT_DETECTION as METHOD
from subband.methods.wsfvit.detect.recipes import RECIPES
from subband.training.loop import Training
from tests.methods.detection_parts import CLASSES, data, params

KINDS = ("mask-rcnn", "cascade")


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest) -> Training:
    chosen = params(
        kind=request.param,
        epochs=2,
        accumulation=2,
        augmentation="flip-resize-crop",
        short_sides=(48, 64),
        before_crop=(40,),
        crop=(32, 40),
    )
    run = Training(METHOD, chosen, METHOD.examples(chosen, data()))
    epochs = list(run.run())
    assert [epoch.number for epoch in epochs] == [1, 2]
    return run


def test_it_trains_and_is_evaluated(trained: Training) -> None:
    assert len(trained.history) == 2
    for row in trained.history:
        assert np.isfinite(row["loss"])
        assert 0 <= row["box_ap"] <= row["box_ap50"] <= 1
        assert 0 <= row["mask_ap"] <= 1
    assert trained.history[1]["learning_rate"] == pytest.approx(trained.params.lr / 10)
    assert METHOD.chosen_by in trained.history[0]


def test_what_is_saved_answers_the_same(trained: Training, tmp_path: Path) -> None:
    detector = finished(METHOD, trained.params, trained.use_best(), trained.history, trained.data, {}, data())  # type: ignore[arg-type]
    parity, _ = save_finished(detector, trained.data.validation, tmp_path / "model")
    assert parity <= 1e-5
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, ObjectDetector)
    assert loaded.classes == CLASSES
    assert loaded.task == "object detection"
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 70, 3), dtype=np.uint8))
    (one,), (other,) = detector.predict([picture]), loaded.predict([np.asarray(picture)])  # type: ignore[attr-defined]
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-4)
    assert one.runs == other.runs
    loaded.timing_probe()()
    figures = training_figures(METHOD, "drawn", trained.data, trained.history, tmp_path / "model")
    assert list(figures) == ["learning-curves", "gallery-test"]


def test_answers_are_in_the_pixels_of_the_picture(trained: Training) -> None:
    detector = METHOD.finish(trained.params, trained.model, {})  # type: ignore[arg-type]
    picture = data().split("test")[0].image.open().resize((150, 90))
    (found,) = detector.predict([picture])
    assert found.size == (150, 90)
    assert 0 < len(found) <= 100
    assert found.masks.shape == (len(found), 90, 150)
    assert (found.scores >= 0.05).all()
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert found.boxes.min() >= 0
    assert found.boxes[:, 2].max() <= 150 + 1e-3
    assert found.boxes[:, 3].max() <= 90 + 1e-3
    for box, mask in zip(found.boxes, found.masks, strict=True):
        if mask.any():
            x0, y0, x1, y1 = box_of_mask(mask)
            assert x0 >= np.floor(box[0])
            assert y0 >= np.floor(box[1])
            assert x1 <= np.ceil(box[2])
            assert y1 <= np.ceil(box[3])
    middle = float(np.median(found.scores))
    (fewer,) = detector.predict([picture], score=middle)
    assert len(fewer) == (found.scores >= middle).sum()
    for wrong in (-0.1, 1.1):
        with pytest.raises(ParamsError, match="from 0 to 1"):
            detector.predict([picture], score=wrong)
    with pytest.raises(ParamsError, match="uint8"):
        detector.predict([np.zeros((4, 4, 3), np.int64)])
    with pytest.raises(ParamsError, match="give a single one in a list"):
        detector.predict(picture)


def test_what_is_found_does_not_depend_on_the_pictures_beside() -> None:
    network = make_network(params()).eval()
    drawn = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=drawn)
        for size in ((64, 64), (60, 120), (50, 64))
    ]
    sizes = [(image.shape[2], image.shape[1]) for image in images]
    with torch.no_grad():
        together = detections(network, images, sizes)
        for image, size, found in zip(images, sizes, together, strict=True):
            (alone,) = detections(network, [image], [size])
            assert len(found) == len(alone) > 0
            np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)
            np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-2)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    one, again, other = (make_network(params(seed=seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["heads.stages.0.boxes.classify.weight"], other["heads.stages.0.boxes.classify.weight"])


def test_the_rate_warms_up_and_drops() -> None:
    published = params(**RECIPES["mask-rcnn-t-3x"], window=7, warm_up=0.068)
    rates = [METHOD.rate(published, at) for at in (0.0, 0.034, 0.068, 26.99, 27.0, 32.99, 33.0, 35.99)]
    assert rates == pytest.approx([1e-7, 5.005e-5, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6], rel=1e-6)


def test_normalisations_and_position_tables_do_not_decay() -> None:
    network = make_network(params(kind="cascade", weight_decay=0.05))
    groups = METHOD.optimizer(params(weight_decay=0.05), network).param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    names = {id(own): name for name, own in network.named_parameters()}
    spared = {names[id(own)] for own in groups[1]["params"]}
    assert len(spared) + len(groups[0]["params"]) == len(names)
    assert any(name.endswith("relative_position_bias_table") for name in spared)
    for name in names.values():
        normalises = "norm" in name or "features.0.1" in name or "cpe.norm" in name
        assert (name in spared) >= (normalises or name.endswith("relative_position_bias_table")), name
    assert not any(name.endswith(("fc1.weight", "conv1.weight", "qkv.bias")) for name in spared)


def test_a_classifiers_weights_are_the_start_and_others_are_refused(tmp_path: Path) -> None:
    chosen = params(window=3)
    body = make_body(chosen, 5)
    old = {name: value for name, value in body.state_dict().items() if not name.startswith("norm")}
    old["head.fc.weight"] = torch.zeros(3, 192)
    torch.save(
        {"state_dict": {name.replace("attn_local", "attn_block"): value for name, value in old.items()}},
        tmp_path / "good.pt",
    )
    started = make_network(params(window=3, weights=str(tmp_path / "good.pt")))
    for name, value in old.items():
        if name in (own := started.backbone.body.state_dict()):
            assert torch.equal(own[name], value), name
    save_file({f"network.{name}": value for name, value in old.items()}, tmp_path / "own.safetensors")
    other = make_network(params(window=3, weights=str(tmp_path / "own.safetensors"), kind="cascade", drop_path=0.3))
    assert torch.equal(other.backbone.body.stem.conv1.weight, body.stem.conv1.weight)
    with pytest.raises(ModelError, match=r"of another shape.*WSF-ViT-P0"):
        make_network(params(window=3, variant="n", weights=str(tmp_path / "good.pt")))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"drops": (1, 5), "epochs": 4}, "drops .* above 0 and below 4 .*for instance --drops 3$"),
        ({"drops": (3, 2), "epochs": 4}, "growing"),
        ({"drops": (8, 11), "epochs": 1}, "below 1 .*: train more epochs"),
        ({"variant": "tt"}, "'tt' is not a WSF-ViT variant"),
        ({"weights": "pretrained"}, "no pretrained weights of WSF-ViT to fetch"),
        ({"classes": ("a", "a")}, "a name of its own"),
        ({"test_side": 96}, "test_side 96 is longer than the longest side, 64"),
        ({"short_sides": (96,)}, "image sizes"),
        ({"kind": "yolo"}, "kind"),
    ],
)
def test_illegal_params_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        params(**values)


def test_classes_are_those_of_the_data() -> None:
    assert METHOD.settled(params(classes=()), data()).classes == CLASSES
    assert METHOD.settled(params(), data()).classes == CLASSES
    for step in (METHOD.settled, METHOD.examples):
        with pytest.raises(ParamsError, match=r"has the classes disc, square, the params square, disc; leave them out"):
            step(params(classes=("square", "disc")), data())


def test_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="holds no boxes and masks"):
        METHOD.examples(params(), open_dataset("synthetic:"))
    with pytest.raises(DataError, match="no test images to choose"):
        METHOD.examples(params(validation="test"), open_dataset("synthetic-coco:?train=4&test=0&classes=2"))
    with pytest.raises(ParamsError, match="needs the names of the classes"):
        make_network(params(classes=()))


def test_what_chose_the_checkpoint_is_said() -> None:
    held_out = METHOD.examples(params(), open_dataset("synthetic-coco:?train=50&validation=0&test=2&classes=2"))
    assert held_out.notes == ("1 training images, held out by seed 0, chose the checkpoint",)
    assert (len(held_out.train), held_out.selection) == (49, "holdout")
    by_test = METHOD.examples(params(validation="test"), data())
    assert by_test.selection == "test"
    assert "optimistic" in by_test.notes[0]
    told: list[int] = []
    METHOD.check(by_test, lambda done, of: told.append(done))
    assert told == list(range(1, 17))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_legal(name: str) -> None:
    made = make_params(METHOD, {**RECIPES[name], "classes": CLASSES})
    assert made.test_side % 32 == 0
    assert "weights" in RECIPES[name] or made.variant in "tsm"


def test_tensors_of_another_detector_are_refused() -> None:
    tensors = METHOD.finish(params(), make_network(params()), {}).state_dict()
    with pytest.raises(ModelError, match=r"not those of a cascade with WSF-ViT-P0 for 2 classes: \d+ missing \(.*\)"):
        METHOD.restore(params(kind="cascade"), tensors, {"about": {}})
    assert isinstance(METHOD.restore(params(), tensors, {"about": {}}).network, nn.Module)
