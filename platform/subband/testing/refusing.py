"""Checks of bad input: a clear error that names what was wrong, and nothing half-written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from subband.data import Category, FileSource
from subband.errors import DataError, ParamsError, SubbandError
from subband.methods import make_params
from subband.stages import Store
from subband.testing.detecting import require_raises
from subband.testing.subject import Subject, require


def check_bad_params(subject: Subject, bad_params: Mapping[str, Any]) -> None:
    """Every illegal value is a ParamsError that names the field; every misspelt field gets its near match.

    Args:
        subject: under contract.
        bad_params: an illegal value for each of some params.
    """
    require(bool(bad_params), "give at least one illegal value: without one, nothing is checked")
    name = subject.method.name
    for field, value in bad_params.items():
        values = {**subject.values, field: value}
        require_raises(ParamsError, f"{name}.{field}: ", lambda values=values: make_params(subject.method, values))
    for field in subject.method.params_type.model_fields:
        values = {**subject.values, f"{field}z": 1}
        hint = f"did you mean '{field}'"
        require_raises(ParamsError, hint, lambda values=values: make_params(subject.method, values))


def check_bad_pictures(subject: Subject, folder: Path) -> None:
    """A missing, truncated or foreign file among the images is a DataError that names it; the store stays valid."""
    whole = folder / "whole.png"
    subject.category.train[0].image.open().save(whole)
    content = whole.read_bytes()
    bad = {
        "truncated.png": content[: len(content) // 2],
        "empty.png": b"",
        "text.png": b"this is no image",
        "missing.png": None,
    }
    for name, data in bad.items():
        if data is not None:
            (folder / name).write_bytes(data)
        for role in ("train", "test"):
            store = Store(folder / f"store-{name}-{role}")
            category = _with_picture(subject.category, role, folder / name)
            require_raises(DataError, name, lambda store=store, category=category: subject.maps(store, category))
            _require_clean(store)
    detector = subject.fitted().detector
    illegal = np.zeros((8, 8), np.int64), np.zeros((8, 8, 5), np.uint8), np.zeros((0, 8, 3), np.uint8), "picture.png"
    for picture in illegal:
        require_raises(ParamsError, "an image", lambda picture=picture: detector.predict([picture]))


def _with_picture(category: Category, role: str, path: Path) -> Category:
    samples = list(category.train if role == "train" else category.test)
    samples[1] = replace(samples[1], image=FileSource(path))
    return replace(category, train=tuple(samples)) if role == "train" else replace(category, test=tuple(samples))


def check_one_training_picture(subject: Subject, folder: Path) -> None:
    """One training image either works or is a clear refusal that says how many are needed; nothing is left behind."""
    store = Store(folder / "store")
    category = replace(subject.category, train=subject.category.train[:1])
    alone = replace(subject, category=category)
    attempts: list[Callable[[], tuple[np.ndarray, np.ndarray]]] = [
        lambda: alone.maps(store),
        lambda: alone.fitted(store).detector.score(alone.queries()),
    ]
    for attempt in attempts:
        try:
            maps, scores = attempt()
        except SubbandError as error:
            words = ("training image", "training image")
            require(any(each in str(error) for each in words), f"the message should speak of training images: {error}")
        else:
            require(
                bool(np.isfinite(maps).all() and np.isfinite(scores).all()),
                "one image gives scores that are not finite",
            )
        _require_clean(store)


def _require_clean(store: Store) -> None:
    leftovers = sorted(path.name for path in (store.folder / "partial").iterdir())
    require(not leftovers, f"half-written entries were left: {leftovers}")
    damaged = store.verify()
    require(not damaged, f"damaged entries were left: {damaged}")
