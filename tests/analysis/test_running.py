"""An analysis keeps all of its findings or none, and goes on past what fails."""

import csv
import json

import pytest
from matplotlib.figure import Figure

from subband.analysis.results import Analysis, in_turn
from subband.errors import DataError, ParamsError


def work(item):
    yield item * 10
    if item == 2:
        raise DataError("two is damaged")
    yield item * 10 + 1


def test_results_come_one_by_one_and_a_failure_is_a_problem(analysis):
    with analysis:
        assert list(analysis.spread(work, [1, 2, 3])) == [(1, 10), (1, 11), (2, 20), (3, 30), (3, 31)]
        assert analysis.findings.problems == ["2: two is damaged"]


def test_when_everything_fails_the_first_error_is_raised(analysis):
    with analysis, pytest.raises(DataError, match="two is damaged"):
        list(analysis.spread(work, [2]))


def test_an_error_that_nobody_expected_is_not_hidden(analysis):
    def broken(item):
        yield 1 / item

    with analysis, pytest.raises(ZeroDivisionError):
        list(analysis.spread(broken, [0]))


def test_published_files_are_all_there_at_once(tmp_path):
    said = []
    with Analysis(tmp_path / "deep" / "results", in_turn, said.append) as analysis:
        analysis.table("one", [{"a": 1, "b": "x, y"}, {}, {"a": 2, "b": "z"}], title="One")
        analysis.figure("sub/two", Figure())
        assert not analysis.folder.exists()
        files = analysis.publish({"params": {"a": 1}})
    assert [str(path.relative_to(analysis.folder)) for path in files] == ["one.csv", "report.json", "sub/two.png"]
    with (analysis.folder / "one.csv").open() as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1", "x, y"], ["", ""], ["2", "z"]]
    assert json.loads((analysis.folder / "report.json").read_text()) == {"params": {"a": 1}}
    assert analysis.findings.shown == {"One": [{"a": 1, "b": "x, y"}, {"a": 2, "b": "z"}]}
    assert [path.name for path in analysis.folder.parent.iterdir()] == ["results"]


def test_an_interrupted_analysis_leaves_nothing(tmp_path):
    def interrupted():
        with Analysis(tmp_path / "results") as analysis:
            analysis.table("one", [{"a": 1}])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_results_are_never_written_over_others(tmp_path):
    (tmp_path / "results").mkdir()
    with pytest.raises(ParamsError, match="exists already; give another --out"):
        Analysis(tmp_path / "results")


def test_a_place_that_cannot_hold_results_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ParamsError, match="no results can be kept in"):
        Analysis(tmp_path / "file" / "results")


def test_a_number_that_is_undefined_is_left_out(analysis):
    with analysis:
        analysis.number("a", float("nan"))
        analysis.number("b", None)
        analysis.number("c", 0.0, 3)
        assert [(p.name, p.value, p.step) for p in analysis.findings.points] == [("c", 0.0, 3)]
