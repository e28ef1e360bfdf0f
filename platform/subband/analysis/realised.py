"""What a calibrated threshold does on images that the fit has not seen: false alarms, defects found, and what that took."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel
from scipy.stats import binomtest

from subband.analysis.detectors import category_runner
from subband.data import Category
from subband.methods import Calibration, StagedMethod

RATES = (0.01, 0.05)
CONFIDENCE = 0.95
_BATCH = 32


def realised(method: StagedMethod, params: BaseModel, category: Category) -> list[dict[str, Any]]:
    """Fit to the training images without any store, calibrate by left-out scores, and count on the test images.

    Args:
        method: fitted stage by stage.
        params: validated.
        category: with good or defective test images.

    Returns:
        One row for each of `RATES`: the share of false alarms that was asked for, good training images that the threshold is from
        (one a group), counts of false alarms and of defects found, the exact binomial interval (Clopper-Pearson, 95 %) of the share
        of false alarms; the time of the fit with decoding (seconds) and of judging one decoded image in batches of 32
        (milliseconds).

    Raises:
        DataError: the category cannot be learnt from.
    """
    began = time.perf_counter()
    fitted = method.fit(params, category_runner(replace(category, test=()), None))
    fit_seconds = time.perf_counter() - began
    detector, spent = fitted.detector.eval(), 0.0
    parts = []
    for start in range(0, len(category.test), _BATCH):
        images = [sample.image.open() for sample in category.test[start : start + _BATCH]]
        began = time.perf_counter()
        parts.append(detector.predict(images).scores)
        spent += time.perf_counter() - began
    scores = np.concatenate(parts).astype(np.float64)
    labels = np.array([sample.label for sample in category.test])
    good, bad = scores[labels == 0], scores[labels == 1]
    rows = []
    for rate in RATES:
        threshold = Calibration.at_fpr(fitted.threshold_scores.tolist(), rate).threshold
        alarms, found = int((good > threshold).sum()), int((bad > threshold).sum())
        interval = "-"
        if len(good):
            low, high = binomtest(alarms, len(good)).proportion_ci(CONFIDENCE, method="exact")
            interval = f"{100 * low:.1f} to {100 * high:.1f}"
        rows.append(
            {
                "Category": category.name,
                "asked (%)": f"{100 * rate:g}",
                "from images": len(fitted.threshold_scores),
                "false alarms": f"{alarms} of {len(good)}",
                "false alarms (%)": f"{100 * alarms / len(good):.1f}" if len(good) else "-",
                "95 % interval (%)": interval,
                "defects found": f"{found} of {len(bad)}",
                "defects found (%)": f"{100 * found / len(bad):.1f}" if len(bad) else "-",
                "fit (s)": f"{fit_seconds:.1f}",
                "per image (ms)": f"{1000 * spent / max(len(scores), 1):.1f}",
            }
        )
    return rows
