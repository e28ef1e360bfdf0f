"""The documentation says what is: its Python runs, its links lead somewhere, and its first page stays short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WEAVE = "synthetic:?train=8&test=8&size=64&categories=weave"


@pytest.fixture(scope="module", autouse=True)
def _ray_ends_with_this_module() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


def python_of(page: Path) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUBBAND_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_example_of_the_python_page_runs(own_place: Path) -> None:
    code = python_of(ROOT / "docs" / "python.md")
    assert code.count("subband.") >= 8
    found: dict[str, object] = {}
    exec(compile(code, "docs/python.md", "exec"), found)
    assert {"detector", "segmenter", "answer", "found"} <= set(found)


def test_the_first_screen_of_the_readme_runs(own_place: Path) -> None:
    import subband

    code = python_of(ROOT / "README.md")
    assert '"folder:/data/bottles"' in code
    code = code.replace("folder:/data/bottles", WEAVE).replace("trials=50", "trials=2, image_size=64")
    image = subband.open_dataset(WEAVE).category("weave").test[0].image.open()
    found = {"image": image}
    exec(compile(code, "README.md", "exec"), found)
    assert len(found["found"].ranked) == 2  # type: ignore[attr-defined]


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#][^)]*)\)", page.read_text()):
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            path = (page.parent / target).resolve()
            if not path.exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
            elif anchor and anchor not in anchors(path):
                broken.append(f"{page.relative_to(ROOT)}: {link}: no such heading")
    assert broken == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_found_from_the_index() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)", (ROOT / "docs" / "index.md").read_text()))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages - linked == set()
