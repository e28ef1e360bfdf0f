"""Real sweeps on a real local Ray, with a real store and a real MLflow database."""

import itertools
from collections import Counter

import mlflow
import numpy as np
import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.storages.journal import JournalFileBackend

import subband
from subband.data import load_images, open_dataset, split_category
from subband.errors import DataError, SubbandError
from subband.methods import make_params
from subband.metrics import COSTS, METRICS
from subband.report import regret
from subband.stages import Store
from subband.trials import read_records
from subband.trials.ranking import complete_with, non_dominated

DATA = "synthetic:?train=6&test=8&size=64&categories=weave,nut"
ONE = "synthetic:?train=6&test=8&size=64&categories=weave"
GRID = {"wavelet": ("haar", "db2"), "sigma": (2.0, 4.0), "cov_reg": (0.01, 0.1)}
QUIET = {"register_model": False}


def tracked(result, sweep_home):
    """The sweep's parent run and its child runs."""
    client = MlflowClient(f"sqlite:///{sweep_home / 'mlflow.db'}")
    runs = [run for experiment in client.search_experiments() for run in client.search_runs([experiment.experiment_id])]
    (parent,) = [run for run in runs if run.info.run_name == result.plan.folder.name]
    return parent, [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


@pytest.fixture(scope="module")
def exact(sweep, sweep_home):
    """An exact grid of 8 points over two categories, on two workers and an empty store, with champions."""
    return sweep(data=DATA, search="grid", name="exact", store=sweep_home / "exact-store", workers=2, **GRID)


def test_an_exact_grid_runs_every_point_once(exact):
    points = Counter(tuple(record.params[name] for name in GRID) for record in exact.records)
    assert len(points) == 8
    assert set(points.values()) == {1}
    assert [record.status for record in exact.records] == ["complete"] * 8
    assert [record.number for record in exact.records] == list(range(8))
    proposed = {record.proposed: tuple(record.params[name] for name in GRID) for record in exact.records}
    assert [proposed[place] for place in range(8)] == list(itertools.product(*GRID.values()))
    assert not exact.interrupted
    assert exact.problems == []


def test_every_stage_is_computed_once_whichever_worker_needs_it(exact, sweep_home):
    store = Store(sweep_home / "exact-store")
    entries = Counter(row["stage"] for row in store.info())
    # Two categories, and per category: 2 wavelets, each with 2 regularisations and 2 smoothings (which are not stored).
    for stage, count in {"images": 1, "features": 1, "grams": 2, "spectrum": 2, "metrics": 8}.items():
        assert entries[stage] == 2 * count, entries
    assert store.verify() == []
    # What every trial shares was prepared by the workers before the first trial, so no trial waited for it or paid for it.
    assert not any({"images", "features"} & set(record.timings) for record in exact.records)


def test_records_hold_every_category_metric_and_timing(exact):
    for record in exact.records:
        assert set(record.categories) == {"nut", "weave"}
        for metrics in record.categories.values():
            assert set(metrics["choose"]) == set(metrics["report"]) == set(METRICS)
        for role in ("choose", "report"):
            means = {name: np.mean([m[role][name] for m in record.categories.values()]) for name in METRICS}
            assert getattr(record, role) == pytest.approx(means, abs=1e-12)
        assert record.timings["trial"] >= record.timings["stages"] >= 0
        assert record.params["weights"] == "random:0"
        assert set(record.searched) == set(GRID)


def test_the_ledger_and_mlflow_hold_the_same(exact, sweep_home):
    assert read_records(exact.plan.folder) == exact.records
    parent, children = tracked(exact, sweep_home)
    assert parent.info.status == "FINISHED"
    assert {child.info.status for child in children} == {"FINISHED"}
    logged = Counter(round(value, 9) for child in children for value in child.data.metrics.values())
    assert len(children) == len(exact.records)
    for record in exact.records:
        assert logged[round(record.choose["image_auroc"], 9)] >= 1


def test_the_chosen_trial_is_the_best_on_the_labels_that_choose(exact):
    best = max(record.choose["image_auroc"] for record in exact.records)
    assert exact.chosen.choose["image_auroc"] == best
    assert regret(exact.records, "image_auroc", exact.chosen) >= 0


def test_champions_load_back_with_the_evaluated_scores(exact, sweep_home):
    uri = f"sqlite:///{sweep_home / 'mlflow.db'}"
    assert {name for name, _ in exact.versions.values()} == {"wepadim-synthetic-nut", "wepadim-synthetic-weave"}
    dataset = open_dataset(DATA)
    for report in exact.champions:
        name, version = exact.versions[report.category]
        assert MlflowClient(uri).get_model_version_by_alias(name, "champion").version in (version, str(version))
        detector = subband.load(f"models:/{name}@champion", uri)
        params = make_params(exact.plan.method, exact.chosen.params)
        pictures = [sample.image for sample in dataset.category(report.category).test]
        images = load_images(pictures, exact.plan.method.preprocess(params))
        _, saved = subband.load(report.folder).score(images)
        _, served = detector.score(images)
        assert report.parity <= 1e-5
        np.testing.assert_allclose(served, saved, rtol=1e-5)
        assert detector.calibration.threshold == report.threshold

        mlflow.set_tracking_uri(uri)
        model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
        answers = model.predict(np.stack([np.asarray(picture.open().convert("RGB")) for picture in pictures]))
        np.testing.assert_allclose(np.asarray(answers["score"], float), saved, rtol=1e-5)


def test_a_search_with_racing_stops_poor_trials_and_ranks_only_complete_ones(sweep):
    result = sweep(
        data="synthetic:?train=4&test=8&size=64&categories=weave,nut,tile,wood,leather",
        search="random",
        trials=14,
        racing="on",
        subbands=("LL", "LL+LH+HL"),
        wavelet=("haar", "db2"),
        level=(1,),
        **QUIET,
    )
    statuses = Counter(record.status for record in result.records)
    assert len(result.records) == 14
    assert statuses["stopped"] >= 1, "no trial was stopped early"
    assert statuses["complete"] >= 1
    for record in result.records:
        assert (len(record.categories) == 5) == (record.status == "complete")
    ranked = complete_with(result.records, "image_auroc")
    assert result.chosen == ranked[0]
    assert len(ranked) == statuses["complete"]


def test_two_objectives_give_a_front_and_its_figure(sweep):
    result = sweep(
        data=ONE,
        search="nsga2",
        trials=5,
        objective=("image_auroc", "pixel_auroc"),
        level=(1,),
        wavelet=("haar",),
        **QUIET,
    )
    assert [r.trial_id for r in result.front] == [
        r.trial_id for r in non_dominated(result.records, ["image_auroc", "pixel_auroc"])
    ]
    assert result.front
    assert (result.plan.folder / "figures" / "pareto-front.png").stat().st_size > 5000


@pytest.fixture(scope="module")
def weighed(sweep):
    """A search over accuracy, size and time; LL keeps a third of the channels of LL+LH+HL."""
    return sweep(
        data=DATA,
        trials=5,
        workers=2,
        objective=("image_auroc", "bank_mb", "latency_ms", "fps"),
        wavelet=("haar",),
        level=(1,),
        subbands=("LL", "LL+LH+HL"),
        sigma=(2.0, 4.0),
        seed=1,
        **QUIET,
    )


def test_costs_are_measured_for_every_category_and_stand_in_both_roles(weighed):
    assert weighed.problems == []
    for record in weighed.records:
        for metrics in (*record.categories["nut"].values(), *record.categories["weave"].values()):
            assert set(metrics) == {*METRICS, *COSTS}
        assert {name: record.choose[name] for name in COSTS} == {name: record.report[name] for name in COSTS}
        assert record.timings["trial"] >= record.timings["costs"] > 0
        assert any(note.startswith("latency_ms and fps") and "up to 1 other trial ran" in note for note in record.notes)
    channels = 64 + 128 + 256
    # 64 positions and 6 images: means in float64, 6 directions and their variances in float32.
    sizes = {
        "LL": 64 * (8 * channels + 6 * 4 * channels + 6 * 4),
        "LL+LH+HL": 64 * (3 * channels * (8 + 6 * 4) + 6 * 4),
    }
    assert {r.params["subbands"]: r.choose["bank_mb"] for r in weighed.records} == pytest.approx(
        {name: size / 1e6 for name, size in sizes.items()}
    )


def test_costs_point_the_right_way_everywhere(weighed, sweep_home):
    """Optuna, MLflow, the front and the choice: smaller banks and latencies are better, accuracy chooses."""
    assert weighed.chosen.choose["image_auroc"] == max(record.choose["image_auroc"] for record in weighed.records)
    smallest = [r for r in weighed.records if r.choose["bank_mb"] == min(s.choose["bank_mb"] for s in weighed.records)]
    assert {record.trial_id for record in smallest} & {record.trial_id for record in weighed.front}
    journal = JournalFileBackend(str(weighed.plan.folder / "optuna.journal"))
    study = optuna.load_study(study_name=weighed.plan.folder.name, storage=optuna.storages.JournalStorage(journal))
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE", "MAXIMIZE"]
    parent, _ = tracked(weighed, sweep_home)
    best = parent.data.metrics
    assert best["best/latency_ms"] == pytest.approx(min(record.choose["latency_ms"] for record in weighed.records))
    assert best["best/fps"] == pytest.approx(max(record.choose["fps"] for record in weighed.records))
    for cost in COSTS:
        assert (weighed.plan.folder / "figures" / f"pareto-front-{cost}.png").stat().st_size > 5000


def test_costs_that_nobody_asks_for_are_not_measured(exact):
    assert not any(set(COSTS) & set(record.choose) or "costs" in record.timings for record in exact.records)


@pytest.mark.slow
@pytest.mark.parametrize("search", ["gp", "qmc"])
def test_other_samplers_run(sweep, search):
    result = sweep(data=ONE, search=search, trials=3, wavelet=("haar",), level=(1,), **QUIET)
    assert [record.status for record in result.records] == ["complete"] * 3
    assert len({record.params["cov_reg"] for record in result.records}) == 3


def test_the_same_seed_proposes_the_same_trials(sweep):
    given = {"data": ONE, "trials": 4, "workers": 1, "seed": 7, "wavelet": ("haar",), **QUIET}
    first, again = (sweep(name=f"seed-{number}", **given) for number in range(2))
    assert [record.params for record in first.records] == [record.params for record in again.records]
    assert [record.choose for record in first.records] == [record.choose for record in again.records]


def test_selection_synthetic_needs_no_test_pictures(sweep, sweep_home, tmp_path):
    category = open_dataset(ONE).category("weave")
    folder = tmp_path / "mine" / "weave" / "train" / "good"
    folder.mkdir(parents=True)
    for index, sample in enumerate(category.train):
        sample.image.open().save(folder / f"{index}.png")
    result = sweep(data=f"mvtec:{tmp_path / 'mine'}", selection="synthetic", search="grid", sigma=(2.0, 4.0))
    assert [record.status for record in result.records] == ["complete"] * 2
    assert all(record.report == {} for record in result.records)
    (report,) = result.champions
    assert report.false_alarms is report.detected is None
    name, version = result.versions["weave"]
    assert (name, version) == ("wepadim-mvtec-mine-weave", 1)
    assert MlflowClient(f"sqlite:///{sweep_home / 'mlflow.db'}").get_registered_model(name).tags["data"] == (
        f"mvtec:{tmp_path / 'mine'}"
    )
    assert result.problems == []


def test_reported_labels_never_choose(sweep, tmp_path):
    """Exchange the labels of images that report: the objective and the ranking stay as they were, the report changes."""
    source = open_dataset("synthetic:?train=6&test=16&size=64&categories=weave").category("weave")
    results = []
    for name, corrupted in (("honest", False), ("corrupted", True)):
        root = tmp_path / name / "weave"
        folders = {sample: root / sample.split / sample.defect for sample in (*source.train, *source.test)}
        for index, (sample, folder) in enumerate(folders.items()):
            folder.mkdir(parents=True, exist_ok=True)
            sample.image.open().save(folder / f"{index:03d}.png")
            if sample.mask is not None:
                masks = root / "ground_truth" / sample.defect
                masks.mkdir(parents=True, exist_ok=True)
                sample.mask.open().save(masks / f"{index:03d}_mask.png")
        category = open_dataset(f"mvtec:{tmp_path / name}").category("weave")
        _, truth = split_category(category, "holdout", 0)
        assert set(truth.choose) | set(truth.report) == set(range(len(category.test)))
        assert not set(truth.choose) & set(truth.report)
        if corrupted:
            # Within the half that reports, a defective image takes the pixels of a good one and the other way round.
            good, bad = (
                [category.test[i] for i in truth.report if category.test[i].label == label] for label in (0, 1)
            )
            for one, other in zip(good, bad, strict=False):
                one, other = (root / "test" / s.defect / f"{s.name.rsplit('/', 1)[-1]}.png" for s in (one, other))
                pixels = one.read_bytes(), other.read_bytes()
                other.write_bytes(pixels[0])
                one.write_bytes(pixels[1])
        results.append(
            sweep(
                data=f"mvtec:{tmp_path / name}",
                search="grid",
                sigma=(1.5, 4.0),
                subbands=("LL", "HH"),
                workers=1,
                **QUIET,
            )
        )
    honest, corrupted = ({(r.params["sigma"], r.params["subbands"]): r for r in result.records} for result in results)
    assert {key: r.choose for key, r in honest.items()} == {key: r.choose for key, r in corrupted.items()}
    assert {key: r.report for key, r in honest.items()} != {key: r.report for key, r in corrupted.items()}


def test_a_time_budget_ends_the_sweep_early(sweep):
    result = sweep(data=DATA, trials=500, minutes=0.05, **QUIET)
    assert 0 <= len(result.records) < 500
    assert not result.interrupted
    if result.chosen is None:
        assert "within 0.05 minutes" in result.problems[0]


@pytest.fixture
def two_categories(tmp_path):
    """Two categories as folders of PNG files, and a function that damages a file in its middle, which only decoding it shows."""
    for name in ("a-whole", "b-damaged"):
        for sample in (*open_dataset(ONE).category("weave").train, *open_dataset(ONE).category("weave").test):
            folder = tmp_path / "mine" / name / sample.split / sample.defect
            folder.mkdir(parents=True, exist_ok=True)
            sample.image.open().save(folder / f"{sample.name.rsplit('/', 1)[-1]}.png")

    def damage(*path: str) -> None:
        file = tmp_path.joinpath("mine", *path)
        content = file.read_bytes()
        file.write_bytes(content[:300] + bytes(200) + content[500:])

    return tmp_path / "mine", damage


def test_a_damaged_training_image_is_named_before_a_sweep_starts(sweep, sweep_home, two_categories):
    folder, damage = two_categories
    damage("b-damaged", "train", "good", "002.png")
    for check in ("headers", "full"):
        with pytest.raises(DataError, match=r"002\.png is damaged"):
            sweep(name="refused", check=check, data=f"mvtec:{folder}", selection="test", **QUIET)
        assert not (sweep_home / "runs" / "refused").exists()


def test_a_damaged_test_image_is_named_and_ends_a_sweep_that_cannot_succeed(sweep, sweep_home, two_categories):
    folder, damage = two_categories
    damage("b-damaged", "test", "good", "002.png")
    given = {"data": f"mvtec:{folder}", "selection": "test", "trials": 50, "racing": "off", "wavelet": ("haar",)}
    with pytest.raises(DataError, match=r"cannot be used as it is: .*002\.png is damaged"):
        sweep(name="checked", check="full", **given, **QUIET)
    assert not (sweep_home / "runs" / "checked").exists()
    with pytest.raises(SubbandError, match=r"every trial failed.*002\.png"):
        sweep(name="damaged", **given, **QUIET)
    records = read_records(sweep_home / "runs" / "damaged")
    assert 3 <= len(records) < 15, "the sweep went on although nothing could succeed"
    assert {record.status for record in records} == {"failed"}
    assert all("002.png" in record.error for record in records)
    assert all(record.params["wavelet"] == "haar" and record.params["image_size"] == 64 for record in records)


def test_one_failing_configuration_fails_alone_and_is_tried_again_by_a_resume(sweep, tmp_path):
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not a state dict")
    first = sweep(data=ONE, search="grid", name="one-fails", weights=("random:0", str(broken)), **QUIET)
    assert {r.params["weights"]: r.status for r in first.records} == {"random:0": "complete", str(broken): "failed"}
    (failed,) = [record for record in first.records if record.status == "failed"]
    assert "broken.pth" in failed.error
    assert "Traceback" not in failed.error
    assert first.chosen.params["weights"] == "random:0"

    again = sweep(resume="one-fails")
    assert [record.status for record in again.records] == [*(r.status for r in first.records), "failed"]
    assert again.chosen.params == first.chosen.params
