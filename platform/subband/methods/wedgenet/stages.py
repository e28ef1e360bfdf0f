"""WEDGE-Net's vectors as stages, ordered so that variants share what they can.

What each stage reads is all that its result depends on::

    images    framing, resize, image_size, resampling
    levels    backbone, weights, normalisation, blocks                layer2 and layer3: one pass for every variant
    semantic  scope, scope_batch, border                              shared by all wavelets and seeds
    gated     backbone, normalisation, wavelet, encoder_seed, encoder_init, scope, scope_batch, border
    ungated   border                                                  the control without gates, in the place of `gated`

A stage that no later one asks for is not computed: without the semantic block, `semantic` is only a name in the chain.

Shapes: n images, P = h * w cells, C2 and C3 channels of the two levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from subband.data import Split
from subband.methods.features import FEATURE_BATCH, IMAGES, ROLES, in_batches
from subband.methods.memorybank.embedding import LEVELS, Embedding, level_batches, level_names
from subband.methods.wedgenet.encoder import make_encoder
from subband.methods.wedgenet.guidance import frequency_guidance
from subband.methods.wedgenet.network import gated_features, saliency, semantic_block
from subband.methods.wedgenet.params import WedgeNetParams
from subband.methods.wedgenet.scope import Extremes, Scope
from subband.nn.backbones import mean_and_std
from subband.stages import Chain, Chunk, ParamView, Stage, Upstream


def _scoped(params: ParamView) -> Iterator[tuple[str, Scope, int]]:
    """(role, scope, batch) of the two roles: what is scored is always scaled by itself, as one image at a time would be."""
    for role in ROLES:
        scope: Scope = params.scope if role == "fit" else "image"
        yield role, scope, params.scope_batch if scope == "batch" else FEATURE_BATCH


def _as_vectors(maps_NChw: Tensor) -> np.ndarray:
    """(n, P, C)."""
    return maps_NChw.flatten(2).transpose(1, 2).contiguous().cpu().numpy()


def _normalised(images: np.ndarray, params: ParamView) -> Tensor:
    values = mean_and_std(params.backbone, params.normalisation)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in values)
    return (torch.tensor(images).float() / 255 - mean) / std


@torch.inference_mode()
def _semantic(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
    levels = upstream("levels")
    for role, scope, size in _scoped(params):
        for (batch,) in in_batches(levels, [f"{role}.layer2"], size):
            layer2 = torch.tensor(batch)
            extremes = Extremes.of(saliency(layer2)).scoped(scope)
            yield {role: _as_vectors(semantic_block(layer2, params.border, extremes))}


@torch.inference_mode()
def _gated(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
    images, levels = upstream("images"), upstream("levels")
    encoder = None
    for role, scope, size in _scoped(params):
        names = level_names(levels, role)
        for (pictures,), maps in zip(in_batches(images, [role], size), in_batches(levels, names, size), strict=True):
            layer2, layer3 = torch.tensor(maps[0]), torch.tensor(maps[-1])
            if encoder is None:
                encoder = make_encoder(
                    params.encoder_seed, layer2.shape[1], layer3.shape[1], params.encoder_init == "published"
                )
            height, width = layer2.shape[2:]
            gates = encoder(frequency_guidance(_normalised(pictures, params), params.wavelet, (height, width), scope))
            yield {role: _as_vectors(gated_features(layer2, layer3, gates, params.border))}


@torch.inference_mode()
def _ungated(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
    for role, maps in level_batches(upstream):
        yield {role: _as_vectors(gated_features(maps[0], maps[-1], None, params.border))}


_SCOPE_READS = ("scope", "scope_batch", "border")
SEMANTIC = Stage("semantic", 1, _SCOPE_READS, _semantic, per_picture=True)
_GATED_READS = ("backbone", "normalisation", "wavelet", "encoder_seed", "encoder_init", *_SCOPE_READS)
GATED = Stage("gated", 1, _GATED_READS, _gated, per_picture=True)
UNGATED = Stage("ungated", 1, ("border",), _ungated, per_picture=True)


def embedding(params: WedgeNetParams) -> Embedding:
    """The stages of these params, and how their results become vectors of C2 + C3 (+ C2 with the semantic block) numbers."""
    last = GATED if params.gate else UNGATED
    stages: Chain = (IMAGES, LEVELS, SEMANTIC, last)
    if params.scope == "batch":  # an image's vectors depend on the others of its batch
        stages = (IMAGES, LEVELS, *(replace(stage, per_picture=False) for stage in (SEMANTIC, last)))
    return Embedding(stages, (last.name, *(("semantic",) if params.semantic else ())), ("semantic",))
