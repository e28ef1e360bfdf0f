"""The transform is pywt's, for every discrete wavelet, at any size and level; names, sizes and resizing."""

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.errors import ParamsError
from subband.nn.wavelets import (
    SUBBANDS,
    canonical_subbands,
    check_wavelet,
    gridded_subbands,
    parse_subbands,
    resize_maps,
    transformed_size,
    wavelet_subbands,
)

WAVELETS = pywt.wavelist(kind="discrete")


def noise(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_is_pywt(maps: np.ndarray, wavelet: str, level: int, tolerance: float) -> None:
    found = wavelet_subbands(torch.from_numpy(maps), wavelet, level)
    low, *details = pywt.wavedec2(maps.astype(np.float64), wavelet, mode="zero", level=level)
    assert_close(found["LL"][0], low, tolerance)
    for step, wanted in enumerate(reversed(details)):  # pywt lists the coarsest level first, we the finest
        for name, part in zip(SUBBANDS[1:], wanted, strict=True):
            assert_close(found[name][step], part, tolerance)


def assert_close(got: torch.Tensor, wanted: np.ndarray, tolerance: float) -> None:
    assert got.shape == wanted.shape
    assert np.abs(got.numpy() - wanted).max() <= tolerance * max(np.abs(wanted).max(), 1.0)


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.filterwarnings("ignore:Level value:UserWarning")
def test_every_discrete_wavelet_equals_pywt(wavelet):
    assert_is_pywt(noise((2, 2, 13, 10)), wavelet, 2, 1e-5)


@given(
    st.sampled_from(WAVELETS),
    st.integers(1, 4),
    st.integers(2, 33),
    st.integers(2, 33),
    st.integers(1, 3),
    st.integers(0, 9),
)
@settings(max_examples=80, deadline=None)
@pytest.mark.filterwarnings("ignore:Level value:UserWarning")
def test_any_size_and_level_equals_pywt(wavelet, level, height, width, channels, seed):
    assert_is_pywt(noise((1, channels, height, width), seed), wavelet, level, 1e-5)


def test_a_coarse_call_does_not_round_the_filters_of_later_ones():
    maps = noise((1, 1, 16, 16), dtype=np.float64)
    first = wavelet_subbands(torch.from_numpy(maps).float(), "db7", 1)["HH"][0]
    wavelet_subbands(torch.from_numpy(maps).to(torch.bfloat16), "db7", 1)
    assert torch.equal(wavelet_subbands(torch.from_numpy(maps).float(), "db7", 1)["HH"][0], first)


@given(st.sampled_from(WAVELETS), st.integers(1, 4), st.integers(1, 70))
@settings(max_examples=200, deadline=None)
def test_transformed_size_is_the_real_size(wavelet, level, size):
    sides = [size]
    for _ in range(level):
        sides.append(pywt.dwt_coeff_len(sides[-1], pywt.Wavelet(wavelet).dec_len, mode="zero"))
    if min(sides[:-1]) == 1:
        with pytest.raises(ParamsError, match=rf"level {level} is too high: .* choose level <= {sides.index(1)}"):
            transformed_size(size, wavelet, level)
    else:
        assert transformed_size(size, wavelet, level) == sides[-1]


def test_the_message_names_the_highest_level_that_fits():
    assert transformed_size(4, "haar", 2) == 1
    with pytest.raises(
        ParamsError, match=r"level 3 is too high: a map 4 pixels wide is down to 1 after 2 .* choose level <= 2"
    ):
        transformed_size(4, "haar", 3)


@given(
    st.permutations(SUBBANDS), st.integers(1, 4), st.sampled_from([str.upper, str.lower]), st.sampled_from(["+", " + "])
)
def test_sets_are_read_in_order_and_written_in_one_order(order, count, case, joint):
    chosen = tuple(order[:count])
    text = case(joint.join(chosen))
    assert parse_subbands(text) == chosen
    assert canonical_subbands(text) == "+".join(name for name in SUBBANDS if name in chosen)
    assert canonical_subbands(canonical_subbands(text)) == canonical_subbands(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LL+LX", r"'LX' is not a subband \(legal: LL, LH, HL, HH\)"),
        ("", r"'' is not a subband"),
        ("LL,LH", r"'LL,LH' is not a subband .*; write a set as LL\+LH\+HL"),
        ("LL+HL+ll", r"names one twice"),
    ],
)
def test_wrong_sets_are_errors(text, message):
    with pytest.raises(ParamsError, match=message):
        parse_subbands(text)


def test_a_misspelt_wavelet_gets_near_matches():
    with pytest.raises(ParamsError, match="'harr' is not a wavelet; did you mean 'haar'"):
        check_wavelet("harr")
    with pytest.raises(ParamsError, match="'morl' is not a wavelet"):  # known to pywt, but continuous
        check_wavelet("morl")


SIDES = st.integers(1, 24)


