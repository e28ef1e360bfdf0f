import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_greedy import plain_greedy

from subband.banks import Rows, distances_to, merged_selection, random_order
from subband.errors import ParamsError


def made(count, width, seed):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(4, width))[rng.integers(0, 4, count)] + 0.2 * rng.normal(size=(count, width))).astype(
        np.float32
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 80), st.integers(1, 8), st.integers(0, 99), st.data())
def test_the_bounds_hold_and_the_radius_is_the_true_one(count, width, seed, data):
    features = made(count, width, seed)
    picks = data.draw(st.integers(1, count))
    shards = data.draw(st.integers(1, min(5, count)))
    start = data.draw(st.integers(0, count - 1))
    found = merged_selection(Rows.of(features), picks, shards, start=start)
    assert found.picks[0] == start
    assert len(set(found.picks.tolist())) == picks
    wide = features.astype(np.float64)
    apart = np.sqrt(np.square(wide[:, None] - wide[found.picks][None]).sum(axis=2))
    assert found.radius == pytest.approx(apart.min(axis=1).max(), rel=1e-12, abs=1e-12)
    assert found.radius <= found.bound * (1 + 1e-12)
    # The exact greedy radius is at least the best one, of which the merged one is at most four times.
    assert found.radius <= 4 * plain_greedy(features, picks, start)[1][-1] + 1e-12


@pytest.mark.parametrize("per_shard", [None, 2])
def test_the_factor_holds_beside_the_best_of_all_choices(per_shard):
    for seed in range(12):
        features = made(14, 2, seed)
        found = merged_selection(Rows.of(features), 3, shards=3, per_shard=per_shard)
        wide = features.astype(np.float64)
        apart = np.sqrt(np.square(wide[:, None] - wide[None]).sum(axis=2))
        best = min(apart[:, list(chosen)].min(axis=1).max() for chosen in itertools.combinations(range(14), 3))
        assert best <= found.radius <= found.factor * best * (1 + 1e-12)
        if per_shard is None:
            assert found.radius <= 4 * best


def test_one_shard_is_the_exact_selection():
    features = made(60, 5, 1)
    found = merged_selection(Rows.of(features), 20, shards=1, start=7)
    assert found.picks.tolist() == plain_greedy(features, 20, 7)[0]
    assert found.radius == plain_greedy(features, 20, 7)[1][-1]


def test_progress_counts_the_rows_sent():
    told = []
    merged_selection(Rows.of(made(40, 3, 0)), 6, shards=4, progress=lambda *news: told.append(news))
    assert [(sent, total) for sent, total, _ in told] == [(6, 24), (12, 24), (18, 24), (24, 24)]


def test_random_subsets_are_prefixes_of_one_permutation():
    order = random_order(100, seed=3)
    assert sorted(order.tolist()) == list(range(100))
    np.testing.assert_array_equal(order, random_order(100, seed=3))
    assert (order != random_order(100, seed=4)).any()
    features = made(100, 4, 0)
    radii = [distances_to(Rows.of(features), order[:size]).max() for size in (1, 10, 50, 100)]
    assert radii == sorted(radii, reverse=True)
    assert radii[-1] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 5, "shards": 0}, "20 rows cannot be divided into 0; 1 to 20"),
        ({"count": 5, "shards": 21}, "into 21"),
        ({"count": 21, "shards": 2}, "21 of 20 rows"),
        ({"count": 5, "shards": 2, "start": 20}, "row 20 does not exist"),
        ({"count": 5, "shards": 2, "per_shard": 2}, "2 shards that send 2 rows each cannot give 5"),
        ({"count": 1, "shards": 2, "per_shard": 0}, "send more"),
    ],
)
def test_sizes_that_cannot_be_are_named(arguments, message):
    with pytest.raises(ParamsError, match=message):
        merged_selection(Rows.of(made(20, 3, 0)), **arguments)
