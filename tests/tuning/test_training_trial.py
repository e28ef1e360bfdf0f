"""One trial of the training lane, driven by hand as Ray Tune drives it."""

import math

import numpy as np
import pytest

import subband
from subband.champions.parity import check_saved
from subband.champions.trained import ANSWERS, answers
from subband.methods import load
from subband.training.batches import WorkerContext
from subband.tuning.training_trial import TrainingTrial, TrainingTrialPlan
from tests.local_ray import register
from tests.tuning.swept_blobs import SWEPT_BLOBS

DATA = SWEPT_BLOBS.embedded


@pytest.fixture
def trial(tmp_path):
    """A trial as a function of its point; further options are those of the plan."""
    register()
    started = []

    def make(point, name="one", **options):
        base = {"epochs": 3, **options.pop("base", {})}
        given = {"selection": "holdout", "objectives": ("image_auroc",), "folder": tmp_path, **options}

        class Bound(TrainingTrial):
            trial_id = name

            def setup(self, config):
                super().setup(config, TrainingTrialPlan(method="swept-blobs", base=base, data=DATA, **given))

        started.append(Bound({"point": point}))
        return started[-1]

    yield make
    for each in started:
        each.stop()


def run(trial):
    results = [trial.train()]
    while not results[-1]["done"]:
        results.append(trial.train())
    return results


def test_an_epoch_a_step_and_all_of_it_at_the_end(trial, tmp_path):
    first, second, last = run(trial({"lr": 0.01}))
    assert [each["complete"] for each in (first, second, last)] == [False, False, True]
    for result in (first, second):
        # The test sets are not looked at before the end.
        assert result["record"]["report"] == result["record"]["categories"] == {}
        assert "model" not in result["record"]
    record = last["record"]
    assert (
        last["image_auroc"] == record["choose"]["image_auroc"] == max(r["image_auroc"] for r in (first, second, last))
    )
    assert set(record["choose"]) == {"image_auroc", "accuracy"}
    assert set(record["categories"]) == {"far", "farther"}
    for name in ("image_auroc", "accuracy"):
        mean = np.mean([part["report"][name] for part in record["categories"].values()])
        assert record["report"][name] == pytest.approx(mean)
    assert record["timings"]["trial"] >= record["timings"]["training"] > 0
    assert record["notes"] == ["30 held-out images choose"]

    from subband.training.loop import Training

    params = SWEPT_BLOBS.params_type.model_validate(record["params"])
    alone = Training(SWEPT_BLOBS, params, SWEPT_BLOBS.examples(params, subband.open_dataset(DATA)), WorkerContext())
    epochs = list(alone.run())
    alone.use_best()
    assert record["choose"]["image_auroc"] == max(epoch.metrics["image_auroc"] for epoch in epochs)
    assert record["categories"]["far"]["report"] == alone.evaluate(alone.data.tests["far"])
    model = tmp_path / record["model"]
    kept = np.load(model.parent / ANSWERS)
    assert check_saved(model, lambda saved: answers(saved, alone.data.validation), kept) <= 1e-5
    weights = load(model).network.state_dict()
    assert all((weights[name] == value).all() for name, value in alone.best_weights.items())


def test_a_trial_that_was_paused_goes_on_as_if_it_had_not_been(trial, tmp_path):
    whole = run(trial({"lr": 0.01, "dropout": 0.2}))[-1]["record"]
    paused = trial({"lr": 0.01, "dropout": 0.2}, name="two")
    paused.train()
    (tmp_path / "kept").mkdir()
    checkpoint = paused.save(str(tmp_path / "kept"))
    paused.reset({"point": {"lr": 1e-7}})
    paused.train()
    paused.reset({"point": {"lr": 0.01, "dropout": 0.2}})
    paused.restore(checkpoint)
    after = run(paused)
    assert len(after) == 2
    for part in ("choose", "report", "categories", "notes"):
        assert after[-1]["record"][part] == whole[part]


def test_weights_of_another_trial_with_other_params_are_told(trial, tmp_path):
    donor = trial({"lr": 0.01}, name="donor")
    donor.train()
    (tmp_path / "kept").mkdir()
    checkpoint = donor.save(str(tmp_path / "kept"))
    taker = trial({"lr": 1e-7}, name="taker")
    taker.train()
    taker.reset({"point": {"lr": 0.0125}})
    taker.restore(checkpoint)
    record = run(taker)[-1]["record"]
    assert record["params"]["lr"] == 0.0125
    (changed,) = [note for note in record["notes"] if "changed on the way" in note]
    assert changed.endswith("epoch 1: another trial's weights, lr 0.01 -> 0.0125")


def test_what_cannot_change_on_the_way_is_refused(trial, tmp_path):
    donor = trial({"lr": 0.01, "count": 16}, name="donor")
    donor.train()
    (tmp_path / "kept").mkdir()
    taker = trial({"lr": 0.01}, name="taker")
    with pytest.raises(subband.errors.ModelError, match=r"other params: count=16 \(now 24\)"):
        taker.restore(donor.save(str(tmp_path / "kept")))


def test_failures_are_results(trial):
    spoilt = run(trial({"lr": 0.01, "break_at": 1}))[-1]
    assert "diverged: the loss was no finite number in epoch 2" in spoilt["failure"]
    assert math.isnan(spoilt["image_auroc"])
    assert "batch of 500" in run(trial({"batch": 500}))[-1]["failure"]
    assert "test images choose, in this sweep holdout" in run(trial({"validation": "test"}))[-1]["failure"]
    wrong = run(trial({"lr": 0.01}, objectives=("pixel_auroc",)))[-1]["failure"]
    assert "'pixel_auroc' is not a metric that swept-blobs gives; did you mean 'image_auroc'" in wrong


def test_in_a_population_a_diverged_trial_waits_for_better_weights(trial, tmp_path):
    for name in ("good", "paused"):
        (tmp_path / name).mkdir()
    donor = trial({"lr": 0.01}, name="donor")
    donor.train()
    good = donor.save(str(tmp_path / "good"))
    # So high a rate that the first update spoils the weights.
    spoilt = trial({"lr": 1e30}, name="spoilt", population=True)
    assert spoilt.train()["image_auroc"] == -math.inf
    spoilt.restore(spoilt.save(str(tmp_path / "paused")))
    assert spoilt.train()["image_auroc"] == -math.inf
    spoilt.reset({"point": {"lr": 0.008}})
    spoilt.restore(good)
    assert run(spoilt)[-1]["complete"]

    alone = trial({"lr": 1e30}, name="alone", population=True)
    assert [alone.train().get("failure") for _ in range(2)] == [None, None]
    assert "diverged" in alone.train()["failure"]


def test_costs_are_measured_of_the_finished_model(trial):
    *_, before, last = run(trial({"lr": 0.01}, objectives=("image_auroc", "bank_mb"), beside=1))
    assert math.isnan(before["bank_mb"])
    assert last["bank_mb"] == last["record"]["report"]["bank_mb"] > 0
    assert last["record"]["timings"]["costs"] > 0


def test_a_later_first_validation_has_no_value_before(trial):
    results = run(trial({"lr": 0.01}, base={"validate_from": 3}))
    assert [math.isnan(result["image_auroc"]) for result in results] == [True, True, False]
