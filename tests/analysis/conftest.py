"""A tiny dataset, small params, and an analysis whose work is done in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from subband.analysis.results import Analysis
from subband.analysis.settings import Source

TINY = "synthetic:?train=6&test=8&size=64&categories=nut,weave"
SMALL = "wepadim:image_size=64,grid=8"


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def source(store_folder: Path) -> Source:
    return Source(TINY, store_folder)


@pytest.fixture
def analysis(tmp_path: Path) -> Analysis:
    return Analysis(tmp_path / "results")


@pytest.fixture
def settled(store_folder: Path) -> dict[str, object]:
    """Settings of every analysis here."""
    return {"data": TINY, "store": store_folder}
