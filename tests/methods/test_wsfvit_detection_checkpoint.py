"""Checkpoints in mmdetection's naming: read, refused, and computed with its boxes. The names are spelt out here a second time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from subband.errors import ModelError
from subband.methods import adopt, load
from subband.methods.wsfvit.checkpoint import load_checkpoint
from subband.methods.wsfvit.detect.backbone import make_body
from subband.methods.wsfvit.detect.box_coding import SymmetricCoder
from subband.methods.wsfvit.detect.network import DetectionNetwork
from subband.methods.wsfvit.detect.roi_heads import CASCADE, SINGLE
from tests.methods.detection_parts import CLASSES, network, params

KINDS = ("mask-rcnn", "cascade")
SIZES = {"test_side": 64, "longest": 64, "short_sides": (64,), "proposals": 20}
LATER_NAMES = {"attn_local": "attn_block", "attn_inter": "attn_channel", "attn_global": "attn_grid"}


def unlike_any_other(made: DetectionNetwork) -> DetectionNetwork:
    """The network in evaluation mode, with statistics and biases that a fresh one does not have."""
    generator = torch.Generator().manual_seed(1)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.8, 1.2, generator=generator)
    for stage in made.heads.stages:
        stage.boxes.classify.bias.data.copy_(torch.tensor([0.5, -0.2, 0.3]))
        stage.boxes.locate.weight.data.normal_(0, 0.05, generator=generator)
    return made.eval()


def as_mmdetection(made: DetectionNetwork) -> dict[str, Tensor]:
    """The network's tensors under mmdetection's names, the background last."""
    cascade = len(made.heads.stages) > 1
    fpn, rpn = made.backbone.fpn, made.rpn.head
    layers: dict[str, Any] = {
        "rpn_head.rpn_conv": rpn.conv[0][0],
        "rpn_head.rpn_cls": rpn.cls_logits,
        "rpn_head.rpn_reg": rpn.bbox_pred,
    }
    for level in range(4):
        layers[f"neck.lateral_convs.{level}.conv"] = fpn.inner_blocks[level][0]
        layers[f"neck.fpn_convs.{level}.conv"] = fpn.layer_blocks[level][0]
    for number, stage in enumerate(made.heads.stages):
        place = f".{number}" if cascade else ""
        boxes, masks = f"roi_head.bbox_head{place}", f"roi_head.mask_head{place}"
        layers |= {f"{boxes}.fc_cls": stage.boxes.classify, f"{boxes}.fc_reg": stage.boxes.locate}
        features = stage.boxes.features
        if cascade:
            for i in range(4):
                layers |= {
                    f"{boxes}.shared_convs.{i}.conv": features[i][0],
                    f"{boxes}.shared_convs.{i}.bn": features[i][1],
                }
            layers[f"{boxes}.shared_fcs.0"] = features[5]
        else:
            layers |= {f"{boxes}.shared_fcs.0": features.fc6, f"{boxes}.shared_fcs.1": features.fc7}
        layers |= {f"{masks}.convs.{i}.conv": stage.masks[0][i][0] for i in range(4)}
        layers |= {
            f"{masks}.upsample": stage.masks[1].conv5_mask,
            f"{masks}.conv_logits": stage.masks[1].mask_fcn_logits,
        }
    found = {f"{name}.{kind}": tensor for name, layer in layers.items() for kind, tensor in layer.state_dict().items()}
    for name, tensor in found.items():
        if ".fc_cls." in name:
            found[name] = torch.cat([tensor[1:], tensor[:1]])
    for name, tensor in made.backbone.body.state_dict().items():
        for later, older in LATER_NAMES.items():
            name = name.replace(f".{later}.", f".{older}.")
        found[f"backbone.{name}"] = tensor
    return found


def saved(folder: Path, state: dict[str, Tensor], **meta: Any) -> Path:
    """A file as mmcv writes it."""
    about = {"epoch": 36, "iter": 1, "hook_msgs": {"best_score": np.float64(0.5)}, **meta}
    torch.save({"meta": about, "state_dict": state, "optimizer": {}}, folder / "epoch_36.pth")
    return folder / "epoch_36.pth"


@pytest.fixture(scope="module", params=KINDS)
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DetectionNetwork, Path]:
    made = unlike_any_other(network(kind=request.param, mmdet_boxes=True, anchor_scale=8.0, **SIZES))
    return made, saved(tmp_path_factory.mktemp("mmdet"), as_mmdetection(made), CLASSES=CLASSES)


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def test_what_is_adopted_computes_the_same(published: tuple[DetectionNetwork, Path], tmp_path: Path) -> None:
    made, path = published
    detector = adopt(path, values=SIZES)
    told = detector.params.model_dump()
    wanted = params(kind=told["kind"], mmdet_boxes=True).model_dump()
    read = ("kind", "variant", "window", "channels", "hidden", "classes", "mmdet_boxes")
    assert {name: told[name] for name in read} == {name: wanted[name] for name in read}
    pixels = torch.from_numpy(np.array(picture())).permute(2, 0, 1)
    with torch.inference_mode():
        (expected,), (found,) = made([pixels]), detector.network([pixels])
    assert len(expected["boxes"]) > 1
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
    detector.save(tmp_path / "model")
    (before,), (after,) = detector.predict([picture(1)]), load(tmp_path / "model").predict([picture(1)])
    assert len(before.scores) > 0
    np.testing.assert_array_equal(after.boxes, before.boxes)
    np.testing.assert_array_equal(after.scores, before.scores)


def test_every_tensor_counts(published: tuple[DetectionNetwork, Path], tmp_path: Path) -> None:
    made, path = published
    state = as_mmdetection(made)
    stage = "2." if len(made.heads.stages) > 1 else ""
    changes = {
        f"roi_head.mask_head.{stage}upsample.weight": None,
        "neck.fpn_convs.3.conv.bias": None,
        "backbone.norm2.norm.weight": None,
        "rpn_head.rpn_reg.weight": torch.zeros(4, 16, 1, 1),
        "roi_head.bbox_head.semantic.weight": torch.zeros(1),
        "backbone.stages.0.blocks.0.extra": torch.zeros(1),
    }
    for name, tensor in changes.items():
        changed = (
            {**state, name: tensor}
            if tensor is not None
            else {key: value for key, value in state.items() if key != name}
        )
        shown = name.removeprefix("backbone.")
        with pytest.raises(ModelError, match=shown.replace(".", r"\.")):
            adopt(saved(tmp_path, changed, CLASSES=CLASSES))
    with pytest.raises(ModelError, match="mmdetection's naming: it has no roi_head"):
        adopt(saved(tmp_path, {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}))
    with pytest.raises(ModelError, match="variant=p0, not t"):
        adopt(path, "mask-rcnn-t-3x" if not stage else "cascade-t-3x")


def test_names_of_classes(published: tuple[DetectionNetwork, Path], tmp_path: Path) -> None:
    made, _ = published
    bare = saved(tmp_path, as_mmdetection(made))
    with pytest.raises(ModelError, match="2 classes, whose names are not in the file: give 2 names"):
        adopt(bare)
    with pytest.raises(ModelError, match="2 classes, not 1: give 2 names"):
        adopt(bare, values={"classes": ("nut",)})
    assert adopt(bare, values={"classes": ("nut", "bolt")}).classes == ("nut", "bolt")


def test_coco_is_known_by_its_number_of_classes(tmp_path: Path) -> None:
    path = saved(tmp_path, as_mmdetection(network(classes=tuple(map(str, range(80))))))
    classes = adopt(path).classes
    assert (len(classes), classes[0], classes[11], classes[79]) == (80, "person", "stop sign", "toothbrush")


def test_a_training_starts_from_the_backbone_of_a_detector(published: tuple[DetectionNetwork, Path]) -> None:
    made, path = published
    body = make_body(params(), 5)
    load_checkpoint(body, path)
    for name, tensor in made.backbone.body.state_dict().items():
        torch.testing.assert_close(body.state_dict()[name], tensor, rtol=0, atol=0)


def test_anchors_are_those_of_the_formula() -> None:
    """Of every place of a level with stride s: centre (x s, y s), area (8 s) squared, height / width of 0.5, 1 and 2."""
    maps = [torch.zeros(1, 16, 128 // stride, 192 // stride) for stride in (4, 8, 16, 32, 64)]
    rpn = network(mmdet_boxes=True, anchor_scale=8.0).rpn
    (found,) = rpn.anchor_generator(ImageList(torch.zeros(1, 3, 128, 192), [(128, 192)]), maps)
    expected = []
    for stride in (4, 8, 16, 32, 64):
        for y in range(128 // stride):
            for x in range(192 // stride):
                for ratio in (0.5, 1.0, 2.0):
                    w, h = 8 * stride / math.sqrt(ratio), 8 * stride * math.sqrt(ratio)
                    expected.append((x * stride - w / 2, y * stride - h / 2, x * stride + w / 2, y * stride + h / 2))
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=1e-5)
    rounded = network(anchor_scale=8.0).rpn.anchor_generator.cell_anchors[0]
    assert (rounded == rounded.round()).all()


def decoded(box: list[float], delta: list[float], spread: tuple[float, ...]) -> list[float]:
    """Centre moved in units of the box's sides, sides grown by an exponential between 16 / 1000 and 1000 / 16."""
    dx, dy, dw, dh = (value * std for value, std in zip(delta, spread, strict=True))
    limit = math.log(1000 / 16)
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = (box[0] + box[2]) / 2 + dx * width, (box[1] + box[3]) / 2 + dy * height
    w, h = (side * math.exp(max(-limit, min(limit, d))) for side, d in ((width, dw), (height, dh)))
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


