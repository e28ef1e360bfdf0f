"""Published checkpoints: the names they use, what of them is dead, and which variant they are of.

A published ``.pth`` is the bare state dict of the whole network. Of its 709 (B2) or 1209 (B4) tensors 42 belong to modules that no
forward pass reaches (36 parameters and 6 statistics of their normalisations) and 12 are the fixed Haar filters; each of the rest
has one place here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from subband.errors import ModelError
from subband.methods.wpformer.backbone import VARIANTS, backbone_names, published_name, timm_name

HAAR: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "LL": ((0.5, 0.5), (0.5, 0.5)),
    "LH": ((-0.5, 0.5), (-0.5, 0.5)),
    "HL": ((-0.5, -0.5), (0.5, 0.5)),
    "HH": ((0.5, -0.5), (-0.5, 0.5)),
}
"""The published filters under their published names, which swap LH and HL against the rest of this platform."""

_FILTER = re.compile(r"^transformer_cross_attention_layers\.\d\.multihead_attn\.pool\.(LL|LH|HL|HH)\.weight$")
_DEAD = re.compile(
    r"^(latlayer4|outconv4|transformer_cross_attention_layers\.\d\.(norm|multihead_attn\.mscw[12]\.(conv|linear)))\."
)
_SIGN = "query_embed.weight"  # the embedding of the queries, which no other file has
_SHOWN = 3


def _parts() -> Iterator[tuple[str, str]]:
    """Beginnings of names: published, and ours."""
    yield from (("query_embed.weight", "queries"), ("level_embed.weight", "levels"))
    for i in range(4):
        for published, own in (("conv", 0), ("bn", 1)):
            yield f"Translayer{i + 1}_1.{published}.", f"pyramid.reduce.{i}.{own}."
            if i < 3:
                yield f"latlayer{i + 1}.{published}.", f"pyramid.lateral.{i}.{own}."
    for i in range(3):
        yield f"outconv{i + 1}.conv.", f"pyramid.smooth.{i}."
    yield from (("mask_features.conv.", "pyramid.pixels."), ("class_input_proj.conv.", "decoder.project."))
    yield "class_transformer.decoder.norm.", "decoder.norm."
    for i in range(2):
        layer, own_layer = f"class_transformer.decoder.layers.{i}", f"decoder.layers.{i}"
        yield f"{layer}.self_attn.", f"{own_layer}.self_attention.attention."
        yield f"{layer}.norm1.", f"{own_layer}.self_attention.norm."
        yield f"{layer}.multihead_attn.", f"{own_layer}.cross_attention."
        yield f"{layer}.norm2.", f"{own_layer}.cross_norm."
        yield f"{layer}.linear1.", f"{own_layer}.feed_forward.0."
        yield f"{layer}.linear2.", f"{own_layer}.feed_forward.3."
        yield f"{layer}.norm3.", f"{own_layer}.feed_forward_norm."
    for i in range(3):
        cross = f"transformer_cross_attention_layers.{i}.multihead_attn"
        yield f"input_proj.{i}.conv.", f"stages.{i}.project."
        yield f"{cross}.self_attn1.", f"stages.{i}.wavelet.attention."
        yield f"{cross}.norm1.", f"stages.{i}.wavelet.norm."
        yield f"{cross}.Mheads.", f"stages.{i}.prototypes.assign."
        yield f"{cross}.norm2.", f"stages.{i}.prototypes.norm."
        for k in range(2):
            yield f"{cross}.conv3x3.conv.{k}.conv.", f"stages.{i}.prototypes.features.{k}."
        for number, branch in ((1, "wavelet"), (2, "prototypes")):
            yield f"{cross}.mscw{number}.local_attn.", f"stages.{i}.{branch}.modulation.local."
            yield f"{cross}.mscw{number}.global_attn.", f"stages.{i}.{branch}.modulation.pooled."
        yield f"transformer_self_attention_layers.{i}.self_attn.", f"stages.{i}.self_attention.attention."
        yield f"transformer_self_attention_layers.{i}.norm.", f"stages.{i}.self_attention.norm."
    for i in range(4):
        yield f"SegHeads.{i}.conv.conv.", f"heads.{i}.project."
        yield f"SegHeads.{i}.decoder_norm.", f"heads.{i}.norm."
        yield f"SegHeads.{i}.class_embed.", f"heads.{i}.weigh."
        for k in range(3):
            yield f"SegHeads.{i}.mask_embed.layers.{k}.", f"heads.{i}.embed.{2 * k}."


OWN = dict(_parts())
PUBLISHED = {own: published for published, own in OWN.items()}


def _renamed(name: str, parts: Mapping[str, str], rename_backbone: Callable[[str], str]) -> str | None:
    if name.startswith("backbone."):
        return f"backbone.{rename_backbone(name.removeprefix('backbone.'))}"
    return next((new + name.removeprefix(old) for old, new in parts.items() if name.startswith(old)), None)


def own_name(published: str) -> str | None:
    """Our name of a published tensor; None if it has no place here."""
    return _renamed(published, OWN, timm_name)


def reference_name(own: str) -> str:
    """The published name of one of our tensors.

    Raises:
        ModelError: no tensor of ours has that name.
    """
    name = _renamed(own, PUBLISHED, published_name)
    if name is None:
        raise ModelError(f"{own} is no tensor of this network")
    return name


def _spelt_as_published(name: str) -> str:
    return _renamed(name, PUBLISHED, published_name) or name


def is_dead(published: str) -> bool:
    """Whether a published tensor belongs to a module that no forward pass reaches."""
    return _DEAD.match(published) is not None


def is_whole(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of the whole published network, not of a backbone."""
    return _SIGN in state


