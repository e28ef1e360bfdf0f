"""Validation in this process: the same figures as one image at a time, and every option does what it says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from class_models import CLASSES, DATA, made_classifier, saved_classifier
from PIL import Image

from subband.analysis.results import Analysis
from subband.analysis.validation import ValidationSettings, all_logits, real_accuracy, run
from subband.data import open_dataset
from subband.data.classification.examples import ClassExamples, Framing
from subband.errors import DataError, ModelError, ParamsError
from subband.methods import load


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_classifier(tmp_path_factory.mktemp("classifier"))


def validated(folder: Path, **settings: Any) -> tuple[dict[str, Any], Path, list[str]]:
    with Analysis(folder) as analysis:
        run(
            analysis,
            ValidationSettings(**{"data": DATA, **{k: str(v) if k == "model" else v for k, v in settings.items()}}),
        )
        analysis.publish({})
        notes = analysis.findings.notes
    return json.loads((folder / "results.json").read_text()), folder, notes


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_figures_are_those_of_the_model_picture_by_picture(model: Path, tmp_path: Path) -> None:
    found, folder, _ = validated(tmp_path / "results", model=model, batch=3)
    test, classifier = open_dataset(DATA).split("test"), load(model)
    guesses = [classifier.predict([test.image(i).open()], top=1)[0][0] for i in range(8)]
    assert found["top1"] == pytest.approx(np.mean([g.number == test.labels[i] for i, g in enumerate(guesses)]))
    assert (found["images"], found["classes"], found["crop_pct"]) == (8, 3, 0.875)
    assert found["parameters"] == sum(each.numel() for each in classifier.parameters())
    pictures = rows(folder / "images.csv")
    assert [row["answer"] for row in pictures] == [guess.label for guess in guesses]
    assert [float(row["probability"]) for row in pictures] == pytest.approx([g.probability for g in guesses], abs=1e-4)
    assert pictures[1]["image"] == "test/square/001"
    assert sum(int(row["images"]) for row in rows(folder / "classes.csv")) == 8
    assert (folder / "confusion.png").stat().st_size > 5000
    assert rows(folder / "results.csv")[0]["top1"] == f"{found['top1']:.4f}"


def test_crop_size_and_split_are_what_was_asked_for(model: Path, tmp_path: Path) -> None:
    options = {"image_size": 64, "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"}
    levels = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    found, folder, _ = validated(tmp_path / "results", model=model, split="validation", **options, **levels)
    assert {name: found[name] for name in options} == options
    assert found["images"] == 4
    framing = Framing(64, 1.0, "squash", "bilinear", **levels)
    classifier, pictures = load(model), open_dataset(DATA).split("validation")
    images = torch.stack([framing.transform()(pictures.image(i).open()) for i in range(4)])
    with torch.inference_mode():
        expected = classifier(images).argmax(dim=1)
    assert [row["answer"] for row in rows(folder / "images.csv")] == [CLASSES[i] for i in expected]


def test_only_some_classes_are_compared(model: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("triangle\ndisc\n")
    found, folder, _ = validated(tmp_path / "results", model=model, classes=str(tmp_path / "names.txt"))
    assert (found["images"], found["classes"]) == (5, 2)
    assert {row["answer"] for row in rows(folder / "images.csv")} <= {"triangle", "disc"}
    assert [row["class"] for row in rows(folder / "classes.csv")] == ["triangle", "disc"]


def test_data_of_fewer_classes_may_be_answered_with_any_of_the_models(tmp_path: Path) -> None:
    larger = saved_classifier(tmp_path, classes=("zebra", "square", "disc", "triangle"))
    found, folder, _ = validated(tmp_path / "results", model=larger)
    assert found["classes"] == 4
    assert {row["class"] for row in rows(folder / "images.csv")} == set(CLASSES)


def test_real_labels_are_counted_too(model: Path, tmp_path: Path) -> None:
    truth = [int(label) for label in open_dataset(DATA).split("test").labels]
    anything = {f"{index:03d}.png": [0, 1, 2] if index else [] for index in range(8)}
    (tmp_path / "real.json").write_text(json.dumps(anything))
    found, _, notes = validated(tmp_path / "one", model=model, real=tmp_path / "real.json")
    assert found["real_top1"] == 1.0
    assert "ReaL labels: 7 of 8 images have any, and only these count" in notes
    (tmp_path / "same.json").write_text(json.dumps({f"{index:03d}": [label] for index, label in enumerate(truth)}))
    found, _, _ = validated(tmp_path / "two", model=model, real=tmp_path / "same.json")
    assert found["real_top1"] == found["top1"]
    (tmp_path / "list.json").write_text(json.dumps([[0]] * 8))
    with pytest.raises(DataError, match=r"have none for 000 \(8 of 8 images\)"):
        validated(tmp_path / "three", model=model, real=tmp_path / "list.json")
    (tmp_path / "number.json").write_text('{"000.png": 3}')
    with pytest.raises(DataError, match=r"give 000.png 3; each entry is a list"):
        validated(tmp_path / "three", model=model, real=tmp_path / "number.json")
    with pytest.raises(ParamsError, match="leave one of the two out"):
        validated(tmp_path / "three", model=model, real=tmp_path / "same.json", classes="disc,square")


def test_real_labels_of_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for name in CLASSES:
        for split in ("train", "test"):
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(root / split / name / "a.png")
    model = saved_classifier(tmp_path)
    names = [open_dataset(f"imagefolder:{root}").split("test").name(index) for index in range(3)]
    (tmp_path / "real.json").write_text(json.dumps({name: [number] for number, name in enumerate(names)}))
    data = f"imagefolder:{root}"
    found, _, _ = validated(tmp_path / "one", model=model, data=data, real=tmp_path / "real.json")
    assert found["real_top1"] == found["top1"] == pytest.approx(1 / 3)
    (tmp_path / "real.json").write_text(json.dumps({"a.png": [0]}))
    with pytest.raises(DataError, match="a names 3 images and 1 entries; give every image an entry by its whole name"):
        validated(tmp_path / "two", model=model, data=data, real=tmp_path / "real.json")


def test_classes_named_by_numbers_are_matched_by_name_and_unnamed_ones_stand_in_timms_order(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(12)]
    for names, order in ((numbers, numbers), (["Nut", "bolt", "part10", "part2"], ["bolt", "Nut", "part2", "part10"])):
        root = tmp_path / names[0]
        for position, name in enumerate(order):
            for split in ("train", "test"):
                (root / split / name).mkdir(parents=True)
                Image.new("RGB", (32, 32), (20 * position, 0, 0)).save(root / split / name / f"{name}.png")
        model = saved_classifier(root / "saved", classes=tuple(str(number) for number in range(len(order))))
        _, folder, notes = validated(tmp_path / f"of-{names[0]}", model=model, data=f"imagefolder:{root}")
        answers = load(model.parent / "model").predict(
            [Image.new("RGB", (32, 32), (20 * position, 0, 0)) for position in range(len(order))], top=1
        )
        expected = {name: order[guess[0].number] for name, guess in zip(order, answers, strict=True)}
        assert {row["class"]: row["answer"] for row in rows(folder / "images.csv")} == expected
        unnamed = [note for note in notes if "the model's classes have no names" in note]
        assert bool(unnamed) == (names != numbers)
        if unnamed:
            assert unnamed[0].endswith("in timm's order, bolt, Nut, part2, part10")


def test_what_chose_the_model_and_pictures_that_it_learnt_from_are_told(tmp_path: Path) -> None:
    classifier = made_classifier()
    classifier.about["notes"] = ["the test split chose the checkpoint, as published: its figures are optimistic"]
    model = classifier.save(tmp_path / "model")
    _, _, notes = validated(tmp_path / "one", model=model)
    assert "of the model: the test split chose the checkpoint, as published: its figures are optimistic" in notes
    _, _, notes = validated(tmp_path / "two", model=model, split="train")
    assert any("these are training images" in note for note in notes)


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    classifier = made_classifier()
    with torch.no_grad():
        classifier.network.head.fc.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="no finite numbers in float32; give another --precision"):
        validated(tmp_path / "one", model=classifier.save(tmp_path / "model"))


def test_real_accuracy_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert real_accuracy(logits, [[1, 2], [1], []]) == (0.5, 2)
    with pytest.raises(DataError, match="no image has a ReaL label"):
        real_accuracy(logits, [[], [], []])


class Narrow(torch.nn.Module):
    """A network for which batches above a limit are too large."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.batches = limit, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.batches.append(len(images))
        return images.mean(dim=(2, 3))


