"""Learning curves show every epoch as it was, and which one is kept."""

from __future__ import annotations

import pytest

from subband.errors import ParamsError
from subband.report import learning_curves

HISTORY = [
    {"loss": 3.0, "learning_rate": 1e-3},
    {"loss": 2.0, "learning_rate": 5e-4, "weighted_f": 0.4, "mae": 0.2},
    {"loss": 1.5, "learning_rate": 1e-4, "weighted_f": 0.3, "mae": 0.1},
]


def test_every_epoch_is_drawn_and_the_kept_one_is_marked():
    figure = learning_curves(HISTORY, ["weighted_f", "mae"], 2, "title", "notes")
    losses, scores, rates = figure.axes
    assert losses.lines[0].get_xydata().tolist() == [[1, 3.0], [2, 2.0], [3, 1.5]]
    assert rates.lines[0].get_ydata().tolist() == [1e-3, 5e-4, 1e-4]
    curves = {
        line.get_label(): line.get_xydata().tolist() for line in scores.lines if not line.get_label().startswith("_")
    }
    assert curves == {"weighted_f": [[2, 0.4], [3, 0.3]], "mae": [[2, 0.2], [3, 0.1]]}
    assert scores.get_title(loc="right") == "kept: epoch 2 (dashed)"


def test_a_training_without_validation_has_a_curve_too():
    figure = learning_curves(HISTORY[:1], ["weighted_f"])
    assert figure.axes[0].lines[0].get_ydata().tolist() == [3.0]
    assert figure.axes[1].get_legend() is None


def test_no_epoch_has_no_curve():
    with pytest.raises(ParamsError, match="without an epoch"):
        learning_curves([], ["weighted_f"])
