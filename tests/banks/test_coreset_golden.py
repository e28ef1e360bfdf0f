"""Selections of the published code, which the golden files hold."""

from pathlib import Path

import numpy as np
import pytest

from subband.banks import GreedyKCenter, Rows, coreset_size, matrix_norms, mean_distances
from tests.golden.fill import fill_value, golden_input

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def wedgenet():
    with np.load(GOLDEN / "wedgenet" / "kcenter.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def patchcore():
    with np.load(GOLDEN / "baselines" / "patchcore_coreset_nn.npz") as stored:
        return dict(stored)


def test_wedgenet_picks_and_radius(wedgenet):
    rows = Rows.of(golden_input(int(wedgenet["seed"]), tuple(wedgenet["shape"])))
    greedy = GreedyKCenter(rows, start=0)
    for ratio in (0.001, 0.01, 0.1):
        size = coreset_size(len(rows), ratio, at_least_one=True)
        np.testing.assert_array_equal(greedy.extend(size), wedgenet[f"idx_{ratio}"])
    assert greedy.radii[-1] == pytest.approx(float(wedgenet["radius"]), rel=1e-12)


def test_patchcore_exact_picks(patchcore):
    rows = Rows.of(golden_input(int(patchcore["bank_seed"]), tuple(patchcore["bank_shape"])))
    size = coreset_size(len(rows), float(patchcore["percentage"]))
    found = GreedyKCenter(rows, initial=matrix_norms(rows)).extend(size)
    np.testing.assert_array_equal(found, patchcore["greedy_idx"])


@pytest.mark.parametrize(("starts", "picks"), [("approx_starts", "approx_idx"), ("proj_starts", "proj_approx_idx")])
def test_patchcore_approximate_picks(patchcore, starts, picks):
    bank = golden_input(int(patchcore["bank_seed"]), tuple(patchcore["bank_shape"]))
    if picks.startswith("proj"):
        bank = bank @ fill_value(str(patchcore["proj_name"]), tuple(patchcore["proj_shape"])).T
    rows = Rows.of(bank)
    found = GreedyKCenter(rows, initial=mean_distances(rows, patchcore[starts])).extend(len(patchcore[picks]))
    np.testing.assert_array_equal(found, patchcore[picks])


def test_matrix_norms_are_those_of_the_matrix():
    features = np.random.default_rng(0).normal(3, 1, size=(40, 6)).astype(np.float32)
    wide = features.astype(np.float64)
    matrix = np.sqrt(np.square(wide[:, None] - wide[None]).sum(axis=2))
    np.testing.assert_allclose(matrix_norms(Rows.of(features)), np.linalg.norm(matrix, axis=1), rtol=1e-12)
