"""Frozen backbones and the layers that the methods tap, built on timm: those of the table, and any other by its timm name."""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import timm
import torch
from pydantic import AfterValidator, ValidationInfo
from torch import Tensor, nn

from subband.errors import ModelError, ParamsError, unknown_name
from subband.nn.backbone_specs import BACKBONES, IMAGENET_MEAN, IMAGENET_STD, BackboneSpec
from subband.nn.packaged import packaged_file, packaged_state
from subband.nn.timm_networks import AUTO_BLOCKS, TIMM, TimmSpec, build_network, timm_name, timm_spec

Normalisation = Literal["own", "imagenet"]
"""own: the mean and standard deviation that the network was trained with; imagenet: those of ImageNet, whatever the network."""


def canonical_backbone(name: str) -> str:
    """The one spelling of a backbone's name: underscores, and timm's tag of the weights where timm has one.

    Raises:
        ParamsError: unknown name; near matches are given.
    """
    if name.startswith(TIMM):
        return timm_name(name)
    name = name.replace("-", "_")
    if name not in BACKBONES:
        raise ParamsError(f"{unknown_name('backbone', name, BACKBONES)}, or any network of timm: {TIMM}NAME")
    return name


def backbone_spec(name: str, blocks: str = AUTO_BLOCKS) -> BackboneSpec:
    """The specification of a backbone.

    Args:
        name: key of `BACKBONES`, or ``timm:NAME``.
        blocks: whose token maps are tapped in a plain ViT, counted from 1 and written ``6+9+12``; ``auto`` elsewhere.

    Raises:
        ParamsError: unknown name (near matches are given), a network without such features, or blocks that it does not have.
    """
    if name.startswith(TIMM):
        return timm_spec(name, blocks)
    if name not in BACKBONES:
        raise ParamsError(f"{unknown_name('backbone', name, BACKBONES)}, or any network of timm: {TIMM}NAME")
    if blocks != AUTO_BLOCKS:
        raise ParamsError(f"blocks {blocks}: {name} is no plain ViT, whose blocks could be chosen; leave blocks out")
    return BACKBONES[name]


def check_weights(weights: str) -> str:
    """The text itself if it is ``pretrained``, ``packaged``, ``random:SEED`` or the path of an existing file.

    Raises:
        ParamsError: none of the four.
    """
    if weights in ("pretrained", "packaged"):
        return weights
    if weights.startswith("random:"):
        if weights[7:].isdecimal() and int(weights[7:]) < 2**63:
            return weights
        raise ParamsError(
            f"weights {weights!r}: after random: comes a whole number from 0 to 2^63 - 1, for instance random:0"
        )
    if not Path(weights).is_file():
        raise ParamsError(f"weights {weights!r} is no file; give a path, 'pretrained', 'packaged' or 'random:SEED'")
    return weights


def _weights_to_read(value: str, info: ValidationInfo) -> str:
    return value if info.context == RESTORING else check_weights(value)


RESTORING = "restoring"
"""Validation context of params that come with a saved detector."""

Weights = Annotated[str, AfterValidator(_weights_to_read)]
"""Type of a param that says where weights come from.

It matters to fitting alone: under `RESTORING`, when the weights lie among a detector's own tensors, the file or hub that they came
from need not be there.
"""


def weights_identity(backbone: str, weights: str) -> str:
    """Text that changes whenever the weights do, without building the network: part of the feature stage's key."""
    if weights == "pretrained":
        return backbone if backbone.startswith(TIMM) else f"torchvision-imagenet1k-v1:{backbone}"
    if weights == "packaged":
        weights = str(packaged_file(backbone))
    if weights.startswith("random:"):
        return f"{weights}:torch-{torch.__version__.split('+')[0]}:timm-{timm.__version__}"
    return _file_digest(weights, *_stamp(weights))


