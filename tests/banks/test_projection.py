import numpy as np
import pytest
import torch
from sklearn.random_projection import SparseRandomProjection

from subband.banks import Rows, project, projected_width, projection_matrix
from subband.errors import DataError, ParamsError


def vectors(rows, width, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def test_linear128_is_the_untrained_layer_of_its_seed():
    torch.manual_seed(7)
    layer = torch.nn.Linear(200, 128, bias=False)
    state = torch.get_rng_state()
    torch.testing.assert_close(projection_matrix("linear128", 10, 200, seed=7), layer.weight.data, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_sparse_jl_is_scikit_learns():
    rows, width = 500, 400
    data = vectors(rows, width)
    theirs = SparseRandomProjection(eps=0.9, random_state=3).fit(data)
    matrix = projection_matrix("sparse_jl", rows, width, seed=3)
    assert matrix.shape == (theirs.n_components_, width) == (projected_width("sparse_jl", rows, width), width)
    np.testing.assert_allclose(project(torch.from_numpy(data), matrix), theirs.transform(data), atol=1e-4)


def test_width_of_the_jl_map_is_the_specified_one():
    assert projected_width("sparse_jl", 200_000, 1536) == 301


def test_distances_are_kept_within_the_bound_nearly_always():
    data = vectors(300, 1000)
    mapped = project(Rows.of(data), projection_matrix("sparse_jl", 300, 1000, seed=0))
    before, after = (torch.pdist(torch.from_numpy(part)).square() for part in (data, mapped))
    assert ((after / before - 1).abs() < 0.9).all()


def test_rows_are_projected_as_one_matrix_would_be():
    left, right = vectors(60, 150), vectors(60, 50, seed=1)
    matrix = projection_matrix("linear128", 60, 200, seed=0)
    found = project(Rows([[left[:7], left[7:]], [right]]), matrix)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.concatenate([left, right], axis=1) @ matrix.numpy().T, atol=1e-5)


def test_none_changes_nothing():
    data = vectors(20, 5)
    assert projection_matrix("none", 20, 5, seed=0) is None
    np.testing.assert_array_equal(project(Rows.of(data), None), data)


@pytest.mark.parametrize(
    ("projection", "width", "hint"),
    [
        ("linear128", 100, "choose projection 'none'$"),
        ("sparse_jl", 150, "'none', or 'linear128'"),
        ("sparse_jl", 9, "'none'$"),
    ],
)
def test_a_map_that_would_widen_is_refused(projection, width, hint):
    with pytest.raises(ParamsError, match=hint):
        projection_matrix(projection, 200_000, width, seed=0)


def test_broken_vectors_and_other_widths_are_refused():
    matrix = projection_matrix("linear128", 10, 200, seed=0)
    with pytest.raises(ParamsError, match="for vectors of 200 numbers, these have 150"):
        project(Rows.of(vectors(10, 150)), matrix)
    broken = vectors(10, 200)
    broken[4, 0] = np.nan
    with pytest.raises(DataError, match="feature vector 4 has NaN"):
        project(Rows.of(broken), matrix)
