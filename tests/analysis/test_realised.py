"""False alarms and defects found at calibrated thresholds, as evaluate --calibration counts them."""

import csv

from scipy.stats import beta

from subband.analysis.realised import realised
from subband.analysis.value_table import ValueTableSettings, run
from subband.data import open_dataset
from subband.methods import get_method, make_params

TINY = "synthetic:?train=10&test=16&size=64&categories=weave&difficulty=0"


def test_counts_follow_from_the_scores():
    category = open_dataset(TINY).category("weave")
    method = get_method("wepadim")
    params = make_params(method, {"image_size": 64, "grid": 8, "backbone": "resnet18", "weights": "random:0"})
    strict, loose = realised(method, params, category)
    assert [row["asked (%)"] for row in (strict, loose)] == ["1", "5"]
    assert strict["from images"] == 10
    for row in (strict, loose):
        alarms, good = map(int, row["false alarms"].split(" of "))
        found, bad = map(int, row["defects found"].split(" of "))
        assert (good, bad) == (8, 8)
        low = 0.0 if alarms == 0 else 100 * beta.ppf(0.025, alarms, good - alarms + 1)
        high = 100.0 if alarms == good else 100 * beta.ppf(0.975, alarms + 1, good - alarms)
        assert row["95 % interval (%)"] == f"{low:.1f} to {high:.1f}"
        assert float(row["fit (s)"]) >= 0
        assert float(row["per image (ms)"]) > 0
        assert 0 <= found <= bad


def test_the_table_is_written_where_it_was_asked_for(analysis, settled):
    base = {"image_size": (64,), "grid": (8,)}
    settings = ValueTableSettings(
        **settled, method="wepadim", axes={**base, "sigma": (2.0, 4.0)}, metrics=("image_auroc",), calibration=True
    )
    with analysis:
        run(analysis, settings)
        files = analysis.publish({})
    (table,) = [path for path in files if path.name == "calibration.csv"]
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["params"] for row in rows} == {"sigma=2", "sigma=4"}
    assert len(rows) == 2 * 2 * 2