def _stamp(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, size: int, mtime_ns: int) -> str:
    with Path(path).open("rb") as handle:
        digest = hashlib.sha256()
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Backbone(nn.Module):
    """A frozen network up to its last tap, in eval mode.

    Life cycle: built once by name and weights, then called with batches; it never trains and needs no gradient.

    Args:
        name: key of `BACKBONES`, or ``timm:NAME``.
        weights: ``pretrained`` (ImageNet-1k weights, fetched once from the model hubs), ``packaged`` (those of an installed pip
            package), ``random:SEED``, the path of a state dict (.safetensors, or .pt/.pth without code in it, with torchvision's
            or timm's names), or None to leave the parameters to a later `load_state_dict`.
        normalisation: which mean and standard deviation images are normalised with.
        blocks: which blocks of a plain ViT are tapped; see `backbone_spec`.

    Raises:
        ParamsError: unknown backbone, blocks or weights, or a weights package that is not installed.
        ModelError: the hub cannot be reached, or a file does not hold this backbone's weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, weights: str | None, normalisation: Normalisation = "own", blocks: str = AUTO_BLOCKS
    ) -> None:
        super().__init__()
        self.name = name
        self.spec = backbone_spec(name, blocks)
        if weights is not None:
            check_weights(weights)
        seed = int(weights[7:]) if weights is not None and weights.startswith("random:") else 0
        loaded = None if weights is None or weights.startswith("random:") else weights
        if isinstance(self.spec, TimmSpec):
            if loaded == "packaged":
                packaged_file(name)  # says that there is none
            given = loaded if loaded in (None, "pretrained") else read_state(loaded, _TIMM_WRAPPERS)
            self.network: Any = build_network(self.spec, seed, given, str(loaded))
        else:
            self.network = _build(self.spec, seed)
            if loaded == "pretrained":
                _load_pretrained(self.network, name, self.spec)
            elif loaded == "packaged":
                state = packaged_state(name, self.spec.architecture)
                load_backbone_state(self.network, name, state, "the packaged state dict")
            elif loaded is not None:
                load_backbone_state(self.network, name, read_state(loaded), loaded)
        mean, std = mean_and_std(name, normalisation)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """Stays in eval mode: a frozen backbone never updates its normalisation statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of the taps, in order.

        Args:
            images: (N, 3, H, W) float32 in [0, 1]; normalised here.

        Returns:
            One (N, C, H / reduction, W / reduction) tensor a tap; of a plain ViT the map of its image tokens.
        """
        return self.taps((images - self.mean) / self.std)

    def taps(self, normalised: Tensor) -> list[Tensor]:
        """Feature maps of the taps for images that are normalised already."""
        if isinstance(self.spec, TimmSpec):
            return self.spec.maps(self.network, normalised)
        if self.spec.blocks:
            maps = self.network.bn1(self.network.conv_stem(normalised))
            out = []
            for index, block in enumerate(self.network.blocks):
                maps = block(maps)
                if index >= 2:
                    out.append(maps)
            return out
        return list(self.network(normalised))


def mean_and_std(name: str, normalisation: Normalisation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, a value per channel of images in [0, 1], that a backbone's images are normalised with."""
    spec = backbone_spec(name)
    return (spec.mean, spec.std) if normalisation == "own" else (IMAGENET_MEAN, IMAGENET_STD)


def built_backbone(
    name: str, weights: str, normalisation: Normalisation = "own", blocks: str = AUTO_BLOCKS
) -> Backbone:
    """A backbone of its own for the caller, copied from one of the last two that this process built.

    A sweep that measures detectors needs the same network again and again; a copy takes 10 to 60 ms, drawing its weights 0.2
    to 1 s. It is a copy because `Module.to` moves a network in place, which would move every detector that shared it.
    Arguments and errors are those of `Backbone`.
    """
    check_weights(weights)
    return copy.deepcopy(_last_built(name, weights, normalisation, blocks, weights_identity(name, weights)))


@functools.lru_cache(maxsize=2)
def _last_built(name: str, weights: str, normalisation: Normalisation, blocks: str, identity: str) -> Backbone:
    return Backbone(name, weights, normalisation, blocks)


