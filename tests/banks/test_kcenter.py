import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_greedy import plain_greedy

from subband.banks import GreedyKCenter, Rows, distances_to, kcenter
from subband.errors import DataError, ParamsError

KINDS = (
    "clustered",
    "uniform",
    "copies",
    "lattice",
    "constant",
    "tiny",
    "tiny clusters",
    "huge",
    "largest",
    "minute",
    "one line",
)


def made(kind, count, width, seed):
    """Features of one character, float32 (count, width)."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(count, width))
    centres = rng.normal(size=(7, width))[rng.integers(0, 7, count)]
    found = {
        "clustered": lambda: centres + 0.1 * normal,
        "uniform": lambda: rng.uniform(size=(count, width)),
        "copies": lambda: rng.normal(size=(max(1, count // 5), width))[rng.integers(0, max(1, count // 5), count)],
        "lattice": lambda: rng.integers(0, 3, size=(count, width)),
        "constant": lambda: np.ones((count, width)),
        "tiny": lambda: 1 + 1e-3 * normal,
        "tiny clusters": lambda: centres + 1e-5 * normal,
        "huge": lambda: 1e30 * normal,
        "largest": lambda: 3.4e38 * rng.uniform(-1, 1, size=(count, width)),
        "minute": lambda: 1e-30 * normal,
        "one line": lambda: np.arange(count)[:, None] * np.ones(width),
    }[kind]()
    return found.astype(np.float32)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of eight rows at first, so that small data need many rounds."""
    monkeypatch.setattr(kcenter, "FIRST_BLOCK", 8)


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(KINDS), st.integers(1, 160), st.integers(1, 40), st.integers(0, 99), st.data())
def test_picks_radii_and_distances_are_those_of_the_definition(kind, count, width, seed, data):
    features = made(kind, count, width, seed)
    picks = data.draw(st.integers(1, count))
    start = data.draw(st.integers(0, count - 1))
    greedy = GreedyKCenter(Rows.of(features), start)
    greedy.extend(data.draw(st.integers(1, picks)))
    greedy.extend(picks)
    wanted, radii, distances = plain_greedy(features, picks, start)
    assert greedy.picks.tolist() == wanted
    np.testing.assert_array_equal(greedy.radii, radii)
    np.testing.assert_array_equal(greedy.distances, distances)
    assert greedy.covering_radius == radii[-1]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(KINDS), st.integers(2, 120), st.integers(1, 20), st.integers(0, 99), st.data())
def test_an_initial_criterion_counts_like_one_more_pick(kind, count, width, seed, data):
    features = made(kind, count, width, seed)
    initial = np.random.default_rng(seed).uniform(0, 3, count) * np.abs(features).max().astype(np.float64)
    picks = data.draw(st.integers(1, count))
    greedy = GreedyKCenter(Rows.of(features), initial=initial)
    greedy.extend(data.draw(st.integers(1, picks)))
    wanted, radii, _ = plain_greedy(features, picks, initial=initial)
    assert greedy.extend(picks).tolist() == wanted
    np.testing.assert_array_equal(greedy.radii, radii)
    np.testing.assert_array_equal(greedy.distances, distances_to(Rows.of(features), wanted))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(KINDS), st.integers(0, 99), st.integers(1, 60), st.integers(60, 90), st.booleans())
def test_a_stored_state_goes_on_with_the_same_picks(kind, seed, early, late, criterion):
    rows = Rows.of(made(kind, 90, 12, seed))
    begun = {"initial": np.linspace(1, 2, 90)} if criterion else {"start": 17}
    whole = GreedyKCenter(rows, **begun)
    whole.extend(late)
    first = GreedyKCenter(rows, **begun)
    first.extend(early)
    state = {name: np.array(array) for name, array in first.state().items()}
    resumed = GreedyKCenter.from_state(rows, state)
    assert resumed.picks.tolist() == whole.picks[:early].tolist()
    resumed.extend(late)
    np.testing.assert_array_equal(resumed.picks, whole.picks)
    np.testing.assert_array_equal(resumed.radii, whole.radii)
    np.testing.assert_array_equal(resumed.distances, whole.distances)
    if not criterion:
        anew = GreedyKCenter.from_state(rows, {"picks": state["picks"], "radii": state["radii"]})
        np.testing.assert_array_equal(anew.extend(late), whole.picks)
        np.testing.assert_array_equal(anew.radii, whole.radii)


