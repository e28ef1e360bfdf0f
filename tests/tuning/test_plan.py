"""What a sweep decides, and refuses, before anything is started or written."""

import json

import numpy as np
import pytest
from PIL import Image

from subband.errors import DataError, ParamsError
from subband.runs.folders import SETTINGS_NAME, read_settings
from subband.tuning.plan import save_settings

DATA = "synthetic:?train=6&test=8&size=64&categories=weave,nut"


@pytest.fixture
def folder_of_pictures(tmp_path):
    """An mvtec layout with good images only."""

    def make(category="plate", train=4, good=4):
        rng = np.random.default_rng(0)
        for split, count in (("train", train), ("test", good)):
            folder = tmp_path / "data" / category / split / "good"
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / f"{index}.png")
        return tmp_path / "data"

    return make


def test_weights_are_settled_once_and_kept_for_the_resumption(plan, folder_of_pictures, monkeypatch):
    hub = "subband.methods.weights_rule.published_weights"
    demo = plan(data=DATA, weights=())
    assert (demo.base["backbone"], demo.base["weights"]) == ("efficientnet_lite0", "packaged")
    assert ("weights", "efficientnet_lite0 packaged") in [decision[:2] for decision in demo.decisions]
    monkeypatch.setattr(hub, lambda name: (True, "the hub answers"))
    images = {"data": f"mvtec:{folder_of_pictures()}", "selection": "synthetic", "weights": ()}
    files = plan(**images, name="hub")
    assert (files.base["backbone"], files.base["weights"]) == ("resnet18", "pretrained")
    save_settings(files)
    monkeypatch.setattr(hub, lambda name: (False, "no answer"))
    assert plan(**images).base["weights"] == "packaged"
    resumed = plan(resume="hub")
    assert resumed.base["weights"] == "pretrained"
    assert [each for each in resumed.decisions if each[0] == "weights"] == [
        ("weights", "resnet18 pretrained", "published ImageNet weights: the hub answers")
    ]
    settings = files.folder / SETTINGS_NAME
    older = {
        key: value for key, value in read_settings(files.folder).items() if key not in ("settled", "weights_reason")
    }
    settings.write_text(json.dumps(older))
    assert plan(resume="hub").base["weights"] == "pretrained"  # the fixed default from before the rule
    assert plan(data=DATA, weights=("random:3",)).base["weights"] == "random:3"


def test_a_resumption_says_which_images_have_changed(plan, folder_of_pictures):
    data = folder_of_pictures()
    folder_of_pictures("panel")
    save_settings(plan(data=f"mvtec:{data}", selection="synthetic", name="begun"))
    whole = {path: path.read_bytes() for path in data.rglob("*.png")}
    assert plan(resume="begun").resumed
    train = data / "panel" / "train" / "good"
    (train / "0.png").rename(train / "00.png")  # the same image at the same place
    assert plan(resume="begun").resumed
    (train / "00.png").rename(train / "0.png")
    (train / "1.png").write_bytes(whole[data / "plate" / "train" / "good" / "2.png"])
    (train / "3.png").unlink()
    (data / "panel" / "test" / "good" / "8.png").write_bytes(whole[train / "3.png"])
    with pytest.raises(DataError) as refused:
        plan(resume="begun")
    assert "the images of category panel have changed since this sweep began: 1 added, 1 changed, 1 removed. " in str(
        refused.value
    )
    assert "plate" not in str(refused.value)


def test_good_pictures_only_need_the_synthetic_selection(plan, folder_of_pictures):
    data = f"mvtec:{folder_of_pictures()}"
    for selection in ("holdout", "test"):
        with pytest.raises(DataError, match="synthetic"):
            plan(data=data, selection=selection)
    assert plan(data=data, selection="synthetic").dataset.categories == ("plate",)


def test_what_chooses_follows_from_the_labels(plan, folder_of_pictures):
    def chosen(**given):
        planned = plan(**given)
        return planned.selection, [reason for what, _, reason in planned.decisions if what == "selection"]

    assert chosen(data=DATA) == ("holdout", [])
    root = folder_of_pictures()
    selection, (reason,) = chosen(data=f"mvtec:{root}")
    assert selection == "synthetic"
    assert "made-up defects choose" in reason
    assert "plate" in reason
    (root / "plate" / "test" / "scratch").mkdir()
    for index in range(2):
        Image.new("RGB", (64, 64), (index, 9, 9)).save(root / "plate" / "test" / "scratch" / f"{index}.png")
    assert chosen(data=f"mvtec:{root}") == ("holdout", [])
    selection, (reason,) = chosen(data=f"mvtec:{root}", objective=("pixel_auroc",))
    assert selection == "synthetic"
    assert "plate: no masks, so pixel_auroc is undefined" in reason
    save_settings(plan(data=f"mvtec:{root}", objective=("pixel_auroc",), name="settled"))
    assert plan(resume="settled").selection == "synthetic"


def test_an_objective_that_needs_masks_is_refused_where_there_are_none(plan, folder_of_pictures):
    root = folder_of_pictures()
    defects = root / "plate" / "test" / "scratch"
    defects.mkdir()
    for index in range(4):
        Image.new("RGB", (64, 64), (index, 9, 9)).save(defects / f"{index}.png")
    assert plan(data=f"mvtec:{root}", selection="test")
    for objective in (("pixel_auroc",), ("image_auroc", "pixel_auroc")):
        with pytest.raises(DataError, match=r"by pixel_auroc with selection='test' \(plate: no masks"):
            plan(data=f"mvtec:{root}", selection="test", objective=objective)


def test_a_grid_search_needs_several_values(plan):
    with pytest.raises(ParamsError, match="--search grid needs a param with several values"):
        plan(data=DATA, search="grid", sigma=(2.0,))


