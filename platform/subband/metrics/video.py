"""Metrics of video prediction, as published for Moving MNIST, beside what repeating the last frame would reach.

Frames are grey with values in [0, 1]. MSE and MAE are sums over the pixels of a frame, of predictions as they come; SSIM and PSNR
are of predictions clipped to [0, 1]. All are means over sequences and frames.

Shapes: T predicted frames of H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from subband.errors import DataError, UndefinedMetricError
from subband.metrics.checks import same_shape

Floats = npt.NDArray[np.float64]

SMALLEST_SIDE = 7  # pixels; of SSIM's window
PEAK = 255


@dataclass(frozen=True, eq=False)
class SequenceScores:
    """How each predicted frame of one sequence compares with the one that followed.

    Attributes:
        frame_mse_T: squared errors, summed over pixels.
        frame_mae_T: absolute errors, summed over pixels.
        ssim_T: structural similarity (Wang et al., IEEE TIP 2004), uniform window of 7 pixels.
        psnr_T: dB; infinite where nothing differs.
        psnr_wrapped_T: dB, see `wrapped_psnr`.
        copy_last_mse_T: squared errors of the last seen frame in the prediction's place.
    """

    frame_mse_T: Floats
    frame_mae_T: Floats
    ssim_T: Floats
    psnr_T: Floats
    psnr_wrapped_T: Floats
    copy_last_mse_T: Floats


def score_sequence(predicted: npt.ArrayLike, truth: npt.ArrayLike, last: npt.ArrayLike) -> SequenceScores:
    """Compare predicted frames with those that followed.

    Args:
        predicted: (T, H, W), not clipped.
        truth: (T, H, W) in [0, 1].
        last: (H, W), the last frame that was seen.

    Raises:
        DataError: other shapes, no frame, or frames of less than 7 pixels a side.
    """
    found, wanted, copied = (np.asarray(each, np.float64) for each in (predicted, truth, last))
    same_shape("predicted", found.shape, "truth", wanted.shape)
    if found.ndim != 3 or not len(found) or min(found.shape[1:]) < SMALLEST_SIDE:
        raise DataError(
            f"frames must have shape (T, H, W) with T >= 1 and sides of {SMALLEST_SIDE} or more, not {found.shape}"
        )
    same_shape("last", copied.shape, "a frame", found.shape[1:])
    error, clipped, pixels = found - wanted, np.clip(found, 0, 1), (1, 2)
    similar = [structural_similarity(one, other, data_range=1.0) for one, other in zip(clipped, wanted, strict=True)]
    return SequenceScores(
        (error**2).sum(pixels),
        np.abs(error).sum(pixels),
        np.array(similar, np.float64),
        _decibels(((clipped - wanted) ** 2).mean(pixels), 1),
        wrapped_psnr(clipped, wanted),
        ((copied - wanted) ** 2).sum(pixels),
    )


def wrapped_psnr(clipped: Floats, truth: Floats) -> Floats:
    """The PSNR that the tables of this benchmark show; it is inflated, and comparable with nothing else.

    Both frames become 8-bit integers, by truncation, and stay so: a difference below 0 wraps around to one below 256, and its
    square keeps only its lowest 8 bits. So no squared error exceeds 255, though the true one goes up to 65025, and an error of 16
    levels, or of any multiple of 16, counts as none.

    Args:
        clipped: (T, H, W) in [0, 1].
        truth: (T, H, W) in [0, 1].

    Returns:
        (T,) dB; infinite where no error is left.
    """
    # In float32, as published: what truncation gives may differ by a level in float64.
    one, other = ((np.float32(PEAK) * each.astype(np.float32)).astype(np.uint8) for each in (clipped, truth))
    difference = one - other
    return _decibels((difference * difference).mean((1, 2)), PEAK)


def summarise_sequences(scores: Sequence[SequenceScores]) -> dict[str, float]:
    """Means over sequences and frames: skill, frame_mse, copy_last_mse, frame_mae, ssim, psnr, psnr_wrapped.

    The skill is that of forecasting (Murphy, Mon. Wea. Rev. 1988) with persistence as its reference: 1 - frame_mse /
    copy_last_mse. On given sequences it ranks as the MSE does, higher is better, and is above 0 only if repeating the last frame
    is beaten.

    Raises:
        UndefinedMetricError: no sequence, or none in which anything moves.
    """
    if not scores:
        raise UndefinedMetricError("there is no sequence to take the mean of")
    names = ("frame_mse", "copy_last_mse", "frame_mae", "ssim", "psnr", "psnr_wrapped")
    means = {name: float(np.mean([getattr(each, f"{name}_T") for each in scores])) for name in names}
    if not means["copy_last_mse"]:
        raise UndefinedMetricError("nothing moves in these sequences, so there is no skill in predicting them")
    return {"skill": 1 - means["frame_mse"] / means["copy_last_mse"], **means}


def _decibels(squared_error: Floats, peak: float) -> Floats:
    with np.errstate(divide="ignore"):
        ratio: Floats = 20 * np.log10(peak) - 10 * np.log10(squared_error)
    return ratio
