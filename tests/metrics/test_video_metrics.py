"""Metrics of video prediction, against sums written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from subband.errors import DataError, UndefinedMetricError
from subband.metrics import score_sequence, summarise_sequences
from subband.metrics.video import wrapped_psnr

RNG = np.random.default_rng(3)


def sequence(frames=3, height=12, width=9):
    truth = (RNG.integers(0, 256, (frames + 1, height, width)) / 255).astype(np.float32)
    predicted = (truth[1:] + RNG.normal(0, 0.3, truth[1:].shape)).astype(np.float32)
    return predicted, truth[1:], truth[0]


def direct_ssim(one, other, side=7):
    """Mean over all whole windows, sample covariances, constants of Wang et al. for a range of 1."""
    values = []
    for top in range(one.shape[0] - side + 1):
        for left in range(one.shape[1] - side + 1):
            a, b = (each[top : top + side, left : left + side].astype(np.float64).ravel() for each in (one, other))
            (va, cov), (_, vb) = np.cov(a, b)
            c1, c2 = 0.01**2, 0.03**2
            values.append(
                (2 * a.mean() * b.mean() + c1)
                * (2 * cov + c2)
                / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2))
            )
    return np.mean(values)


def direct_wrapped(one, other):
    total = 0
    for a, b in zip(np.ravel(one), np.ravel(other), strict=True):
        difference = (int(np.float32(255) * np.float32(a)) - int(np.float32(255) * np.float32(b))) % 256
        total += difference**2 % 256
    return 20 * math.log10(255) - 10 * math.log10(total / np.size(one))


def test_each_metric_is_the_published_sum():
    predicted, truth, last = sequence()
    scores = score_sequence(predicted, truth, last)
    assert (predicted < 0).any()
    assert (predicted > 1).any()
    clipped = np.clip(predicted, 0, 1)
    for i in range(3):
        error = predicted[i].astype(np.float64) - truth[i]
        assert scores.frame_mse_T[i] == pytest.approx(sum(e * e for e in error.ravel()), rel=1e-12)
        assert scores.frame_mae_T[i] == pytest.approx(sum(abs(e) for e in error.ravel()), rel=1e-12)
        assert scores.ssim_T[i] == pytest.approx(direct_ssim(clipped[i], truth[i]), rel=1e-6)
        noise = np.mean((clipped[i].astype(np.float64) - truth[i]) ** 2)
        assert scores.psnr_T[i] == pytest.approx(10 * math.log10(1 / noise), rel=1e-9)
        assert scores.psnr_wrapped_T[i] == pytest.approx(direct_wrapped(clipped[i], truth[i]), rel=1e-12)
        assert scores.copy_last_mse_T[i] == pytest.approx(np.sum((last.astype(np.float64) - truth[i]) ** 2), rel=1e-12)


def test_the_wrapped_psnr_is_inflated():
    """Noise of 22 dB in a black frame is called 27 dB and more; levels that differ by 16 are called equal."""
    truth = np.zeros((1, 64, 64))
    noisy = np.clip(RNG.normal(0, 0.11, truth.shape), 0, 1)
    true = score_sequence(noisy, truth, truth[0] + 1).psnr_T[0]
    assert true == pytest.approx(22, abs=0.5)
    assert wrapped_psnr(noisy, truth)[0] > true + 5
    assert wrapped_psnr(np.full((1, 8, 8), 16 / 255), np.zeros((1, 8, 8)))[0] == math.inf, "16 squared is 0 in 8 bits"
    below, above = (wrapped_psnr(np.full((1, 8, 8), level / 255), np.full((1, 8, 8), 100 / 255)) for level in (97, 103))
    np.testing.assert_allclose(below, above)
    np.testing.assert_allclose(above, 10 * np.log10(255**2 / 9))


def test_all_levels_of_8_bits_are_themselves():
    levels = np.arange(256, dtype=np.float32).reshape(1, 16, 16) / 255
    assert wrapped_psnr(levels, levels)[0] == math.inf


def test_means_are_over_sequences_and_frames():
    both = [score_sequence(*sequence()) for _ in range(2)]
    found = summarise_sequences(both)
    assert found["frame_mse"] == pytest.approx(np.mean([both[0].frame_mse_T, both[1].frame_mse_T]))
    assert found["copy_last_mse"] == pytest.approx(np.mean([both[0].copy_last_mse_T, both[1].copy_last_mse_T]))
    assert found["skill"] == pytest.approx(1 - found["frame_mse"] / found["copy_last_mse"])
    assert list(found) == ["skill", "frame_mse", "copy_last_mse", "frame_mae", "ssim", "psnr", "psnr_wrapped"]


def test_repeating_the_last_frame_has_no_skill_and_the_truth_has_all():
    _, truth, last = sequence()
    assert summarise_sequences([score_sequence(np.stack([last] * 3), truth, last)])["skill"] == 0
    perfect = summarise_sequences([score_sequence(truth, truth, last)])
    assert (perfect["skill"], perfect["frame_mse"], perfect["psnr"]) == (1, 0, math.inf)
    assert perfect["ssim"] == pytest.approx(1)


def test_what_cannot_be_compared_is_refused():
    predicted, truth, last = sequence()
    with pytest.raises(DataError, match=r"predicted has shape \(2, 12, 9\) but truth has shape \(3, 12, 9\)"):
        score_sequence(predicted[:2], truth, last)
    with pytest.raises(DataError, match="last has shape"):
        score_sequence(predicted, truth, last[:5])
    with pytest.raises(DataError, match="sides of 7 or more"):
        score_sequence(predicted[:, :6], truth[:, :6], last[:6])
    with pytest.raises(UndefinedMetricError, match="no sequence"):
        summarise_sequences([])
    with pytest.raises(UndefinedMetricError, match="nothing moves"):
        summarise_sequences([score_sequence(predicted, np.stack([last] * 3), last)])
