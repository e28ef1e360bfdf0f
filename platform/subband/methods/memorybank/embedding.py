"""Embedding: how a memory-bank method's vectors come about, as the later stages know it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from subband.banks import Rows
from subband.methods.features import FEATURE_BATCH, ROLES, features_stage, in_batches
from subband.methods.memorybank.params import LAYERS
from subband.stages import Chain, Entry, Stage, Upstream

LEVELS: Stage = features_stage("levels", LAYERS)
"""layer2 and layer3 of the backbone, read by every memory-bank method: they share one pass over the images.

Where both are the same map it is kept once, as layer2.
"""


def level_names(levels: Entry, role: str) -> list[str]:
    """Names of the arrays of a role's one or two levels."""
    return [name for layer in LAYERS if (name := f"{role}.{layer}") in levels.arrays]


def level_batches(upstream: Upstream) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """(role, maps of the one or two levels) of every image, some images at a time."""
    levels = upstream("levels")
    for role in ROLES:
        for maps in in_batches(levels, level_names(levels, role), FEATURE_BATCH):
            yield role, tuple(torch.tensor(batch) for batch in maps)


@dataclass(frozen=True)
class Embedding:
    """The stages from images to vectors.

    Attributes:
        stages: from images to vectors.
        vectors: names of the stages whose results, side by side, are the vectors.
        reads: names of the params that decide about `vectors`.
    """

    stages: Chain
    vectors: tuple[str, ...]
    reads: tuple[str, ...] = ()

    def rows(self, upstream: Upstream, role: str) -> Rows:
        """The vectors of ``fit`` or ``query``: image by image, the cells of each row-major."""
        return Rows([list(upstream(name).batches(role)) for name in self.vectors])

    def chain(self, name: str) -> Chain:
        """The stages up to the one of that name."""
        return self.stages[: [stage.name for stage in self.stages].index(name) + 1]
