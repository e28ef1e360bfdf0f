import numpy as np
import pytest
import torch

from subband.banks import NearestNeighbours, Rows, nearest, reweighted_scores
from subband.errors import ParamsError


def vectors(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def definition(queries, bank, support):
    """Equation 7 of PatchCore, image by image, in float64 and without any trick."""
    scores = []
    for image in queries.double():
        distances = torch.cdist(image, bank.double(), compute_mode="donot_use_mm_for_euclid_dist")
        position = distances.amin(dim=1).argmax()
        winner = distances[position].argmin()
        around = torch.cdist(bank[winner][None].double(), bank.double()).flatten().argsort(stable=True)[:support]
        weight = 1 - distances[position, winner].exp() / distances[position, around].exp().sum()
        scores.append((weight * distances[position, winner]).item())
    return torch.tensor(scores)


@pytest.mark.parametrize("support", [2, 9, 50])
@pytest.mark.parametrize("kind", [torch.as_tensor, Rows.of, lambda bank: NearestNeighbours(bank, neighbours=50)])
def test_scores_are_those_of_the_definition(support, kind):
    queries, bank = vectors(0, 4, 10, 6), vectors(1, 30, 6)
    found = nearest(queries.view(40, 6), bank)
    torch.testing.assert_close(
        reweighted_scores(queries, found, kind(bank), support), definition(queries, bank, support)
    )


def test_distances_whose_exponentials_overflow_still_have_a_score():
    queries, bank = 1e4 * vectors(0, 2, 5, 6), vectors(1, 30, 6)
    scores = reweighted_scores(queries, nearest(queries.view(10, 6), bank), bank)
    assert scores.isfinite().all()
    assert (scores > 0).all()


def test_a_bank_of_one_row_leaves_scores_as_they_are():
    queries, bank = vectors(0, 2, 5, 6), vectors(1, 1, 6)
    found = nearest(queries.view(10, 6), bank)
    torch.testing.assert_close(reweighted_scores(queries, found, bank), found.distances.view(2, 5).amax(dim=1))


def test_what_has_no_meaning_is_refused():
    queries, bank = vectors(0, 2, 5, 6), vectors(1, 20, 6)
    with pytest.raises(ParamsError, match="makes every score 0"):
        reweighted_scores(queries, nearest(queries.view(10, 6), bank), bank, support=1)
    with pytest.raises(ParamsError, match="prepared for 1 to 8"):
        reweighted_scores(queries, nearest(queries.view(10, 6), bank), NearestNeighbours(bank, neighbours=8))
    with pytest.raises(ParamsError, match="not one result for each of 2 x 5 positions"):
        reweighted_scores(queries, nearest(queries[0], bank), bank)
