"""Batches: full under load, never mixed, and a lone image does not wait."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch

from subband.errors import ModelError
from subband.serving.batching import Batcher
from tests.waiting import PATIENCE


@pytest.fixture
def batcher():
    made = Batcher(size=4, threads=1)
    yield made
    made.close()


@pytest.fixture
def spied(detectors, monkeypatch):
    """The detectors, and which of them scored how many images at a time."""
    calls: list[tuple[str, int]] = []
    for name, detector in detectors.items():

        def score(images, batch, name=name, original=detector.score):
            calls.append((name, len(images)))
            return original(images, batch)

        monkeypatch.setattr(detector, "score", score)
    return detectors, calls


def prepared(detector, pictures):
    return [detector.preprocess.image(picture).transpose(2, 0, 1) for picture in pictures]


def test_pictures_that_wait_are_scored_together_and_detectors_are_never_mixed(batcher, spied, pictures):
    detectors, calls = spied
    names = [("leather-whole", "weave-centre", "weave-centre")[i % 3] for i in range(16)]
    images = [prepared(detectors[name], [picture])[0] for name, picture in zip(names, pictures, strict=True)]

    async def ask():
        work = (batcher.score(detectors[name], image) for name, image in zip(names, images, strict=True))
        return await asyncio.gather(*work)

    answers = asyncio.run(ask())
    assert calls[:2] == [("leather-whole", 4), ("weave-centre", 4)]
    assert sum(count for _, count in calls) == 16
    assert max(count for _, count in calls) == 4
    calls.clear()
    for name, image, (map_SS, score) in zip(names, images, answers, strict=True):
        maps, scores = detectors[name].score(image[None], 1)
        assert score == pytest.approx(float(scores[0]), rel=1e-5)
        np.testing.assert_allclose(map_SS, maps[0], rtol=1e-4, atol=1e-5 * float(scores[0]))


def test_a_lone_picture_is_scored_at_once(batcher, spied, pictures):
    detectors, calls = spied
    detector = detectors["leather-whole"]
    (image,) = prepared(detector, pictures[:1])
    asyncio.run(asyncio.wait_for(batcher.score(detector, image), PATIENCE))
    assert calls == [("leather-whole", 1)]


def test_who_has_left_is_not_scored_and_does_not_disturb_the_others(batcher, spied, pictures):
    detectors, calls = spied
    detector = detectors["leather-whole"]
    images = prepared(detector, pictures[:6])

    async def ask():
        tasks = [asyncio.create_task(batcher.score(detector, image)) for image in images]
        await asyncio.sleep(0)  # all of them wait now
        tasks[1].cancel()
        tasks[5].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(ask())
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert sum(count for _, count in calls) <= 5
    for index in (0, 2, 3, 4):
        _, expected = detector.score(images[index][None], 1)
        assert answers[index][1] == pytest.approx(float(expected[0]), rel=1e-5)


def test_a_batch_that_fails_fails_alone(batcher, spied, pictures):
    detectors, _ = spied
    detector = detectors["leather-whole"]
    (image,) = prepared(detector, pictures[:1])

    async def ask():
        wrong = batcher.score(detectors["weave-centre"], np.zeros((3, 7, 0), np.uint8))
        return await asyncio.gather(batcher.score(detector, image), wrong, return_exceptions=True)

    good, bad = asyncio.run(ask())
    assert good[1] == pytest.approx(float(detector.score(image[None], 1)[1][0]), rel=1e-5)
    assert isinstance(bad, Exception)


def test_a_score_that_is_no_number_is_an_error_and_no_decision(batcher, detectors, pictures):
    detector = detectors["weave-centre"]
    detector.mean.fill_(float("nan"))
    (image,) = prepared(detector, pictures[:1])
    with pytest.raises(ModelError, match="the score nan"):
        asyncio.run(batcher.score(detector, image))


def test_the_scoring_thread_has_its_own_number_of_torch_threads(detectors, pictures, monkeypatch):
    detector = detectors["leather-whole"]
    (image,) = prepared(detector, pictures[:1])
    seen: list[int] = []
    original = detector.score

    def score(images, batch):
        seen.append(torch.get_num_threads())
        return original(images, batch)

    monkeypatch.setattr(detector, "score", score)
    before = torch.get_num_threads()
    for threads in (2, 1):
        batcher = Batcher(size=4, threads=threads)
        asyncio.run(batcher.score(detector, image))
        asyncio.run(batcher.ping())
        batcher.close()
    torch.set_num_threads(before)
    assert seen == [2, 1]
