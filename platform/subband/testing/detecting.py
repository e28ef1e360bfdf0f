"""Checks of what fitting gives: scores, saving, loading, moving, batch sizes, no network."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from subband.costs import measure_costs
from subband.data import Split
from subband.errors import ModelError
from subband.methods import UNCALIBRATED, Calibration, Detector, load
from subband.metrics import COSTS
from subband.testing.subject import Subject, require, require_equal


def check_fit_and_score(subject: Subject) -> None:
    """The chain's maps and scores are well formed, and the fitted detector gives the same ones."""
    maps, scores = subject.maps()
    side = subject.method.preprocess(subject.params).image_size
    count = len(subject.category.test)
    require(maps.shape == (count, side, side), f"maps have shape {maps.shape}, not {(count, side, side)}")
    require(scores.shape == (count,), f"scores have shape {scores.shape}, not {(count,)}")
    require(maps.dtype == scores.dtype == np.float32, f"maps are {maps.dtype} and scores {scores.dtype}, not float32")
    require(bool(np.isfinite(maps).all() and np.isfinite(scores).all()), "maps or scores are not finite")
    require(float(np.ptp(scores)) > 0, "all images have one score")

    fitted = subject.fitted()
    served_maps, served_scores = fitted.detector.score(subject.queries())
    require_equal(served_maps, maps, "maps of the fitted detector, against the evaluated ones")
    require_equal(served_scores, scores, "scores of the fitted detector, against the evaluated ones")
    good = np.asarray(fitted.good_scores)
    trained = len(subject.category.train)
    require(good.shape == (trained,), f"good_scores have shape {good.shape}, not {(trained,)}")
    require(bool(np.isfinite(good).all()), "good_scores are not finite")
    said = fitted.detector.calibration.rule
    require(bool(fitted.estimate), "the fit does not say how its good scores were obtained")
    require(said.endswith(fitted.estimate), f"the rule {said!r} does not say that it was {fitted.estimate!r}")


def check_build(subject: Subject) -> None:
    """The detector that a sweep measures is the fitted one, without its calibration; its costs are numbers."""
    runner = subject.bench().runner
    built, fitted = subject.method.build(subject.params, runner), subject.method.fit(subject.params, runner).detector
    images = subject.queries()
    require_equal(
        built.score(images)[0], fitted.score(images)[0], "maps of the built detector, against the fitted one's"
    )
    require(built.calibration == UNCALIBRATED, f"a built detector has a calibration: {built.calibration.rule}")
    sizes = built.fitted_bytes(), fitted.fitted_bytes()
    require(sizes[0] == sizes[1] > 0, f"built and fitted, the detector stores {sizes} bytes; they are equal and not 0")
    costs, _ = measure_costs(built)
    require(costs.keys() == set(COSTS), f"measured {sorted(costs)}, not {sorted(COSTS)}")
    require(
        all(np.isfinite(value) and value > 0 for value in costs.values()), f"costs are numbers above 0, not {costs}"
    )


def check_predict(subject: Subject) -> None:
    """Images of any size and mode are decided by ``score > threshold``; a threshold can be given."""
    detector = subject.fitted().detector.eval()
    colour = subject.category.test[0].image.open()
    pictures: list[Any] = [
        colour,
        colour.resize((97, 61)),
        colour.convert("L"),
        colour.convert("RGBA"),
        np.asarray(colour),
    ]
    answer = detector.predict(pictures)
    counts = (len(answer.scores), len(answer.decisions), len(answer.maps))
    require(counts == (len(pictures),) * 3, f"{len(pictures)} images, {counts} scores, decisions and maps")
    require_equal(answer.scores[4:], answer.scores[:1], "the score of an array, against that of the equal PIL image")
    limit = float(detector.predict(pictures[:1]).scores[0])
    require(not detector.predict(pictures[:1], threshold=limit).decisions[0], "a score at the threshold is no defect")
    below = detector.predict(pictures[:1], threshold=float(np.nextafter(limit, -np.inf)))
    require(bool(below.decisions[0]), "a score above the threshold is a defect")
    deep = Image.fromarray(np.asarray(pictures[2]).astype(np.uint16) * 257)
    grey = detector.predict([pictures[2], deep]).scores
    require_equal(grey[1:], grey[:1], "the score of a 16-bit grey image, against that of the equal 8-bit one")


