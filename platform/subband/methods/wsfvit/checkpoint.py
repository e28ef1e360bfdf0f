"""Checkpoints of WSF-ViT: the wrappers and names they come with, what of them fits, and what is said of the rest.

Files of the published classification code hold this network's own names. Older code, and that for detection, calls the three
attentions of a block ``attn_block``, ``attn_channel`` and ``attn_grid``; frameworks wrap the state dict and put prefixes before
its names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.layers import resize_rel_pos_bias_table
from torch import Tensor, nn

from subband.errors import ModelError
from subband.methods.wsfvit.architecture import ARCHITECTURES, Architecture
from subband.methods.wsfvit.features import WSFViTFeatures
from subband.methods.wsfvit.network import WSFViT
from subband.nn.backbones import read_state

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which files keep their tensors; averaged weights are taken first."""

PREFIXES = ("module.", "_orig_mod.", "backbone.", "model_ema.", "network.")
"""Of wrappers, and of a classifier that this platform saved (``network.``)."""

OLD_PARTS = {"attn_block": "attn_local", "attn_channel": "attn_inter", "attn_grid": "attn_global"}
_FILTERS = ("stem.dwt_l2.w_l", "stem.dwt_l2.w_h")
_TABLE = "relative_position_bias_table"
_SHOWN = 3


@dataclass(frozen=True)
class Differences:
    """What keeps a state dict from being a network's.

    Attributes:
        missing: names that only the network has.
        unexpected: names that only the file has.
        shapes: names that both have, with the shape in the file and the shape in the network.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)

    def _groups(self) -> list[tuple[str, list[str]]]:
        shapes = [f"{name} is {given} instead of {wanted}" for name, (given, wanted) in self.shapes.items()]
        named = (
            ("missing", list(self.missing)),
            ("without a place in it", list(self.unexpected)),
            ("of another shape", shapes),
        )
        return [(words, names) for words, names in named if names]

    def summary(self) -> str:
        """One line, with the first names of each kind."""
        return "; ".join(
            f"{len(names)} {words} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
            for words, names in self._groups()
        )

    def report(self) -> str:
        """Every difference, one name a line."""
        if not self:
            return "no differences"
        return "\n".join(
            f"{len(names)} {words}:\n" + "\n".join(f"  {name}" for name in names) for words, names in self._groups()
        )


@dataclass(frozen=True)
class Loaded:
    """What was done to load a checkpoint.

    Attributes:
        origin: how messages call the file, with the wrapper that was opened.
        tensors: number of tensors that were taken.
        resized: number of position bias tables that were resized, with the window they had and the window they got.
        left_out: names in the file that the network does not need.
        kept: names in the network that the file does not have, which keep their initial values.
    """

    origin: str
    tensors: int
    resized: tuple[int, int, int] | None
    left_out: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.tensors} tensors of {self.origin}"]
        if self.resized:
            count, old, new = self.resized
            parts.append(f"{count} position bias tables resized from window {old} to {new}")
        if self.left_out:
            parts.append(f"left out: {', '.join(self.left_out)}")
        if self.kept:
            parts.append(f"not in the file, so as initialised: {', '.join(self.kept)}")
        return "; ".join(parts)


def load_checkpoint(
    network: WSFViT | WSFViTFeatures,
    checkpoint: str | Path | Mapping[str, Tensor],
    replace_head: bool = False,
    origin: str = "the state dict",
) -> Loaded:
    """Load a classification checkpoint, strictly, into a classifier or into a backbone.

    A backbone leaves the head out, of a whole detector all but its ``backbone``, and its output norms keep their values if the file
    has none. Position bias tables of another window are resized. Nothing is loaded if anything does not fit.

    Args:
        network: receives it.
        checkpoint: a file (.safetensors, or of torch.save; no code in it is run), or its tensors.
        replace_head: leave out the last linear layer of the file, whatever its number of classes; the network keeps its own.
        origin: how messages call the tensors, where no file is given.

    Returns:
        What was done.

    Raises:
        ModelError: the file cannot be read, has another number of classes (the message names both), is of another variant or has
            other wavelet filters; the message says which tensors differ.
    """
    if isinstance(checkpoint, (str, Path)):
        origin = str(checkpoint)
        checkpoint = read_state(origin, WRAPPERS)
    rest: tuple[str, ...] = ()
    if isinstance(network, WSFViTFeatures):
        checkpoint, rest = _backbone_of_detector(checkpoint)
    given = own_names(checkpoint)
    variant = variant_of(given)
    own = network.state_dict()
    left_out = _take_out_head(given, network, replace_head, origin)
    kept = _missing_on_purpose(given, own, network, replace_head)
    _check_filters(given, own, origin)
    resized = _resize_tables(given, own, network.window)
    wanted = {name: tensor for name, tensor in own.items() if name not in kept}
    if found := compare(wanted, given):
        raise ModelError(f"{origin} does not fit this network: {found.summary()}{_hint(variant, network)}")
    network.load_state_dict({**{name: own[name] for name in kept}, **given})
    return Loaded(origin, len(given), resized, (*rest, *left_out), kept)


def compare(own: nn.Module | Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Differences:
    """The differences between a network's state dict and a given one, by this network's names."""
    state = own.state_dict() if isinstance(own, nn.Module) else own
    return Differences(
        tuple(name for name in state if name not in given),
        tuple(name for name in given if name not in state),
        {
            name: (tuple(given[name].shape), tuple(tensor.shape))
            for name, tensor in state.items()
            if name in given and given[name].shape != tensor.shape
        },
    )


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under this network's names: without the prefixes of wrappers, attentions by their later names.

    Raises:
        ModelError: two tensors would get one name.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        own = ".".join(OLD_PARTS.get(part, part) for part in _without_prefixes(name).split("."))
        if own in named:
            raise ModelError(f"the state dict has two tensors for {own}")
        named[own] = tensor
    return named


def _without_prefixes(name: str) -> str:
    while found := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(found)
    return name


def _backbone_of_detector(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a detector's backbone, and the first parts of the other names; of other files everything and nothing."""
    bare = {name: name.removeprefix("module.").removeprefix("network.") for name in state}
    inside = {name: tensor for name, tensor in state.items() if bare[name].startswith("backbone.")}
    if not inside:
        return dict(state), ()
    others = (bare[name].split(".")[0] for name in state if name not in inside)
    return inside, tuple(dict.fromkeys(others))


