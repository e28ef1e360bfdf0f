import io

import pytest
from made_records import record
from rich.console import Console

from subband import report
from subband.errors import ParamsError

RECORDS = [
    record(0, 0.91, 0.90, sigma=0.0, trial_s=0.034),
    record(1, 0.95, 0.88, sigma=2.0, trial_s=64.0),
    record(2, 0.99, 0.99, status="stopped", sigma=6.0),
    record(3, status="failed", sigma=99.0),
    record(4, 0.93, 0.92, sigma=4.0),
]


def printed(table, width=120):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def columns(table):
    return {str(column.header).replace("\n", " "): [str(cell) for cell in column.cells] for column in table.columns}


def test_complete_trials_rank_by_what_selection_saw():
    table = columns(report.ranking_table(RECORDS, ["image_auroc"], "holdout"))
    assert table["rank"] == ["1*", "2", "3", "", ""]
    assert table["sigma"] == ["2", "4", "0", "6", "99"]
    assert table["choose image auroc"] == ["0.9500", "0.9300", "0.9100", "0.9900", "-"]
    assert table["report image auroc"] == ["0.8800", "0.9200", "0.9000", "0.9900", "-"]
    assert table["status"] == ["complete"] * 3 + ["stopped", "failed"]
    assert table["time"] == ["64 s", "1.00 s", "0.03 s", "1.00 s", "1.00 s"]


def test_title_and_caption_state_selection_regret_and_failures():
    text = printed(report.ranking_table(RECORDS, ["image_auroc"], "holdout", top=2))
    assert "ranked by image_auroc (selection: holdout)" in text
    assert "image_auroc 0.0400" in text
    assert "optimistic" not in text
    assert "3 complete, 1 stopped, 1 failed; 2 shown" in text
    assert "chosen: haar-1 LL+LH s2 r0.01" in text
    assert "sigma must lie in [0, 20]" in text  # square brackets survive rich's markup
    assert "more" not in text


def test_selection_on_test_labels_is_called_optimistic():
    table = report.ranking_table(RECORDS, ["image_auroc"], "test")
    assert "optimistic: chosen and reported on the same test labels" in printed(table)
    assert "test image auroc" in columns(table)
    assert not any(name.startswith(("choose", "report")) for name in columns(table))


def test_missing_report_is_said():
    text = printed(report.ranking_table([record(0, 0.9)], ["image_auroc"], "synthetic"))
    assert "regret unknown: no labelled test samples" in text


def test_chosen_may_be_another_than_the_first():
    table = report.ranking_table(RECORDS, ["image_auroc"], "holdout", chosen=RECORDS[4])
    assert columns(table)["rank"] == ["1", "2*", "3", "", ""]
    assert "image_auroc 0.0000" in printed(table)


def test_conditional_params_and_several_objectives():
    records = [
        record(0, {"a": 0.9, "b": 0.1}, {"a": 0.8, "b": 0.2}, searched=("wavelet", "ratio"), ratio=0.1),
        record(1, {"a": 0.8, "b": 0.3}, {"a": 0.9, "b": 0.5}, searched=("wavelet",)),
    ]
    table = report.ranking_table(records, ["a", "b"], "holdout")
    assert columns(table)["ratio"] == ["0.1", "-"]
    assert columns(table)["choose b"] == ["0.1000", "0.3000"]
    assert "a 0.1000, b 0.3000" in printed(table)


def test_compact_table_loses_nothing_in_80_columns():
    text = printed(report.ranking_table(RECORDS, ["image_auroc"], "holdout", compact=True), width=80)
    assert "haar-1 LL+LH s2 r0.01" in text
    for value in ("0.9500", "0.8800", "complete", "64 s"):
        assert value in text
    assert "…" not in text


def test_nothing_to_rank():
    assert "no trials" in printed(report.ranking_table([], ["image_auroc"], "holdout"))
    assert "1 failed" in printed(report.ranking_table([record(0, status="failed")], ["image_auroc"], "holdout"))
    with pytest.raises(ParamsError, match="at least one"):
        report.ranking_table(RECORDS, [], "holdout")
    with pytest.raises(ParamsError, match="at least one"):
        report.ranking_table(RECORDS, ["image_auroc"], "holdout", top=0)
    with pytest.raises(ParamsError, match="not a metric"):
        report.ranking_table(RECORDS, ["image_aurocs"], "holdout")
