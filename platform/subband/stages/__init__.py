"""Stages and their store: what is computed once and shared by every trial that needs it."""

from subband.stages.arrays import StoredArray
from subband.stages.chain import WAITING, Chain, ParamView, Runner, Stage, Upstream, per_picture_part
from subband.stages.store import DEFAULT_BUDGET_GB, Chunk, Entry, Store

__all__ = [
    "DEFAULT_BUDGET_GB",
    "WAITING",
    "Chain",
    "Chunk",
    "Entry",
    "ParamView",
    "Runner",
    "Stage",
    "Store",
    "StoredArray",
    "Upstream",
    "per_picture_part",
]
