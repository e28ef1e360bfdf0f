"""The speed benchmark: what is timed, how often, and what its rows say. Never how fast."""

import csv

import pytest
from safetensors.torch import load_file

from subband.analysis.detectors import parse_detectors
from subband.analysis.settings import Source
from subband.analysis.speed import (
    SEARCH,
    TO_HOST,
    WHOLE,
    SpeedSettings,
    SpeedTask,
    measure,
    one_by_one,
    overlapping,
    run,
)
from subband.data import open_dataset
from subband.errors import ParamsError
from subband.methods.wepadim.detector import WEPaDiMDetector
from tests.analysis.conftest import SMALL, TINY


def task(source, **changes):
    (spec,) = parse_detectors([SMALL], TINY)
    settled = {"device": "cpu", "threads": 1, "warm_up": 1, "iterations": 4, "batches": (1, 2), "seed": 0}
    return SpeedTask(spec, "nut", source, **{**settled, **changes})


def test_the_published_protocol_waits_once_and_the_honest_one_every_time():
    events = []
    overlapping(lambda: events.append("step"), lambda: events.append("wait"), 2, 3)
    assert events == ["step", "step", "wait", "step", "step", "step", "wait"]
    events.clear()
    seconds = one_by_one(lambda: events.append("step"), lambda: events.append("wait"), 1, 2)
    assert events == ["step", "wait", "step", "wait", "step", "wait"]
    assert seconds.shape == (2,)
    assert (seconds > 0).all()


def test_every_protocol_with_its_region(source):
    lines = list(measure(task(source)))
    assert [(each.protocol, each.region, each.batch, each.iterations) for each in lines] == [
        ("published", SEARCH, 1, 4),
        ("latency", TO_HOST, 1, 4),
        ("throughput", TO_HOST, 1, 4),
        ("throughput", TO_HOST, 2, 2),
    ]
    for each in lines:
        assert each.fps == pytest.approx(1000 * each.batch / each.mean)
        assert (each.p50 is None) == (each.protocol != "latency")
        assert (each.device, each.threads, each.bank_rows) == ("cpu", 1, None)
    assert lines[1].p50 <= lines[1].p95


def test_the_size_is_that_of_the_saved_tensors(source, tmp_path):
    from subband.analysis.detectors import obtain

    given = task(source)
    detector = obtain(given.spec, open_dataset(TINY).category("nut"), source).detector
    folder = detector.save(tmp_path / "saved")
    tensors = load_file(folder / "model.safetensors").values()
    wanted = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6
    assert next(measure(given)).model_mb == pytest.approx(wanted)


def test_a_detector_whose_post_processing_is_not_separate_says_so(source, monkeypatch):
    monkeypatch.setattr(WEPaDiMDetector, "forward", _whole(WEPaDiMDetector.grid_scores))
    monkeypatch.setattr(WEPaDiMDetector, "grid_scores", lambda self, images: None)
    monkeypatch.setattr(WEPaDiMDetector, "bank_rows", 77)
    first = next(measure(task(source)))
    assert first.region == WHOLE
    assert first.bank_rows == 77


def _whole(grid_scores):
    def forward(self, images):
        maps = grid_scores(self, images)
        return maps, maps.amax(dim=(1, 2))

    return forward


def test_a_gpu_that_is_not_there_is_refused(source, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ParamsError, match="no GPU"):
        next(measure(task(source, device="cuda")))


def test_batch_1_is_always_measured_and_bad_batches_are_refused():
    assert SpeedSettings(batches=(8, 4, 8)).batches == (1, 4, 8)
    with pytest.raises(ValueError, match="1 image or more"):
        SpeedSettings(batches=(0,))


def test_table_and_figure(analysis, settled):
    settings = SpeedSettings(
        **{**settled, "data": "synthetic:?train=6&test=8&size=64&categories=nut"},
        detectors=(SMALL,), device="cpu", iterations=3, warm_up=1, batches=(1, 2, 3),
    )  # fmt: skip
    with analysis:
        run(analysis, settings)
        files = {path.name for path in analysis.publish({})}
    assert files == {"fps.csv", "fps.png", "report.json"}
    with (analysis.folder / "fps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["protocol"] for row in rows] == ["published", "latency", *["throughput"] * 3]
    assert {row["category"] for row in rows} == {"nut"}
    assert {row["detector"] for row in rows} == {"wepadim image_size=64 grid=8"}
    shown = analysis.findings.shown["Speed"]
    assert 3 <= len(shown) <= 4  # batch 1, and the fastest where that is another
    assert isinstance(settings.source(), Source)
