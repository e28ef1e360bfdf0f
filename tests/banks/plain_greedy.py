"""Greedy k-center as it is defined: one float64 pass over all rows a pick."""

import numpy as np


def plain_greedy(features, count, start=0, initial=None):
    """Picks, covering radius after each pick, and the distances to the picks."""
    features = features.astype(np.float64)
    taken = np.zeros(len(features), bool)
    criterion = np.full(len(features), np.inf) if initial is None else np.asarray(initial, np.float64) ** 2
    picks, radii = [start if initial is None else int(np.argmax(criterion))], []
    while True:
        taken[picks[-1]] = True
        criterion = np.minimum(criterion, np.square(features - features[picks[-1]]).sum(axis=1))
        criterion[taken] = 0
        radii.append(np.sqrt(criterion.max()))
        if len(picks) == count:
            return picks, radii, np.sqrt(criterion)
        picks.append(int(np.argmax(np.where(taken, -1.0, criterion))))