def variant_of(state: Mapping[str, Tensor]) -> tuple[str | None, int]:
    """Backbone (None if it is no known PVTv2) and channels of a whole published state dict."""
    depths = tuple(
        len({name.split(".")[2] for name in state if name.startswith(f"backbone.block{stage}.")})
        for stage in range(1, 5)
    )
    norms = [state.get(f"backbone.norm{stage}.weight") for stage in range(1, 5)]
    widths = tuple(0 if norm is None else len(norm) for norm in norms)
    known = (name for name, variant in VARIANTS.items() if (variant.depths, variant.widths) == (depths, widths))
    return next(known, None), state[_SIGN].shape[-1]


def load_whole(network: nn.Module, state: Mapping[str, Tensor], origin: str, wanted: str) -> None:
    """Load a whole published state dict; dead tensors and the fixed filters may be there, nothing else may be over or missing.

    Args:
        network: receives it.
        state: by published names.
        origin: how messages call the file.
        wanted: how messages call the network.

    Raises:
        ModelError: it is of another variant or another method, or its fixed filters are not Haar's; the message says which
            tensors differ.
    """
    for name, tensor in state.items():
        if (found := _FILTER.match(name)) and not _is_haar(tensor, found[1]):
            raise ModelError(
                f"{origin}: {name} is not the Haar filter {found[1]}, which is what this network computes with"
            )
    given = {name: tensor for name, tensor in state.items() if not (is_dead(name) or _FILTER.match(name))}
    hint = ""
    if is_whole(state):
        backbone, channels = variant_of(state)
        hint = f". The file is of {backbone or 'no PVTv2 known here'} with {channels} channels"
    named = {own_name(name) or name: tensor for name, tensor in given.items()}
    _check(network, named, origin, wanted, _spelt_as_published, hint)
    network.load_state_dict(named)


def _is_haar(tensor: Tensor, band: str) -> bool:
    # Compared in shape too: a broadcast would let one channel pass for all.
    return tensor.shape[1:] == (1, 2, 2) and bool((tensor == torch.tensor(HAAR[band])).all())


def load_backbone(backbone: nn.Module, state: Mapping[str, Tensor], origin: str, name: str) -> None:
    """Load a PVTv2's state dict, by timm's names or the published ones; a classifier in it is left out.

    Raises:
        ModelError: it is of another network; the message says which tensors differ.
    """
    named = backbone_names(state)
    _check(backbone, named, origin, f"the backbone {name}", str, "")
    backbone.load_state_dict(named)


def _check(
    network: nn.Module, given: Mapping[str, Tensor], origin: str, wanted: str, spell: Callable[[str], str], hint: str
) -> None:
    own = network.state_dict()
    missing = [spell(name) for name in own if name not in given]
    over = [spell(name) for name in given if name not in own]
    shapes = [
        f"{spell(name)} is {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    wrong = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for names, what in (
            (missing, f"of {len(own)} tensors are missing"),
            (over, "have no place in it"),
            (shapes, "are of another shape"),
        )
        if names
    ]
    if wrong:
        raise ModelError(f"{origin} is not a state dict of {wanted}: {'; '.join(wrong)}{hint}")
