"""PatchCore's vectors as stages.

What each stage reads is all that its result depends on::

    images    framing, resize, image_size, resampling
    levels    backbone, weights, normalisation, blocks      layer2 and layer3, the same results that WEDGE-Net uses
    patches   patch, pooled, target
    averages  nothing more                                  in the place of `patches`

Shapes: n images, P = h * w cells, D numbers a vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from subband.data import Split
from subband.methods.features import IMAGES
from subband.methods.memorybank.embedding import LEVELS, Embedding, level_batches
from subband.methods.patchcore.params import PatchCoreParams
from subband.methods.patchcore.patches import averaged_features, patch_embedding
from subband.stages import Chunk, ParamView, Stage, Upstream


@torch.inference_mode()
def _patches(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
    for role, maps in level_batches(upstream):
        yield {role: patch_embedding(maps, params.patch, params.pooled, params.target).contiguous().numpy()}


@torch.inference_mode()
def _averages(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
    for role, maps in level_batches(upstream):
        yield {role: averaged_features(maps).flatten(2).transpose(1, 2).contiguous().numpy()}


PATCHES = Stage("patches", 1, ("patch", "pooled", "target"), _patches, per_picture=True)
AVERAGES = Stage("averages", 1, (), _averages, per_picture=True)


def embedding(params: PatchCoreParams) -> Embedding:
    """The stages of these params, and where their vectors lie."""
    last = PATCHES if params.features == "patches" else AVERAGES
    return Embedding((IMAGES, LEVELS, last), (last.name,))
