"""The guidance map: cheap energies equal the kernels' energies, and one pass serves both scopes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from subband.errors import DataError, ParamsError
from subband.methods.wedgenet.guidance import (
    GUIDANCE_WAVELETS,
    energy,
    frequency_guidance,
    frequency_map,
    gray,
    grid_energy,
    kernels,
)
from subband.methods.wedgenet.scope import EPSILON, Extremes

SIZES = st.tuples(st.integers(3, 40), st.integers(3, 40))


def pictures(seed, count, size):
    """Normalised images of very different contrast, so that a batch's extremes are not those of each image."""
    noise = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))
    return noise * torch.linspace(0.3, 2, count).view(-1, 1, 1, 1)


def energy_by_kernels(gray_NHW, wavelet):
    maps = gray_NHW[:, None].double()
    if wavelet == "bior2.2":
        maps = functional.pad(maps, (2, 2, 2, 2), mode="reflect")
    subbands = functional.conv2d(maps, kernels(wavelet)[:, None].double())
    length = subbands.square().sum(dim=1).sqrt()
    return functional.pad(length, (0, 1, 0, 1)) if wavelet == "haar" else length


@given(st.sampled_from(GUIDANCE_WAVELETS), SIZES, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_energy_is_that_of_the_four_kernels(wavelet, size, seed):
    images = gray(pictures(seed, 2, size))
    got, wanted = energy(images, wavelet), energy_by_kernels(images, wavelet)
    assert got.shape == images.shape
    assert float((got - wanted).abs().max()) <= 2e-6 * float(wanted.max())


def test_haar_kernels_are_an_orthonormal_basis_and_bior_kernels_are_no_tight_frame():
    flat = kernels("haar").flatten(1)
    assert torch.equal(flat @ flat.T, torch.eye(4))
    norms = kernels("bior2.2").flatten(1).square().sum(dim=1)
    torch.testing.assert_close(norms, torch.tensor([0.5166, 1.0781, 1.0781, 2.25]), atol=1e-4, rtol=0)


def test_a_cell_is_the_mean_of_the_central_pixels_of_its_block():
    full = energy(gray(pictures(0, 2, (224, 224))), "haar")
    rows = torch.arange(28) * 8 + 3
    wanted = sum(full[:, rows + down][:, :, rows + right] for down in (0, 1) for right in (0, 1)) / 4
    got = grid_energy(pictures(0, 2, (224, 224)), "haar", (28, 28))
    torch.testing.assert_close(got.maps_NHW, wanted)
    assert torch.equal(got.extremes.highest_N, full.amax(dim=(1, 2)))


def published_guidance(normalised, wavelet, grid):
    """The whole batch's extremes, scaled at full size and then resized."""
    full = energy(gray(normalised), wavelet)
    scaled = (full - full.min()) / (full.max() - full.min() + EPSILON)
    return functional.interpolate(scaled[:, None], size=grid, mode="bilinear", align_corners=False)


@given(st.sampled_from(GUIDANCE_WAVELETS), SIZES, st.tuples(st.integers(1, 12), st.integers(1, 12)), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_scaling_after_resizing_is_the_published_order(wavelet, size, grid, seed):
    images = pictures(seed, 3, size)
    torch.testing.assert_close(
        frequency_guidance(images, wavelet, grid, "batch"), published_guidance(images, wavelet, grid), atol=2e-6, rtol=0
    )
    alone = torch.cat([published_guidance(image[None], wavelet, grid) for image in images])
    torch.testing.assert_close(frequency_guidance(images, wavelet, grid, "image"), alone, atol=2e-6, rtol=0)


def test_one_pass_serves_batches_of_any_size():
    images = pictures(1, 7, (20, 24))
    stored = grid_energy(images, "haar", (5, 6))
    wanted = torch.cat([published_guidance(part, "haar", (5, 6)) for part in images.split(3)])
    torch.testing.assert_close(stored.guidance("batch", 3), wanted, atol=2e-6, rtol=0)
    assert float((stored.guidance("image") - wanted).abs().max()) > 0.1
    assert torch.equal(stored.guidance("batch", 1), stored.guidance("image"))


def test_the_display_map_spans_the_unit_interval():
    shown = frequency_map(pictures(2, 2, (32, 32)), "bior2.2")
    assert shown.shape == (2, 32, 32)
    torch.testing.assert_close(shown.amin(dim=(1, 2)), torch.zeros(2))
    torch.testing.assert_close(shown.amax(dim=(1, 2)), torch.ones(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("wavelet", GUIDANCE_WAVELETS)
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_constant_images_give_numbers(wavelet, value):
    guidance = frequency_guidance(torch.full((2, 3, 32, 32), value), wavelet, (4, 4))
    assert torch.isfinite(guidance).all()
    assert 0 <= float(guidance.min()) <= float(guidance.max()) <= 1


def test_no_images_give_no_maps():
    assert grid_energy(torch.zeros(0, 3, 16, 16), "haar", (2, 2)).guidance("batch").shape == (0, 1, 2, 2)


def test_an_unknown_wavelet_is_refused_with_the_near_one():
    with pytest.raises(ParamsError, match=r"'bior22' is not a guidance wavelet; did you mean 'bior2\.2'"):
        energy(torch.zeros(1, 8, 8), "bior22")


@pytest.mark.parametrize(("wavelet", "size"), [("haar", (1, 8)), ("bior2.2", (8, 2))])
def test_images_smaller_than_a_window_are_refused(wavelet, size):
    with pytest.raises(DataError, match=f"images are {size[0]} x {size[1]} pixels; the {wavelet} guidance map needs"):
        energy(torch.zeros(1, *size), wavelet)


def test_a_batch_of_no_images_is_refused():
    with pytest.raises(ParamsError, match="batch size is 0"):
        Extremes(torch.zeros(3), torch.ones(3)).scoped("batch", 0)
