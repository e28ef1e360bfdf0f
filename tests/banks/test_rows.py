import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from subband.banks import Rows
from subband.errors import ParamsError


@st.composite
def divided(draw):
    """A matrix, and the same matrix cut into column parts and each part into chunks of rows."""
    count, widths = draw(st.integers(1, 12)), draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    matrix = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(count, sum(widths))).astype(np.float32)
    parts, start = [], 0
    for width in widths:
        cuts = sorted(draw(st.lists(st.integers(0, count), max_size=3)))
        parts.append(np.split(matrix[:, start : start + width], cuts))
        start += width
    return matrix, parts


@given(divided(), st.data())
def test_rows_are_those_of_the_whole_matrix_however_it_is_cut(case, data):
    matrix, parts = case
    rows = Rows(parts)
    assert rows.shape == matrix.shape
    indices = data.draw(st.lists(st.integers(0, len(matrix) - 1), max_size=8))
    np.testing.assert_array_equal(rows.take(indices), matrix[indices])
    size = data.draw(st.integers(1, 13))
    starts, blocks = zip(*rows.blocks(size), strict=True)
    assert list(starts) == list(range(0, len(matrix), size))
    np.testing.assert_array_equal(torch.cat(blocks), matrix)
    start = data.draw(st.integers(0, len(matrix)))
    stop = data.draw(st.integers(start, len(matrix)))
    np.testing.assert_array_equal(rows.slice(start, stop), matrix[start:stop])
    if start < stop:
        np.testing.assert_array_equal(rows.part(start, stop).slice(0, stop - start), matrix[start:stop])
    else:
        with pytest.raises(ParamsError, match="are none"):
            rows.part(start, stop)


def test_leading_axes_are_flattened():
    maps = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(Rows([[maps]]).take([5]), maps[1, 2][None])


def test_parts_of_unequal_length_are_named():
    with pytest.raises(ParamsError, match=r"\[3, 4\] rows"):
        Rows([[np.zeros((3, 2), np.float32)], [np.zeros((4, 2), np.float32)]])