sides = st.floats(1, 500, width=32)
deltas = st.floats(-200, 200, width=32)


@given(
    st.tuples(sides, sides, sides, sides),
    st.tuples(deltas, deltas, deltas, deltas),
    st.sampled_from([kind.spread for kind in (*SINGLE, *CASCADE)] + [(1.0, 1.0, 1.0, 1.0)]),
)
def test_deltas_are_decoded_by_the_formula(box: Any, delta: Any, spread: tuple[float, ...]) -> None:
    x0, y0, width, height = box
    corners = [x0, y0, x0 + width, y0 + height]
    a, b, c, d = (1 / each for each in spread)
    coder = SymmetricCoder((a, b, c, d))
    found = coder.decode_single(torch.tensor([[*delta, 0, 0, 0, 0]]), torch.tensor([corners]))
    expected = torch.tensor([decoded(corners, list(delta), spread), corners])
    torch.testing.assert_close(found.reshape(2, 4), expected, rtol=1e-4, atol=1e-2)


def test_stages_and_proposals_use_it() -> None:
    made = network(kind="cascade", mmdet_boxes=True)
    coders = [made.rpn.box_coder, *(stage.coder for stage in made.heads.stages)]
    assert [coder.weights[2] for coder in coders] == pytest.approx([1, 5, 10, 1 / 0.067])
    for coder in coders:
        shrunk = coder.decode_single(torch.tensor([[0.0, 0.0, -1e3, -1e3]]), torch.tensor([[0.0, 0.0, 100.0, 100.0]]))
        assert (shrunk[0, 2] - shrunk[0, 0]).item() == pytest.approx(1.6, rel=1e-4)
