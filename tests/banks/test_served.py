import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.banks import NearestNeighbours, nearest, search
from subband.errors import DataError, ParamsError


def vectors(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


@given(st.integers(0, 99), st.integers(1, 50), st.sampled_from([1, 3, 7, 100]), st.sampled_from(["none", "bfloat16"]))
@settings(deadline=None)
def test_it_gives_what_the_search_gives(seed, rows, side, coarse):
    bank, queries = vectors(seed, rows, 6), vectors(seed + 1, 2, 5, 6)
    bank[rows // 2 :] = bank[: rows - rows // 2].clone()
    queries[0, 0] = bank[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_CPU_TILE", side)
        distances, indices = NearestNeighbours(bank, coarse=coarse)(queries)
    expected = nearest(queries.view(10, 6), bank)
    torch.testing.assert_close(distances.view(10, 1), expected.distances, rtol=0, atol=0)
    torch.testing.assert_close(indices.view(10, 1), expected.indices, rtol=0, atol=0)


def test_only_the_bank_is_saved_and_a_loaded_bank_is_the_one_that_is_searched():
    first, second, queries = vectors(0, 40, 8), vectors(1, 40, 8), vectors(2, 1, 6, 8)
    module = NearestNeighbours(first)
    assert list(module.state_dict()) == ["bank"]
    module.load_state_dict({"bank": second})
    torch.testing.assert_close(module(queries)[0], NearestNeighbours(second)(queries)[0], rtol=0, atol=0)


def test_a_module_inside_another_survives_a_move_and_a_load():
    outer = torch.nn.Sequential(NearestNeighbours(vectors(0, 40, 8)))
    bank = vectors(3, 40, 8)
    outer.load_state_dict({"0.bank": bank})
    moved = outer.to("cpu").eval()
    assert moved(bank[None])[1].tolist() == [list(range(40))]
    assert moved(bank[None])[0].eq(0).all()


def test_it_can_be_exported():
    bank, queries = vectors(0, 40, 8), vectors(1, 2, 6, 8)
    module = NearestNeighbours(bank).eval()
    exported = torch.export.export(module, (queries,))
    for found, expected in zip(exported.module()(queries), module(queries), strict=True):
        torch.testing.assert_close(found, expected)


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(ParamsError, match="bank is empty"):
        NearestNeighbours(torch.empty(0, 8))
    with pytest.raises(DataError, match="bank vector 3 has NaN"):
        NearestNeighbours(vectors(0, 5, 8).index_fill(0, torch.tensor([3]), torch.nan))
    module = NearestNeighbours(vectors(0, 5, 8))
    with pytest.raises(ParamsError, match="9 numbers wide, the bank 8"):
        module(vectors(0, 1, 5, 9))
    with pytest.raises(DataError, match="query vector 0 has NaN or infinite"):
        module(torch.full((1, 5, 8), torch.inf))
