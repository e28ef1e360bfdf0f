"""One method, one param with several values: metrics of every category, through the stages, so that all values share their work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from subband.analysis.realised import realised
from subband.analysis.results import Analysis
from subband.analysis.settings import AnalysisSettings, Source, require_defects
from subband.data import is_embedded
from subband.errors import ParamsError, unknown_name
from subband.evaluation import CategoryBench
from subband.methods import make_params, staged_method
from subband.methods.weights_rule import settled_for_job
from subband.metrics import METRICS
from subband.report.value_curves import value_curves

AVERAGE = "AVERAGE"


class ValueTableSettings(AnalysisSettings):
    """Settings of an evaluation table."""

    metrics: tuple[str, ...] = Field(
        ("image_auroc", "pixel_auroc", "au_pro_0.3", "au_pro_0.05"),
        min_length=1,
        description=f"One table each. Legal: {', '.join(METRICS)}.",
    )
    calibration: bool = Field(
        False,
        description="Also fit each category, and count false alarms and defects found at thresholds for 1 and 5 % of false alarms.",
    )
    method: str = ""
    axes: dict[str, tuple[Any, ...]] = Field(default_factory=dict)

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in METRICS:
                raise ParamsError(unknown_name("metric", name, METRICS))
        return tuple(dict.fromkeys(value))


@dataclass(frozen=True)
class ColumnTask:
    """One category under every value."""

    category: str
    method: str
    params: tuple[Mapping[str, Any], ...]
    source: Source
    calibration: bool = False

    def __str__(self) -> str:
        return self.category


@dataclass(frozen=True)
class CellResult:
    """One category under one value.

    Attributes:
        column: number of the value.
        metrics: on all test images; an undefined one is absent.
        notes: for the reader.
        seconds: that were computed for it; what earlier values shared is not counted again.
        realised: rows of `subband.analysis.realised`, where they were asked for.
    """

    column: int
    metrics: Mapping[str, float]
    notes: tuple[str, ...]
    seconds: float
    realised: tuple[Mapping[str, Any], ...] = ()


def evaluate_column(task: ColumnTask) -> Iterator[CellResult]:
    """Evaluate every value on one category; each stage that two values share is computed once."""
    method = staged_method(task.method)
    category = task.source.category(task.category)
    bench = CategoryBench(category, "test", 0, task.source.store())
    for column, values in enumerate(task.params):
        params = make_params(method, dict(values))
        evaluation = bench.evaluate(method, params)
        rows = tuple(realised(method, params, category)) if task.calibration else ()
        yield CellResult(column, evaluation.report, evaluation.notes, sum(evaluation.seconds.values()), rows)


def run(analysis: Analysis, settings: ValueTableSettings) -> None:
    """One CSV a metric in the published form, one long CSV, and a figure.

    Raises:
        SubbandError: a setting is wrong, or nothing could be evaluated.
    """
    dataset, source = settings.dataset(), settings.source()
    require_defects(dataset)
    method = staged_method(settings.method)
    several = [name for name, values in settings.axes.items() if len(values) > 1]
    if len(several) > 1:
        raise ParamsError(
            f"one param may have several values, the columns of the table; here {' and '.join(several)} have: "
            "give one value to all but one, or search them with a sweep"
        )
    base, decision = settled_for_job(
        method,
        {name: values[0] for name, values in settings.axes.items() if len(values) == 1},
        {name: values for name, values in settings.axes.items() if len(values) > 1},
        embedded=is_embedded(source.data),
        smoke=settings.smoke,
    )
    varied = several[0] if several else None
    values: Sequence[Any] = settings.axes[varied] if varied else ("default" if not settings.axes else "as given",)
    points = [{**base, varied: value} if varied else base for value in values]
    params = tuple(make_params(method, point).model_dump(mode="json") for point in points)
    if varied:
        values = [each[varied] for each in params]  # in the method's own spelling
    columns = column_labels(varied, values)
    if len(set(columns)) < len(columns):
        raise ParamsError(f"{settings.method}.{varied}: a value is given twice ({', '.join(columns)})")
    fixed = {name: value for name, value in params[0].items() if name != varied}
    analysis.findings.params |= {"varied": varied or "nothing", "values": columns, **fixed}
    if decision is not None:
        analysis.note(f"weights: {decision[1]} ({decision[2]})")
    analysis.note("every figure is on all labelled test images; nothing was chosen by them, so pick no winner here")

    tasks = [ColumnTask(name, method.name, params, source, settings.calibration) for name in dataset.categories]
    cells: dict[tuple[str, int], CellResult] = {}
    for task, cell in analysis.spread(evaluate_column, tasks):
        cells[task.category, cell.column] = cell
        value = cell.metrics.get(settings.metrics[0])
        shown = "undefined" if value is None else f"{100 * value:.2f} %"
        what = f"{task}, {columns[cell.column]}"
        analysis.say(f"{what}: {settings.metrics[0]} {shown} ({cell.seconds:.1f} s)")
        analysis.note(*(f"{task}: {note}" for note in cell.notes))
    names = [name for name in dataset.categories if all((name, column) in cells for column in range(len(columns)))]
    panels = {}
    for metric in settings.metrics:
        table = np.array(
            [[cells[name, c].metrics.get(metric, math.nan) for c in range(len(columns))] for name in names]
        )
        average = _mean_over_categories(table)
        panels[metric] = {**dict(zip(names, table.tolist(), strict=True)), AVERAGE: average}
        rows = [
            {"Category": name, **{column: _percent(v) for column, v in zip(columns, line, strict=True)}}
            for name, line in panels[metric].items()
        ]
        analysis.table(f"evaluation_{metric}", rows, title=f"{metric} (%), all test images: {method.name}")
        for column, value in zip(columns, average, strict=True):
            analysis.number(f"{metric}/{column}", value)
    if settings.calibration:
        rows = [
            {**({"params": columns[c]} if varied else {}), **row}
            for c in range(len(columns))
            for name in names
            for row in cells[name, c].realised
        ]
        analysis.table("calibration", rows, title=f"false alarms and defects found, all test images: {method.name}")
    analysis.table("evaluation_long", _long_rows(names, columns, varied, values, cells))
    analysis.figure(
        "evaluation",
        value_curves(columns, panels, varied or "params", AVERAGE, title=f"{method.name} on {dataset.name}"),
    )


def column_labels(varied: str | None, values: Sequence[Any]) -> list[str]:
    """Headings of the columns: ``10%`` for a ratio, as published, else ``sigma=2``."""
    if varied is None:
        return [str(value) for value in values]
    if "ratio" in varied and all(isinstance(value, float) for value in values):
        return [f"{100 * value:.10g}%" for value in values]
    return [f"{varied}={value:.10g}" if isinstance(value, float) else f"{varied}={value}" for value in values]


def _mean_over_categories(table: np.ndarray) -> list[float]:
    """Mean of each column over the categories in which all columns are defined, so that columns stay comparable."""
    defined = table[np.isfinite(table).all(axis=1)]
    return [math.nan] * table.shape[1] if not len(defined) else [float(value) for value in defined.mean(axis=0)]


def _percent(value: float) -> str:
    return "N/A" if math.isnan(value) else f"{100 * value:.2f}"


def _long_rows(
    names: Sequence[str],
    columns: Sequence[str],
    varied: str | None,
    values: Sequence[Any],
    cells: Mapping[tuple[str, int], CellResult],
) -> Iterator[dict[str, Any]]:
    for name in names:
        for column in range(len(columns)):
            for metric, value in cells[name, column].metrics.items():
                yield {
                    "category": name,
                    "param": varied or "",
                    "param_value": values[column] if varied else "",
                    "metric": metric,
                    "value": value,
                }
