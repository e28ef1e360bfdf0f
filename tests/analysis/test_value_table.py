"""The evaluation table: its numbers are the evaluation's, its columns share their work, its form is the published one."""

import csv

import numpy as np
import pytest

from subband.analysis.value_table import ColumnTask, ValueTableSettings, column_labels, evaluate_column, run
from subband.data import open_dataset
from subband.errors import ParamsError
from subband.evaluation import CategoryBench
from subband.methods import get_method, make_params
from tests.analysis.conftest import TINY

BASE = {"image_size": (64,), "grid": (8,)}


def table(analysis, name):
    with (analysis.folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_headings():
    assert column_labels("ratio", [1.0, 0.1, 0.01, 0.001]) == ["100%", "10%", "1%", "0.1%"]
    assert column_labels("coreset_ratio", [0.29, 0.005]) == ["29%", "0.5%"]  # the published script: 28pct, 0pct
    assert column_labels("sigma", [2.0, 4.5]) == ["sigma=2", "sigma=4.5"]
    assert column_labels("wavelet", ["haar", "sym4"]) == ["wavelet=haar", "wavelet=sym4"]
    assert column_labels(None, ["default"]) == ["default"]


def test_the_table_holds_the_evaluations_numbers(analysis, settled):
    settings = ValueTableSettings(**settled, method="wepadim", axes={**BASE, "sigma": (2.0, 4.0)})
    with analysis:
        run(analysis, settings)
        files = {path.name for path in analysis.publish({})}
    tables = [f"evaluation_{name}.csv" for name in settings.metrics]
    assert files == {*tables, "evaluation_long.csv", "evaluation.png", "report.json"}
    method = get_method("wepadim")
    columns = {}
    for sigma in (2.0, 4.0):
        params = make_params(method, {"image_size": 64, "grid": 8, "sigma": sigma, "weights": "packaged"})
        for name in ("nut", "weave"):
            bench = CategoryBench(open_dataset(TINY).category(name), "test", 0, None)
            columns[name, sigma] = bench.evaluate(method, params).report
    for metric in settings.metrics:
        rows = table(analysis, f"evaluation_{metric}")
        assert [row["Category"] for row in rows] == ["nut", "weave", "AVERAGE"]
        for sigma in (2.0, 4.0):
            values = [100 * columns[name, sigma][metric] for name in ("nut", "weave")]
            for row, value in zip(rows, [*values, np.mean(values)], strict=True):
                assert float(row[f"sigma={sigma:g}"]) == pytest.approx(value, abs=0.0051), (metric, sigma)
    (long,) = [
        row
        for row in table(analysis, "evaluation_long")
        if (row["category"], row["param_value"], row["metric"]) == ("nut", "4.0", "au_pro_0.3")
    ]
    # Not closer: Ray's worker may use another number of threads, whose sums round differently.
    assert float(long["value"]) == pytest.approx(columns["nut", 4.0]["au_pro_0.3"], abs=1e-4)
    assert any("nothing was chosen" in note for note in analysis.findings.notes)
    assert analysis.findings.params["varied"] == "sigma"
    assert analysis.findings.params["image_size"] == 64


def test_values_share_their_stages(source, monkeypatch):
    """The second value of a late param computes late stages alone."""
    from subband.analysis.settings import Source

    given = [{"image_size": 64, "grid": 8, "weights": "random:5", "sigma": sigma} for sigma in (2.0, 4.0)]
    seen = []
    evaluate = CategoryBench.evaluate

    def watched(self, method, params):
        before = dict(self.runner.computed)
        found = evaluate(self, method, params)
        seen.append({name for name, count in self.runner.computed.items() if count != before.get(name)})
        return found

    monkeypatch.setattr(CategoryBench, "evaluate", watched)
    fresh = Source(TINY, source.store_folder / "fresh")
    cells = list(evaluate_column(ColumnTask("nut", "wepadim", tuple(given), fresh)))
    assert [cell.column for cell in cells] == [0, 1]
    assert {"images", "features", "spectrum"} <= seen[0]
    assert seen[1] == {"maps", "metrics"}


def test_one_configuration_is_a_table_of_one_column(analysis, settled):
    with analysis:
        run(analysis, ValueTableSettings(**settled, method="wepadim", axes=BASE, metrics=("image_auroc",)))
        analysis.publish({})
    assert list(table(analysis, "evaluation_image_auroc")[0]) == ["Category", "as given"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"sigma": (2.0, 4.0), "level": (1, 2)}, "one param may have several values"),
        ({"sigma": (2.0, 2.0)}, "given twice"),
        ({"subbands": ("LL+LH", "LH+LL")}, "given twice"),
        ({"sigma": (2.0, -1.0)}, r"wepadim\.sigma"),
        ({"sigam": (2.0,)}, "did you mean 'sigma'"),
    ],
)
def test_what_is_refused_before_anything_is_computed(analysis, settled, axes, message):
    with analysis, pytest.raises(ParamsError, match=message):
        run(analysis, ValueTableSettings(**settled, method="wepadim", axes=axes))


def test_metrics_are_checked():
    with pytest.raises(ValueError, match="did you mean 'image_auroc'"):
        ValueTableSettings(metrics=("image_aurok",))
