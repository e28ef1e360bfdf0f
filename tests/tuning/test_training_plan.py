"""What a sweep of a trained method decides before it starts."""

import pytest

from search_spaces.wepadim import SPACE as STAGED
from search_spaces.wpformer import SPACE as WPFORMER
from subband.errors import DataError, ParamsError
from subband.training.checkpoint import CHANGEABLE
from subband.tuning.job import parse_sweep as parse
from subband.tuning.plan import make_plan
from subband.tuning.population import Explore, first_points
from subband.tuning.settings import SweepSettings, default_settings
from subband.tuning.training_plan import PERTURBED, interval, rungs
from tests.local_ray import register
from tests.tuning.swept_blobs import SPACE


@pytest.fixture(autouse=True)
def _known(sweep_home):
    register()


def planned(space=SPACE, axes=None, **given):
    defaults = default_settings(space.method).model_dump()
    settings = SweepSettings(**{**defaults, **given})
    settings.model_fields_set.intersection_update(given)
    return make_plan(space, axes or {}, settings)


def said(plan):
    return {what: f"{choice} ({why})" for what, choice, why in plan.decisions}


def test_data_and_objective_are_the_methods_own():
    settings, _ = parse(SPACE, "", [])
    assert settings.objective == ("image_auroc",)
    assert settings.data == "synthetic:?train=2&test=4&size=32&categories=weave"
    settings, axes = parse(WPFORMER, "", ["--lr", "1e-4", "--wavelet", "True", "False", "--seed", "3"])
    assert (settings.objective, settings.data, settings.seed) == (("weighted_f",), "synthetic-surface:", 3)
    assert axes == {"lr": (1e-4,), "wavelet": (True, False)}


def test_the_seed_of_a_sweep_is_that_of_its_trainings():
    assert planned(seed=7).base["seed"] == 7


def test_the_recipe_of_embedded_data_is_said_and_kept_for_a_resume():
    plan = planned(WPFORMER, preset="ablation", data="synthetic-surface:?train=16&test=4&size=64")
    assert plan.settings.recipe is None
    embedded = planned(WPFORMER, preset="ablation")
    assert embedded.settings.recipe == "small"
    assert said(embedded)["recipe"].startswith("small: backbone=pvt_v2_b0")
    assert embedded.base["backbone"] == "pvt_v2_b0"
    assert len(embedded.points(0, ())) == 4
    given = planned(WPFORMER, {"backbone": ("pvt_v2_b1",)}, preset="ablation", recipe="smoke")
    assert (given.base["backbone"], given.base["epochs"]) == ("pvt_v2_b1", 2)
    with pytest.raises(ParamsError, match="'smal' is not a recipe; did you mean 'small'"):
        planned(WPFORMER, recipe="smal")


def test_every_preset_and_the_smoke_run_are_legal():
    for name in WPFORMER.presets:
        assert planned(WPFORMER, preset=name).points(0, ())
    smoke = planned(WPFORMER, smoke=True)
    assert (smoke.settings.trials, smoke.base["epochs"]) == (2, 2)
    assert set(smoke.searched) == {"lr", "wavelet", "prototypes"}


def test_the_params_decide_which_pictures_choose():
    assert planned().settings.selection == "holdout"
    optimistic = planned(axes={"validation": ("test",)})
    assert optimistic.settings.selection == "test"
    assert "the test set far chooses" in said(optimistic)["selection"]
    assert planned(WPFORMER, {"mode": ("reference",)}, preset="ablation").settings.selection == "test"
    with pytest.raises(ParamsError, match=r"--selection synthetic: the params .*30 held-out images choose"):
        planned(selection="synthetic")
    with pytest.raises(ParamsError, match="--selection test: the params"):
        planned(selection="test")
    with pytest.raises(ParamsError, match="some values of validation test images choose"):
        planned(axes={"validation": ("holdout", "test")})


