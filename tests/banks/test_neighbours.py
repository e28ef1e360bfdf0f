import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.banks import Neighbours, Rows, nearest, nearest_in_prefixes, search
from subband.banks import neighbours as module
from subband.banks.coarse import choose_rounding, score_rounding
from subband.banks.scores import BankBlock, QueryBlock
from subband.errors import DataError, ParamsError


def brute_force(queries, bank, neighbours, query_group=None, bank_group=None):
    """All distances in float64, rounded to float32, sorted by (distance, index): the definition, and nothing else."""
    differences = queries.double()[:, None] - bank.double()[None]
    distances = differences.square().sum(dim=2).sqrt().float()
    if query_group is not None:
        distances[query_group[:, None] == bank_group[None]] = torch.inf
    missing = max(0, neighbours - len(bank))
    distances = torch.nn.functional.pad(distances, (0, missing), value=torch.inf)
    found, indices = distances.sort(dim=1, stable=True)
    found, indices = found[:, :neighbours], indices[:, :neighbours]
    return Neighbours(found, torch.where(found.isinf(), -1, indices))


def assert_same(found, expected):
    torch.testing.assert_close(found.distances, expected.distances, rtol=0, atol=0)
    torch.testing.assert_close(found.indices, expected.indices, rtol=0, atol=0)


@st.composite
def searches(draw):
    """Queries and a bank with duplicates, near ties, rows that are queries, and a common offset that makes products cancel."""
    seed, width = draw(st.integers(0, 999)), draw(st.sampled_from([1, 2, 7, 40, 300]))
    rng = np.random.default_rng(seed)
    rows, count = draw(st.integers(1, 60)), draw(st.integers(1, 20))
    bank = rng.normal(size=(rows, width)) * draw(st.sampled_from([1e-12, 1e-3, 1.0, 1e6]))
    if draw(st.booleans()):
        bank = np.round(bank)  # a lattice has many exact ties
    bank = bank[rng.integers(0, rows, rows)] + draw(st.sampled_from([0.0, 0.0, 1.0, 1e4]))
    bank *= 1 + draw(st.sampled_from([0.0, 1e-7, 1e-3])) * rng.normal(size=bank.shape)
    queries = bank[rng.integers(0, rows, count)] + draw(st.sampled_from([0.0, 1e-6, 1.0])) * rng.normal(
        size=(count, width)
    )
    return torch.from_numpy(queries).float(), torch.from_numpy(bank).float()


@given(searches(), st.data())
@settings(max_examples=150, deadline=None)
def test_every_prefix_has_the_nearest_rows_of_brute_force(case, data):
    queries, bank = case
    neighbours = data.draw(st.sampled_from([1, 1, 2, 9]), "neighbours")
    prefixes = data.draw(st.lists(st.integers(1, len(bank)), min_size=1, max_size=4), "prefixes")
    groups = {}
    if data.draw(st.booleans(), "groups"):
        rng = np.random.default_rng(0)
        groups = {
            "query_group": torch.from_numpy(rng.integers(0, 3, len(queries))),
            "bank_group": torch.from_numpy(rng.integers(0, 3, len(bank))),
        }
    memory = data.draw(st.sampled_from([1, 100_000, 2_000_000, 256_000_000]), "memory")
    found = nearest_in_prefixes(queries, bank, prefixes, neighbours=neighbours, memory=memory, **groups)
    for prefix, part in zip(prefixes, found, strict=True):
        some = {**groups, "bank_group": groups["bank_group"][:prefix]} if groups else {}
        assert_same(part, brute_force(queries, bank[:prefix], neighbours, **some))


