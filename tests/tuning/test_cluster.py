"""What a person is told of the Ray that a job runs on."""

from __future__ import annotations

import pytest
import ray

from subband.compute.cluster import connect
from tests.waiting import until


def wait_until_free(cpus: float) -> None:
    until(lambda: ray.available_resources().get("CPU", 0) == cpus, "the CPUs of earlier work are free again", pause=0.1)


@pytest.mark.usefixtures("local_ray")
def test_processors_that_others_hold_are_told():
    cpus = ray.cluster_resources()["CPU"]
    wait_until_free(cpus)
    assert connect() == ("the running one", "Ray was initialised already")

    @ray.remote(num_cpus=1)
    class Served:
        def ready(self) -> bool:
            return True

    served = Served.remote()
    assert ray.get(served.ready.remote())
    wait_until_free(cpus - 1)
    _, why = connect()
    assert f"{cpus - 1:.0f} of {cpus:.0f} CPUs free" in why
    ray.kill(served)