@given(SIDES, SIDES, SIDES, SIDES, st.booleans(), st.floats(-5, 5, width=32))
@settings(max_examples=100, deadline=None)
def test_a_constant_map_stays_constant(height, width, rows, columns, antialias, value):
    resized = resize_maps(torch.full((1, 2, height, width), value), (rows, columns), antialias)
    assert resized.shape == (1, 2, rows, columns)
    torch.testing.assert_close(resized, torch.full_like(resized, value), rtol=1e-5, atol=1e-6)


@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_antialiasing_reads_every_value(cells, factor, seed):
    """The mean of a map that fades to zero at its border is kept by any whole reduction; without antialiasing it is not."""
    side = cells * factor
    maps = torch.zeros(1, 1, side + 4 * factor, side + 4 * factor)
    maps[..., 2 * factor : -2 * factor, 2 * factor : -2 * factor] = torch.from_numpy(
        np.abs(noise((1, 1, side, side), seed))
    )
    target = (cells + 4, cells + 4)
    kept = resize_maps(maps, target, antialias=True).mean()
    assert float(kept) == pytest.approx(float(maps.mean()), rel=1e-4)


def test_without_antialiasing_a_reduction_by_four_skips_values():
    maps = torch.zeros(1, 1, 32, 32)
    maps[..., 12, 12] = 16.0  # the corner of a 4 x 4 block, away from the border
    assert float(resize_maps(maps, (8, 8), antialias=False).sum()) == 0
    assert float(resize_maps(maps, (8, 8), antialias=True).sum()) == pytest.approx(1.0, rel=1e-5)


def test_maps_of_the_right_size_are_not_touched():
    maps = torch.from_numpy(noise((1, 2, 5, 7)))
    assert resize_maps(maps, (5, 7), True) is maps


@given(
    st.sampled_from(["haar", "db2", "db4", "sym4", "coif1", "bior2.2"]),
    st.integers(1, 4),
    st.tuples(st.integers(16, 30), st.integers(16, 30)),
    st.tuples(st.integers(2, 14), st.integers(2, 14)),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_two_matrix_products_equal_transforming_and_resizing(wavelet, level, size, cells, antialias):
    maps = torch.from_numpy(noise((2, 3, *size)))
    bands = wavelet_subbands(maps, wavelet, level)
    own = tuple(bands["LL"][0].shape[2:])
    found = gridded_subbands(maps, wavelet, level, cells, antialias)
    for name, parts in bands.items():
        resized = [resize_maps(resize_maps(part, own, antialias), cells, antialias) for part in parts]
        wanted = torch.cat(resized, dim=1).flatten(2).permute(2, 0, 1)
        assert_close(found[name], wanted.numpy(), 1e-5)


def centre_of_response(wavelet, level, size, cells, place, centred):
    """Where noise around `place` is seen in each subband on the grid, in pixels; 400 channels, so that every subband sees it."""
    window = torch.exp(-(torch.arange(size, dtype=torch.float32) - place).square() / 4)
    maps = torch.from_numpy(noise((1, 400, size, size))).float() * window * window[:, None]
    found = gridded_subbands(maps, wavelet, level, (cells, cells), True, centred)
    seen = {}
    for name, vectors in found.items():
        energy = vectors.reshape(cells, cells, -1).square().sum(2)
        middles = (torch.arange(cells) + 0.5) * size / cells - 0.5
        seen[name] = [float((middles * energy.sum(axis)).sum() / energy.sum()) for axis in (0, 1)]
    return seen


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym4", "coif2", "bior2.2"])
@pytest.mark.parametrize("level", [1, 2])
def test_centred_coefficients_lie_on_what_they_show(wavelet, level):
    for size, place in ((56, 30.0), (57, 20.0)):
        seen = centre_of_response(wavelet, level, size, 14, place, True)
        for name, centres in seen.items():
            assert max(abs(centre - place) for centre in centres) < 0.5 * 2**level, (name, centres)


def test_coefficients_of_long_filters_are_shifted_if_they_are_spread_evenly():
    shifted = centre_of_response("db4", 1, 14, 14, 7.0, False)["LL"]
    assert min(centre - 7.0 for centre in shifted) > 1.25  # of a map at stride 16: 20 pixels of the image
    centred = centre_of_response("db4", 1, 14, 14, 7.0, True)["LL"]
    assert max(abs(centre - 7.0) for centre in centred) < 0.5


@pytest.mark.parametrize("size", [14, 28, 56])
@pytest.mark.parametrize("antialias", [True, False])
def test_haar_lies_evenly_on_even_maps(size, antialias):
    maps = torch.from_numpy(noise((2, 3, size, size)))
    even, centred = (gridded_subbands(maps, "haar", 1, (14, 14), antialias, each) for each in (False, True))
    for name in SUBBANDS:
        assert_close(centred[name], even[name].numpy(), 1e-6)


def test_no_images_give_no_rows():
    found = gridded_subbands(torch.zeros(0, 3, 8, 8), "haar", 2, (4, 4), True)
    assert {name: tuple(vectors.shape) for name, vectors in found.items()} == {
        "LL": (16, 0, 3),
        **dict.fromkeys(SUBBANDS[1:], (16, 0, 6)),
    }
