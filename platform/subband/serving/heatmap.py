"""Anomaly maps laid over the image that was posted, at its own size."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import colormaps
from PIL import Image

from subband.data import Preprocess
from subband.methods import Calibration

COLOURS = "inferno"  # as in the report's galleries
OPACITY = 0.8

Box = tuple[float, float, float, float]
Scale = tuple[float, float, float]


def inspected_box(preprocess: Preprocess, width: int, height: int) -> Box:
    """The part of an image that its anomaly map covers: left, top, right, bottom in pixels of the image.

    With ``stretch`` it is the whole image; with ``crop`` what the centre crop keeps.
    """
    if preprocess.framing == "stretch":
        return (0.0, 0.0, float(width), float(height))
    shorter, side = min(width, height), preprocess.image_size
    resized_width, resized_height = preprocess.resize * width // shorter, preprocess.resize * height // shorter
    left, top = round((resized_width - side) / 2), round((resized_height - side) / 2)
    across, down = width / resized_width, height / resized_height
    return (left * across, top * down, (left + side) * across, (top + side) * down)


def colour_scale(calibration: Calibration, threshold: float, map_SS: np.ndarray) -> Scale:
    """Map values that are drawn transparent, in the middle colour, and in the last colour.

    Up to the middle the scale is one for all images of a model: it starts at the lowest score of a good image and reaches the
    middle colour at the threshold. From there it goes to the map's highest value, so that the worst place shows within a large
    defect; at the least, it goes as far above the threshold as it starts below. Where the threshold lies below every good score
    (given by hand), it starts at the map's own lowest value.
    """
    low = min(calibration.good_scores, default=threshold)
    if low >= threshold:
        low = min(float(map_SS.min()), threshold)
    half = max(threshold - low, 1e-6 * max(abs(threshold), 1.0))
    return threshold - half, threshold, max(threshold + half, float(map_SS.max()))


def overlay_png(picture: Image.Image, map_SS: np.ndarray, box: Box, scale: Scale) -> bytes:
    """The image in grey with the anomaly map over it, as PNG of the image's size.

    Args:
        picture: RGB, any size.
        map_SS: float32 (S, S), higher is worse.
        box: the part of the image that the map covers, from `inspected_box`.
        scale: values drawn transparent, in the middle colour and in the last, from `colour_scale`.
    """
    heat_SS = np.interp(map_SS.astype(np.float64), scale, (0.0, 0.5, 1.0))
    left, top, right, bottom = (round(edge) for edge in box)
    inspected = Image.fromarray(np.rint(255 * heat_SS).astype(np.uint8)).resize(
        (max(right - left, 1), max(bottom - top, 1)), Image.Resampling.BILINEAR
    )
    # 8-bit images throughout: a posted image may have 100 million pixels.
    heat = Image.new("L", picture.size, 0)
    heat.paste(inspected, (left, top))
    opacity = heat.point([round(OPACITY * value) for value in range(256)])
    heat.putpalette(np.rint(255 * colormaps[COLOURS](np.arange(256))[:, :3]).astype(np.uint8).tobytes())
    blended = Image.composite(heat.convert("RGB"), picture.convert("L").convert("RGB"), opacity)
    encoded = io.BytesIO()
    blended.save(encoded, "PNG", compress_level=3)
    return encoded.getvalue()


def mask_png(size: tuple[int, int], map_SS: np.ndarray, box: Box, threshold: float) -> bytes:
    """The pixels of an image whose map is above the threshold, as an 8-bit PNG of 0 and 255.

    The map is resized before it is compared: edges follow the map's slope instead of its pixels.

    Args:
        size: width and height of the image.
        map_SS: float32 (S, S).
        box: the part of the image that the map covers, from `inspected_box`; outside it nothing is above.
        threshold: what the map is compared with.
    """
    left, top, right, bottom = (round(edge) for edge in box)
    resized = Image.fromarray(np.asarray(map_SS, np.float32)).resize(
        (max(right - left, 1), max(bottom - top, 1)), Image.Resampling.BILINEAR
    )
    mask = Image.new("L", size, 0)
    mask.paste(Image.fromarray(255 * (np.asarray(resized) > threshold).astype(np.uint8)), (left, top))
    encoded = io.BytesIO()
    mask.save(encoded, "PNG")
    return encoded.getvalue()
