"""One local Ray for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local_ray import connect_with_test_methods


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    import ray

    connect_with_test_methods()
    yield
    ray.shutdown()