def test_a_search_with_nothing_to_search_is_one_trial(plan):
    fixed = {"wavelet": ("haar",), "level": (1,), "subbands": ("LL",), "sigma": (2.0,), "cov_reg": (0.01,)}
    decided = plan(data=DATA, trials=64, **fixed)
    assert decided.settings.trials == 1
    assert any(what == "trials" for what, _, _ in decided.decisions)
    assert plan(data=DATA, trials=64, **{**fixed, "sigma": (2.0, 3.0)}).settings.trials == 64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sigma": (-1.0,)}, "wepadim.sigma: .*greater than 0"),
        ({"cov_reg": (0.01, 1e9)}, "wepadim.cov_reg: .*less than or equal to 1000"),
        ({"wavelet": ("harr",)}, "did you mean 'haar'"),
        ({"subbands": ("LL+LX",)}, "wepadim.subbands: .*LX"),
        ({"backbone": ("resnet19",)}, "did you mean 'resnet18'"),
        ({"level": (9,)}, "wepadim.level"),
        ({"preset": "phase3"}, "'phase1'"),
        ({"racing": "on", "data": DATA.replace(",nut", "")}, "this dataset has one"),
        ({"name": "a/b"}, "use letters, digits"),
        ({"resume": "nothing"}, "resume"),
    ],
)
def test_illegal_input_is_refused_and_writes_nothing(plan, sweep_home, given, message):
    before = sorted(sweep_home.glob("runs/*"))
    with pytest.raises(ParamsError, match=message):
        plan(**{"data": DATA, **given})
    assert sorted(sweep_home.glob("runs/*")) == before


def test_the_users_values_fix_restrict_and_multiply_a_preset(plan):
    assert len(plan(data=DATA, preset="full").points(0, ())) == 32
    assert {p["sigma"] for p in plan(data=DATA, preset="full", sigma=(8.0,)).points(0, ())} == {8.0}
    # In whatever order the user writes a set of subbands.
    restricted = plan(data=DATA, preset="full", subbands=("HL+LH+LL", "HH+HL+LH+LL"), sigma=(2.0, 4.0), level=(1,))
    assert len(restricted.points(0, ())) == 16
    both = plan(data=DATA, preset="full", backbone=("resnet18", "resnet34"))
    assert len(both.points(0, ())) == 64
    with pytest.raises(ParamsError, match="leave nothing of the grid"):
        plan(data=DATA, preset="full", sigma=(5.0, 6.0))


def test_a_grid_runs_equal_spellings_once(plan):
    points = plan(data=DATA, search="grid", subbands=("LL+HL", "HL+LL", "LL")).points(0, ())
    assert points == [{"subbands": "LL+HL"}, {"subbands": "LL"}]


def test_smoke_is_tiny_and_says_so(plan):
    tiny = plan(smoke=True, image_size=(), grid=())
    assert tiny.settings.trials == 2
    assert tiny.base["image_size"] == 64
    assert len(tiny.dataset.categories) == 2
    assert any(what == "smoke" for what, _, _ in tiny.decisions)


def test_racing_is_on_for_searches_over_many_categories(plan):
    many = "synthetic:?train=6&test=8&size=64"
    assert plan(data=many).racing
    assert not plan(data=many, racing="off").racing
    assert not plan(data=many, preset="full").racing
    assert not plan(data=many, objective=("image_auroc", "pixel_auroc")).racing
    assert not plan(data=DATA).racing


def test_resume_keeps_what_was_decided_and_refuses_what_it_would_ignore(plan, sweep_home, monkeypatch):
    first = plan(data=DATA, name="kept", trials=5, sigma=(2.0, 3.0), seed=4)
    save_settings(first)
    resumed = plan(resume="kept", trials=9)
    assert resumed.resumed
    assert resumed.folder == first.folder
    assert (resumed.settings.trials, resumed.settings.seed) == (9, 4)
    assert resumed.axes == first.axes
    assert resumed.digest == first.digest
    assert plan(resume="last").folder == first.folder
    assert plan(resume="kept", data=DATA).dataset.uri == first.dataset.uri
    with pytest.raises(ParamsError, match="--seed, --sigma cannot be changed when resuming sweep"):
        plan(resume="kept", seed=5, sigma=(4.0,))
    with pytest.raises(ParamsError, match="did you mean 'kept'"):
        plan(resume="kent")
    with pytest.raises(ParamsError, match="continue it with --resume kept"):
        plan(data=DATA, name="kept")
    with pytest.raises(ParamsError, match="has just been started"):
        save_settings(first)


def test_a_dataset_given_by_a_relative_path_is_found_again_from_elsewhere(
    plan, folder_of_pictures, tmp_path, monkeypatch
):
    folder_of_pictures()
    monkeypatch.chdir(tmp_path)
    save_settings(plan(data="mvtec:data", selection="synthetic", name="relative"))
    monkeypatch.chdir("/")
    assert plan(resume="relative").dataset.categories == ("plate",)


def test_unnamed_sweeps_of_one_second_have_two_folders(plan):
    assert plan(data=DATA).folder != plan(data=DATA).folder


def test_a_damaged_settings_file_is_never_left_half_written(plan, sweep_home):
    save_settings(plan(data=DATA, name="whole"))
    content = json.loads((sweep_home / "runs" / "whole" / "settings.json").read_text())
    assert content["method"] == "wepadim"
    assert [path.name for path in (sweep_home / "runs" / "whole").iterdir()] == ["settings.json"]


def test_metrics_of_segmenters_choose_no_anomaly_detector(plan):
    with pytest.raises(ParamsError, match=r"weighted_f is measured of segmenters .* choose among image_auroc"):
        plan(data=DATA, objective=("image_auroc", "weighted_f"))
