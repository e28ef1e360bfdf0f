"""How the golden cases of the official PatchCore are checked: embedding, coreset, scores, re-weighting, fusion."""

import json

import numpy as np
import torch
from golden_files import GoldenCase

from subband.banks.criteria import matrix_norms, mean_distances
from subband.banks.kcenter import GreedyKCenter
from subband.banks.neighbours import nearest
from subband.banks.reweighting import reweighted_scores
from subband.banks.rows import Rows
from subband.banks.sizes import coreset_size
from subband.methods.patchcore.ensemble import fused
from subband.methods.patchcore.patches import patch_embedding
from subband.nn.smoothing import smooth_maps, smoothing_matrices

SIGMA = 4.0


def check_embedding(golden: GoldenCase) -> None:
    shapes = json.loads(str(golden.stored("shapes")))
    layers = [
        torch.from_numpy(golden.input(seed, shape)) for seed, shape in zip(golden.stored("seeds"), shapes, strict=True)
    ]
    pooled, target = (int(length) for length in golden.stored("dims"))
    assert list(layers[0].shape[2:]) == golden.stored("grid").tolist()
    embedded = patch_embedding(layers, int(golden.stored("patchsize")), pooled, target)
    golden.close(embedded.flatten(0, 1), "out", 1e-5)


def check_coreset_and_scores(golden: GoldenCase) -> None:
    bank = golden.input(golden.stored("bank_seed"), golden.stored("bank_shape"))
    picks = check_picks(golden, bank)
    queries = torch.from_numpy(golden.input(golden.stored("query_seed"), golden.stored("query_shape")))
    check_scores(golden, queries, torch.from_numpy(bank[picks]))
    check_fusion(golden)


def check_picks(golden: GoldenCase, bank: np.ndarray) -> np.ndarray:
    """Exact from the norms of the distance matrix; approximate from given starts, in full width and projected."""
    rows = Rows.of(bank)
    count = coreset_size(len(rows), float(golden.stored("percentage")))
    picks = GreedyKCenter(rows, initial=matrix_norms(rows)).extend(count)
    np.testing.assert_array_equal(picks, golden.stored("greedy_idx"))
    approximate = GreedyKCenter(rows, initial=mean_distances(rows, golden.stored("approx_starts"))).extend(count)
    np.testing.assert_array_equal(approximate, golden.stored("approx_idx"))
    weight = golden.rule.fill_value(str(golden.stored("proj_name")), tuple(golden.stored("proj_shape").tolist()))
    projected = Rows.of(bank @ weight.T)
    found = GreedyKCenter(projected, initial=mean_distances(projected, golden.stored("proj_starts"))).extend(count)
    np.testing.assert_array_equal(found, golden.stored("proj_approx_idx"))
    return picks


def check_scores(golden: GoldenCase, queries: torch.Tensor, bank: torch.Tensor) -> None:
    """A position's score is its mean squared distance to the k nearest rows; an image's the largest of them."""
    height, width = golden.stored("patch_grid").tolist()
    size = tuple(golden.stored("seg_size").tolist())
    for name in golden.names():
        if name.startswith("scores_k"):
            found = nearest(queries, bank, neighbours=int(name.removeprefix("scores_k")))
            golden.close(found.distances.square().mean(dim=1), name, 1e-5)
            np.testing.assert_array_equal(found.indices, golden.stored(name.replace("scores", "nn")))
    found = nearest(queries, bank)
    maps = found.distances.square().view(-1, height, width)
    golden.close(maps.amax(dim=(1, 2)), "image_score", 1e-5)
    golden.close(smooth_maps(maps, *smoothing_matrices((height, width), size, SIGMA, "gaussian")), "segmentation", 1e-5)
    by_image = queries.view(len(maps), height * width, -1)
    support = int(golden.stored("reweight_neighbours"))
    golden.close(reweighted_scores(by_image, found, bank, support), "reweighted_image_score", 1e-5)


def check_fusion(golden: GoldenCase) -> None:
    for what, transform in (("scores", ""), ("maps", "map_")):
        shape = golden.stored(f"ens_{what}").shape
        seeds = golden.stored(f"ens_seeds_{what}")
        scales, shifts = golden.stored(f"ens_{transform}scale"), golden.stored(f"ens_{transform}shift")
        members = [
            torch.from_numpy(np.float32(scale) * golden.input(seed, shape) + np.float32(shift))
            for seed, scale, shift in zip(seeds, scales, shifts, strict=True)
        ]
        golden.close(fused(members), f"ens_{what}", 1e-5)


CHECKS = {"patchcore_embed": check_embedding, "patchcore_coreset_nn": check_coreset_and_scores}
