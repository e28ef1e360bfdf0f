"""An analysis, or a training, as one MLflow run. Its folder holds all that is logged, so that it can be logged later too."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from subband.errors import TrackingError
from subband.tracking.connection import answering, connect, restore_command
from subband.tracking.naming import flat_params, legal_key, legal_tags
from subband.tracking.sweep_file import DatasetInfo
from subband.tracking.uri import TrackingTarget, resolve_tracking

REPORT_FILE_NAME = "report.json"
_BATCH = 100
_DIGEST_LENGTH = 12
_WHOLE = "report_digest"
"""Tag of a run that holds all of a report's folder: the digest of the report."""


class ReportFile(BaseModel):
    """The content of ``report.json``.

    Attributes:
        report_id: finds the run again, in any MLflow.
        experiment: that holds the run.
        run_name: the run's name.
        dataset: what was analysed.
        params: what was asked.
        points: (name, value, step) of every number.
        tags: what a reader must know.
        status: how it ended, as MLflow calls it; RUNNING until somebody says so.
        tracking_uri: where it was to be logged; `log_report` goes there unless told otherwise.
        artifact_root: see `TrackingTarget`.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    format: int = 1
    report_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    experiment: str = Field(min_length=1, max_length=500)
    run_name: str = Field(min_length=1)
    dataset: DatasetInfo
    params: dict[str, Any] = {}
    points: list[tuple[str, float, int]] = []
    tags: dict[str, str] = {}
    status: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"] = "FINISHED"
    tracking_uri: str
    artifact_root: str | None = None


@dataclass(frozen=True)
class LoggedReport:
    """Where an analysis was logged."""

    target: TrackingTarget
    run_id: str
    experiment_id: str
    files: int


def log_report(folder: Path, tracking_uri: str | None = None) -> LoggedReport:
    """Log the results in a folder, as far as they are not there yet; repeating it changes nothing.

    Args:
        folder: of an analysis, with its ``report.json``.
        tracking_uri: where to; by default where the analysis was to be logged.

    Raises:
        TrackingError: the folder is not an analysis's, or MLflow does not answer or refuses something; the folder is
            untouched, and this may be called again.
    """
    try:
        report = ReportFile.model_validate_json((folder / REPORT_FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise TrackingError(f"{folder} holds no readable {REPORT_FILE_NAME} of an analysis: {error}") from error
    target = TrackingTarget(report.tracking_uri, report.artifact_root, "where the analysis was to be logged")
    if tracking_uri:
        target = resolve_tracking(tracking_uri, folder)
    with answering(target):
        return _log(folder, report, target)


def start_run(client: Any, report: ReportFile, target: TrackingTarget) -> str:
    """The report's run, made if it is not there, with all points so far; one that was interrupted is running again."""
    for run in client.search_runs([_experiment(client, report.experiment, target)], _query(report)):
        run_id = str(run.info.run_id)
        client.update_run(run_id, status="RUNNING")
        # Its params cannot be changed any more; its tags can, and say what was.
        for name, value in legal_tags(report.tags).items():
            if run.data.tags.get(name) != value:
                client.set_tag(run_id, name, value)
        keys = {legal_key(name) for name, *_ in report.points}
        there = {(key, point.step) for key in keys for point in client.get_metric_history(run_id, key)}
        _log_points(client, run_id, [point for point in report.points if (legal_key(point[0]), point[2]) not in there])
        return run_id
    run_id = _create_run(client, report, target)
    _log_points(client, run_id, report.points)
    return run_id


def finish_run(client: Any, run_id: str, folder: Path, status: str) -> None:
    """Log the files of a report's folder and mark its run."""
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id, status)
    client.set_tag(run_id, _WHOLE, _digest(folder))  # the last: a run that was cut off on the way lacks it


def _log(folder: Path, report: ReportFile, target: TrackingTarget) -> LoggedReport:
    client = connect(target)
    experiment_id = _experiment(client, report.experiment, target)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for run in client.search_runs([experiment_id], _query(report)):
        if run.data.tags.get(_WHOLE) == _digest(folder):
            return LoggedReport(target, str(run.info.run_id), experiment_id, len(files))
        client.delete_run(run.info.run_id)  # its writer died or was cut off half-way, or the report has grown
    run_id = _create_run(client, report, target)
    try:
        _log_points(client, run_id, report.points)
        # Nobody was left to say how it ended: its process was killed.
        finish_run(client, run_id, folder, "KILLED" if report.status == "RUNNING" else report.status)
    except BaseException:
        _give_up(client, run_id)
        raise
    return LoggedReport(target, run_id, experiment_id, len(files))


def _log_points(client: Any, run_id: str, points: Sequence[tuple[str, float, int]]) -> None:
    from mlflow.entities import Metric

    now = int(client.get_run(run_id).info.start_time)
    metrics = [Metric(legal_key(name), value, now, step) for name, value, step in points]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])


def _digest(folder: Path) -> str:
    """Of the report as it is now."""
    return hashlib.sha256((folder / REPORT_FILE_NAME).read_bytes()).hexdigest()


def _query(report: ReportFile) -> str:
    return f"tags.`report_id` = '{report.report_id}'"


def _create_run(client: Any, report: ReportFile, target: TrackingTarget) -> str:
    """A new run with the report's params, tags and dataset."""
    from mlflow.entities import Dataset, DatasetInput, Param

    from subband.tracking.writer import source_commit

    tags = {"role": "analysis", "report_id": report.report_id, "dataset": report.dataset.name, **report.tags}
    if commit := source_commit():
        tags["mlflow.source.git.commit"] = commit
    experiment_id = _experiment(client, report.experiment, target)
    run_id = str(client.create_run(experiment_id, tags=legal_tags(tags), run_name=report.run_name).info.run_id)
    try:
        params = [Param(key, value) for key, value in flat_params(report.params).items()]
        for start in range(0, len(params), _BATCH):
            client.log_batch(run_id, params=params[start : start + _BATCH])
        dataset = Dataset(
            name=report.dataset.name[:500],
            digest=report.dataset.digest[:_DIGEST_LENGTH],
            source_type="subband",
            source=json.dumps({"uri": report.dataset.source}),
            schema=json.dumps({"categories": list(report.dataset.categories)}),
        )
        client.log_inputs(run_id, [DatasetInput(dataset=dataset, tags=[])])
    except BaseException:
        _give_up(client, run_id)
        raise
    return run_id


def _give_up(client: Any, run_id: str) -> None:
    """Mark a half-written run, if MLflow still listens; the next attempt replaces it either way."""
    try:
        client.set_terminated(run_id, "FAILED")
    except Exception:
        return


def _experiment(client: Any, name: str, target: TrackingTarget) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]
        location = f"{target.artifact_root}/{digest}" if target.artifact_root else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r} was deleted in MLflow; give another --experiment, "
            f"or restore it: {restore_command(target.uri, found.experiment_id)}"
        )
    return str(found.experiment_id)
