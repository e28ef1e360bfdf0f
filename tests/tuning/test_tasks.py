"""Work fanned out over real Ray workers: results one by one, failures told apart, one at a time for measurements."""

from __future__ import annotations

import os

import pytest

from subband.compute.tasks import spread_over_ray
from subband.errors import DataError, SubbandError

pytestmark = pytest.mark.usefixtures("local_ray")


def test_results_of_every_item_come_in_its_own_order():
    def count(item):
        yield from (item * 10 + step for step in range(3))

    found = list(spread_over_ray(count, [1, 2, 3]))
    assert sorted(found) == [(item, item * 10 + step) for item in (1, 2, 3) for step in range(3)]
    for item in (1, 2, 3):
        assert [result for each, result in found if each == item] == [item * 10 + step for step in range(3)]


def test_failures_end_their_item_and_no_other():
    def work(item):
        yield f"{item} began"
        if item == "expected":
            raise DataError("the image is damaged")
        if item == "unexpected":
            raise ZeroDivisionError("division by zero")
        if item == "dead":
            os._exit(1)
        yield f"{item} ended"

    found: dict[str, list[object]] = {}
    for item, result in spread_over_ray(work, ["fine", "expected", "unexpected", "dead"]):
        found.setdefault(item, []).append(result)
    assert found["fine"] == ["fine began", "fine ended"]
    last = {item: results[-1] for item, results in found.items()}
    assert isinstance(last["expected"], DataError)
    assert str(last["expected"]) == "the image is damaged"
    assert isinstance(last["unexpected"], SubbandError)
    assert str(last["unexpected"]) == "ZeroDivisionError: division by zero"
    assert isinstance(last["dead"], SubbandError)


def test_a_measurement_has_the_machine_for_itself(tmp_path):
    import ray

    def alone(item):
        import torch

        marks = list(tmp_path.iterdir())
        (tmp_path / str(item)).touch()
        yield len(marks), torch.get_num_threads()
        (tmp_path / str(item)).unlink()

    found = list(spread_over_ray(alone, [1, 2, 3], alone=True))
    cpus = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes())
    assert found == [(item, (0, cpus)) for item in (1, 2, 3)]


def test_no_more_items_at_a_time_than_asked_for(tmp_path):
    def crowd(item):
        import time

        (tmp_path / str(item)).touch()
        time.sleep(0.2)
        yield len(list(tmp_path.iterdir()))
        (tmp_path / str(item)).unlink()

    assert [count for _, count in spread_over_ray(crowd, [1, 2, 3], workers=1)] == [1, 1, 1]


def test_no_items_are_no_work():
    assert list(spread_over_ray(lambda item: iter(()), [])) == []
