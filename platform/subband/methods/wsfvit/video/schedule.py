"""One cycle of learning rate and momentum (Smith & Topin, 2018), as PyTorch's OneCycleLR computes it by default."""

from __future__ import annotations

import math

RISE = 0.3  # share of the updates in which the rate rises
START_DIVISOR, END_DIVISOR = 25.0, 1e4
LOW_BETA, HIGH_BETA = 0.85, 0.95


def one_cycle(highest: float, update: float, updates: float) -> tuple[float, float]:
    """Learning rate and Adam's first beta of one update.

    The rate rises from `highest` / 25 and falls to a 10,000th of that, each time along half a cosine; beta goes the other way, from
    0.95 to 0.85 and back.

    Args:
        highest: rate.
        update: from 0.
        updates: of the whole training.
    """
    lowest = highest / START_DIVISOR
    top, end = RISE * updates - 1, updates - 1
    if update <= top:
        share = update / top
        return _eased(lowest, highest, share), _eased(HIGH_BETA, LOW_BETA, share)
    share = (update - top) / (end - top)
    return _eased(highest, lowest / END_DIVISOR, share), _eased(LOW_BETA, HIGH_BETA, share)


def _eased(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