def variant_of(state: Mapping[str, Tensor]) -> str | None:
    """The variant whose widths and depths a state dict has, by this network's names; None if it is none of them."""
    widths = []
    depths = []
    for stage in range(4):
        blocks = {name.split(".")[3] for name in state if name.startswith(f"stages.{stage}.blocks.")}
        projection = state.get(f"stages.{stage}.blocks.0.conv.conv3_1x1.weight")
        depths.append(len(blocks))
        widths.append(0 if projection is None else len(projection))
    return next(
        (
            name
            for name, each in ARCHITECTURES.items()
            if _sizes(each) == (*widths, *depths, len(state.get("stem.conv1.weight", ())))
        ),
        None,
    )


def _take_out_head(
    given: dict[str, Tensor], network: WSFViT | WSFViTFeatures, replace_head: bool, origin: str
) -> tuple[str, ...]:
    if isinstance(network, WSFViTFeatures):
        unneeded = [name for name in given if name.startswith("head.")]
        stages = tuple(f"stages.{i}." for i in range(len(network.stages), 4))
        norms = tuple(f"norm{i}." for i in range(4) if not (network.output_norms and i in network.wanted))
        unneeded += [name for name in given if name.startswith((*stages, *norms))]
    else:
        last = given.get("head.fc.weight")
        classes = network.num_classes
        if last is not None and not replace_head and len(last) != classes:
            raise ModelError(
                f"{origin} has {len(last)} classes, the network {classes}: build it with num_classes={len(last)}, or ask for its "
                "last layer to be replaced (replace_head)"
            )
        unneeded = [name for name in given if replace_head and name.startswith("head.fc.")]
    for name in unneeded:
        del given[name]
    return tuple(dict.fromkeys(".".join(name.split(".")[: 2 if "." in name else 1]) for name in unneeded))


def _missing_on_purpose(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], network: nn.Module, replace_head: bool
) -> tuple[str, ...]:
    groups: list[list[str]] = [[name for name in _FILTERS if name not in given]]
    if isinstance(network, WSFViTFeatures):
        norms = [name for name in own if name.startswith("norm")]
        groups.append([] if any(name in given for name in norms) else norms)
    elif replace_head:
        groups.append([name for name in own if name.startswith("head.fc.")])
    return tuple(name for group in groups for name in group)


def _check_filters(given: Mapping[str, Tensor], own: Mapping[str, Tensor], origin: str) -> None:
    for name in _FILTERS:
        if name in given and not (
            given[name].shape == own[name].shape and torch.allclose(given[name].to(own[name]), own[name], atol=1e-3)
        ):
            raise ModelError(
                f"{origin} was made with another wavelet: {name} is {given[name].flatten().tolist()[:8]}, this network has "
                f"{own[name].flatten().tolist()[:8]}; give the network its wavelet"
            )


def _resize_tables(given: dict[str, Tensor], own: Mapping[str, Tensor], window: int) -> tuple[int, int, int] | None:
    count, old = 0, 0
    for name, tensor in given.items():
        table = own.get(name)
        if table is None or not name.endswith(_TABLE) or tensor.dim() != 3 or len(tensor) != len(table):
            continue
        if tensor.shape != table.shape and tensor.shape[1] == tensor.shape[2]:
            given[name] = resize_rel_pos_bias_table(tensor, (window, window), tuple(table.shape))
            count, old = count + 1, (tensor.shape[1] + 1) // 2
    return (count, old, window) if count else None


def _hint(variant: str | None, network: WSFViT | WSFViTFeatures) -> str:
    own = network.architecture
    wanted = next((name for name, each in ARCHITECTURES.items() if _sizes(each) == _sizes(own)), None)
    return "" if variant in (None, wanted) else f". The file is of WSF-ViT-{str(variant).upper()}"


def _sizes(architecture: Architecture) -> tuple[int, ...]:
    return (*architecture.widths, *architecture.depths, architecture.stem)