@given(searches(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_search_goes_on_from_an_earlier_one(case, data):
    queries, bank = case
    neighbours, cut = data.draw(st.sampled_from([1, 3])), data.draw(st.integers(0, len(bank) - 1))
    whole = nearest(queries, bank, neighbours=neighbours)
    earlier = nearest(queries, bank[:cut], neighbours=neighbours) if cut else None
    assert_same(nearest(queries, bank[cut:], neighbours=neighbours, initial=earlier, offset=cut), whole)
    # Whatever is nearest among the later rows may also be met first.
    later = nearest(queries, bank[cut:], neighbours=neighbours, offset=cut)
    if cut:
        assert_same(nearest(queries, bank[:cut], neighbours=neighbours, initial=later), whole)


@given(searches(), st.sampled_from([1, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_small_tiles_change_nothing(case, side):
    queries, bank = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_CPU_TILE", side)
        patch.setattr(module._Sizes, "within", classmethod(lambda cls, *given: cls(side + 1, side)))
        assert_same(nearest(queries, bank, neighbours=2), brute_force(queries, bank, 2))


@given(searches(), st.sampled_from(["bfloat16", "float16"]), st.sampled_from([1, 3]))
@settings(max_examples=100, deadline=None)
def test_half_precision_changes_nothing(case, coarse, neighbours):
    queries, bank = case
    assert_same(nearest(queries, bank, neighbours=neighbours, coarse=coarse), brute_force(queries, bank, neighbours))


@pytest.mark.parametrize("coarse", ["bfloat16", "float16"])
@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_no_coarse_score_is_further_off_than_its_bound(coarse, spread):
    """The bound is what makes a half-precision search exact; on clustered data it must also be small enough to be of use."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 600)) + 2
    bank, queries = (
        torch.from_numpy(centres[rng.integers(0, 5, count)] + spread * rng.normal(size=(count, 600))).float()
        for count in (300, 200)
    )
    centre = bank.mean(dim=0)
    rounding = choose_rounding(coarse, bank, centre)
    block = BankBlock.of(bank, centre, 1, rounding=rounding)
    rounded = QueryBlock(queries, centre).rounded(block.rounded)
    true = torch.cdist(queries.double(), bank.double()).square() / 2 * rounding.scale**2
    scores, errors = rounded.scores(block.rounded), rounded.errors(block.rounded)
    beyond = (scores.double() - true).abs() - score_rounding(scores) * scores.double().abs()
    assert (beyond <= errors[:, None]).all()
    assert errors.max() < 10 * (scores.double() - true).abs().max()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_no_float32_score_is_further_off_than_its_bound(offset):
    rng = np.random.default_rng(0)
    bank, queries = (torch.from_numpy(rng.normal(size=(count, 2048)) + offset).float() for count in (300, 200))
    centre = bank.mean(dim=0)
    block, ready = BankBlock.of(bank, centre, 1), QueryBlock(queries, centre)
    scores = ready.scores(block, slice(0, 200), torch.empty(200, 300)).double() + ready.offsets_Q[:, None]
    true = torch.cdist(queries.double(), bank.double(), compute_mode="donot_use_mm_for_euclid_dist").square() / 2
    assert ((scores - true).abs() <= ready.errors(block, slice(0, 200))[:, None]).all()


def test_numbers_that_half_precision_cannot_hold_are_searched_in_float32():
    bank, queries = torch.randn(50, 8), torch.randn(20, 8)
    queries[3] *= 1e6
    bank[40] *= 1e7
    assert_same(nearest(queries, bank, coarse="float16"), brute_force(queries, bank, 1))


def test_a_vector_is_at_distance_0_from_itself():
    """Products give up to 8e-4 at this width."""
    bank = torch.from_numpy(np.random.default_rng(0).normal(size=(500, 2048))).float().relu()
    found = nearest(bank, bank)
    assert found.distances.eq(0).all()
    assert torch.equal(found.indices[:, 0], torch.arange(500))


def test_distances_are_right_to_float32_where_products_cancel():
    rng = np.random.default_rng(0)
    bank = torch.from_numpy(100 + 1e-3 * rng.normal(size=(300, 512))).float()
    queries = torch.from_numpy(100 + 1e-3 * rng.normal(size=(50, 512))).float()
    by_products = torch.cdist(queries, bank).amin(dim=1)
    expected = brute_force(queries, bank, 1)
    assert (by_products - expected.distances[:, 0]).abs().max() > 0.1 * expected.distances.max()
    assert_same(nearest(queries, bank), expected)


def test_repeated_rows_are_compared_once():
    """A constant background repeats one vector; without care every one of its copies would be compared with every query."""
    bank = torch.randn(1000, 16)
    bank[10:900] = bank[5]
    queries = bank[5] + 1e-3 * torch.randn(7, 16)
    with pytest.MonkeyPatch.context() as patch:
        compared = []
        direct = search.pair_distances
        patch.setattr(search, "pair_distances", lambda *given: compared.append(len(given[2])) or direct(*given))
        found = nearest(queries, bank, neighbours=3)
    assert_same(found, brute_force(queries, bank, 3))
    assert sum(compared) < 7 * 10


@pytest.mark.parametrize("allowed", ["high", "medium"])
def test_a_process_that_allows_rounded_products_gets_the_same_rows(allowed):
    """Under "medium" some processors multiply float32 matrices in bfloat16."""
    bank = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 512))).float()
    queries = bank[:100] + 0.7 * torch.from_numpy(np.random.default_rng(1).normal(size=(100, 512))).float()
    expected = brute_force(queries, bank, 5)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(allowed)
        assert_same(nearest(queries, bank, neighbours=5), expected)
        assert torch.get_float32_matmul_precision() == allowed
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_query_whose_group_has_every_row_has_no_neighbour():
    found = nearest(
        torch.zeros(2, 3), torch.ones(4, 3), query_group=torch.tensor([0, 1]), bank_group=torch.tensor([0, 0, 0, 0])
    )
    assert found.distances.tolist() == [[torch.inf], [torch.tensor(3.0).sqrt().item()]]
    assert found.indices.tolist() == [[-1], [0]]


def test_rows_on_disk_and_several_parts_are_read_as_one_bank(tmp_path):
    bank, queries = np.random.default_rng(0).normal(size=(2, 100, 12)).astype(np.float32)
    np.save(tmp_path / "left.npy", bank[:, :8])
    mapped = np.load(tmp_path / "left.npy", mmap_mode="r")
    rows = Rows([[mapped[:30], mapped[30:]], [bank[:, 8:]]])
    expected = brute_force(torch.from_numpy(queries), torch.from_numpy(bank), 2)
    for memory in (20_000, 256_000_000):
        assert_same(nearest(Rows.of(queries), rows, neighbours=2, memory=memory), expected)
        assert_same(nearest(queries, rows, neighbours=2, memory=memory), expected)


def test_prefixes_come_back_in_the_order_they_were_asked_for():
    queries, bank = torch.randn(5, 3), torch.randn(9, 3)
    found = nearest_in_prefixes(queries, bank, (9, 2, 9))
    for part, prefix in zip(found, (9, 2, 9), strict=True):
        assert_same(part, brute_force(queries, bank[:prefix], 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bank": torch.empty(0, 3)}, "bank is empty"),
        ({"bank": torch.ones(4, 5)}, "3 numbers wide, the bank 5.*backbone.*semantic flag.*seed"),
        ({"bank": torch.ones(4)}, r"matrix \(count, width\), not of shape \(4,\)"),
        ({"prefixes": (2, 5)}, r"\(2, 5\) do not fit.*from 1 to 4"),
        ({"prefixes": (0,)}, "from 1 to 4"),
        ({"prefixes": ()}, "do not fit"),
        ({"prefixes": (3,), "offset": 4}, "rows 4 to 7; each must be from 4 to 8"),
        ({"neighbours": 0}, "neighbours = 0 is out of range"),
        ({"query_group": torch.zeros(2)}, "go together"),
        ({"query_group": torch.zeros(2), "bank_group": torch.zeros(3)}, r"\(2,\) and bank_group \(4,\)"),
        ({"initial": Neighbours(torch.ones(2, 2), torch.ones(2, 2))}, "initial must hold 1 neighbours of each of 2"),
        ({"coarse": "bfloat"}, "did you mean 'bfloat16'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"queries": torch.ones(2, 3), "bank": torch.ones(4, 3), "prefixes": (4,), **change}
    with pytest.raises(ParamsError, match=message):
        nearest_in_prefixes(given.pop("queries"), given.pop("bank"), given.pop("prefixes"), **given)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
def test_broken_vectors_are_named(value):
    good, broken = torch.ones(6, 3), torch.ones(6, 3)
    broken[4, 1] = value
    what = "length above" if value == 1e30 else "NaN or infinite"
    with pytest.raises(DataError, match=f"query vector 4 has .*{what}"):
        nearest(broken, good)
    with pytest.raises(DataError, match=f"bank vector 4 has .*{what}"):
        nearest(good, broken)