def test_batches_that_are_too_large_are_reduced_and_nothing_is_done_twice() -> None:
    examples = ClassExamples(open_dataset(DATA).split("test"), Framing(32))
    notes: list[str] = []
    whole, _ = all_logits(Narrow(8), examples, 8)
    narrow = Narrow(2)
    found, batch = all_logits(narrow, examples, 8, note=notes.append)
    assert torch.equal(found, whole)
    assert batch == max(narrow.batches) == 2
    assert sum(narrow.batches) == 8
    assert notes[0].startswith("the memory was too small for batches of 8 images: they were reduced to ")
    with pytest.raises(ModelError, match="too small for one image"):
        all_logits(Narrow(0), examples, 2)

    class Broken(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        all_logits(Broken(), examples, 8)


def test_half_precision_and_processes_give_nearly_the_same(model: Path) -> None:
    examples, network = ClassExamples(open_dataset(DATA).split("test"), Framing(32)), load(model)
    exact, _ = all_logits(network, examples, 4)
    halved, _ = all_logits(network, examples, 4, "bfloat16", loaders=1)
    assert halved.dtype == torch.float32
    assert not torch.equal(exact, halved)
    assert float((exact - halved).abs().max()) < 0.1 * float(exact.abs().max())


def test_what_cannot_be_validated(model: Path, tmp_path: Path) -> None:
    (tmp_path / "names.bin").write_bytes(b"\xff\xfe")
    other = "synthetic-shapes:?classes=5&train=3&test=5&size=32"
    for settings, error, message in (
        ({"model": ""}, ParamsError, "give the classifier: its folder"),
        (
            {"data": other},
            ModelError,
            "tells 3 classes apart and synthetic-shapes:.* has 5: 'star' is not a class of the mo",
        ),
        ({"data": "synthetic:"}, DataError, "not images with class labels"),
        ({"split": "tset"}, DataError, "'tset' is not a split of this data; did you mean 'test'"),
        ({"classes": "disc,squar"}, ParamsError, "classes: 'squar' is not a class of .* did you mean 'square'"),
        ({"classes": str(tmp_path / "names.bin")}, ParamsError, "names.bin cannot be read as text with a name a line"),
        ({"classes": "disc,disc"}, ParamsError, "give two different names or more"),
        ({"image_size": 33}, DataError, "33 x 33 pixels cannot be divided into windows of 1: .*nearest: 32 or 64"),
        ({"channel_heads": "1-1-1-1"}, ParamsError, "channel_heads are for a published file"),
        ({"std": (0.1, 0.0, 0.1)}, ParamsError, "each must be above 0"),
        ({"model": tmp_path / "none"}, ModelError, "holds no saved model"),
    ):
        with pytest.raises(error, match=message):
            validated(tmp_path / "results", **{"model": model, **settings})
        assert not (tmp_path / "results").exists()


def test_a_published_file_is_read_with_the_channel_heads_that_were_asked_for(tmp_path: Path) -> None:
    classifier = made_classifier(channel_heads="1-2-4-8")
    torch.save(classifier.network.state_dict(), tmp_path / "net.pth")
    framing = {"crop_pct": 0.875, "image_size": 32}
    found, folder, notes = validated(
        tmp_path / "results", model=tmp_path / "net.pth", channel_heads="1-2-4-8", **framing
    )
    assert (
        "the model's classes have no names: they are taken to be the data's in timm's order, disc, square, triangle"
        in notes
    )
    test = open_dataset(DATA).split("test")
    guesses = classifier.predict([test.image(i).open() for i in range(8)], top=1)
    pictures = rows(folder / "images.csv")
    assert [row["answer"] for row in pictures] == [guess[0].label for guess in guesses]
    assert [float(row["probability"]) for row in pictures] == pytest.approx(
        [guess[0].probability for guess in guesses], abs=1e-4
    )
    assert found["classes"] == 3
