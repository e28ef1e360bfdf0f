"""A saved classifier of three shapes with random weights, for the tests of validation and explanation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from subband.methods import get_method, make_params

CLASSES = ("disc", "square", "triangle")
DATA = "synthetic-shapes:?classes=3&train=3&validation=4&test=8&size=48"


def made_classifier(classes: tuple[str, ...] = CLASSES, **values: Any) -> Any:
    method: Any = get_method("wsfvit")
    params = make_params(
        method, {"variant": "p0", "image_size": 32, "num_classes": len(classes), "weights": "random:3", **values}
    )
    network = method.model(params)
    with torch.no_grad():
        network.head.fc.weight.mul_(50)  # random weights hardly tell images apart
    return method.finish(params, network, {"classes": list(classes)})


def saved_classifier(folder: Path, **values: Any) -> Path:
    saved: Path = made_classifier(**values).save(folder / "model")
    return saved
