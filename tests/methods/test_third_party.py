"""Methods of other packages: the example of the documentation is installed and used; what does not fit is refused by name."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from subband.errors import ParamsError
from subband.methods import get_method, list_methods, list_staged_methods, space_of
from subband.methods.registry import third_party
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed into a folder of its own."""
    source, target = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "docs" / "example-method", source)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, timeout=PATIENCE)
    return target


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; what is installed there is seen anew, and forgotten at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    third_party.cache_clear()
    yield tmp_path
    third_party.cache_clear()


def install(folder: Path, package: str, code: str, **methods: str) -> None:
    (folder / f"{package}.py").write_text(code)
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {package}:{attribute}" for name, attribute in methods.items())
    (about / "entry_points.txt").write_text(f"[subband.methods]\n{lines}\n")


def environment(example: Path, home: Path) -> dict[str, str]:
    paths = os.pathsep.join([str(example), str(ROOT / "platform"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": paths, "SUBBAND_HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true"}


def test_the_example_passes_the_contract(example: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "tests"]
    done = subprocess.run(
        command,
        cwd=ROOT / "docs" / "example-method",
        env=environment(example, tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_is_searched_saved_and_loaded_by_its_name(example: Path, tmp_path: Path) -> None:
    code = (
        "import sys, subband\n"
        "detector = subband.fit('colour', 'synthetic:?train=6&test=4&size=32&categories=weave', image_size=32)\n"
        "detector.save(sys.argv[1])\n"
        "print(type(subband.load(sys.argv[1])).__name__, 'colour' in subband.list_methods())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "saved")]
    done = subprocess.run(
        command, env=environment(example, tmp_path), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout.split() == ["ColourDetector", "True"], done.stderr


def test_a_taken_name_a_broken_import_and_a_wrong_interface_are_refused_by_name(
    other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = list_methods()
    third_party.cache_clear()
    install(other, "thief", "METHOD = object()", wepadim="METHOD")
    install(other, "broken", "import not_there", lost="METHOD")
    install(other, "wrong", "class M:\n    name = 'half'\n    params_type = int\nMETHOD = M()", half="METHOD")
    with caplog.at_level(logging.WARNING, logger="subband"):
        assert list_methods() == known
    messages = [record.getMessage() for record in caplog.records]
    assert sorted(messages) == [
        "the method 'half' of wrong is not used: ParamsError: M lacks preprocess, chain, build, fit_inputs, fit, restore",
        "the method 'lost' of broken is not used: ModuleNotFoundError: No module named 'not_there'",
        "the method 'wepadim' of thief is not used: subband has one of that name",
    ]
    assert type(get_method("wepadim")).__name__ == "WEPaDiM"
    with pytest.raises(ParamsError, match="'half' is not a method"):
        get_method("half")


def test_two_packages_of_one_name_do_not_replace_each_other(other: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = "from subband.methods import get_method\nimport copy\nMETHOD = copy.copy(get_method('wepadim'))\nMETHOD.name = 'twin'"
    install(other, "first", code, twin="METHOD")
    install(other, "second", code, twin="METHOD")
    with caplog.at_level(logging.WARNING, logger="subband"):
        assert "twin" in list_staged_methods()
    assert [record.getMessage() for record in caplog.records] == [
        "the method 'twin' of second is not used: first has one of that name"
    ]
    with pytest.raises(ParamsError, match="twin has no search space"):
        space_of("twin")
