"""What is written is what is read, whatever its type and however it was cut; and reading copies nothing."""

import tempfile

import hypothesis.extra.numpy as arrays
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.stages import Entry, Runner, Stage, Store

DTYPES = st.one_of(
    st.just(np.dtype(bool)),
    arrays.integer_dtypes(endianness="="),
    arrays.unsigned_integer_dtypes(endianness="="),
    arrays.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
    st.sampled_from([np.dtype(">f4"), np.dtype(">i2")]),
)


@st.composite
def cut_arrays(draw):
    """An array and the same array in chunks of rows, some of them without rows."""
    shape = draw(arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    whole = draw(arrays.arrays(draw(DTYPES), shape))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return whole, np.split(whole, cuts)


def stored(folder, chunks) -> Entry:
    store = Store(folder)
    entry, computed = store.get_or_compute("0" * 40, lambda: ({"x": chunk} for chunk in chunks), {"stage": "made"})
    assert computed
    return entry


def assert_same(got: np.ndarray, wanted: np.ndarray) -> None:
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, wanted)


@given(cut_arrays())
@settings(max_examples=60, deadline=None)
def test_chunks_come_back_as_one_array(case):
    whole, chunks = case
    with tempfile.TemporaryDirectory() as folder:
        entry = stored(folder, chunks)
        assert_same(entry.array("x"), whole)
        assert_same(np.concatenate(list(entry.batches("x"))), whole)
        assert entry.arrays["x"].shape == whole.shape
        assert_same(stored(folder + "/one", [whole]).array("x"), whole)


@given(cut_arrays())
@settings(max_examples=30, deadline=None)
def test_the_store_changes_nothing(case):
    """A runner without a store gives the same arrays."""
    whole, chunks = case
    stage = Stage("made", 1, (), lambda upstream, params, source: ({"x": chunk} for chunk in chunks))
    with tempfile.TemporaryDirectory() as folder:
        kept = Runner(None, "root", Store(folder)).run((stage,), {})
        held = Runner(None, "root", None).run((stage,), {})
        assert_same(kept.array("x"), whole)
        np.testing.assert_array_equal(held.array("x"), kept.array("x"))
        assert held.array("x").shape == kept.array("x").shape


def test_an_array_written_in_one_chunk_is_mapped_and_not_loaded(tmp_path):
    large = np.random.default_rng(0).standard_normal((1000, 1000))
    entry = stored(tmp_path, [large])
    before = pa.total_allocated_bytes()
    array = entry.array("x")
    assert not array.flags.owndata
    assert not array.flags.writeable
    assert pa.total_allocated_bytes() - before < 1e5
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    np.testing.assert_array_equal(array, large)


def test_chunks_are_mapped_one_by_one(tmp_path):
    chunks = [np.full((2, 3), number, np.float32) for number in range(4)]
    entry = stored(tmp_path, chunks)
    seen = list(entry.batches("x"))
    assert [chunk.tolist() for chunk in seen] == [chunk.tolist() for chunk in chunks]
    assert not any(chunk.flags.owndata or chunk.flags.writeable for chunk in seen)


@pytest.mark.parametrize(
    "array",
    [np.array(["text"]), np.zeros(3, complex), np.array(1.0), np.array([None])],
    ids=["text", "complex", "0-d", "object"],
)
def test_what_cannot_be_mapped_is_refused_by_name(tmp_path, array):
    with pytest.raises(TypeError, match=r"x: a stored array holds rows of booleans, integers or floats"):
        stored(tmp_path, [array])
    assert Store(tmp_path).info() == []
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.mark.parametrize("second", [np.zeros((1, 4), np.float32), np.zeros((1, 3), np.float64)])
def test_chunks_that_differ_are_refused(tmp_path, second):
    with pytest.raises(ValueError, match="differs from"):
        stored(tmp_path, [np.zeros((1, 3), np.float32), second])
    assert Store(tmp_path).info() == []


def test_values_keep_their_json_form(tmp_path):
    values = {"notes": ["a", "b"], "count": 3, "nested": {"x": 0.1, "10": 1, "9": None}}
    store = Store(tmp_path)
    store.get_or_compute("0" * 40, lambda: [values], {"stage": "made", "params": {"level": 2}})
    assert Store(tmp_path).get("0" * 40).values == values
