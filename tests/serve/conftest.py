"""Real detectors, small ones: fitted to six drawn images, saved, and once registered in a real MLflow on sqlite."""

from __future__ import annotations

import io
import os
import shutil
import socket
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import ray
from PIL import Image
from ray import serve as ray_serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

import serve.app
from subband.compute import start_local_ray
from subband.data import Split, open_dataset
from subband.methods import Calibration, Detector, get_method, load, make_params
from subband.serving.app import build
from subband.stages import Runner
from subband.tracking import TrackingTarget, register_champion, resolve_tracking
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
MAX_BODY_MB, MAX_PIXELS, MAX_PICTURES = 2.0, 1_000_000, 4
CHAMPION = "wepadim-synthetic-weave"
DATA = "synthetic:?train=6&test=4&size=64&categories=leather,weave"


class Answer(NamedTuple):
    score: float
    threshold: float
    defective: bool


def one(answer: dict[str, Any]) -> dict[str, Any]:
    """What every answer begins with, and its only prediction."""
    assert set(answer) == {"name", "version", "method", "task", "seconds", "predictions"}
    (prediction,) = answer["predictions"]
    assert {"file", "score", "threshold", "defective"} <= set(prediction)
    return {**answer, **prediction}


def asked(detector: Detector, pictures: list[Image.Image]) -> list[Answer]:
    """What the detector itself says, an image each: what the server must say."""
    found = detector.predict(pictures)
    return [Answer(float(s), found.threshold, bool(d)) for s, d in zip(found.scores, found.decisions, strict=True)]


SMALL: dict[str, dict[str, object]] = {"wepadim": {"grid": 8}, "wedgenet": {"backbone": "resnet18", "ratio": 0.1}}


def fit_detector(category: str, method_name: str = "wepadim", **params: object) -> Detector:
    method = get_method(method_name)
    chosen = make_params(method, {"image_size": 64, "weights": "random:0", **SMALL[method_name], **params})
    dataset = open_dataset(DATA)
    samples = dataset.category(category)
    pictures = tuple(sample.image for sample in samples.train)
    split = Split(pictures, pictures, tuple(s.name for s in samples.train), tuple(s.name for s in samples.train))
    fitted = method.fit(chosen, Runner(split, f"{category} {chosen}", None))
    detector = fitted.detector.eval()
    detector.calibration = Calibration.at_fpr(fitted.good_scores.tolist(), 0.2, f1_threshold=1.0)
    detector.about = {"category": category, "dataset": dataset.name, "selection": "holdout"}
    return detector


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two saved detectors of two methods: one looks at the whole image, one at its centre."""
    folder = tmp_path_factory.mktemp("detectors")
    fit_detector("leather", "wedgenet").save(folder / "leather-whole")
    fit_detector("weave", framing="crop", resize=80).save(folder / "weave-centre")
    return folder


@pytest.fixture(scope="session")
def second_weave() -> Detector:
    """Another fit of the same product, with other scores."""
    return fit_detector("weave", sigma=1.0, wavelet="db2")


@pytest.fixture
def detectors(models_dir: Path) -> dict[str, Detector]:
    return {folder.name: load(folder) for folder in models_dir.iterdir()}


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Sixteen images of four sizes, good and defective."""
    dataset = open_dataset(DATA)
    samples = [sample for name in dataset.categories for sample in dataset.category(name).test]
    sizes = ((64, 64), (120, 90), (90, 130), (200, 200))
    return [samples[i % len(samples)].image.open().resize(sizes[i % 4]).rotate(90 * (i // 8)) for i in range(16)]


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def child_environment(home: Path) -> dict[str, str]:
    """Of processes that start from this checkout with a home of their own, and nothing else set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SUBBAND_", "MLFLOW_", "RAY_"))}
    kept.pop("PYTHONPATH", None)
    return {**kept, "SUBBAND_HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}


class Server(NamedTuple):
    url: str
    target: TrackingTarget
    folder: Path


@pytest.fixture(scope="package")
def server(tmp_path_factory, models_dir):
    home = tmp_path_factory.mktemp("home")
    folder = shutil.copytree(models_dir, home / "detectors")
    target = resolve_tracking(f"sqlite:///{home / 'mlflow.db'}", home)
    register_champion(models_dir / "weave-centre", CHAMPION, {"category": "weave"}, target=target)
    port = free_port()
    limits = {"max_body_mb": MAX_BODY_MB, "max_pixels": MAX_PIXELS, "max_images": MAX_PICTURES}
    common = {**limits, "models_dir": str(folder), "refresh_seconds": 0.5, "keep": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "platform")]))
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("RAY_ADDRESS", raising=False)
        start_local_ray(num_cpus=4, log_to_driver=False)  # "up", "down", and two more servers that join
        quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
        ray_serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port), logging_config=quiet)
        down = f"http://127.0.0.1:{free_port()}"
        try:
            up = ray_serve.RunTarget(build({**common, "tracking_uri": target.uri}), name="up", route_prefix="/")
            for name, value in {**common, "tracking_uri": down, "max_images": 1}.items():
                patch.setenv(f"SUBBAND_SERVE_{name.upper()}", str(value))
            cut_off = ray_serve.RunTarget(serve.app.app, name="down", route_prefix="/down")
            ray_serve.run_many([up, cut_off])
            yield Server(f"http://127.0.0.1:{port}", target, folder)
        finally:
            ray_serve.shutdown()
            ray.shutdown()


@pytest.fixture(scope="package")
def client(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client


def error_of(response: httpx.Response, status: int) -> tuple[str, str]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    return response.json()["error"]["type"], response.json()["error"]["message"]