@pytest.mark.parametrize("size", [8, 1000])
@pytest.mark.parametrize("kind", ["clustered", "tiny", "copies"])
def test_block_sizes_and_threads_change_nothing(kind, size, monkeypatch):
    monkeypatch.setattr(kcenter, "FIRST_BLOCK", size)
    features = made(kind, 600, 24, 3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        picks = GreedyKCenter(Rows.of(features)).extend(200)
    finally:
        torch.set_num_threads(threads)
    assert picks.tolist() == plain_greedy(features, 200)[0]


def test_products_in_reduced_precision_are_not_used():
    """A caller may have allowed bfloat16 products; they would break the bounds."""
    features = made("clustered", 300, 64, 1)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        picks = GreedyKCenter(Rows.of(features)).extend(150)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert picks.tolist() == plain_greedy(features, 150)[0]


def test_rows_in_parts_and_chunks_give_the_same_picks():
    features = made("clustered", 200, 10, 5)
    parts = [np.split(features[:, :4], [60]), np.split(features[:, 4:], [11, 150])]
    assert GreedyKCenter(Rows(parts)).extend(50).tolist() == plain_greedy(features, 50)[0]


def test_rows_that_equal_a_pick_come_last_in_their_order():
    features = np.repeat(np.arange(3, dtype=np.float32), 2)[:, None]
    greedy = GreedyKCenter(Rows.of(features), start=1)
    assert greedy.extend(6).tolist() == [1, 4, 2, 0, 3, 5]
    assert greedy.radii.tolist() == [2, 1, 0, 0, 0, 0]


def test_a_pick_that_may_still_be_nearer_is_not_forgotten():
    """Three picks come into question for a row, and a fourth beats the two that are named."""
    features = made("minute", 28, 4, 12)
    initial = np.random.default_rng(12).uniform(0, 3, 28) * np.abs(features).max().astype(np.float64)
    greedy = GreedyKCenter(Rows.of(features), initial=initial)
    greedy.extend(1)
    assert greedy.extend(4).tolist() == plain_greedy(features, 4, initial=initial)[0]


def test_a_criterion_that_is_zero_everywhere_leaves_the_order_of_the_rows():
    greedy = GreedyKCenter(Rows.of(made("uniform", 9, 3, 0)), initial=np.zeros(9))
    assert greedy.extend(4).tolist() == [0, 1, 2, 3]
    assert greedy.extend(6).tolist() == [0, 1, 2, 3, 4, 5]
    assert greedy.covering_radius == distances_to(Rows.of(made("uniform", 9, 3, 0)), range(6)).max()


def test_one_far_row_in_the_criterion_is_told_before_there_is_a_radius():
    initial = np.r_[np.zeros(8), 5.0]
    told = []
    greedy = GreedyKCenter(Rows.of(made("uniform", 9, 3, 0)), initial=initial)
    assert greedy.extend(3, lambda *news: told.append(news)).tolist() == [8, 0, 1]
    assert told[-1] == (3, 3, 0.0)


def test_progress_may_interrupt_and_nothing_is_lost():
    features = made("uniform", 300, 8, 2)
    greedy = GreedyKCenter(Rows.of(features))
    told = []

    def interrupt(picked, total, radius):
        told.append((picked, total, radius))
        if picked > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        greedy.extend(100, interrupt)
    reached = len(greedy.radii)
    assert 40 < reached < 100
    assert [radius for _, _, radius in told] == sorted((radius for _, _, radius in told), reverse=True)
    assert all(total == 100 for _, total, _ in told)
    assert (
        GreedyKCenter.from_state(Rows.of(features), greedy.state()).extend(100).tolist() == greedy.extend(100).tolist()
    )
    assert greedy.picks.tolist() == plain_greedy(features, 100)[0]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(wrong):
    features = made("uniform", 50, 4, 0)
    features[[17, 33], 2] = wrong
    with pytest.raises(DataError, match="row 17 of the features is not finite"):
        GreedyKCenter(Rows.of(features))
    with pytest.raises(DataError, match="row 17"):
        distances_to(Rows.of(features), [0])


def test_bad_requests_say_what_would_be_right():
    rows = Rows.of(made("uniform", 20, 4, 0))
    with pytest.raises(ParamsError, match="row 20 does not exist; 0 to 19 do"):
        GreedyKCenter(rows, start=20)
    with pytest.raises(ParamsError, match="21 of 20 rows cannot be picked; 1 to 20"):
        GreedyKCenter(rows).extend(21)
    with pytest.raises(ParamsError, match="0 of 20 rows"):
        GreedyKCenter(rows).extend(0)
    with pytest.raises(ParamsError, match="not with both"):
        GreedyKCenter(rows, start=0, initial=np.ones(20))
    with pytest.raises(ParamsError, match=r"shape \(20,\), not \(19,\)"):
        GreedyKCenter(rows, initial=np.ones(19))
    with pytest.raises(ParamsError, match="finite and not negative"):
        GreedyKCenter(rows, initial=np.full(20, np.nan))
    with pytest.raises(ParamsError, match="among 20 rows, not 5"):
        GreedyKCenter.from_state(Rows.of(made("uniform", 5, 4, 0)), GreedyKCenter(rows).state())
    with pytest.raises(ParamsError, match="from 0 to 19"):
        distances_to(rows, [20])
