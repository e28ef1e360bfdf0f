"""Published detectors: checkpoints in mmdetection's naming (2.x), sizes read off the tensors, loaded strictly.

Layers and shapes are the same as here; what differs is names and the place of the background among the classes, which is last
there and first here. Source of the names and conventions: mmdetection's documentation and the released configurations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from subband.errors import ModelError
from subband.methods.wsfvit.checkpoint import WRAPPERS, compare, load_checkpoint, own_names, variant_of
from subband.methods.wsfvit.detect.heads import CONVOLUTIONS
from subband.methods.wsfvit.detect.network import DetectionNetwork
from subband.nn.backbones import read_checkpoint

_BODY = "backbone.body."
_TABLE = "stages.0.blocks.0.attn_local.attn.rel_pos.relative_position_bias_table"
_LATERAL = "neck.lateral_convs.0.conv.weight"
_NAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"backbone\.fpn\.inner_blocks\.(\d)\.0", r"neck.lateral_convs.\1.conv"),
        (r"backbone\.fpn\.layer_blocks\.(\d)\.0", r"neck.fpn_convs.\1.conv"),
        (r"rpn\.head\.conv\.0\.0", "rpn_head.rpn_conv"),
        (r"rpn\.head\.cls_logits", "rpn_head.rpn_cls"),
        (r"rpn\.head\.bbox_pred", "rpn_head.rpn_reg"),
        (r"heads\.stages\.(\d)\.boxes\.features\.fc6", r"roi_head.bbox_head.\1.shared_fcs.0"),
        (r"heads\.stages\.(\d)\.boxes\.features\.fc7", r"roi_head.bbox_head.\1.shared_fcs.1"),
        (r"heads\.stages\.(\d)\.boxes\.features\.(\d)\.0", r"roi_head.bbox_head.\1.shared_convs.\2.conv"),
        (r"heads\.stages\.(\d)\.boxes\.features\.(\d)\.1", r"roi_head.bbox_head.\1.shared_convs.\2.bn"),
        # One layer without weights (flattening) lies between the convolutions and the linear layer.
        (rf"heads\.stages\.(\d)\.boxes\.features\.{CONVOLUTIONS + 1}", r"roi_head.bbox_head.\1.shared_fcs.0"),
        (r"heads\.stages\.(\d)\.boxes\.classify", r"roi_head.bbox_head.\1.fc_cls"),
        (r"heads\.stages\.(\d)\.boxes\.locate", r"roi_head.bbox_head.\1.fc_reg"),
        (r"heads\.stages\.(\d)\.masks\.0\.(\d)\.0", r"roi_head.mask_head.\1.convs.\2.conv"),
        (r"heads\.stages\.(\d)\.masks\.1\.conv5_mask", r"roi_head.mask_head.\1.upsample"),
        (r"heads\.stages\.(\d)\.masks\.1\.mask_fcn_logits", r"roi_head.mask_head.\1.conv_logits"),
    )
)


def published_name(name: str, cascade: bool) -> str:
    """The name in mmdetection's files of a tensor of this network behind the backbone.

    Args:
        name: in the network's state dict, such as ``rpn.head.cls_logits.bias``.
        cascade: whether heads are numbered; those of Mask R-CNN are not.
    """
    layer, _, kind = name.rpartition(".")
    found = next(place.expand(there) for here, there in _NAMES if (place := here.fullmatch(layer)))
    if not cascade:
        found = re.sub(r"^(roi_head\.\w+)\.0", r"\1", found)
    return f"{found}.{kind}"


def read_detector(path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a checkpoint by their names in it, and the params that it tells.

    Args:
        path: a file of torch.save, or .safetensors; no code in it is run.

    Returns:
        The tensors, and ``kind``, ``variant``, ``window``, ``channels``, ``hidden``, ``num_classes``, and ``classes`` if the file
        names them or has COCO's number of classes.

    Raises:
        ModelError: the file cannot be read, or is no such checkpoint.
    """
    read, others = read_checkpoint(path, WRAPPERS)
    state = {name.removeprefix("module."): tensor for name, tensor in read.items()}
    cascade = "roi_head.bbox_head.0.fc_cls.weight" in state
    head = "roi_head.bbox_head.0" if cascade else "roi_head.bbox_head"
    backbone = own_names({name: tensor for name, tensor in state.items() if name.startswith("backbone.")})
    needed = (f"{head}.fc_cls.weight", f"{head}.shared_fcs.0.weight", _LATERAL)
    lacking = [*(name for name in needed if name not in state), *([] if _TABLE in backbone else [f"backbone.{_TABLE}"])]
    if lacking:
        raise ModelError(
            f"{path} is no checkpoint of a WSF-ViT detector in mmdetection's naming: it has no {lacking[0]}"
        )
    variant = variant_of(backbone)
    if variant is None:
        raise ModelError(f"{path} is no checkpoint of a WSF-ViT detector: its backbone is none of a known variant")
    count = len(state[f"{head}.fc_cls.weight"]) - 1
    told: dict[str, Any] = {
        "kind": "cascade" if cascade else "mask-rcnn",
        "variant": variant,
        "window": (backbone[_TABLE].shape[-1] + 1) // 2,
        "channels": len(state[_LATERAL]),
        "hidden": len(state[f"{head}.shared_fcs.0.weight"]),
        "num_classes": count,
    }
    names = _class_names(others.get("meta"), count)
    return state, told | ({"classes": names} if names else {})


def load_published(network: DetectionNetwork, state: Mapping[str, Tensor], origin: str) -> None:
    """Load a published state dict: every tensor must have its place; the fixed filters of the stem may be left out.

    Raises:
        ModelError: something is missing, over or of another shape; the message says what, by the names in the file.
    """
    cascade = len(network.heads.stages) > 1
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(_BODY)}
    names = {name: published_name(name, cascade) for name in own}
    given = {name: tensor for name, tensor in state.items() if not name.startswith("backbone.")}
    if found := compare({names[name]: tensor for name, tensor in own.items()}, given):
        raise ModelError(f"{origin} does not fit this detector: {found.summary()}")
    loaded = load_checkpoint(network.backbone.body, state, origin=origin)
    if lacking := [name for name in loaded.kept if name.startswith("norm")]:
        raise ModelError(f"{origin} does not fit this detector: {len(lacking)} missing (backbone.{lacking[0]}, ...)")
    tensors = {name: given[there] for name, there in names.items()}
    for name in tensors:
        if ".classify." in name:  # the background is last there
            tensors[name] = torch.roll(tensors[name], 1, dims=0)
    network.load_state_dict(tensors, strict=False)  # the backbone has its own already


def _class_names(meta: object, count: int) -> tuple[str, ...]:
    """Names of the classes by what a file says, else COCO's where their number fits, else none."""
    said: Any = meta if isinstance(meta, dict) else {}
    inner = said.get("dataset_meta")
    for names in (
        said.get("CLASSES"),
        *((inner.get("CLASSES"), inner.get("classes")) if isinstance(inner, dict) else ()),
    ):
        if isinstance(names, (tuple, list)) and len(names) == count and all(isinstance(name, str) for name in names):
            return tuple(names)
    # torchvision keeps COCO's numbers, of which ten are without a class.
    categories = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    coco = tuple(name for name in categories if name not in ("__background__", "N/A"))
    return coco if count == len(coco) else ()
