"""The first stages of every method on a frozen backbone: images, then feature maps of the tapped layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from subband.data import Preprocess, Split, load_images
from subband.nn.backbones import built_backbone, weights_identity
from subband.stages import Chunk, Entry, ParamView, Stage, Upstream

ROLES = ("fit", "query")
FEATURE_BATCH = 16
IMAGE_BATCH = 64


def _images(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
    preprocess = Preprocess(
        framing=params.framing, resize=params.resize, image_size=params.image_size, resampling=params.resampling
    )
    for role, pictures in zip(ROLES, (source.fit, source.query), strict=True):
        for start in range(0, max(len(pictures), 1), IMAGE_BATCH):  # without images, one chunk without rows
            yield {role: load_images(pictures[start : start + IMAGE_BATCH], preprocess)}


IMAGES = Stage("images", 1, ("framing", "resize", "image_size", "resampling"), _images, per_picture=True)
"""``fit`` and ``query``: uint8 (n, 3, S, S)."""


def features_stage(name: str, levels: Sequence[str] | None = None) -> Stage:
    """The backbone's pass over every image; follows `IMAGES`.

    Args:
        name: of the stage.
        levels: names under which only the one or two levels of memory banks are kept; by default every tap is, under its own name.

    Returns:
        A stage that gives ``fit.LAYER`` and ``query.LAYER``, float32 (n, C, h, w), for every kept layer.
    """

    @torch.inference_mode()
    def compute(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
        # Ray shows a worker only the GPU share that its trial was given; TF32 would round features to 1e-3.
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        backbone = built_backbone(params.backbone, params.weights, params.normalisation, params.blocks).to(device)
        if levels is None:
            kept = {tap.name: i for i, tap in enumerate(backbone.spec.taps)}
        else:  # two levels that are the same map are kept once, under the first name
            places = dict.fromkeys(backbone.spec.bank or ())
            kept = dict(zip(levels, places, strict=False))
        images = upstream()
        for role in ROLES:
            for chunk in images.batches(role):
                for start in range(0, max(len(chunk), 1), FEATURE_BATCH):
                    batch = torch.tensor(chunk[start : start + FEATURE_BATCH]).float() / 255
                    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                        maps = backbone(batch.to(device))
                    yield {f"{role}.{layer}": maps[index].cpu().numpy() for layer, index in kept.items()}

    return Stage(
        name,
        1,
        ("backbone", "weights", "normalisation", "blocks"),
        compute,
        content=lambda params: weights_identity(params.backbone, params.weights),
        per_picture=True,
    )


def in_batches(entry: Entry, names: Sequence[str], size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Equal rows of several arrays of a result, `size` rows at a time however they were written; the last batch may be smaller.

    An array without rows gives one empty batch.
    """
    streams = [_rebatched(entry.batches(name), size) for name in names]
    yield from zip(*streams, strict=True)


def _rebatched(chunks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    count = 0
    given = False
    for chunk in chunks:
        start = 0
        while len(chunk) - start >= size - count:
            taken = size - count
            held.append(chunk[start : start + taken])
            yield held[0] if len(held) == 1 else np.concatenate(held)
            held, count, given = [], 0, True
            start += taken
        if start < len(chunk) or not (given or held):
            held.append(chunk[start:])
            count += len(chunk) - start
    if count or not given:
        yield np.concatenate(held)
