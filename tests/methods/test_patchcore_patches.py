"""Patch vectors: one grouped convolution a layer gives what unfolding, resizing and averaging twice give."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import adaptive_avg_pool1d, interpolate, unfold

from subband.errors import ModelError, ParamsError
from subband.methods.patchcore.patches import adaptive_averages, averaged_features, layer_averages, patch_embedding


def published_embedding(layer_maps, patch, pooled, target):
    grid = layer_maps[0].shape[2:]
    layers = []
    for maps in layer_maps:
        count, channels, height, width = maps.shape
        patches = unfold(maps, patch, padding=patch // 2).reshape(count, channels * patch**2, height, width)
        resized = interpolate(patches, size=grid, mode="bilinear", align_corners=False)
        layers.append(adaptive_avg_pool1d(resized.flatten(2).transpose(1, 2), pooled))
    stacked = torch.stack(layers, dim=2).flatten(2)
    return adaptive_avg_pool1d(stacked, target)


def layer_maps(seed, channels, grids):
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(2, count, *grid, generator=made) for count, grid in zip(channels, grids, strict=True)]


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 24),
    st.integers(1, 30),
    st.integers(0, 9),
)
@settings(max_examples=80, deadline=None)
def test_any_lengths_give_the_published_embedding(channels, patch, pooled, target, seed):
    maps = layer_maps(seed, channels, [(7, 6), (4, 3), (2, 2)][: len(channels)])
    got = patch_embedding(maps, patch, pooled, target)
    torch.testing.assert_close(got, published_embedding(maps, patch, pooled, target), atol=2e-6, rtol=0)


@pytest.mark.parametrize("target", [1024, 384])
def test_resnet50_widths_need_few_channels_an_entry(target):
    maps = layer_maps(0, (512, 1024), [(6, 6), (3, 3)])
    got = patch_embedding(maps, target=target)
    assert got.shape == (2, 36, target)
    torch.testing.assert_close(got, published_embedding(maps, 3, 1024, target), atol=1e-6, rtol=0)
    assert [operator.weight.shape[1] for operator in layer_averages((512, 1024), 3, 1024, target)] == (
        [1, 2] if target == 1024 else [8, 16]
    )


@given(st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None)
def test_averages_are_torchs(length, bins):
    wanted = adaptive_avg_pool1d(torch.eye(length, dtype=torch.float64)[:, None], bins)[:, 0].T
    torch.testing.assert_close(adaptive_averages(length, bins), wanted)


def test_positions_are_row_by_row():
    """One bright cell reaches the nine positions around it."""
    maps = torch.zeros(1, 4, 5, 6)
    maps[0, :, 1, 4] = 1
    reached = patch_embedding([maps], 3, 8, 4).abs().sum(dim=2).reshape(5, 6) > 0
    wanted = torch.zeros(5, 6, dtype=torch.bool)
    wanted[0:3, 3:6] = True
    assert torch.equal(reached, wanted)


def test_averaged_features_have_the_first_layers_grid_and_divisor_nine():
    maps = [torch.ones(1, 3, 6, 4), torch.ones(1, 5, 3, 2)]
    features = averaged_features(maps)
    assert features.shape == (1, 8, 6, 4)
    torch.testing.assert_close(features[0, :, 0, 0], torch.full((8,), 4 / 9))
    torch.testing.assert_close(features[0, 0, 2, 1], torch.tensor(1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch": 2}, "patch is 2; it must be odd"),
        ({"patch": -1}, "patch is -1; it must be odd"),
        ({"pooled": 0}, "pooled is 0; it must be at least 1"),
        ({"target": 0}, "target is 0; it must be at least 1"),
    ],
)
def test_lengths_that_give_no_vector_are_refused(arguments, message):
    with pytest.raises(ParamsError, match=message):
        patch_embedding([torch.zeros(1, 3, 4, 4)], **arguments)


def test_no_images_give_no_vectors():
    assert patch_embedding([torch.zeros(0, 3, 4, 5), torch.zeros(0, 6, 2, 3)], target=7).shape == (0, 20, 7)


def test_no_layers_are_refused():
    for features in (patch_embedding, averaged_features):
        with pytest.raises(ParamsError, match="at least one layer"):
            features([])


def test_features_that_are_no_numbers_are_refused():
    maps = layer_maps(1, (3, 4), [(4, 4), (2, 2)])
    maps[1][0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match="1 of 32 layer 1 features are NaN or infinite"):
        patch_embedding(maps, 3, 6, 4)
