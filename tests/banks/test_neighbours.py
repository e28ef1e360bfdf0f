import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.banks import Neighbours, nearest, nearest_in_prefixes
from subband.banks import neighbours as module


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
        patch.setattr(module, "_TILE", side)
        patch.setattr(module._Sizes, "within", classmethod(lambda cls, memory, width: cls(side + 1, side)))
        assert_same(nearest(queries, bank, neighbours=2), brute_force(queries, bank, 2))
