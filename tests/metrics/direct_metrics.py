"""Slow, direct implementations of the definitions: a loop over thresholds, a flood fill for regions."""

import itertools

import numpy as np


def regions_by_flood_fill(masks):
    """List of boolean (N, H, W) arrays, one per 8-connected component of one image."""
    found = []
    todo = {tuple(int(i) for i in place) for place in np.argwhere(masks)}
    while todo:
        region, edge = np.zeros(masks.shape, bool), [todo.pop()]
        while edge:
            n, y, x = edge.pop()
            region[n, y, x] = True
            near = [(n, y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            edge += [place for place in near if place in todo]
            todo -= set(near)
        found.append(region)
    return found


def pro_points(maps, masks):
    """(fpr, pro) after each distinct threshold, from (0, 0) to (1, 1)."""
    regions = regions_by_flood_fill(masks)
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        hit = maps >= threshold
        points.append((hit[~masks].mean(), np.mean([hit[region].mean() for region in regions])))
    return [*points, (1.0, 1.0)]


def area_to_limit(points, limit):
    """Trapezoid from 0 to the limit with linear interpolation there, divided by the limit."""
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            return (area + (limit - x0) * (y0 + y1) / 2) / limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def f1_at(labels, scores, threshold):
    called = scores > threshold
    hits = (called & labels).sum()
    return 2 * hits / (called.sum() + labels.sum())


def best_f1(labels, scores):
    """Greatest F1 over every threshold that separates scores, the all-defective one included."""
    return max(f1_at(labels, scores, threshold) for threshold in [-np.inf, *np.unique(scores)])
