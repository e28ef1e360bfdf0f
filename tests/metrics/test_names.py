"""Every objective says which way is better, and rankings can ask."""

from subband.metrics import (
    CLASSIFICATION_METRICS,
    COSTS,
    METRICS,
    OBJECTIVES,
    SEGMENTATION_METRICS,
    VIDEO_METRICS,
    direction_of,
    in_words,
    merit,
)


def test_every_objective_is_a_metric_or_a_cost():
    assert tuple(OBJECTIVES) == METRICS + SEGMENTATION_METRICS + VIDEO_METRICS + CLASSIFICATION_METRICS + COSTS
    assert all(found.meaning for found in OBJECTIVES.values())
    assert all(OBJECTIVES[name].unit for name in COSTS)


def test_only_errors_and_what_is_spent_are_better_when_smaller():
    assert [name for name in OBJECTIVES if direction_of(name) == "min"] == [
        "mae",
        "frame_mse",
        "copy_last_mse",
        "frame_mae",
        "cross_entropy",
        "bank_mb",
        "latency_ms",
    ]
    assert direction_of("a number of somebody's own") == "max"


def test_merit_is_larger_for_the_better_value():
    assert merit("latency_ms", 3.0) > merit("latency_ms", 4.0)
    assert merit("fps", 4.0) > merit("fps", 3.0)
    assert in_words("bank_mb") == "bank_mb (smaller is better)"
    assert in_words("fps") == "fps (larger is better)"
