"""Augmentations: image and mask move together, by the published amounts, on any size."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from subband.data.segmentation.augment import AUGMENTATIONS, augment
from subband.errors import ParamsError

names = st.sampled_from(AUGMENTATIONS)


def smooth_picture(width, height, seed=0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), 3, mode="nearest")
    noise = (noise - noise.min()) / max(np.ptp(noise), 1e-9)
    return Image.fromarray(np.rint(noise * 255).astype(np.uint8))


def grey_pair(width, height, seed=0):
    """An image that equals its mask in every channel."""
    mask = smooth_picture(width, height, seed)
    return Image.merge("RGB", [mask] * 3), mask


@settings(max_examples=80, deadline=None)
@given(names, st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 90))
def test_any_size_survives_and_both_stay_equally_large(name, seed, width, height):
    image, mask = augment(*grey_pair(width, height), name, np.random.default_rng(seed))
    assert image.size == mask.size
    assert (image.mode, mask.mode) == ("RGB", "L")
    assert min(image.size) >= 1
    if "crop" not in name:
        assert sorted(image.size) == sorted((width, height))
    else:
        assert all(
            side - min(30, side // 2) <= new <= side for new, side in zip(image.size, (width, height), strict=True)
        )
        assert all(new < side for new, side in zip(image.size, (width, height), strict=True) if side > 1)


@pytest.mark.parametrize("name", ["none", "flip-rotate-turn", "flip-rotate", "crop"])
def test_picture_and_mask_move_together(name):
    """An image that equals its mask does so afterwards, but for the interpolation (bilinear beside nearest)."""
    for seed in range(40):
        image, mask = augment(*grey_pair(70, 50, seed), name, np.random.default_rng(seed))
        difference = np.abs(np.asarray(image)[..., 0].astype(int) - np.asarray(mask))
        assert difference.max() <= (30 if "rotate" in name else 0)
        assert difference.mean() < 4


def test_the_jitter_leaves_mask_and_geometry_to_the_crop():
    """The same draws come before it, so that the masks are the same; the image's colours differ."""
    changed = 0
    for seed in range(20):
        pair = grey_pair(80, 70, seed)
        plain, mask = augment(*pair, "crop", np.random.default_rng(seed))
        jittered, same = augment(*pair, "crop-jitter", np.random.default_rng(seed))
        assert (np.asarray(mask) == np.asarray(same)).all()
        assert plain.size == jittered.size
        changed += bool((np.asarray(plain) != np.asarray(jittered)).any())
    assert changed > 10


@settings(max_examples=30, deadline=None)
@given(names, st.integers(0, 2**32))
def test_the_generator_decides_everything(name, seed):
    pair = grey_pair(60, 40, 1)
    first, again = (augment(*pair, name, np.random.default_rng(seed)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert (np.asarray(one) == np.asarray(other)).all()
    np.testing.assert_array_equal(np.asarray(pair[1]), np.asarray(grey_pair(60, 40, 1)[1]))


def test_turns_are_exact_and_as_frequent_as_published():
    """Half the images are turned, by any multiple, so 1/8 by each of 90, 180 and 270 degrees; seen where nothing was rotated."""
    pair = grey_pair(41, 41)
    original = np.asarray(pair[1])
    forms = {
        (mirrored, turn): np.rot90(original[:, ::-1] if mirrored else original, turn)
        for mirrored in (False, True)
        for turn in range(4)
    }
    seen = Counter()
    for seed in range(1600):
        mask = np.asarray(augment(*pair, "flip-rotate-turn", np.random.default_rng(seed))[1])
        seen.update([key for key, form in forms.items() if (mask == form).all()])
    exact = sum(seen.values())
    assert 0.42 < exact / 1600 < 0.60  # not rotated, or rotated by too little to move a pixel
    for turn in (1, 2, 3):
        assert 0.08 < (seen[False, turn] + seen[True, turn]) / exact < 0.17
    assert 0.40 < sum(count for (mirrored, _), count in seen.items() if mirrored) / exact < 0.60


def test_a_rotation_reflects_at_the_border_without_repeating_it():
    """Compared with a slow rotation that reads the reflected image pixel by pixel."""
    image, mask = grey_pair(31, 23, 4)
    rotated = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mirrored, turned = rng.random() < 0.5, rng.random() < 0.5
        if not turned:
            continue
        rotated += 1
        angle = math.radians(rng.uniform(-15, 15))
        source = np.asarray(mask)[:, ::-1] if mirrored else np.asarray(mask)
        y, x = np.mgrid[:23, :31] - np.array([11.0, 15.0])[:, None, None]
        at = [math.sin(angle) * x + math.cos(angle) * y + 11, math.cos(angle) * x - math.sin(angle) * y + 15]
        expected = ndimage.map_coordinates(source.astype(float), at, order=1, mode="mirror")
        got = np.asarray(augment(image, mask, "flip-rotate", np.random.default_rng(seed))[0])[..., 0]
        assert np.abs(got - expected).max() < 2
    assert rotated >= 3


def test_crops_are_centred_and_rotations_of_crops_leave_black_corners():
    white = Image.new("RGB", (100, 80), "white"), Image.new("L", (100, 80), 255)
    rotated = 0
    for seed in range(200):
        image, mask = augment(*white, "crop", np.random.default_rng(seed))
        rotated += np.asarray(mask).min() == 0
        assert 70 <= image.width <= 99
        assert 50 <= image.height <= 79
    # One in five is rotated, of those one in thirty by no degrees, and a deep crop may cut the corners off.
    assert 15 < rotated < 60
    column = np.broadcast_to(np.arange(100, dtype=np.uint8), (80, 100))
    ramp = Image.fromarray(np.ascontiguousarray(column))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        if rng.random() < 0.5 or rng.random() < 0.2:
            continue
        cropped = np.asarray(augment(Image.merge("RGB", [ramp] * 3), ramp, "crop", np.random.default_rng(seed))[1])
        left, right = int(cropped[0, 0]), 99 - int(cropped[0, -1])
        assert right - left in (0, 1)


def test_an_unknown_name_is_refused():
    with pytest.raises(ParamsError, match="'flip-rotated' is not an augmentation; did you mean 'flip-rotate'"):
        augment(*grey_pair(8, 8), "flip-rotated", np.random.default_rng(0))