def check_save_and_load(subject: Subject, folder: Path) -> None:
    """Loaded afresh, a saved detector gives the same scores, also from another place; nothing saved can run code."""
    detector = subject.fitted().detector.eval()
    detector.calibration = detector.calibration.with_threshold(0.125)
    detector.about = {"category": subject.category.name, "nested": {"n": 1}}
    wanted_maps, wanted = detector.score(subject.queries())
    saved = detector.save(folder / "saved")
    suffixes = {path.suffix for path in saved.iterdir()}
    require(suffixes <= {".safetensors", ".json"}, f"a saved detector is safetensors and JSON, not {sorted(suffixes)}")
    _check_loaded(subject, load(saved), detector.calibration, wanted_maps, wanted)

    moved = folder / "elsewhere" / "renamed"
    moved.parent.mkdir()
    shutil.move(str(saved), str(moved))
    loaded = load(str(moved))
    _check_loaded(subject, loaded, detector.calibration, wanted_maps, wanted)
    require(loaded.about == detector.about, f"what was told about the detector changed: {loaded.about}")
    require(loaded.params == detector.params, f"the params changed: {loaded.params}")
    again = loaded.save(folder / "again")
    _check_loaded(subject, load(again), detector.calibration, wanted_maps, wanted)


def _check_loaded(
    subject: Subject, loaded: Detector, calibration: Calibration, maps: np.ndarray, scores: np.ndarray
) -> None:
    require(not loaded.training, "a loaded detector is not in eval mode")
    loaded_maps, loaded_scores = loaded.score(subject.queries())
    require_equal(loaded_maps, maps, "maps after loading")
    require_equal(loaded_scores, scores, "scores after loading")
    require(loaded.calibration == calibration, "the calibration changed by saving and loading")


def check_saving_is_all_or_nothing(subject: Subject, folder: Path) -> None:
    """A folder that exists is not written into; damaged files are a ModelError that names the file."""
    detector = subject.fitted().detector
    taken = folder / "taken"
    taken.mkdir()
    (taken / "precious.txt").write_text("keep")
    require_raises(ModelError, "exists already", lambda: detector.save(taken))
    require([path.name for path in taken.iterdir()] == ["precious.txt"], "a failed save touched the folder")
    (folder / "file").write_text("")
    require_raises(ModelError, "could not be saved", lambda: detector.save(folder / "file" / "model"))
    left = sorted(path.name for path in folder.iterdir())
    require(left == ["file", "taken"], f"a failed save left something behind: {left}")

    for name in ("model.safetensors", "model.json"):
        damaged = detector.save(folder / f"damaged-{name}")
        content = (damaged / name).read_bytes()
        (damaged / name).write_bytes(content[: len(content) // 2])
        require_raises(ModelError, name, lambda damaged=damaged: load(damaged))
        (damaged / name).unlink()
        require_raises(ModelError, name, lambda damaged=damaged: load(damaged))


def check_batch_size_does_not_matter(subject: Subject) -> None:
    """One image at a time, three, or all together give the same maps and scores."""
    detector = subject.fitted().detector.eval()
    images = subject.queries()
    wanted_maps, wanted = detector.score(images, batch=len(images))
    for batch in (1, 3):
        maps, scores = detector.score(images, batch=batch)
        require_equal(maps, wanted_maps, f"maps in batches of {batch}")
        require_equal(scores, wanted, f"scores in batches of {batch}")
    require(detector.score(images[:0])[0].shape == (0, *wanted_maps.shape[1:]), "no images must give no maps")


def check_no_network(subject: Subject, folder: Path) -> None:
    """Evaluating, fitting, saving and loading open no connection (weights that are not fetched)."""
    with closed_network():
        subject.maps()
        subject.fitted().detector.save(folder / "saved")
        load(folder / "saved").score(subject.queries())


@contextlib.contextmanager
def closed_network() -> Iterator[None]:
    """Every attempt of this process to connect or to resolve a name raises an AssertionError while this is open."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"the network was used: {arguments[-1] if arguments else options}")

    originals = (socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo)
    socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = refuse, refuse, refuse  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = originals  # type: ignore[method-assign]


def check_no_queries(subject: Subject) -> None:
    """A category without images to score has empty maps, and can be fitted."""
    train = tuple(sample.image for sample in subject.category.train)
    names = tuple(sample.name for sample in subject.category.train)
    runner = subject.runner(Split(train, (), names, ()))
    chain, _ = subject.method.chain(subject.params, len(train), 0)
    entry = runner.run(chain, subject.params.model_dump())
    side = subject.method.preprocess(subject.params).image_size
    shapes = entry.array("maps").shape, entry.array("scores").shape
    require(shapes == ((0, side, side), (0,)), f"no queries give maps and scores of shapes {shapes}")
    fitted = subject.method.fit(subject.params, runner)
    require_equal(
        fitted.detector.score(subject.queries())[1], subject.maps()[1], "scores of a detector fitted without queries"
    )


def require_raises(expected: type[Exception], text: str, call: Any) -> None:
    """Fail unless the call raises the expected error with the text in its message.

    Raises:
        AssertionError: no error, another one, or another message.
    """
    try:
        call()
    except expected as error:
        require(text in str(error), f"the message should say {text!r}: {error}")
        return
    except Exception as error:
        raise AssertionError(f"expected {expected.__name__}, got {type(error).__name__}: {error}") from error
    raise AssertionError(f"expected {expected.__name__} that says {text!r}; nothing was raised")
