"""How the golden values of the published segmentation metrics are checked: every case, and the ordinary ones as one data set."""

import numpy as np
import pytest
from golden_files import GoldenCase

from subband import metrics

TOLERANCE = 1e-9


def check_metrics(golden: GoldenCase) -> None:
    names = golden.stored("names").tolist()
    scores = [
        metrics.score_picture(golden.stored(f"pred_{name}"), golden.stored(f"gt_{name}"), strict_reference=True)
        for name in names
    ]
    for row, score in enumerate(scores):
        for metric, value in values_of([score]).items():
            difference = np.abs(golden.stored(f"each_{metric}")[row] - value).max()
            assert difference <= TOLERANCE, f"{metric} of {names[row]}: difference {difference:.2e}"
    ordinary = scores[: int(golden.stored("ordinary"))]
    for metric, value in values_of(ordinary).items():
        golden.near(value, f"set_{metric}", TOLERANCE)
    summary = metrics.summarise_scores(ordinary)
    for name in ("f", "e"):
        assert summary[f"{name}_max"] == pytest.approx(golden.stored(f"set_{name}_curve").max(), abs=TOLERANCE)
        assert summary[f"{name}_mean"] == pytest.approx(golden.stored(f"set_{name}_curve").mean(), abs=TOLERANCE)


def values_of(scores) -> dict:
    """What the reference keeps, under its names; a single picture is a data set of one."""
    summary, curves = metrics.summarise_scores(scores), metrics.mean_curves(scores)
    numbers = ("s_measure", "mae", "weighted_f", "f_adaptive", "e_adaptive")
    return {
        **{name: summary[name] for name in numbers},
        "f_curve": curves.f,
        "e_curve": curves.e,
        "precision_curve": curves.precision,
        "recall_curve": curves.recall,
    }


CHECKS = {"metrics": check_metrics}
