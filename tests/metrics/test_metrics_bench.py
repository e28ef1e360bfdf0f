import importlib.util
import json
from pathlib import Path

import pytest

from subband.metrics import au_pro

PATH = Path(__file__).parents[2] / "platform" / "bench" / "metrics.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_metrics", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bench_reports_equal_values_and_writes_json(bench, tmp_path, capsys):
    out = tmp_path / "metrics.json"
    bench.main(["--images", "4", "--size", "48", "--repeats", "1", "--json", str(out)])
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert "ratio" in printed
    assert result["ratio"] > 0
    assert result["largest_difference"] < 1e-9
    for name, value in result["straightforward_values"].items():
        assert f"{value:.12f}" in printed, name
        assert result["values"][name] == pytest.approx(value, abs=1e-9)


def test_bench_refuses_unequal_values(bench, monkeypatch):
    monkeypatch.setattr(bench, "official_au_pro", lambda *_: 0.123)
    with pytest.raises(SystemExit, match="values differ"):
        bench.measure(images=2, size=32, repeats=1)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_argsort_definition_agrees_with_ties(bench, limit):
    maps, masks = bench.made_maps(4, 40)
    tied = (maps * 2).round()
    assert au_pro(tied, masks, limit) == pytest.approx(bench.official_au_pro(tied, masks, limit), abs=1e-12)
