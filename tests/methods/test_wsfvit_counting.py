"""The counted table of WSF-ViT beside the published one, and the job that prints it."""

import csv
import runpy
import sys
from pathlib import Path

import pytest

from subband.errors import ParamsError
from subband.methods.wsfvit.counting import count_models
from subband.methods.wsfvit.published import MODELS

JOB = Path(__file__).parents[2] / "jobs" / "count_wsfvit.py"
QUICK = ("wsfvit_p0_224", "wsfvit_t_224")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_multiply_adds_are_those_of_the_published_code_and_of_the_paper(name):
    (count,) = count_models([name])
    assert count.parameters == count.published.counted_parameters
    assert count.products == pytest.approx(count.published.counted_gmacs, rel=5e-3)
    assert count.operations.products / 1e9 == pytest.approx(count.published.counted_gmacs, rel=5e-3)
    assert count.training == pytest.approx(count.published.gmacs, rel=1e-2)
    assert count.products < count.inference < count.training


def test_names_that_are_not_published_are_refused():
    with pytest.raises(ParamsError, match="'wsfvit_t' is not a published WSF-ViT; did you mean 'wsfvit_t_"):
        list(count_models(["wsfvit_t"]))


def run_job(monkeypatch, *flags):
    """In this process: a fresh one would spend its time on imports."""
    monkeypatch.syspath_prepend(str(JOB.parent))
    monkeypatch.setattr(sys, "argv", [str(JOB), *flags])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(JOB), run_name="__main__")
    return ended.value.code


def test_the_job_prints_the_table_and_writes_it(tmp_path, monkeypatch, capsys):
    assert run_job(monkeypatch, "--models", "wsfvit_p0_224", "--csv-file", str(tmp_path / "counts.csv")) == 0
    assert "wsfvit_p0_224    224    2,908,670      2.9 M" in capsys.readouterr().out
    with (tmp_path / "counts.csv").open() as handle:
        (row,) = csv.DictReader(handle)
    assert (row["parameters"], row["published_gmacs"]) == ("2908670", "0.62")
    assert run_job(monkeypatch, "--models", "wsfvit_q") == 1
    assert "error: 'wsfvit_q' is not a published WSF-ViT" in capsys.readouterr().out
