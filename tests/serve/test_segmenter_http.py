"""A segmenter behind the common endpoint: its area, its mask, and what other models do not answer."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from subband.methods import load, make_params, set_calibration, trained_method
from tests.serve.conftest import encoded, error_of, one
from tests.waiting import until


@pytest.fixture(scope="module")
def segmenter(server, client):
    """A WPFormer of random weights, whose probabilities lie on both sides of 0.5, saved beside the others."""
    method = trained_method("wpformer")
    params = make_params(method, {**method.recipes["smoke"], "image_size": 64})
    found = method.finish(params, method.model(params), {"dataset": "synthetic-surface"})
    found.save(server.folder / "surface")
    until(lambda: client.get("/v1/models/surface").status_code != 404, "the saved segmenter is served", pause=0.2)
    yield found.eval()
    shutil.rmtree(server.folder / "surface")


def test_a_segmenter_answers_with_area_and_mask(client, segmenter, pictures):
    body = encoded(pictures[1])
    answer = one(client.post("/v1/models/surface/predict?map=values", content=body).raise_for_status().json())
    expected = segmenter.predict([pictures[1]])
    assert answer["score"] == pytest.approx(float(expected.scores[0]), rel=1e-5)
    assert answer["defective_area"] == pytest.approx(float((expected.maps[0] > 0.5).mean()), abs=1e-3)
    assert client.get("/v1/models/surface").json()["task"] == "segmentation"
    threshold = float(np.median(expected.maps[0]))
    response = client.post(
        f"/v1/models/surface/predict?map=mask&threshold={threshold}", content=body
    ).raise_for_status()
    mask = np.asarray(Image.open(io.BytesIO(response.content)))
    assert (response.headers["content-type"], mask.shape) == ("image/png", (90, 120))
    resized = np.asarray(Image.fromarray(expected.maps[0]).resize((120, 90), Image.Resampling.BILINEAR))
    assert ((mask == 255) == (resized > threshold)).mean() > 0.99
    assert set(np.unique(mask)) == {0, 255}
    overlay = client.post(
        "/v1/models/surface/predict", content=body, headers={"accept": "image/png"}
    ).raise_for_status()
    assert Image.open(io.BytesIO(overlay.content)).size == (120, 90)


def test_what_a_model_cannot_give_is_told(client, segmenter, pictures):
    body = encoded(pictures[0])
    _, message = error_of(client.post("/v1/models/surface/predict?fpr=0.1", content=body), 400)
    assert "without scores of good images" in message
    _, message = error_of(client.post("/v1/models/weave-centre/predict?map=mask", content=body), 400)
    assert "saved without a pixel threshold" in message
    answer = one(client.post("/v1/models/weave-centre/predict", content=body).raise_for_status().json())
    assert answer["defective_area"] is None


def test_a_detector_with_a_pixel_threshold_answers_with_area_and_mask(server, client, pictures):
    detector = load(server.folder / "weave-centre")
    map_SS = detector.predict([pictures[0]]).maps[0]
    threshold = float(np.median(map_SS))
    folder = server.folder / "weave-pixels"
    shutil.copytree(server.folder / "weave-centre", folder)
    set_calibration(folder, detector.calibration.model_copy(update={"pixel_threshold": threshold, "pixel_fpr": 0.001}))
    until(lambda: client.get("/v1/models/weave-pixels").status_code != 404, "the copy is served", pause=0.2)
    body, address = encoded(pictures[0]), "/v1/models/weave-pixels/predict"
    answer = one(client.post(address, content=body).raise_for_status().json())
    assert answer["defective_area"] == pytest.approx(float((map_SS > threshold).mean()), abs=5e-3)
    width, height = pictures[0].size
    mask = np.asarray(
        Image.open(io.BytesIO(client.post(f"{address}?map=mask", content=body).raise_for_status().content))
    )
    assert mask.shape == (height, width)
    assert 0.2 < (mask == 255).mean() < 0.8
    low = client.post(f"{address}?pixel_threshold={float(map_SS.min()) - 1}", content=body).raise_for_status()
    everything = one(low.json())
    assert everything["defective_area"] == 1.0
    shutil.rmtree(folder)