def test_bad_data_and_batches_are_told_before_anything_starts():
    with pytest.raises(DataError, match="blobs are of one category"):
        planned(data="synthetic:?train=2&test=4&size=32&categories=weave,nut")
    with pytest.raises(ParamsError, match="24 training examples do not fill one batch of 32"):
        planned(axes={"batch": (8, 32)})
    with pytest.raises(ParamsError, match="a batch of 8 cannot be divided equally among 3 workers"):
        planned(workers_per_trial=3)


def test_early_stopping_is_said_and_asked_for_only_where_there_is_a_way():
    assert "after 1 and 3 of 9 epochs" in said(planned(recipe="long"))["early stopping"]
    assert planned(recipe="long").racing
    assert not planned().racing  # three epochs
    assert not planned(recipe="long", preset="rates").racing
    assert not planned(recipe="long", objective=("image_auroc", "bank_mb")).racing
    assert planned(axes={"epochs": (3, 18)}, search="tpe").racing
    with pytest.raises(ParamsError, match=r"3 epochs, validated from 3 on, leave none"):
        planned(axes={"validate_from": (3,)}, racing="on")


@pytest.mark.parametrize(
    ("epochs", "validated", "expected"),
    [(9, 1, [1, 3]), (40, 1, [4, 12, 36]), (150, 100, [100]), (1, 1, []), (5, 1, [1, 3]), (60, 50, [50])],
)
def test_rungs(epochs, validated, expected):
    assert rungs(epochs, validated) == expected


def test_population_varies_what_may_change_on_the_way():
    assert set(PERTURBED) <= set(CHANGEABLE)
    assert [interval(epochs) for epochs in (1, 6, 40)] == [1, 1, 8]
    plan = planned(search="pbt", trials=4)
    assert plan.searched == ("lr",)
    assert "every 1 epochs the worst quarter" in said(plan)["population"]
    with pytest.raises(ParamsError, match=r"lr, clip, ema while weights are learnt: width cannot change"):
        planned(axes={"width": (1, 2)}, search="pbt")
    with pytest.raises(ParamsError, match="none is searched"):
        planned(axes={"lr": (0.1,)}, search="pbt")
    with pytest.raises(ValueError, match="needs 2 or more --trials"):
        planned(search="pbt", trials=1)


def test_a_population_starts_from_the_given_values_and_changes_them_reproducibly():
    plan = planned(axes={"lr": (1e-3, 1e-2), "clip": (0.0, 1.0)}, search="pbt", trials=4)
    points = first_points(plan, 4)
    assert [(point["lr"], point["clip"]) for point in points] == [(1e-3, 0.0), (1e-3, 1.0), (1e-2, 0.0), (1e-2, 1.0)]
    drawn = first_points(planned(search="pbt", trials=4), 4)
    assert len({point["lr"] for point in drawn}) == 4
    assert drawn == first_points(planned(search="pbt", trials=4), 4)

    def walk(seed, start, names):
        explore, config = Explore("swept-blobs", {"epochs": 3}, names, [start], seed), {"point": start}
        path = [config := explore(config) for _ in range(12)]
        return [each["point"] for each in path]

    start = {"lr": 0.01, "ema": 0.9, "width": 3}
    path = walk(0, start, ("lr", "ema"))
    assert path == walk(0, start, ("lr", "ema"))
    assert path != walk(1, start, ("lr", "ema"))
    assert all(point["width"] == 3 and 0 < point["ema"] < 1 and point["lr"] > 0 for point in path)
    assert len({point["lr"] for point in path}) > 2
    # Farther than the params allow is not gone: 1 - 0.001 * 0.8^n never is 1, and a distance above 1 is refused.
    assert all(0 <= point["ema"] < 1 for point in walk(3, {"lr": 0.01, "ema": 0.05}, ("ema",)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"search": "pbt"}, "wepadim learns none: use --search tpe"),
        ({"workers_per_trial": 2}, "leave --workers-per-trial out"),
        ({"recipe": "small"}, "leave --recipe out"),
    ],
)
def test_what_only_trained_methods_have_is_refused(given, message):
    with pytest.raises(ParamsError, match=message):
        planned(STAGED, **given)
