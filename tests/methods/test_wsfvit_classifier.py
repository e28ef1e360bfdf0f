"""The deployable classifier: answers, saved and loaded, adopted from a published checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from subband.errors import DataError, ModelError, ParamsError
from subband.methods import Deployable, adopt, get_method, load, make_params
from subband.methods.wsfvit.classify.classifier import Classifier, adopt_checkpoint, make_network

METHOD = get_method("wsfvit")
TINY = {"variant": "p0", "image_size": 32, "epochs": 1, "warmup_epochs": 0}


def tiny(**values):
    return make_params(METHOD, {**TINY, "num_classes": 3, **values})


@pytest.fixture(scope="module")
def classifier():
    params = tiny()
    network = make_network(params)
    with torch.no_grad():
        for each in network.modules():  # statistics and weights that tell images apart
            if isinstance(each, torch.nn.BatchNorm2d):
                each.running_var.uniform_(0.5, 1.5)
        network.head.fc.weight.mul_(20)
    return METHOD.finish(params, network, {"classes": ["disc", "square", "star"], "dataset": "shapes"})


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((40, 50), (32, 32), (90, 33))]


def test_the_most_probable_classes_come_first(classifier, pictures):
    guesses = classifier.predict(pictures, top=2)
    assert [len(each) for each in guesses] == [2, 2, 2]
    for each in guesses:
        assert each[0].probability >= each[1].probability
        assert all(guess.label == classifier.classes[guess.number] for guess in each)
    everything = classifier.predict(pictures, top=99)
    assert all(sum(guess.probability for guess in each) == pytest.approx(1, abs=1e-5) for each in everything)
    alone = classifier.predict(pictures[1:2], top=3)[0]
    assert [guess.number for guess in alone] == [guess.number for guess in everything[1]]
    assert [guess.probability for guess in alone] == pytest.approx(
        [guess.probability for guess in everything[1]], abs=1e-5
    )
    images = [Image.fromarray(picture) for picture in pictures]
    assert classifier.predict(images, top=2) == guesses


def test_bad_pictures_are_told(classifier, tmp_path):
    with pytest.raises(ParamsError, match="no images were given"):
        classifier.predict([])
    for single in (Image.new("RGB", (32, 32)), np.zeros((32, 32, 3), np.uint8)):
        with pytest.raises(ParamsError, match=r"give a single one in a list, \[image\]"):
            classifier.predict(single)
    with pytest.raises(ParamsError, match="top is 0; ask for 1 class or more"):
        classifier.predict([np.zeros((4, 4, 3), np.uint8)], top=0)
    with pytest.raises(ParamsError, match="an array of an image is uint8"):
        classifier.predict([np.zeros((4, 4), np.int64)])
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with Image.open(tmp_path / "cut.png") as cut, pytest.raises(DataError, match="damaged or truncated"):
        classifier.predict([cut])


def test_it_is_saved_with_its_classes_and_answers_the_same(classifier, pictures, tmp_path):
    folder = classifier.save(tmp_path / "model")
    description = json.loads((folder / "model.json").read_text())
    assert description["task"] == "classification"
    assert description["classes"] == ["disc", "square", "star"]
    assert description["about"] == {"dataset": "shapes"}
    again = load(folder)
    assert isinstance(again, Classifier)
    assert isinstance(again, Deployable)
    assert again.params == classifier.params
    assert again.predict(pictures) == classifier.predict(pictures)
    examples = [{"images": image} for image in classifier.prepare(pictures)]
    np.testing.assert_array_equal(again.replay(examples), classifier.replay(examples))
    assert len(again.timing_probe()()[0]) == 3
    assert again.fitted_bytes() == sum(each.nbytes for each in classifier.state_dict().values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["disc", "square"]}, "tells 3 classes apart, but 2 are named"),
        ({"classes": None}, "has no list of classes; it is damaged"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(classifier, tmp_path, change, message):
    folder = classifier.save(tmp_path / "model")
    file = folder / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_other_tensors_are_refused(classifier):
    description = {"classes": ["a", "b", "c"], "about": {}}
    with pytest.raises(ModelError, match="not those of WSF-ViT-P1 with 3 classes"):
        METHOD.restore(tiny(variant="p1"), classifier.state_dict(), description)


def test_published_checkpoints_are_adopted_with_their_own_framing(tmp_path):
    network = make_network(make_params(METHOD, {"variant": "p0", "num_classes": 1000}))
    file = tmp_path / "wsfvit_p0.pth"
    torch.save({"state_dict": {f"module.{name}": each for name, each in network.state_dict().items()}}, file)
    found = adopt(file)
    assert isinstance(found, Classifier)
    assert (found.params.variant, found.params.image_size, found.params.crop_pct) == ("p0", 224, 0.875)
    assert found.classes[0] == "n01440764"
    assert found.labels[0] == "tench, Tinca tinca"
    assert len(found.classes) == 1000
    assert "published checkpoint wsfvit_p0.pth" in found.about["weights"]
    with pytest.raises(ModelError, match=r"is of WSF-ViT-P0, not of b"):
        adopt(file, "imagenet-b")
    tried = adopt(file, values={"channel_heads": "4-8-16-32", "image_size": 256})
    assert (tried.params.window, tried.params.heads) == (8, (4, 8, 16, 32))
    with pytest.raises(ParamsError, match="no method whose checkpoints were published has the params chanel_heads"):
        adopt(file, values={"chanel_heads": "4-8-16-32"})


def test_a_saved_classifier_starts_a_training_at_another_size(classifier, tmp_path):
    saved = classifier.save(tmp_path / "model") / "model.safetensors"
    started = make_network(tiny(weights=str(saved)))
    for name, tensor in classifier.network.state_dict().items():
        assert torch.equal(started.state_dict()[name], tensor), name
    larger = make_network(tiny(weights=str(saved), image_size=64, num_classes=5, replace_head=True))
    assert torch.equal(larger.stem.conv1.weight, classifier.network.stem.conv1.weight)
    assert larger.head.fc.weight.shape[0] == 5


def test_a_published_model_of_384_pixels_is_squashed_and_has_its_own_heads(tmp_path):
    network = make_network(make_params(METHOD, {"variant": "t", "num_classes": 2, "image_size": 384}))
    torch.save(network.state_dict(), tmp_path / "t.pth")
    found = adopt_checkpoint(tmp_path / "t.pth")
    assert (found.params.window, found.params.heads) == (12, (4, 8, 16, 32))
    assert (found.params.crop_mode, found.params.framing.mean) == ("squash", (0.5, 0.5, 0.5))
    assert found.labels == ("0", "1")


def test_other_files_are_not_adopted(tmp_path):
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="is no checkpoint of a WSF-ViT classifier, but none of a known variant"):
        adopt_checkpoint(tmp_path / "other.pth")
