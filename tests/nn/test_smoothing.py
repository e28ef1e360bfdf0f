"""Two matrices give what upsampling and filtering every pixel gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve, gaussian_filter

from subband.nn.smoothing import gaussian_taps, smooth_maps, smoothing_matrices, upsampling_matrix

GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9))
SIZES = st.tuples(st.integers(3, 40), st.integers(3, 40))
SIGMAS = st.floats(0.3, 6.0)


def noise(grid, seed):
    return np.random.default_rng(seed).standard_normal((2, *grid)).astype(np.float32)


def upsampled(maps, size):
    unpooled = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None].double(), size=size, mode="bilinear", align_corners=False
    )
    return unpooled[:, 0].numpy()


def matrices_give(maps, size, sigma, smoothing):
    return smooth_maps(torch.from_numpy(maps), *smoothing_matrices(maps.shape[1:], size, sigma, smoothing)).numpy()


def assert_close(got, wanted):
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= 1e-5 * max(np.abs(wanted).max(), 1e-3)


@given(GRIDS, SIZES, SIGMAS, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_gaussian_is_scipys(grid, size, sigma, seed):
    maps = noise(grid, seed)
    wanted = [gaussian_filter(one, sigma, mode="reflect", truncate=4.0) for one in upsampled(maps, size)]
    assert_close(matrices_give(maps, size, sigma, "gaussian"), np.stack(wanted))


def published_filter(picture, sigma):
    """The published code's two passes, with its dense k x k kernels, zeros beyond the border, cropped after each."""
    taps = gaussian_taps(sigma)
    along_height = taps[:, None] * np.ones(len(taps))
    first = convolve(picture, along_height, mode="constant")
    return convolve(first, along_height.T, mode="constant")


@given(GRIDS, st.tuples(st.integers(3, 24), st.integers(3, 24)), st.floats(0.3, 3.0), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_reference_is_the_published_filter(grid, size, sigma, seed):
    maps = noise(grid, seed)
    wanted = np.stack([published_filter(one, sigma) for one in upsampled(maps, size)])
    assert_close(matrices_give(maps, size, sigma, "reference"), wanted)


@pytest.mark.parametrize(("sigma", "length"), [(1.5, 13), (2, 17), (3, 25), (4, 33), (6, 49), (8, 65)])
def test_filter_lengths_and_gain_are_those_of_the_specification(sigma, length):
    taps = gaussian_taps(sigma)
    assert len(taps) == length
    assert taps.sum() == pytest.approx(1)
    side = 2 * length + 1
    ones = np.ones((1, side, side), np.float32)
    smoothed = matrices_give(ones, (side, side), sigma, "reference")
    assert smoothed[0, side // 2, side // 2] == pytest.approx(length**2, rel=1e-5)


@given(GRIDS, SIZES, SIGMAS)
@settings(max_examples=40, deadline=None)
def test_a_true_gaussian_keeps_a_constant_map(grid, size, sigma):
    ones = np.ones((1, *grid), np.float32)
    assert_close(matrices_give(ones, size, sigma, "gaussian"), np.ones((1, *size)))


@given(st.integers(1, 20), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_upsampling_weights_are_shares(size, length):
    matrix = upsampling_matrix(size, length)
    assert matrix.shape == (length, size)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert (matrix >= 0).all()
