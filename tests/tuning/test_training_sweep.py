"""Real sweeps of a small trained method on a real local Ray."""

import mlflow
import pytest

import subband
from subband.methods import load
from subband.trials import read_records
from subband.trials.ranking import complete_with
from subband.tuning.plan import make_plan
from subband.tuning.settings import SweepSettings, default_settings
from subband.tuning.sweep import run_sweep
from tests.tuning.swept_blobs import SPACE

QUIET = {"register_model": False}


@pytest.fixture(scope="module")
def train(local_ray):
    def run(axes=None, watch=lambda record, expected: None, **given):
        defaults = default_settings("swept-blobs").model_dump()
        said = []
        settings = SweepSettings(**{**defaults, **given})
        settings.model_fields_set.intersection_update(given)
        plan = make_plan(SPACE, axes or {}, settings)
        result = run_sweep(plan, watch, said.append)
        result.said = said
        return result

    return run


@pytest.fixture(scope="module")
def grid(train):
    """Four points, one of which diverges at each rate."""
    return train(
        {"epochs": (3,), "lr": (1e-3, 1e-2), "break_at": (-1, 1)}, search="grid", name="rates", workers=2, seed=0
    )


def test_a_diverged_training_fails_alone_with_its_reason(grid):
    assert grid.problems == []
    failed = [record for record in grid.records if record.status == "failed"]
    assert [record.params["break_at"] for record in failed] == [1, 1]
    assert all("diverged: the loss was no finite number in epoch 2" in record.error for record in failed)
    assert [record.status for record in grid.records if record.params["break_at"] == -1] == ["complete"] * 2
    assert "trials at a time: 2, each 1 CPU threads (--workers and --workers-per-trial)" in grid.said


def test_the_winner_is_registered_as_it_was_trained_and_others_are_not_kept(grid, sweep_home):
    ranked = complete_with(grid.records, "image_auroc")
    assert grid.chosen == ranked[0]
    assert read_records(grid.plan.folder) == grid.records
    models = [path.parent for path in (grid.plan.folder / "models").glob("*/model")]
    assert models == [grid.plan.folder / grid.chosen.model.removesuffix("/model")]
    (report,) = grid.champions
    assert report.parity <= 1e-5
    assert grid.versions == {"all": ("swept-blobs-synthetic", 1)}
    uri = f"sqlite:///{sweep_home / 'mlflow.db'}"
    served, kept = subband.load("models:/swept-blobs-synthetic@champion", uri), load(report.folder)
    assert all((value == served.state_dict()[name]).all() for name, value in kept.state_dict().items())
    assert kept.about["selection"] == "holdout"
    assert kept.about["notes"] == ["30 held-out images choose"]
    version = mlflow.MlflowClient(uri).get_model_version_by_alias("swept-blobs-synthetic", "champion")
    assert float(version.tags["choose.image_auroc"]) == pytest.approx(grid.chosen.choose["image_auroc"], abs=1e-6)
    figures = {path.stem for path in (grid.plan.folder / "figures").glob("*.png")}
    assert {"champion-learning-curves", "champion-per-test-set", "parallel-coordinates"} <= figures
    assert not list((grid.plan.folder / "ray").glob("tune-*")), "checkpoints of trials are left"


def test_a_resumed_sweep_trains_only_what_failed(grid, train):
    again = train(resume="rates", workers=1)
    assert [record.status for record in again.records[4:]] == ["failed", "failed"]
    assert again.records[:4] == grid.records
    assert again.chosen == grid.chosen


def test_early_stopping_stops_poor_trials_after_some_epochs(train):
    result = train(
        {"epochs": (9,), "lr": (1e-7, 1e-6, 1e-2, 2e-2), "width": (1,)}, trials=6, workers=2, search="random", **QUIET
    )
    by_rate = {record.params["lr"]: [] for record in result.records}
    for record in result.records:
        by_rate[record.params["lr"]].append(record.status)
    assert len(result.records) == 6
    stopped = [record for record in result.records if record.status == "stopped"]
    assert stopped
    for record in stopped:
        assert record.report == record.categories == {}
        assert record.model is None
        assert record.params["lr"] < 1e-3
    assert "complete" in by_rate[max(by_rate)]
    assert result.chosen.params["lr"] >= 1e-2
    assert result.problems == []


def test_a_population_takes_over_better_weights(train):
    result = train({"epochs": (6,), "lr": (1e-7, 1e-2)}, trials=2, search="pbt", workers=1, **QUIET)
    assert [record.status for record in result.records] == ["complete"] * 2
    (taker,) = [record for record in result.records if any("another trial's weights" in note for note in record.notes)]
    assert taker.params["lr"] != 1e-7
    # From a rate of 1e-7 alone the network learns nothing: below 0.6 after six epochs.
    assert all(record.choose["image_auroc"] > 0.9 for record in result.records)
    assert not (result.plan.folder / "ray" / "tune-00000").exists()


@pytest.mark.slow
def test_a_model_that_was_changed_since_is_not_registered(train):
    def damage(record, expected):
        folder = result_folder / record.model
        other = load(folder)
        with_other_weights = other.state_dict()
        with_other_weights["network.head.bias"] += 1
        import safetensors.torch

        safetensors.torch.save_file(with_other_weights, folder / "model.safetensors")

    from subband.home import home

    result_folder = home() / "runs" / "changed"
    result = train({"epochs": (1,), "lr": (0.01,), "width": (1,)}, damage, trials=1, name="changed")
    (problem,) = result.problems
    assert "no champion was registered" in problem
    assert "differs from the evaluated one by" in problem
    assert result.champions == []


@pytest.mark.slow
def test_trials_on_two_workers_are_stopped_and_free_what_they_held(train):
    import ray

    alone = train({"epochs": (9,), "lr": (0.01,), "width": (1,)}, trials=1, **QUIET)
    rates = {"epochs": (9,), "lr": (1e-7, 1e-6, 1e-2, 2e-2), "width": (1,)}
    result = train(rates, trials=4, search="random", workers=1, workers_per_trial=2, **QUIET)
    statuses = [record.status for record in result.records]
    assert len(statuses) == 4
    assert "stopped" in statuses
    assert "complete" in statuses
    same = [record for record in result.records if record.params["lr"] == 1e-2 and record.status == "complete"]
    for record in same:
        assert record.choose["image_auroc"] == pytest.approx(alone.chosen.choose["image_auroc"], abs=1e-3)
    left = [group for group in ray.util.placement_group_table().values() if group["state"] != "REMOVED"]
    assert left == []
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]
    assert not list((result.plan.folder / "groups").glob("*"))
