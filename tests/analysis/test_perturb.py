"""The distortions: the published scripts' own outputs, and what must hold beside them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from subband.analysis.perturb import Colour, Noise, add_noise, check_levels, jitter_colour
from subband.errors import ParamsError

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))
from fill import golden_input  # noqa: E402

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "wedgenet" / "perturbation.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def picture(golden):
    raw = golden_input(int(golden["seed"]), tuple(golden["shape"]))
    return torch.from_numpy(np.clip(0.5 + 0.25 * raw, 0, 1).astype(np.float32))


def test_colour_jitter_is_the_published_one(golden, picture):
    assert len(golden["factors"]) == 7
    for factor, wanted in zip(golden["factors"], golden["colour"], strict=True):
        got = jitter_colour(picture, float(factor)).numpy()
        assert np.abs(got - wanted).max() <= TOLERANCE, factor


def test_noise_is_the_published_one(golden, picture):
    """The stored cases reset the generator before every level."""
    for sigma, wanted in zip(golden["levels"], golden["noise_reseeded_42"], strict=True):
        noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(42))
        assert np.abs(add_noise(picture, float(sigma), noise).numpy() - wanted).max() <= TOLERANCE, sigma


def test_the_reference_stream_starts_as_the_published_one(golden):
    """The first level that draws, on one image: the stream has not gone on yet."""
    images = torch.full((1, 3, 24, 32), 128, dtype=torch.uint8)
    (got,) = Noise("reference", 42).batches(images, ["a"], 10.0, 4)
    noise = torch.randn((1, 3, 24, 32), generator=torch.Generator().manual_seed(42))
    torch.testing.assert_close(got, add_noise(images.float() / 255, 10.0, noise), atol=0, rtol=0)


def test_the_reference_stream_goes_on_over_pictures_and_levels():
    images = torch.full((2, 3, 8, 8), 128, dtype=torch.uint8)
    distortion = Noise("reference", 42)
    parts = [torch.cat(list(distortion.batches(images, ["a", "b"], level, 1))) for level in (0.0, 10.0, 20.0)]
    stream = torch.Generator().manual_seed(42)
    clean = images[:1].float() / 255
    torch.testing.assert_close(parts[0], images.float() / 255, atol=0, rtol=0)
    for part, level in zip(parts[1:], (10.0, 20.0), strict=True):
        for row in range(2):
            wanted = add_noise(clean, level, torch.randn((3, 8, 8), generator=stream))
            torch.testing.assert_close(part[row : row + 1], wanted, atol=0, rtol=0)


def test_common_noise_is_one_draw_a_picture_scaled_by_the_level():
    images = torch.full((3, 3, 16, 16), 128, dtype=torch.uint8)
    clean = images.float() / 255
    one, two = (torch.cat(list(Noise().batches(images, ["a", "b", "c"], level, 2))) - clean for level in (2.0, 4.0))
    torch.testing.assert_close(2 * one, two, atol=1e-6, rtol=0)
    assert not torch.allclose(one[0], one[1])
    (alone,) = Noise().batches(images[1:2], ["b"], 2.0, 1)
    torch.testing.assert_close(alone - clean[:1], one[1:2], atol=0, rtol=0)


def test_common_noise_has_the_stated_spread():
    images = torch.full((1, 3, 128, 128), 128, dtype=torch.uint8)
    (got,) = Noise(seed=7).batches(images, ["a"], 10.0, 1)
    assert float((got - images.float() / 255).std()) * 255 == pytest.approx(10.0, rel=0.02)


@pytest.mark.parametrize("distortion", [Noise(), Noise("reference"), Colour()])
@pytest.mark.parametrize("level", [0.0, 3.0, 40.0])
def test_distorted_pictures_stay_pictures(distortion, level):
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    got = list(distortion.batches(images, list("abcde"), level, 2))
    assert [len(part) for part in got] == [2, 2, 1]
    joined = torch.cat(got)
    assert joined.dtype == torch.float32
    assert 0 <= float(joined.min()) <= float(joined.max()) <= 1
    assert torch.equal(joined, images.float() / 255) == (level == 0)


def test_levels_are_checked():
    assert check_levels((20, 0, 10, 10), 255) == (0, 10, 20)
    for wrong in ((), (-1.0,), (256.0,), (float("nan"),)):
        with pytest.raises(ParamsError):
            check_levels(wrong, 255)
