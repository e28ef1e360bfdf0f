"""The final scorer: which labels it reads, what it says when a metric has no value, what changes its key."""

import dataclasses

import numpy as np
import pytest

from subband.data import open_dataset, split_category
from subband.evaluation import CategoryBench, Scorer, mean_metrics
from subband.methods import get_method, make_params
from subband.metrics import METRICS, image_metrics, pixel_metrics
from subband.stages import Runner, Stage, Store

METHOD = get_method("wepadim")
PARAMS = make_params(METHOD, {"weights": "random:0", "image_size": 64, "grid": 8})
PREPROCESS = METHOD.preprocess(PARAMS)
CATEGORY = open_dataset("synthetic:?train=6&test=12&size=64&categories=weave").category("weave")


def scored_maps(truth, seed=0):
    """Random maps of the image's size, and their maxima."""
    maps = np.random.default_rng(seed).random((len(truth.samples), 64, 64), np.float32)
    return maps, maps.max(axis=(1, 2))


def evaluate(truth, maps, scores):
    """The scorer's stage behind a stage that gives these maps."""
    given = Stage("given", 1, (), lambda upstream, params, source: {"maps": maps, "scores": scores})
    return Runner(None, "source", None).run((given, Scorer(truth).stage(PREPROCESS)), {}).values


@pytest.mark.parametrize("selection", ["test", "holdout", "synthetic"])
def test_each_role_gets_the_metrics_of_its_own_samples(selection):
    _, truth = split_category(CATEGORY, selection, 0)
    maps, scores = scored_maps(truth)
    values = evaluate(truth, maps, scores)
    masks = Scorer(truth).masks(PREPROCESS)
    for role in ("choose", "report"):
        index = np.array(getattr(truth, role))
        expected = {
            **image_metrics(truth.labels[index], scores[index]),
            **pixel_metrics(maps[index], masks.values[index], limits=(0.3, 0.05)),
        }
        assert set(values[role]) == set(METRICS)
        assert values[role] == pytest.approx(expected, abs=1e-12)
    assert (truth.choose == truth.report) == (selection == "test")


def test_maps_of_reporting_samples_do_not_change_what_chooses():
    _, truth = split_category(CATEGORY, "holdout", 0)
    maps, scores = scored_maps(truth)
    other, other_scores = scored_maps(truth, seed=1)
    choose = list(truth.choose)
    other[choose], other_scores[choose] = maps[choose], scores[choose]
    before, after = evaluate(truth, maps, scores), evaluate(truth, other, other_scores)
    assert before["choose"] == after["choose"]
    assert before["report"] != after["report"]


def test_a_metric_without_a_value_is_absent_and_said():
    _, truth = split_category(CATEGORY, "test", 0)
    good = tuple(index for index in truth.choose if truth.labels[index] == 0)
    values = evaluate(dataclasses.replace(truth, choose=good), *scored_maps(truth))
    assert "image_auroc" not in values["choose"]
    assert any(note.startswith("choose: ") for note in values["notes"])
    assert "image_auroc" in values["report"]


def test_a_missing_mask_costs_the_pixel_metrics_alone():
    _, truth = split_category(CATEGORY, "test", 0)
    samples = tuple(dataclasses.replace(sample, mask=None) for sample in truth.samples)
    values = evaluate(dataclasses.replace(truth, samples=samples), *scored_maps(truth))
    assert set(values["choose"]) == {"image_auroc", "image_ap", "image_f1max"}
    assert any("6 defective samples have no mask" in note for note in values["notes"])


def test_without_test_pictures_nothing_is_reported():
    _, truth = split_category(dataclasses.replace(CATEGORY, test=()), "synthetic", 0)
    values = evaluate(truth, *scored_maps(truth))
    assert values["report"] == {}
    assert set(values["choose"]) == set(METRICS)
    assert any("no labelled test images" in note for note in values["notes"])


def test_other_labels_or_roles_make_another_key():
    _, truth = split_category(CATEGORY, "holdout", 0)
    flipped = (dataclasses.replace(truth.samples[0], label=1 - truth.samples[0].label), *truth.samples[1:])
    variants = [
        truth,
        dataclasses.replace(truth, samples=flipped),
        dataclasses.replace(truth, choose=truth.report, report=truth.choose),
        split_category(CATEGORY, "holdout", 1)[1],
    ]
    runner = Runner(None, "source", None)
    keys = {runner.key((Scorer(each).stage(PREPROCESS),), {}) for each in variants}
    assert len(keys) == len(variants)


def test_selections_share_stages_and_differ_in_metrics(tmp_path):
    """The labels come last: test and holdout need one backbone pass, and give their own numbers."""
    store = Store(tmp_path)
    first = CategoryBench(CATEGORY, "test", 0, store).evaluate(METHOD, PARAMS)
    second = CategoryBench(CATEGORY, "holdout", 0, store).evaluate(METHOD, PARAMS)
    stages = [row["stage"] for row in store.info()]
    assert stages.count("features") == stages.count("grams") == 1
    assert stages.count("metrics") == 2
    assert "features" in first.seconds
    assert "features" not in second.seconds
    np.testing.assert_array_equal(first.scores, second.scores)


def test_the_store_changes_no_number(tmp_path):
    alone = CategoryBench(CATEGORY, "holdout", 0, None).evaluate(METHOD, PARAMS)
    for _ in range(2):
        stored = CategoryBench(CATEGORY, "holdout", 0, Store(tmp_path)).evaluate(METHOD, PARAMS)
        assert stored.choose == alone.choose
        assert stored.report == alone.report


def test_the_mean_is_over_the_categories_where_a_metric_is_defined():
    found = mean_metrics([{"image_auroc": 0.5, "pixel_auroc": 0.7}, {"image_auroc": 1.0}, {}])
    assert found == {"image_auroc": 0.75, "pixel_auroc": 0.7}
    assert mean_metrics([]) == {}
