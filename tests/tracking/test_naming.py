from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import (
    _validate_logged_model_name,
    _validate_metric_name,
    _validate_model_name,
    _validate_param,
    _validate_tag,
)

from subband.tracking.naming import (
    category_prefix,
    flat_params,
    legal_key,
    legal_tags,
    registry_name,
    trial_metrics,
    trial_name,
)
from subband.tracking.progress import Progress
from tests.tracking import sweeps


@given(st.text(min_size=1, max_size=400))
def test_every_key_is_legal_in_mlflow_and_legal_ones_stay(name):
    key = legal_key(name)
    _validate_metric_name(key)
    _validate_param(key, "x")
    _validate_tag(key, "x")
    assert legal_key(key) == key


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_two_names_never_become_one_key(one, other):
    assert (legal_key(one) == legal_key(other)) == (one == other)


def test_readable_names_are_kept_as_they_are():
    for name in ("image_auroc", "report/image_auroc", "leather tiles/aupro_30", "cov-reg", "a.b"):
        assert legal_key(name) == name


def test_categories_are_kept_apart_and_sort_behind_the_means():
    assert category_prefix("weave") == "within/weave"
    assert len({category_prefix(name) for name in ("report", "seconds", "best", "a/b", "a_b")}) == 5
    names = sorted(trial_metrics(sweeps.trial(0, "haar", 1, "LL", 4.0), with_report=True)[0])
    assert names[: len(sweeps.METRICS)] == sorted(sweeps.METRICS)


def test_params_are_flat_plain_and_cut():
    flat = flat_params(
        {
            "sigma": 4.0,
            "reg": 1e-5,
            "on": True,
            "none": None,
            "layers": ("l1", "l2"),
            "deep": {"x": {"y": 1}},
            "long": "x" * 9000,
        }
    )
    assert flat["sigma"] == "4"
    assert flat["reg"] == "1e-05"
    assert (flat["on"], flat["none"], flat["layers"], flat["deep.x.y"]) == ("true", "none", "l1, l2", "1")
    assert len(flat["long"]) == 6000
    assert len(legal_tags({"error": "x" * 9000})["error"]) == 8000


def test_a_trial_is_named_by_its_number_and_what_was_searched():
    record = sweeps.trial(7, "haar", 2, "LL+LH", 4.0)
    assert trial_name(record) == "007 haar LL+LH level=2 sigma=4"
    assert trial_name(record, "{number} {wavelet}/{level}") == "7 haar/2"
    assert trial_name(record, "{no_such_param}") == trial_name(record)
    assert len(trial_name(record, "{wavelet:>500}")) == 120


def test_metrics_keep_choose_and_report_apart_and_leave_out_what_is_no_number():
    record = sweeps.trial(0, "haar", 1, "LL", 4.0)
    record = record.model_copy(update={"report": {**record.report, "image_ap": math.nan, "image_f1max": math.inf}})
    metrics, undefined = trial_metrics(record, with_report=True)
    assert metrics["image_auroc"] == record.choose["image_auroc"]
    assert metrics["report/image_auroc"] == record.report["image_auroc"]
    assert metrics["within/weave/report/aupro_30"] == record.categories["weave"]["report"]["aupro_30"]
    assert metrics["seconds/backbone"] == 0.8
    assert undefined == ("report/image_ap", "report/image_f1max")
    assert "report/image_ap" not in metrics
    assert not any(key.startswith("within/weave/report/") for key in trial_metrics(record, with_report=False)[0])


def test_progress_follows_the_best_in_each_direction_over_complete_trials():
    progress = Progress(sweeps.info(objectives={"image_auroc": "max", "milliseconds": "min"}))
    values = [(0.8, 30.0, "complete"), (0.9, 40.0, "complete"), (0.99, 1.0, "stopped"), (0.7, 20.0, "complete")]
    points = []
    for number, (auroc, milliseconds, status) in enumerate(values):
        record = sweeps.trial(number, "haar", 1, "LL", 4.0, status=status)
        points.append(
            progress.add(record.model_copy(update={"choose": {"image_auroc": auroc, "milliseconds": milliseconds}}))
        )
    assert [point["best/image_auroc"] for point in points] == [0.8, 0.9, 0.9, 0.9]
    assert [point["best/milliseconds"] for point in points] == [30, 30, 30, 20]
    assert points[-1]["trials/done"] == 4
    assert points[-1]["trials/stopped"] == 1
    assert progress.ranked() == ["t00001", "t00000", "t00003"]


def test_an_undefined_objective_does_not_count_as_best():
    progress = Progress(sweeps.info())
    record = sweeps.trial(0, "haar", 1, "LL", 4.0).model_copy(update={"choose": {"image_auroc": math.nan}})
    assert "best/image_auroc" not in progress.add(record)
    assert progress.ranked() == []


def test_sweep_settings_are_checked():
    with pytest.raises(ValueError, match="selection"):
        sweeps.info(selection="best")
    with pytest.raises(ValueError, match="objectives"):
        sweeps.info(objectives={})


PARTS = st.text(min_size=1, max_size=300)


@given(PARTS)
def test_every_category_makes_a_legal_model_name(category):
    name = registry_name("wepadim", "mvtec", category)
    _validate_model_name(name)
    _validate_logged_model_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,180}", name)


@given(PARTS, PARTS)
def test_two_categories_never_share_a_model(one, other):
    if one != other:
        assert registry_name("wepadim", "mvtec", one) != registry_name("wepadim", "mvtec", other)


def test_plain_categories_keep_their_names():
    assert registry_name("smoke", "wepadim", "visa", "metal_nut") == "smoke-wepadim-visa-metal_nut"
    assert registry_name("wepadim", "mvtec", "metal nut") == "wepadim-mvtec-metal_nut-b61821"
