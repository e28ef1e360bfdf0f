"""Classifier, object detector and video predictor behind the common endpoint: each answers in its own form."""

from __future__ import annotations

import base64
import io
import re
import threading

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image
from pycocotools import mask as runs

from subband.methods import make_params, trained_method
from subband.serving.batching import Batcher
from subband.serving.models import Models
from subband.serving.settings import make_settings
from subband.serving.sources import Folder
from subband.serving.web import Service, make_api
from tests.serve.conftest import encoded, error_of, free_port, noise, one
from tests.waiting import PATIENCE, until

SHAPES = ("disc", "ring", "square")


def untrained(name, about, **values):
    method = trained_method(name)
    params = make_params(method, {**method.recipes["smoke"], "weights": "random:0", **values})
    return method.finish(params, method.model(params).eval(), about).eval()


@pytest.fixture(scope="module")
def models():
    method = trained_method("wsfvit-video")
    params = make_params(method, dict(method.recipes["smoke"]))
    return {
        "shapes": untrained("wsfvit", {"classes": list(SHAPES)}, num_classes=3),
        "parts": untrained("wsfvit-detection", {}, classes=SHAPES),
        "digits": method.finish(params, method.model(params).eval(), {}).eval(),
    }


@pytest.fixture(scope="module")
def http(models, tmp_path_factory):
    """The web interface on a real socket; it needs no Ray."""
    folder = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        model.save(folder / name)
    settings = make_settings({"models_dir": str(folder)}, {})
    served, batcher, port = Models([Folder(folder)], keep=4), Batcher(8, 1), free_port()
    served.start(3600)
    config = uvicorn.Config(make_api(Service(served, batcher, settings)), port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the web server has started")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1/models", timeout=PATIENCE) as client:
        yield client
    server.should_exit = True
    thread.join()
    served.close()
    batcher.close()


def posted(http, path, picture):
    return one(http.post(path, content=encoded(picture)).raise_for_status().json())


def test_a_classifier_answers_with_classes(http, models):
    answer = posted(http, "/shapes/predict?top=2", noise(50, 40))
    (expected,) = models["shapes"].predict([noise(50, 40)], top=2)
    assert [(each["label"], pytest.approx(each["probability"])) for each in answer["top"]] == [
        (guess.label, guess.probability) for guess in expected
    ]
    assert (answer["label"], answer["method"]) == (expected[0].label, "wsfvit")
    described = http.get("/shapes").json()
    assert (described["task"], described["classes"], described["threshold"]) == ("classification", list(SHAPES), None)


def test_every_file_of_a_form_gets_its_classes(http, models):
    pictures = [noise(50, 40), noise(50, 40).transpose(Image.Transpose.ROTATE_180)]
    files = [("file", (f"{index}.png", encoded(picture))) for index, picture in enumerate(pictures)]
    answer = http.post("/shapes/predict", files=files).raise_for_status().json()
    assert [each["file"] for each in answer["predictions"]] == ["0.png", "1.png"]
    for each, guesses in zip(answer["predictions"], models["shapes"].predict(pictures), strict=True):
        assert each["probability"] == pytest.approx(guesses[0].probability, abs=1e-5)


def test_an_object_detector_answers_with_boxes_and_masks(http, models):
    (expected,) = models["parts"].predict([noise(90, 70)], score=0.1)
    assert len(expected) > 1
    answer = posted(http, "/parts/predict?score=0.1&map=values", noise(90, 70))
    assert answer["image_size"] == {"width": 90, "height": 70}
    assert len(answer["objects"]) == len(expected)
    best = answer["objects"][0]
    assert best["label"] == SHAPES[expected.labels[0]]
    np.testing.assert_allclose(best["box"], expected.boxes[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(runs.decode(best["mask"]).astype(bool), expected.masks[0])
    plain = posted(http, "/parts/predict?score=0.1", noise(90, 70))
    assert {each["mask"] for each in plain["objects"]} == {None}
    assert posted(http, "/parts/predict?score=1", noise(90, 70))["objects"] == []
    assert http.get("/parts").json()["classes"] == list(SHAPES)


def test_objects_are_drawn_and_masked_at_the_pictures_size(http, models):
    (expected,) = models["parts"].predict([noise(90, 70)], score=0.1)
    response = http.post("/parts/predict?score=0.1&map=mask", content=encoded(noise(90, 70))).raise_for_status()
    mask = np.asarray(Image.open(io.BytesIO(response.content)))
    np.testing.assert_array_equal(mask == 255, expected.masks.any(axis=0))
    response = http.post("/parts/predict?score=0.1&map=png", content=encoded(noise(90, 70))).raise_for_status()
    drawn = np.asarray(Image.open(io.BytesIO(response.content)))
    assert (response.headers["content-type"], drawn.shape) == ("image/png", (70, 90, 3))
    assert (drawn != np.asarray(noise(90, 70))).any()


def frames(count):
    rng = np.random.default_rng(3)
    return [Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)) for _ in range(count)]


def test_a_video_predictor_answers_with_the_next_frames(http, models):
    seen = frames(4)
    expected = models["digits"].predict(seen)
    files = [("file", (f"{index}.png", encoded(frame))) for index, frame in enumerate(seen)]
    answer = one(http.post("/digits/predict", files=files).raise_for_status().json())
    found = np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in answer["frames"]])
    np.testing.assert_array_less(np.abs(found / 255 - expected), 0.51 / 255 + 1e-4)
    values = one(http.post("/digits/predict?map=values", files=files).raise_for_status().json())["values"]
    numbers = np.frombuffer(base64.b64decode(values["data"]), values["dtype"]).reshape(values["shape"])
    np.testing.assert_allclose(numbers, expected, atol=1e-5)


def test_frames_may_come_in_one_file_and_go_in_one_strip(http, models):
    seen = frames(4)
    file = io.BytesIO()
    seen[0].save(file, "TIFF", save_all=True, append_images=seen[1:])
    response = http.post("/digits/predict?map=png", content=file.getvalue()).raise_for_status()
    assert Image.open(io.BytesIO(response.content)).size == (4 * 64, 64)
    _, message = error_of(http.post("/digits/predict?map=mask", content=file.getvalue()), 400)
    assert "digits predicts frames, which have no mask" in message


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "/shapes/predict?threshold=1",
            "shapes answers for classification, where threshold says nothing; options: top",
        ),
        ("/shapes/predict?map=png", "shapes answers for classification, where map says nothing"),
        ("/parts/predict?top=3", "parts answers for object detection, where top says nothing; options: map, score"),
        ("/parts/predict?score=2", "query.score: .*less than or equal to 1"),
        ("/digits/predict?fpr=0.1", "digits answers for video prediction, where fpr says nothing; options: map"),
    ],
)
def test_options_of_other_tasks_are_refused(http, path, says):
    _, message = error_of(http.post(path, content=encoded(noise(64, 64))), 400)
    assert re.search(says, message), message


def test_a_video_of_the_wrong_length_is_refused(http):
    files = [("file", (f"{index}.png", encoded(frame))) for index, frame in enumerate(frames(3))]
    _, message = error_of(http.post("/digits/predict", files=files), 422)
    assert "4 grey frames of 64 x 64 pixels" in message
    _, message = error_of(
        http.post("/shapes/predict", content=encoded(noise(9, 9)), headers={"accept": "image/png"}), 400
    )
    assert "jobs/explain.py shows" in message
