"""Any network of timm as a frozen backbone: ``timm:NAME``, with or without timm's tag of the weights.

Two kinds can be tapped. A network with strides gives the ends of its stages at strides 8 (4 where there is no 8), 16 and 32. A
plain ViT has one resolution throughout, so its blocks are tapped: those after one half, three quarters and all of the depth, or the
ones that are named. A block's tokens go through the network's final normalisation, as DINOv2's own reader of intermediate layers
does it: their scale is then the same whatever the network, so params such as a covariance's regularisation keep their meaning.

What a network gives is found out by a pass without numbers (torch's meta device), which takes about 0.1 s and no weights.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from subband.errors import ModelError, ParamsError, unknown_name
from subband.nn.backbone_specs import BackboneSpec, Tap

TIMM = "timm:"
AUTO_BLOCKS = "auto"
STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class TimmTap(Tap):
    """A tapped layer whose map's size the network itself tells.

    Attributes:
        network: name with ``timm:``.
        place: among all intermediate maps of the network.
    """

    network: str
    place: int

    def size(self, image_size: int) -> int:
        """Side of the map for a square image of `image_size` pixels.

        Raises:
            ParamsError: the network does not read images of this size.
        """
        return _shapes(self.network, image_size)[self.place][1]


@dataclass(frozen=True, kw_only=True)
class TimmSpec(BackboneSpec):
    """A network of timm by name.

    Attributes:
        network: name with ``timm:``.
        patch: side of a patch of a plain ViT in pixels; None for a network with strides.
    """

    network: str
    patch: int | None

    def check_image_size(self, image_size: int) -> None:
        """Refuse images that the network cannot see.

        Raises:
            ParamsError: the side is no multiple of the patch, or the network reads images of one size alone.
        """
        if self.patch is not None and image_size % self.patch:
            lower = max(image_size // self.patch, 1) * self.patch
            raise ParamsError(
                f"image_size {image_size} is not a multiple of the patch of {self.network}, {self.patch} pixels; choose for "
                f"instance {lower} or {lower + self.patch}"
            )
        _shapes(self.network, image_size)

    def maps(self, network: Any, normalised_N3HW: Tensor) -> list[Tensor]:
        """Maps (N, C, h, w) of the taps."""
        found: list[Tensor] = network.forward_intermediates(
            normalised_N3HW,
            indices=[tap.place for tap in self.taps if isinstance(tap, TimmTap)],
            norm=self.patch is not None,
            output_fmt="NCHW",
            stop_early=True,
            intermediates_only=True,
        )
        return found


@functools.lru_cache(maxsize=256)
def timm_name(name: str) -> str:
    """``timm:NAME.TAG`` of a network of timm; the tag is timm's default one if none is given, and left out where timm has none.

    Raises:
        ParamsError: timm has no such network, or no such weights of it.
    """
    architecture, _, tag = name.removeprefix(TIMM).partition(".")
    if not timm.is_model(architecture):
        message = unknown_name("network of timm", architecture, timm.list_models()).split(" (legal")[0]
        raise ParamsError(f"{message}; timm.list_models('*{architecture[:12]}*') lists names")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ParamsError(unknown_name(f"tag of {TIMM}{architecture}", tag, tags or ("none",)))
    default = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    chosen = tag or (default.tag if default is not None and default.tag in tags else "")
    return f"{TIMM}{architecture}.{chosen}" if chosen else f"{TIMM}{architecture}"


@functools.lru_cache(maxsize=256)
def timm_spec(name: str, blocks: str = AUTO_BLOCKS) -> TimmSpec:
    """The specification of a network of timm.

    Args:
        name: with ``timm:``.
        blocks: see `subband.nn.backbones.backbone_spec`.

    Raises:
        ParamsError: unknown name, a network without features that could be tapped, or blocks that it does not have.
    """
    network = timm_name(name)
    outline = _outline(network)
    size = int(outline.pretrained_cfg["input_size"][-1])
    shapes = _shapes(network, size)
    sides = [side for _, side in shapes]
    plain = len(set(sides)) == 1 and len(getattr(outline, "blocks", ())) == len(shapes)
    if plain:
        places = _block_places(network, blocks, len(shapes))
        names = [f"blocks.{place + 1}" for place in places]
        if blocks == AUTO_BLOCKS:
            bank: tuple[int, int] | None = (len(places) - 1, len(places) - 1)
        else:
            bank = (0, len(places) - 1) if len(places) <= 2 else None
    else:
        if blocks != AUTO_BLOCKS:
            raise ParamsError(
                f"blocks {blocks}: {network} is no plain ViT, whose blocks could be chosen; leave blocks out"
            )
        by_stride = _last_of_each_stride(size, sides)
        fine = by_stride.get(8, by_stride.get(4))
        if fine is None or 16 not in by_stride:
            found = ", ".join(str(stride) for stride in sorted(by_stride)) or "none"
            raise ParamsError(
                f"{network} has no features at strides 8 (or 4) and 16, but at: {found}; choose another network, for instance "
                f"{TIMM}convnext_tiny or {TIMM}vit_small_patch14_dinov2"
            )
        places = [fine, by_stride[16], *((by_stride[32],) if 32 in by_stride else ())]
        names = [f"stride{stride}" for stride in (8 if 8 in by_stride else 4, 16, 32)]
        bank = (0, 1) if 8 in by_stride else None
    taps = (
        TimmTap(label, shapes[place][0], round(size / sides[place]), network, place)
        for label, place in zip(names, places, strict=False)
    )
    mean, std = (tuple(float(value) for value in outline.pretrained_cfg[key]) for key in ("mean", "std"))
    architecture, _, tag = network.removeprefix(TIMM).partition(".")
    return TimmSpec(
        tuple(taps),
        bank,
        architecture,
        tag=tag or None,
        batch_norm_eps=None,
        mean=mean,  # type: ignore[arg-type]  # timm gives as many values as the network has input channels: 3 are asked for
        std=std,  # type: ignore[arg-type]
        network=network,
        patch=size // sides[0] if plain else None,
    )


def _block_places(network: str, blocks: str, depth: int) -> list[int]:
    """Places from 0 of the blocks that are asked for, in order."""
    if blocks == AUTO_BLOCKS:
        return sorted({-(-depth // 2) - 1, -(-3 * depth // 4) - 1, depth - 1})
    chosen = [int(part) for part in check_blocks(blocks).split("+")]
    if chosen[-1] > depth:
        raise ParamsError(f"blocks {blocks}: {network} has blocks 1 to {depth}")
    return [each - 1 for each in chosen]


def check_blocks(blocks: str) -> str:
    """Numbers of blocks in rising order, written ``6+9+12``; or ``auto``.

    Raises:
        ParamsError: anything else, a number below 1, or a number twice.
    """
    if blocks == AUTO_BLOCKS:
        return blocks
    parts = blocks.split("+")
    numbers = sorted({int(part) for part in parts if part.isdecimal()})
    if len(numbers) != len(parts) or numbers[0] < 1:
        raise ParamsError(
            f"blocks {blocks!r}: write the numbers of blocks, counted from 1, for instance 6+9+12; or auto"
        )
    return "+".join(str(number) for number in numbers)


def _last_of_each_stride(size: int, sides: list[int]) -> dict[int, int]:
    """Place of the last map at each of `STRIDES`; sides may be rounded up or down."""
    found = {}
    for place, side in enumerate(sides):
        for stride in STRIDES:
            if side in (size // stride, -(-size // stride)):
                found[stride] = place
    return found


def _create(network: str, **options: Any) -> Any:
    """The network without its classifier; a ViT resizes its position table to each image."""
    name = network.removeprefix(TIMM)
    try:
        return timm.create_model(name, num_classes=0, dynamic_img_size=True, **options)
    except TypeError:  # not a ViT that can
        return timm.create_model(name, num_classes=0, **options)


@functools.lru_cache(maxsize=16)
def _outline(network: str) -> Any:
    """The network without numbers.

    Raises:
        ParamsError: it gives no maps of its layers, or reads other images than RGB.
    """
    with torch.device("meta"):
        outline = _create(network, pretrained=False).eval()
    if not hasattr(outline, "forward_intermediates"):
        raise ParamsError(f"timm gives no intermediate maps of {network}; choose another network")
    if outline.pretrained_cfg["input_size"][0] != 3:
        raise ParamsError(f"{network} reads images of {outline.pretrained_cfg['input_size'][0]} channels, not RGB")
    return outline


@functools.lru_cache(maxsize=256)
@torch.inference_mode()
def _shapes(network: str, image_size: int) -> tuple[tuple[int, int], ...]:
    """Channels and side of every intermediate map, for square images.

    Raises:
        ParamsError: the network does not read images of this size, or gives other things than maps.
    """
    outline = _outline(network)
    images = torch.empty(1, 3, image_size, image_size, device="meta")
    try:
        maps = outline.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True)
    except Exception as error:  # each architecture complains in its own way
        own = outline.pretrained_cfg["input_size"][-1]
        raise ParamsError(
            f"{network} does not read images of {image_size} pixels ({str(error).rstrip('.')[:120]}); its own size is "
            f"{own}: image_size={own}"
        ) from error
    if any(each.ndim != 4 or each.shape[2] != each.shape[3] for each in maps):
        raise ParamsError(f"the intermediate results of {network} are no square maps; choose another network")
    return tuple((each.shape[1], each.shape[2]) for each in maps)


def build_network(spec: TimmSpec, seed: int, weights: Mapping[str, Tensor] | str | None, origin: str) -> nn.Module:
    """The network up to its last tap.

    Args:
        spec: of the network.
        seed: of the random weights.
        weights: a state dict with the names that timm reads (its own, and of many networks the authors'), ``pretrained`` for those
            of the hub, or None for random ones.
        origin: where the state dict is from, for messages.

    Raises:
        ModelError: the hub cannot be reached, or the state dict is not of this network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = _create(spec.network, pretrained=weights == "pretrained")
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ModelError(
                f"the pretrained weights of {spec.network} could not be fetched ({reason}). {without_hub(spec.network)}"
            ) from error
    if isinstance(weights, Mapping):
        _load_state(network, spec.network, weights, origin)
    if hasattr(network, "prune_intermediate_layers"):
        places = [tap.place for tap in spec.taps if isinstance(tap, TimmTap)]
        network.prune_intermediate_layers(places, prune_norm=spec.patch is None, prune_head=True)
    return network  # type: ignore[no-any-return]


def _load_state(network: Any, name: str, state: Mapping[str, Tensor], origin: str) -> None:
    """Load a whole state dict, with timm's or the authors' names; position tables of another size are resized.

    timm itself would pass over tensors that have no place, so a file of a deeper network would be taken.
    """
    adapted = dict(state)
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        if adapt is not None:
            adapted = adapt(adapted, network)
        heads = network.pretrained_cfg.get("classifier") or ()
        heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
        own = network.state_dict()
        for key in adapted:
            if key not in own and not key.startswith(heads):
                raise ModelError(f"{key} has no place in it; is it of a larger network?")
        for key in own:
            if key not in adapted and not key.endswith("num_batches_tracked"):
                raise ModelError(f"{key} is missing")
        network.load_state_dict({key: adapted.get(key, tensor) for key, tensor in own.items()})
    except Exception as error:  # timm's adapters fail in many ways on what they do not expect
        reason = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {str(error)[:200]}"
        raise ModelError(f"{origin} is not a state dict of {name}: {reason}") from error


def without_hub(network: str) -> str:
    """What to type where the hub cannot be reached."""
    source, file = hub_file(network)
    fetched = (
        f"fetch {file} of https://huggingface.co/{source} elsewhere and give --weights PATH, or " if source else ""
    )
    return f"Without a network {fetched}use --backbone efficientnet_lite0 --weights packaged"


def hub_file(network: str) -> tuple[str, str]:
    """The repository and the file in it that timm fetches a network's weights from; empty texts where there is none."""
    known = timm.get_pretrained_cfg(network.removeprefix(TIMM), allow_unregistered=False)
    if known is None or not known.hf_hub_id:
        return "", ""
    return known.hf_hub_id, known.hf_hub_filename or "model.safetensors"
