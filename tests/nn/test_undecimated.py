"""The undecimated wavelet analysis beside the published formulation: a circular convolution by FFT on a padded canvas."""

import math

import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.errors import ParamsError
from subband.nn.undecimated import UndecimatedWavelet

SIDES = st.integers(2, 40) | st.sampled_from([8, 16, 32, 64])


def by_fft(images: torch.Tensor, wavelet: str = "haar") -> torch.Tensor:
    """Bands LL, LH, HL, HH (B, 4 C, H, W) of float64 images: the canvas' side is the least power of two that holds both sides."""
    height, width = images.shape[2:]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    filters = pywt.Wavelet(wavelet)
    # Filtering is correlation with the decomposition filters: their time-reversed convolution, moved back by half their length.
    spectra = [
        torch.fft.fft(torch.tensor(taps[::-1], dtype=torch.float64), side) for taps in (filters.dec_lo, filters.dec_hi)
    ]
    shift = filters.dec_len // 2
    bands = []
    for along_width in spectra:
        for along_height in spectra:
            spectrum = torch.fft.fft2(images, (side, side)) * along_width * along_height[:, None]
            found = torch.fft.ifft2(spectrum).real.roll((-shift, -shift), (2, 3))
            bands.append(found[:, :, :height, :width])
    return torch.cat(bands, dim=1)


def images_of(height, width, batch=2, channels=3):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(height=SIDES, width=SIDES)
def test_haar_equals_the_fft_on_a_canvas_whether_square_or_not(height, width):
    images = images_of(height, width)
    torch.testing.assert_close(UndecimatedWavelet()(images), by_fft(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("wavelet", ["db2", "sym4", "bior2.2", "rbio3.1", "coif1"])
@pytest.mark.parametrize("size", [(16, 16), (20, 23), (17, 32), (9, 64)])
def test_longer_filters_follow_the_same_rule(wavelet, size):
    images = images_of(*size)
    torch.testing.assert_close(UndecimatedWavelet(wavelet)(images), by_fft(images, wavelet), rtol=0, atol=2e-6)


def test_haar_is_written_as_differences_and_sums_of_neighbours():
    images = images_of(5, 6, channels=1)
    low, lh, hl, high = UndecimatedWavelet()(images).unbind(dim=1)
    x = images[:, 0]
    inner = (slice(None), slice(0, 4), slice(0, 5))
    a, right, below, both = x[:, :4, :5], x[:, :4, 1:], x[:, 1:, :5], x[:, 1:, 1:]
    torch.testing.assert_close(low[inner], (a + right + below + both) / 2, rtol=0, atol=1e-6)
    torch.testing.assert_close(lh[inner], (below + both - a - right) / 2, rtol=0, atol=1e-6)
    torch.testing.assert_close(hl[inner], (right + both - a - below) / 2, rtol=0, atol=1e-6)
    torch.testing.assert_close(high[inner], (a - right - below + both) / 2, rtol=0, atol=1e-6)


def test_channels_lie_band_by_band():
    images = images_of(8, 8)
    bands = UndecimatedWavelet()(images).unflatten(1, (4, 3))
    for colour in range(3):
        alone = UndecimatedWavelet()(images[:, colour : colour + 1])
        assert torch.equal(bands[:, :, colour], alone)


def test_filters_that_reach_around_small_pictures_wrap_more_than_once():
    images = images_of(4, 4)
    torch.testing.assert_close(UndecimatedWavelet("db4")(images).sum((2, 3))[:, :3], 2 * images.sum((2, 3)))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (4, 16)])
def test_gradients_flow_to_the_image(height, width):
    images = images_of(height, width, batch=1, channels=1).requires_grad_()
    assert torch.autograd.gradcheck(UndecimatedWavelet("db2").double(), (images,))


def test_bands_are_float32_under_autocast_and_for_half_pictures():
    wavelet = UndecimatedWavelet()
    images = images_of(8, 12).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(wavelet(images), wavelet(images.clone()))
        assert wavelet(images).dtype == torch.float32
    assert wavelet(images.bfloat16()).dtype == torch.float32


def test_names_that_are_no_wavelets_are_refused():
    with pytest.raises(ParamsError, match="'harr' is not a wavelet; did you mean 'haar'"):
        UndecimatedWavelet("harr")
