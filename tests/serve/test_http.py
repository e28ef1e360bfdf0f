"""A real Ray Serve on a free port, asked by a real HTTP client."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from subband.methods import Calibration, load, set_calibration
from subband.tracking import register_champion
from tests.serve.conftest import CHAMPION, MAX_BODY_MB, MAX_PICTURES, asked, encoded, error_of, noise, one
from tests.waiting import PATIENCE, until

METHODS = {"leather-whole": "wedgenet", "weave-centre": "wepadim", CHAMPION: "wepadim"}


@pytest.mark.parametrize("name", ["leather-whole", "weave-centre"])
def test_a_posted_picture_gets_the_detectors_own_answer(client, detectors, pictures, name):
    detector = detectors[name]
    (expected,) = asked(detector, [pictures[1]])
    response = client.post(f"/v1/models/{name}/predict", content=encoded(pictures[1]))
    answer = one(response.raise_for_status().json())
    assert answer["score"] == pytest.approx(expected.score, rel=1e-5)
    assert answer["threshold"] == detector.calibration.threshold
    assert answer["defective"] == expected.defective
    assert answer["rule"] == detector.calibration.rule
    assert (answer["name"], answer["method"], answer["map"]) == (name, METHODS[name], None)
    assert answer["image_size"] == {"width": 120, "height": 90}
    assert answer["frame"]["size"] == 64
    assert 0 < answer["seconds"] < 60


def test_the_frame_says_which_part_of_the_picture_was_inspected(client, pictures):
    body = encoded(pictures[1])  # 120 x 90
    whole = one(client.post("/v1/models/leather-whole/predict", content=body).json())
    centre = one(client.post("/v1/models/weave-centre/predict", content=body).json())
    assert whole["frame"]["box"] == [0, 0, 120, 90]
    # The shorter side becomes 80, so the image 106 x 80, and the centre 64 x 64 of it is kept.
    assert centre["frame"]["box"] == pytest.approx([21 * 120 / 106, 8 * 90 / 80, 85 * 120 / 106, 72 * 90 / 80])


def test_the_kind_of_the_body_does_not_matter_to_a_plain_post(client, detectors, pictures):
    (expected,) = asked(detectors["leather-whole"], [pictures[0]])
    for kind, stated in (("PNG", "application/x-www-form-urlencoded"), ("BMP", "image/bmp"), ("TIFF", "")):
        body = encoded(pictures[0], kind)
        answer = one(
            client.post("/v1/models/leather-whole/predict", content=body, headers={"content-type": stated}).json()
        )
        assert answer["score"] == pytest.approx(expected.score, rel=1e-5), kind


def test_a_form_gets_one_prediction_a_file_in_its_order(client, detectors, pictures):
    expected = asked(detectors["weave-centre"], pictures[:3])
    files = [("file", (f"part {i}.png", encoded(picture))) for i, picture in enumerate(pictures[:3])]
    answer = client.post("/v1/models/weave-centre/predict", files=files).raise_for_status().json()
    assert answer["name"] == "weave-centre"
    assert [each["file"] for each in answer["predictions"]] == ["part 0.png", "part 1.png", "part 2.png"]
    assert [each["score"] for each in answer["predictions"]] == pytest.approx([e.score for e in expected], rel=1e-5)
    assert [each["image_size"]["width"] for each in answer["predictions"]] == [p.width for p in pictures[:3]]
    single = client.post("/v1/models/weave-centre/predict", files={"any": ("x.png", encoded(pictures[0]))}).json()
    assert one(single)["file"] == "x.png"


def test_threshold_and_false_alarm_rate_change_the_decision_of_one_request(client, detectors, pictures):
    path, body = "/v1/models/leather-whole/predict", encoded(pictures[0])
    score = one(client.post(path, content=body).json())["score"]
    below = one(client.post(path, content=body, params={"threshold": score - 1e-3}).json())
    above = one(client.post(path, content=body, params={"threshold": score + 1e-3}).json())
    same = one(client.post(path, content=body, params={"threshold": repr(score)}).json())
    assert [each["defective"] for each in (below, above, same)] == [True, False, False]
    assert below["threshold"] == score - 1e-3
    assert below["rule"] == "given in the request"
    calibration = detectors["leather-whole"].calibration
    thresholds = []
    for fpr in (0.15, 0.5, 0.9):
        expected = Calibration.at_fpr(calibration.good_scores, fpr)
        answer = one(client.post(path, content=body, params={"fpr": fpr}).json())
        assert (answer["threshold"], answer["rule"]) == (expected.threshold, expected.rule)
        assert answer["defective"] == (answer["score"] > expected.threshold)
        thresholds.append(answer["threshold"])
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]
    assert one(client.post(path, content=body).json())["threshold"] == calibration.threshold


def test_map_values_are_the_detectors_map(client, detectors, pictures):
    (expected,) = detectors["leather-whole"].predict([pictures[2]]).maps
    answer = one(client.post("/v1/models/leather-whole/predict?map=values", content=encoded(pictures[2])).json())
    found = answer["map"]
    values = np.frombuffer(base64.b64decode(found["data"]), found["dtype"]).reshape(found["shape"])
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5 * expected.max())
    assert values.max() == np.float32(answer["score"])


@pytest.mark.parametrize("ask", [{"headers": {"accept": "image/png"}}, {"params": {"map": "png"}}])
def test_png_answers_have_the_pictures_size_and_the_decision_in_headers(client, pictures, ask):
    path, body = "/v1/models/weave-centre/predict", encoded(pictures[1], "BMP")
    answer = one(client.post(path, content=body).json())
    response = client.post(path, content=body, **ask).raise_for_status()
    assert response.headers["content-type"] == "image/png"
    overlay = Image.open(io.BytesIO(response.content))
    assert (overlay.format, overlay.mode, overlay.size) == ("PNG", "RGB", pictures[1].size)
    assert float(response.headers["subband-score"]) == pytest.approx(answer["score"], rel=1e-5)
    assert float(response.headers["subband-threshold"]) == answer["threshold"]
    assert response.headers["subband-defective"] == str(answer["defective"]).lower()
    assert response.headers["subband-rule"] == answer["rule"]
    assert (response.headers["subband-name"], response.headers["subband-version"]) == (
        "weave-centre",
        answer["version"],
    )
    grey = np.asarray(pictures[1].convert("L").convert("RGB"))
    left, top, right, bottom = (round(edge) for edge in answer["frame"]["box"])
    outside = np.ones(grey.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert (np.asarray(overlay)[outside] == grey[outside]).all()
    assert (np.asarray(overlay)[~outside] != grey[~outside]).any()


def test_json_is_answered_where_both_kinds_are_accepted(client, pictures):
    headers = {"accept": "application/json, image/png"}
    answer = client.post("/v1/models/leather-whole/predict", content=encoded(pictures[0]), headers=headers)
    assert answer.json()["name"] == "leather-whole"


def test_sixteen_requests_at_once_get_the_answers_of_one_by_one(client, server, detectors, pictures):
    names = [("leather-whole", "weave-centre")[i % 2] for i in range(16)]
    expected = [asked(detectors[name], [picture])[0] for name, picture in zip(names, pictures, strict=True)]
    limits = httpx.Limits(max_connections=16)
    with httpx.Client(base_url=server.url, timeout=PATIENCE, limits=limits) as many, ThreadPoolExecutor(16) as pool:

        def ask(index: int) -> dict:
            path = f"/v1/models/{names[index]}/predict"
            return one(many.post(path, content=encoded(pictures[index])).raise_for_status().json())

        for _ in range(3):
            answers = list(pool.map(ask, range(16)))
            assert [answer["name"] for answer in answers] == names
            assert [answer["score"] for answer in answers] == pytest.approx([e.score for e in expected], rel=1e-5)
            assert [answer["defective"] for answer in answers] == [e.defective for e in expected]
    assert len({answer["score"] for answer in answers}) > 4


def test_models_are_listed_with_what_a_reader_must_know(client, detectors):
    answer = client.get("/v1/models").json()
    models = {model["name"]: model for model in answer["models"]}
    assert sorted(models) == ["leather-whole", "weave-centre", CHAMPION]
    assert answer["troubles"] == {}
    assert [models[name]["source"] for name in sorted(models)] == ["folder", "folder", "registry"]
    for name, category in (("leather-whole", "leather"), ("weave-centre", "weave"), (CHAMPION, "weave")):
        model, detector = models[name], detectors.get(name, detectors["weave-centre"])
        assert (model["method"], model["category"], model["dataset"]) == (METHODS[model["name"]], category, "synthetic")
        assert (model["selection"], model["good_scores"]) == ("holdout", 6)
        assert (model["threshold"], model["rule"]) == (detector.calibration.threshold, detector.calibration.rule)
        assert model["params"] == detector.params.model_dump(mode="json")
        assert client.post(model["predict"], content=encoded(noise(64, 64))).status_code == 200
        one = client.get(f"/v1/models/{name}").json()
        assert {**one, "loaded": None} == {**model, "loaded": None}


def test_health_says_what_is_served(client):
    response = client.get("/healthz")
    answer = response.json()
    assert (response.status_code, answer["healthy"], answer["models"]) == (200, True, 3)
    assert answer["loaded"]


def test_the_page_of_the_interface_names_every_option(client):
    described = client.get("/openapi.json").json()
    assert client.get("/docs").status_code == 200
    operation = described["paths"]["/v1/models/{name}/predict"]["post"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        "name",
        "threshold",
        "fpr",
        "pixel_threshold",
        "map",
        "top",
        "score",
    }
    assert set(operation["requestBody"]["content"]) == {"image/*", "multipart/form-data"}


def test_an_unknown_model_is_told_with_near_matches(client, pictures):
    for response in (
        client.post("/v1/models/lether-whole/predict", content=encoded(pictures[0])),
        client.get("/v1/models/lether-whole"),
    ):
        kind, message = error_of(response, 404)
        assert kind == "UnknownModelError"
        assert "'lether-whole' is not a model; did you mean 'leather-whole'?" in message


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"threshold": "high"}, ["query.threshold", "valid number", "'high'"]),
        ({"threshold": "nan"}, ["query.threshold", "finite"]),
        ({"fpr": "0"}, ["query.fpr", "greater than 0"]),
        ({"fpr": "1"}, ["query.fpr", "less than 1"]),
        ({"fpr": "0.1", "threshold": "2"}, ["threshold or fpr, not both"]),
        ({"map": "jpg"}, ["query.map", "'none', 'values', 'png' or 'mask'"]),
        ({"treshold": "2"}, ["'treshold' is not a parameter; did you mean 'threshold'"]),
    ],
)
def test_a_wrong_option_is_told_with_what_would_be_right(client, pictures, query, words):
    kind, message = error_of(
        client.post("/v1/models/leather-whole/predict", content=encoded(pictures[0]), params=query), 400
    )
    assert kind == "ParamsError"
    assert all(word in message for word in words), message


def test_what_is_no_picture_is_told(client, pictures):
    path, whole = "/v1/models/leather-whole/predict", encoded(pictures[3])
    for body, words in (
        (b"", "is empty"),
        (b"%PDF-1.7 not an image", "is not an image that can be read"),
        (whole[: len(whole) // 2], "is damaged or truncated"),
    ):
        kind, message = error_of(client.post(path, content=body), 422)
        assert kind == "DataError"
        assert message.startswith("the request body " + words)
    files = [("file", ("good.png", whole)), ("file", ("bad.png", b"no image"))]
    assert error_of(client.post(path, files=files), 422)[1].startswith("file 'bad.png' is not an image")


def test_limits_of_pixels_bytes_and_files(client):
    path = "/v1/models/leather-whole/predict"
    blank = encoded(Image.new("RGB", (1001, 1000)))
    kind, message = error_of(client.post(path, content=blank), 422)
    assert (kind, "1001 x 1000 pixels" in message, "1,000,000" in message) == ("DataError", True, True)
    large = b"\0" * int(MAX_BODY_MB * 1e6 + 1)
    whole = error_of(client.post(path, content=large), 413)
    chunked = error_of(client.post(path, content=(large[i : i + 65536] for i in range(0, len(large), 65536))), 413)
    form = error_of(client.post(path, files={"file": ("large.png", large)}), 413)
    assert {kind for kind, _ in (whole, chunked, form)} == {"BodyTooLargeError"}
    assert "limit of 2 MB" in whole[1]
    many = [("file", (f"{i}.png", encoded(noise(8, 8)))) for i in range(MAX_PICTURES + 1)]
    assert "Too many files" in error_of(client.post(path, files=many), 400)[1]
    assert len(client.post(path, files=many[:-1]).raise_for_status().json()["predictions"]) == MAX_PICTURES


def test_a_form_that_cannot_be_used_is_told(client, pictures):
    path, picture = "/v1/models/leather-whole/predict", ("x.png", encoded(pictures[0]))
    kind, message = error_of(client.post(path, files={"file": picture}, data={"threshold": "3"}), 400)
    assert (kind, "'threshold' is not a file" in message) == ("ParamsError", True)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert "holds no file" in error_of(client.post(path, content=b"--x--\r\n", headers=headers), 400)[1]
    headers = {"content-type": "multipart/form-data"}
    assert "oundary" in error_of(client.post(path, content=b"--x--\r\n", headers=headers), 400)[1]
    two = [("file", picture), ("file", picture)]
    assert "one by one" in error_of(client.post(path, files=two, params={"map": "png"}), 400)[1]


def test_other_paths_and_verbs_are_told_which_there_are(client):
    kind, message = error_of(client.get("/v1/model"), 404)
    assert (kind, "GET /v1/models" in message) == ("NotFoundError", True)
    assert error_of(client.get("/v1/models/leather-whole/predict"), 405)[0] == "MethodNotAllowedError"


def test_without_its_registry_a_server_answers_for_the_rest(client, detectors, pictures):
    (expected,) = asked(detectors["leather-whole"], [pictures[0]])
    answer = one(client.post("/down/v1/models/leather-whole/predict", content=encoded(pictures[0])).json())
    assert answer["score"] == pytest.approx(expected.score, rel=1e-5)
    response = client.post(f"/down/v1/models/{CHAMPION}/predict", content=encoded(pictures[0]))
    kind, message = error_of(response, 503)
    assert (kind, "does not answer" in message) == ("TrackingError", True)
    assert int(response.headers["retry-after"]) > 0
    listed = client.get("/down/v1/models").json()
    assert [model["name"] for model in listed["models"]] == ["leather-whole", "weave-centre"]
    assert ["does not answer" in reason for reason in listed["troubles"].values()] == [True]
    assert client.get("/down/healthz").status_code == 200


def test_the_app_itself_takes_its_settings_from_the_environment(client, pictures):
    two = [("file", ("x.png", encoded(pictures[0])))] * 2
    message = error_of(client.post("/down/v1/models/weave-centre/predict", files=two), 400)[1]
    assert "Maximum number of files is 1" in message


def test_a_threshold_changed_on_disk_is_picked_up(client, server, pictures):
    path, body = "/v1/models/weave-centre/predict", encoded(pictures[0])
    before = one(client.post(path, content=body).json())
    folder = server.folder / "weave-centre"
    set_calibration(folder, load(folder).calibration.with_threshold(1234.5, "set by a test"))
    after = _until(
        lambda: one(client.post(path, content=body).raise_for_status().json()), "version", not_value=before["version"]
    )
    assert (after["threshold"], after["rule"], after["defective"]) == (1234.5, "set by a test", False)
    assert after["score"] == pytest.approx(before["score"], rel=1e-5)


def test_a_new_champion_is_picked_up_without_a_restart(client, server, second_weave, pictures, tmp_path):
    path, body = f"/v1/models/{CHAMPION}/predict", encoded(pictures[0])
    before = one(client.post(path, content=body).raise_for_status().json())
    assert before["version"] == "1"
    saved = second_weave.save(tmp_path / "second")
    assert register_champion(saved, CHAMPION, {"category": "weave"}, target=server.target).version == 2
    after = _until(lambda: one(client.post(path, content=body).raise_for_status().json()), "version", not_value="1")
    (expected,) = asked(second_weave, [pictures[0]])
    assert after["version"] == "2"
    assert after["score"] == pytest.approx(expected.score, rel=1e-5)
    assert after["score"] != pytest.approx(before["score"], rel=1e-3)
    assert client.get(f"/v1/models/{CHAMPION}").json()["params"]["wavelet"] == "db2"


def _until(ask, field: str, not_value: str) -> dict:
    """Ask, each answer a good one, until the field changes."""
    return until(
        lambda: answer if (answer := ask())[field] != not_value else None, f"{field} other than {not_value}", pause=0.1
    )
