"""Embedding: how a memory-bank method's vectors come about, as the later stages know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from subband.banks import Rows
from subband.methods.features import features_stage
from subband.stages import Chain, Stage, Upstream

LEVELS: Stage = features_stage("levels", taps=(1, 2))
"""layer2 and layer3 of the backbone, read by every memory-bank method: they share one pass over the pictures."""


@dataclass(frozen=True)
class Embedding:
    """The stages from pictures to vectors.

    Attributes:
        stages: from pictures to vectors.
        reads: names of the params that `rows` reads.
        rows: (upstream, params, role) -> the vectors of ``fit`` or ``query``: picture by picture, the cells of each row-major.
    """

    stages: Chain
    reads: tuple[str, ...]
    rows: Callable[[Upstream, Any, str], Rows]
