"""What a training decides before it starts: presets, what a resumed one may be given, and what it keeps of that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from subband.errors import DataError, ParamsError
from subband.methods import get_method
from subband.runs.flags import ParamFlags, parse_flags
from subband.runs.folders import folder_lock, read_settings
from subband.training.plan import LOCK_NAME, TrainPlan, make_train_plan, save_settings
from subband.training.settings import TrainSettings

TINY = ("--recipe", "smoke", "--data", "synthetic-surface:?train=10&test=3&size=64", "--batch", "4")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUBBAND_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def parse(*argv: str) -> tuple[TrainSettings, dict[str, Any]]:
    return parse_flags(TrainSettings, "", argv, params=ParamFlags("wpformer", get_method("wpformer").params_type))


def plan(*argv: str) -> TrainPlan:
    settings, values = parse(*argv)
    return make_train_plan("wpformer", values, settings)


def begun(*argv: str) -> TrainPlan:
    """A training as it is when its process is killed at once."""
    made = plan(*argv)
    save_settings(made)
    return made


def at_epoch(made: TrainPlan, epoch: int, tested: int | None = None) -> None:
    checkpoint = made.folder / "train" / f"checkpoint_{epoch}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "training.json").write_text(json.dumps({"method": "wpformer", "params": {}, "epoch": epoch}))
    if tested is not None:
        (made.folder / "report").mkdir(exist_ok=True)
        (made.folder / "report" / "results.json").write_text(json.dumps({"epochs": tested}))


def test_only_what_was_said_is_given() -> None:
    settings, values = parse("--workers=1", "--no-register", "--lr", "1")
    assert settings.model_fields_set == {"workers", "register_model"}
    assert not settings.register_model
    assert values == {"lr": 1.0}
    assert parse("--cpus_per_worker", "2")[0].model_fields_set == {"cpus_per_worker"}


@pytest.mark.parametrize("old", ["register-model", "register-champion"])
def test_the_old_names_of_a_flag_are_accepted_with_a_warning(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not parse(f"--no-{old}")[0].register_model
    assert f"--no-{old} is now --no-register" in capsys.readouterr().err
    assert parse(f"--{old}")[0].register_model
    assert f"--{old} is now --register" in capsys.readouterr().err


def test_a_default_that_is_said_wins_over_what_was_kept() -> None:
    begun(*TINY, "--workers", "4", "--no-register", "--max-failures", "0", "--name", "one")
    kept = plan("--resume", "one").settings
    assert (kept.workers, kept.register_model, kept.max_failures) == (4, False, 0)
    anew = plan("--resume", "one", "--workers", "1", "--register", "--max-failures", "2").settings
    assert (anew.workers, anew.register_model, anew.max_failures) == (1, True, 2)


def test_what_is_given_anew_is_there_after_the_next_kill() -> None:
    begun(*TINY, "--name", "one", "--workers", "4")
    begun("--resume", "one", "--lr", "1e-5", "--epochs", "7", "--workers", "2")
    again = plan("--resume", "last")
    assert (again.params.lr, again.params.epochs, again.settings.workers) == (1e-5, 7, 2)
    assert [path.name for path in again.folder.iterdir()] == ["settings.json"]


def test_a_smoke_training_stays_one_and_lies_over_a_recipe() -> None:
    made = begun("--smoke", "--recipe", "esdis-sod", "--name", "tiny")
    smoke, whole = made.method.recipes["smoke"], made.method.recipes["esdis-sod"]
    params = made.params.model_dump()
    assert {name: params[name] for name in smoke} == smoke
    assert all(params[name] == value for name, value in whole.items() if name not in {*smoke, "validate_from"})
    assert params["validate_from"] == 1
    assert read_settings(made.folder)["settings"]["smoke"] is True
    assert plan("--resume", "tiny").settings.smoke
    assert plan("--smoke", "--batch", "2").params.batch == 2


def test_weights_are_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    torch.save({}, here / "w.pth")
    monkeypatch.chdir(here)
    assert begun(*TINY, "--weights", "w.pth", "--name", "one").params.weights == str(here / "w.pth")
    assert plan("--resume", "one", "--weights", "w.pth").params.weights == str(here / "w.pth")
    monkeypatch.chdir(elsewhere)
    assert plan("--resume", "one").params.weights == str(here / "w.pth")


def test_a_finished_training_asks_for_more_epochs() -> None:
    made = begun(*TINY, "--epochs", "5", "--name", "done")
    at_epoch(made, 5)
    assert plan("--resume", "done").resumed  # tests and model are missing
    at_epoch(made, 4, tested=5)
    for more in ((), ("--epochs", "3")):
        with pytest.raises(ParamsError, match=r"5 epochs of the training done are done already.*give more --epochs"):
            plan("--resume", "done", *more)
    assert plan("--resume", "done", "--epochs", "6").params.epochs == 6
    at_epoch(made, 6)
    assert plan("--resume", "done", "--epochs", "6").resumed  # what it was extended by is not tested yet


def test_a_training_is_run_by_one_process(tmp_path: Path) -> None:
    with (
        folder_lock(tmp_path / "one", LOCK_NAME, "training"),
        folder_lock(tmp_path / "two", LOCK_NAME, "training"),
        pytest.raises(ParamsError, match="training one is running in another process"),
        folder_lock(tmp_path / "one", LOCK_NAME, "training"),
    ):
        pytest.fail("two hold it")
    with folder_lock(tmp_path / "one", LOCK_NAME, "training"):
        pass


def test_a_resumption_says_which_images_have_changed(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("test", 3)):
        for index in range(count):
            for kind, value in (("images", 90 + index), ("gt", 0)):
                path = tmp_path / "cracks" / part / kind / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                mask = Image.new("L", (64, 64), value)
                mask.paste(255, (8, 8, 20, 20))
                mask.save(path)
    begun("--recipe", "smoke", "--batch", "4", "--data", f"pairs:{tmp_path / 'cracks'}", "--name", "one")
    assert plan("--resume", "one").resumed
    Image.new("L", (64, 64), 77).save(tmp_path / "cracks" / "train" / "images" / "4.png")
    with pytest.raises(DataError, match=r"have changed since this training began: 1 changed\. Restore them"):
        plan("--resume", "one")


def test_another_process_that_took_the_name_is_told() -> None:
    made = begun(*TINY, "--name", "one")
    other = TrainPlan(**{**vars(made), "resumed": False})
    with pytest.raises(ParamsError, match="has just been started"):
        save_settings(other)