def _build(spec: BackboneSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.blocks:
            network = timm.create_model(spec.architecture, pretrained=False)
            network.blocks = network.blocks[:6]
            network.conv_head = network.bn2 = network.global_pool = network.classifier = nn.Identity()
        else:
            # timm would zero the last normalisation of every residual block, which leaves untrained blocks without effect.
            network = timm.create_model(
                spec.architecture, pretrained=False, features_only=True, out_indices=(1, 2, 3), zero_init_last=False
            )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and spec.batch_norm_eps is not None:
            module.eps = spec.batch_norm_eps
    return network  # type: ignore[no-any-return]


_TIMM_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_SCALAR = np.float64(0).__reduce__()[0]
_NUMPY_SCALARS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),  # in files of NumPy 1
    _SCALAR,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64")),
]


def read_state(path: str, wrappers: Sequence[str] = ("state_dict",)) -> dict[str, Tensor]:
    """The tensors of a state dict on the CPU, bare or under a key; no code in the file is run.

    Args:
        path: ``.safetensors``, or a file of torch.save.
        wrappers: keys that the tensors may lie under; the first that the file has is opened.

    Raises:
        ModelError: it cannot be read, or holds anything else.
    """
    return read_checkpoint(path, wrappers)[0]


def read_checkpoint(path: str, wrappers: Sequence[str]) -> tuple[dict[str, Tensor], Mapping[str, object]]:
    """As `read_state`, with what the file holds beside the tensors."""
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return dict(load_file(path)), {}
        # Training scripts keep their flags and scores beside the weights, in a Namespace and NumPy scalars: data without code.
        with torch.serialization.safe_globals([argparse.Namespace, *_NUMPY_SCALARS]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"weights file {path} cannot be read as a state dict: {error}") from error
    state = loaded
    if isinstance(loaded, dict):
        state = next((loaded[key] for key in wrappers if loaded.get(key) is not None), loaded)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"weights file {path} holds no state dict (a mapping of names to tensors)")
    return state, {} if state is loaded else loaded


_BEYOND_LAST_TAP = ("layer4.", "fc.", "blocks.6.", "conv_head.", "bn2.", "classifier.")


def load_backbone_state(network: nn.Module, name: str, state: Mapping[str, Tensor], origin: str) -> None:
    """Load torchvision's or timm's state dict into a network that ends at the last tap.

    ResNets share their names in both libraries. EfficientNets have the same tensors in the same order under other names,
    so torchvision's are taken by position; what lies beyond the last tap is left out, and batch counters, which older files
    lack, are not needed.

    Raises:
        ModelError: a tensor is missing, has another shape, or has no place here (a resnet34 holds all that a resnet18 needs);
            the message names the first one.
    """
    own = network.state_dict()
    counters = {key: tensor for key, tensor in own.items() if key.endswith("num_batches_tracked")}
    if BACKBONES[name].blocks and not set(own) - set(counters) <= set(state):
        state = dict(zip(own, state.values(), strict=False))
    else:
        for key in state:
            if key not in own and not key.startswith(_BEYOND_LAST_TAP):
                raise ModelError(
                    f"{origin} is not a state dict of {name}: {key} has no place in it; is it of a larger network?"
                )
        state = {**counters, **state}
    for key, tensor in own.items():
        if key not in state:
            raise ModelError(f"{origin} is not a state dict of {name}: {key} is missing")
        if state[key].shape != tensor.shape:
            raise ModelError(
                f"{origin} is not a state dict of {name}: {key} has shape {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
            )
    network.load_state_dict({key: state[key] for key in own})


def torchvision_weights(name: str) -> Any:
    """The member of torchvision's weights enumeration with the published weights of an EfficientNet-B."""
    import torchvision

    variant = name.removeprefix("efficientnet_").upper()
    return torchvision.models.get_weight(f"EfficientNet_{variant}_Weights.IMAGENET1K_V1")


def _load_pretrained(network: nn.Module, name: str, spec: BackboneSpec) -> None:
    try:
        if spec.tag is not None:
            state = timm.create_model(f"{spec.architecture}.{spec.tag}", pretrained=True).state_dict()
        else:
            state = torchvision_weights(name).get_state_dict()
    except Exception as error:
        raise ModelError(
            f"the pretrained weights of {name} could not be fetched ({type(error).__name__}: {str(error)[:200]}). Without a "
            "network use --backbone efficientnet_lite0 --weights packaged, or --weights PATH of a state dict"
        ) from error
    load_backbone_state(network, name, state, "the published state dict")
