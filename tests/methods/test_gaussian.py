"""The forms of the Mahalanobis distance are one distance, and leaving one out in closed form is leaving one out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.errors import DataError
from subband.methods.wepadim import gaussian
from subband.methods.wepadim.embedding import embed, layer_positions
from subband.methods.wepadim.gaussian import dual_spectrum, fit_gaussians, inner_products, primal_spectrum, spectrum
from subband.nn.wavelets import SUBBANDS

REGULARISATIONS = st.sampled_from([1e-4, 1e-3, 0.01, 0.1, 1.0])


def vectors(positions, count, channels, seed, offset=0.0):
    return offset + torch.from_numpy(np.random.default_rng(seed).standard_normal((positions, count, channels)))


def naive(fit_ND: np.ndarray, query_MD: np.ndarray, regularisation: float) -> np.ndarray:
    """The definition, one position at a time."""
    covariance = np.cov(fit_ND, rowvar=False, bias=True).reshape(fit_ND.shape[1], -1)
    centred = query_MD - fit_ND.mean(axis=0)
    solved = np.linalg.solve(covariance + regularisation * np.eye(fit_ND.shape[1]), centred.T)
    return (centred.T * solved).sum(axis=0)


def assert_close(got, wanted, tolerance):
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()


@given(st.integers(2, 9), st.integers(1, 12), REGULARISATIONS, st.integers(0, 50), st.sampled_from([0.0, 30.0]))
@settings(max_examples=80, deadline=None)
def test_every_form_is_the_definition(count, channels, regularisation, seed, offset):
    fit, query = vectors(3, count, channels, seed, offset), vectors(3, 4, channels, seed + 100, offset)
    wanted = np.stack([naive(f, q, regularisation) for f, q in zip(fit.numpy(), query.numpy(), strict=True)]).T
    for found in (dual_spectrum(*inner_products(fit, query)), primal_spectrum(fit, query), spectrum(fit, query)):
        assert_close(found.squared_distances(regularisation), wanted, 1e-8)
    fitted, _ = fit_gaussians(fit, regularisation)
    assert_close(fitted.squared_distances(query, regularisation), wanted, 1e-4)  # float32


@given(st.integers(2, 9), st.integers(1, 12), REGULARISATIONS, st.integers(0, 50))
@settings(max_examples=80, deadline=None)
def test_leaving_one_out_in_closed_form_equals_refitting(count, channels, regularisation, seed):
    fit = vectors(2, count, channels, seed)
    _, left_out = fit_gaussians(fit, regularisation)
    wanted = np.stack(
        [
            [naive(np.delete(one, i, axis=0), one[i : i + 1], regularisation)[0] for one in fit.numpy()]
            for i in range(count)
        ]
    )
    assert_close(left_out, wanted, 1e-6)


def test_equal_training_vectors_have_no_variance_and_finite_distances():
    fit = torch.ones(2, 4, 3)
    fitted, left_out = fit_gaussians(fit, 0.1)
    assert float(left_out.abs().max()) < 1e-12
    query = torch.zeros(2, 1, 3)
    for found in (spectrum(fit, query), primal_spectrum(fit, query)):
        assert_close(found.squared_distances(0.1), np.full((1, 2), 30.0), 1e-9)
    assert_close(fitted.squared_distances(query, 0.1), np.full((1, 2), 30.0), 1e-5)


@given(st.integers(2, 8), st.integers(1, 10), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_one_factorisation_serves_every_regularisation(count, channels, seed):
    fit, query = vectors(2, count, channels, seed), vectors(2, 3, channels, seed + 100)
    once = spectrum(fit, query)
    for regularisation in (1e-4, 0.01, 1.0, 100.0):
        wanted = np.stack([naive(f, q, regularisation) for f, q in zip(fit.numpy(), query.numpy(), strict=True)]).T
        assert_close(once.squared_distances(regularisation), wanted, 1e-8)


def layers(seed=0):
    random = np.random.default_rng(seed)
    shapes = ((9, 4, 16, 16), (9, 6, 8, 8))
    return [torch.from_numpy(random.standard_normal(shape).astype(np.float32)) for shape in shapes]


@pytest.mark.parametrize("subbands", [("LL",), ("LL", "HL"), ("LH", "HL", "HH"), SUBBANDS])
@pytest.mark.parametrize("level", [1, 2])
def test_inner_products_of_a_subset_are_sums_over_its_subbands(subbands, level):
    maps, side = layers(), 2
    bands = [layer_positions([one], "db2", level, side, True) for one in maps]
    parts = [inner_products(band[name][:, :6], band[name][:, 6:]) for band in bands for name in subbands]
    gram, energy = (sum(part[index] for part in parts) for index in (0, 1))

    embedded = embed(maps, "db2", level, subbands, (side, side), antialias=True).flatten(2).permute(2, 0, 1)
    fit, query = embedded[:, :6], embedded[:, 6:]
    direct_gram, direct_energy = inner_products(fit, query)
    assert_close(gram, direct_gram, 1e-6)
    assert_close(energy, direct_energy, 1e-6)
    for regularisation in (0.001, 0.1):
        assert_close(
            dual_spectrum(gram, energy).squared_distances(regularisation),
            primal_spectrum(fit, query).squared_distances(regularisation),
            1e-6,
        )


def test_positions_are_worked_through_in_blocks_without_a_difference(monkeypatch):
    fit, query = vectors(7, 5, 9, 0), vectors(7, 3, 9, 1)
    whole, (gaussians, left_out) = spectrum(fit, query), fit_gaussians(fit, 0.1)
    monkeypatch.setattr(gaussian, "_BLOCK_BYTES", 1)
    assert len(gaussian.position_blocks(7, 100)) == 7
    assert_close(spectrum(fit, query).squared_distances(0.1), whole.squared_distances(0.1), 1e-12)
    blocks, blocks_left_out = fit_gaussians(fit, 0.1)
    assert_close(blocks_left_out, left_out, 1e-12)
    assert_close(blocks.squared_distances(query, 0.1), gaussians.squared_distances(query, 0.1), 1e-6)


@pytest.mark.parametrize(("count", "channels"), [(9, 30), (14, 5)])
@pytest.mark.parametrize("groups", [(0, 1, 1, 2, 3, 1, 4, 5, 5), (0, 0, 0, 0, 0, 0, 0, 0, 1), tuple(range(9))])
def test_a_group_is_left_out_whole(count, channels, groups):
    groups = (*groups, *range(100, 100 + count - len(groups)))
    generator = torch.Generator().manual_seed(3)
    fit = torch.randn(4, count, channels, generator=generator) + 5
    _, left_out = fit_gaussians(fit, 0.1, groups)
    for place, group in enumerate(groups):
        others = [i for i in range(count) if groups[i] != group]
        expected = spectrum(fit[:, others], fit[:, [place]]).squared_distances(0.1)
        torch.testing.assert_close(left_out[[place]], expected, rtol=1e-6, atol=1e-9)


def test_images_that_stand_alone_change_nothing():
    fit = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    for groups in ((), tuple(range(8))):
        torch.testing.assert_close(fit_gaussians(fit, 0.1, groups)[1], fit_gaussians(fit, 0.1)[1], rtol=0, atol=0)


def test_one_group_alone_is_refused():
    with pytest.raises(DataError, match="all 8 training images belong together"):
        fit_gaussians(torch.randn(3, 8, 20), 0.1, (4,) * 8)
