"""The published settings as named presets, and small ones for the embedded data.

Source of the published ones: the detection configurations released with WSF-ViT (specification 11). Their results on COCO
val2017 stand beside them; none was measured again here. All start from weights of the classifier at 224 pixels, which the
authors' README links on a file-sharing site: give ``weights`` the downloaded file, or the checkpoint of a training of yours.
The number of GPUs is not stated; 16 images an update is Swin's setting. The published runs ask for half precision for Mask
R-CNN T and for the cascades T and M, not for S; here ``precision`` says so, float32 by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_3X: Mapping[str, Any] = {
    "epochs": 36,
    "drops": (27, 33),
    "lr": 1e-4,
    "batch": 16,
    "weight_decay": 0.05,
    "mmdet_boxes": True,
}

# Published: box AP 48.6, AP50 70.6, AP75 53.6; mask AP 43.7, 67.6, 47.2; 42.7 M parameters, 254.6 G at 1120 x 896.
MASK_RCNN_T = {**_3X, "kind": "mask-rcnn", "variant": "t", "drop_path": 0.2}

# Published: box AP 52.3, mask AP 45.2; 80.5 M parameters, 733 G. Four micro-batches an update, as published.
CASCADE_T = {**_3X, "kind": "cascade", "variant": "t", "drop_path": 0.2, "accumulation": 4}

# Published: box AP 53.2, mask AP 46.0; 98.9 M parameters, 788 G.
CASCADE_S = {**CASCADE_T, "variant": "s", "drop_path": 0.35}

# Published: box AP 53.6, mask AP 46.4; 126.7 M parameters, 885 G.
CASCADE_M = {**CASCADE_T, "variant": "m", "drop_path": 0.6}

# Half an hour at most on two processor cores, from random weights: for the embedded data.
# Measured on its test images: box AP .717, AP50 .890, mask AP .750, AP50 .883 (docs/wsfvit-detection.md).
SMALL = {
    "kind": "mask-rcnn",
    "variant": "p0",
    "weights": "random:0",
    "window": 4,
    "drop_path": 0.0,
    "frozen_statistics": False,
    "channels": 64,
    "hidden": 256,
    "anchor_scale": 4.0,
    "candidates": 300,
    "proposals": 100,
    "sampled_regions": 64,
    "epochs": 14,
    "batch": 8,
    "lr": 1e-3,
    "clip": 5.0,
    "warm_up": 1.0,
    "drops": (11, 13),
    "augmentation": "flip",
    "short_sides": (128,),
    "test_side": 128,
    "longest": 128,
}

# Seconds: goes through every step and learns next to nothing.
SMOKE = {
    **SMALL,
    "window": 2,
    "channels": 16,
    "hidden": 32,
    "proposals": 20,
    "sampled_regions": 16,
    "epochs": 2,
    "batch": 4,
    "drops": (1,),
    "short_sides": (64,),
    "test_side": 64,
    "longest": 64,
}

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "mask-rcnn-t-3x": MASK_RCNN_T,
    "cascade-t-3x": CASCADE_T,
    "cascade-s-3x": CASCADE_S,
    "cascade-m-3x": CASCADE_M,
    "small": SMALL,
    "smoke": SMOKE,
}
