"""Writing a run to MLflow: params, tags, dataset, numbers, artifacts, champions, and of a sweep a child run for each trial."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from subband.runs.description import ChampionEntry, DatasetInfo, Description, Number, Status, SweepFile
from subband.tracking.connection import experiment_of
from subband.tracking.naming import flat_params, legal_key, legal_tags, shortened, trial_metrics, trial_name
from subband.tracking.progress import Progress
from subband.tracking.registry import Registered, register_with
from subband.tracking.uri import TrackingTarget
from subband.tracking.view import TAG_PREFIX, outdated_views, ranked_view, view_key
from subband.trials import TrialRecord

# MLflow's limits of one log_batch call.
_METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100
_DIGEST_LENGTH = 12  # MLflow's limit is 36; the page shows it beside the name
_PAGE = 1000

_TRIAL_STATUS = {"complete": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


class MlflowWriter:
    """One run in one MLflow. All of it may be repeated without harm.

    The run is found again by the tags of its description's identity; so resuming a run, and giving a server later what it missed,
    are the same operation: go through the folder and write what is not there.

    Args:
        client: an open client.
        description: the run's.
        artifact_root: where a new experiment keeps artifacts, None to let the server decide.

    Attributes:
        experiment_id: the experiment's id.
        run_id: the run's id.
        has_progress: whether there is progress that :meth:`write_progress` has not written yet.
    """

    has_progress = False
    data_context = ""

    def __init__(self, client: MlflowClient, description: Description, artifact_root: str | None) -> None:
        self.client = client
        self.description = description
        experiment, name = description.where
        self.experiment_id = experiment_of(client, experiment, artifact_root)
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in description.identity.items())
        found = self.client.search_runs([self.experiment_id], query, max_results=1)
        self._found: Run | None = found[0] if found else None
        self.run_id = str(self._found.info.run_id) if self._found else self._create(name)
        self._files: dict[Path, int] = {}  # time of change of those that are there
        self._numbers: dict[tuple[str, int], float] = {}  # by key and step, those that are there
        self._describe()

    def write_numbers(self, numbers: Sequence[Number]) -> None:
        """Write (name, value, step) numbers, as far as they are not there with the same value."""
        now = _milliseconds()
        named = {(legal_key(name), step): value for name, value, step in numbers}
        new = {place: value for place, value in named.items() if self._numbers.get(place) != value}
        self._log_batches(self.run_id, [Metric(key, value, now, step) for (key, step), value in new.items()])
        self._numbers |= new

    def write_progress(self) -> None:
        """Write what a run with children adds up to; others have nothing of the kind."""

    def write_file(self, path: Path, group: str | None) -> None:
        """Put a file among the artifacts, in the folder ``group``."""
        self.client.log_artifact(self.run_id, str(path), group)
        self._files[path] = path.stat().st_mtime_ns

    def write_files(self, folder: Path, only_missing: bool = False) -> int:
        """Put the folder's files among the artifacts; returns how many there are.

        Args:
            folder: the run's.
            only_missing: leave out those that this writer has written already.
        """
        files = self.description.files(folder)
        for path in files:
            if not only_missing or self._files.get(path) != path.stat().st_mtime_ns:
                group = path.parent.relative_to(folder).as_posix()
                self.write_file(path, None if group == "." else group)
        return len(files)

    def write_champion(self, entry: ChampionEntry, target: TrackingTarget) -> Registered:
        """Register a champion, once for each tracking URI."""
        if target.uri not in entry.versions:
            champion = register_with(
                self.client, Path(entry.model_dir), entry.name, entry.tags, target, self.run_id, entry.loader
            )
            entry.versions[target.uri] = champion.version
            entry.names[target.uri] = champion.name
        return Registered(entry.names.get(target.uri, entry.name), entry.versions[target.uri])

    def finish(self, status: Status) -> None:
        """Write the last progress and how the run ended."""
        self.write_progress()
        self.client.set_terminated(self.run_id, status.upper())

    def give_up(self) -> None:
        """Mark a half-written run as failed, if MLflow still listens; the next attempt completes it."""
        if self._found is None:
            with suppress(Exception):
                self.client.set_terminated(self.run_id, "FAILED")

    def answers(self) -> bool:
        """Whether MLflow answers at all."""
        try:
            self.client.search_experiments(max_results=1)
        except Exception:
            return False
        return True

    def _create(self, name: str) -> str:
        dataset, _, tags, _ = self.description.content
        tags = {**self.description.identity, "dataset": dataset.name, **_origin(), **tags}
        run = self.client.create_run(self.experiment_id, tags=legal_tags(tags), run_name=name)
        return str(run.info.run_id)

    def _describe(self) -> None:
        """Params, dataset and numbers; of a run that was found, only what is missing, and tags that have changed."""
        run = self._found
        dataset, params, tags, numbers = self.description.content
        there: Mapping[str, str] = run.data.params if run else {}
        missing = {key: value for key, value in flat_params(params).items() if key not in there}
        if run is None or not run.inputs.dataset_inputs:
            self._log_dataset(dataset)
        if run is not None:
            tags = {key: value for key, value in legal_tags(tags).items() if run.data.tags.get(key) != value}
            for key in {legal_key(name) for name, *_ in numbers}:
                history = sorted(self.client.get_metric_history(self.run_id, key), key=lambda point: point.timestamp)
                self._numbers |= {(key, point.step): point.value for point in history}
        self._log_batches(self.run_id, params=missing, tags=tags if run else {})
        self.write_numbers(numbers)
        if run is not None and run.info.status != "RUNNING" and self.description.status == "running":
            self.client.update_run(self.run_id, status="RUNNING")

    def _log_dataset(self, dataset: DatasetInfo) -> None:
        entity = Dataset(
            name=shortened(dataset.name, 500),
            digest=dataset.digest[:_DIGEST_LENGTH],
            source_type="subband",
            source=json.dumps({"uri": dataset.source}),
            schema=json.dumps({"categories": list(dataset.categories)}),
        )
        context = [InputTag(key="mlflow.data.context", value=self.data_context)] if self.data_context else []
        self.client.log_inputs(self.run_id, [DatasetInput(dataset=entity, tags=context)])

    def _log_batches(
        self,
        run_id: str,
        metrics: Iterable[Metric] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """As few ``log_batch`` calls as MLflow's limits allow."""
        metrics = list(metrics)
        param_list = [Param(key, value) for key, value in flat_params(params or {}).items()]
        tag_list = [RunTag(key, value) for key, value in legal_tags(tags or {}).items()]
        while metrics or param_list or tag_list:
            self.client.log_batch(
                run_id,
                metrics=metrics[: _METRICS_PER_BATCH - 2 * _PARAMS_PER_BATCH],
                params=param_list[:_PARAMS_PER_BATCH],
                tags=tag_list[:_PARAMS_PER_BATCH],
            )
            metrics = metrics[_METRICS_PER_BATCH - 2 * _PARAMS_PER_BATCH :]
            param_list, tag_list = param_list[_PARAMS_PER_BATCH:], tag_list[_PARAMS_PER_BATCH:]


class SweepWriter(MlflowWriter):
    """A sweep's run and, below it, one run for each trial, found again by its tag ``trial_id``.

    Attributes:
        runs: MLflow run id by trial id.
        progress: what the trials written so far add up to.
    """

    description: SweepFile
    data_context = "search"

    def __init__(self, client: MlflowClient, description: SweepFile, artifact_root: str | None) -> None:
        self.progress = Progress(description.info)
        self.runs: dict[str, str] = {}
        self._written: dict[str, str] = {}  # status by trial id, of children that are completely there
        self._points: dict[int, list[Metric]] = {}  # the parent's progress that is not written yet, by step
        self._has_view = False
        super().__init__(client, description, artifact_root)
        self._last_step = int(self._found.data.metrics.get("trials/done", 0)) if self._found else 0
        if self._found:
            self._read_children()

    def write_trial(self, record: TrialRecord) -> bool:
        """Write one trial as a child run; returns False when it is there already."""
        points = self.progress.add(record)
        if self.progress.done > self._last_step:
            now, step = _milliseconds(), self.progress.done
            self._points[step] = [Metric(key, value, now, step) for key, value in points.items()]
        if self._written.get(record.trial_id) == record.status:
            return False
        metrics, undefined = trial_metrics(record, with_report=self.description.info.selection != "test")
        tags: dict[str, str] = {"trial_status": record.status}
        if record.status == "stopped":
            tags["stopped_early"] = "true"
        if record.error:
            tags["error"] = record.error
        if undefined:
            tags["undefined_metrics"] = ", ".join(undefined)
        if record.notes:
            tags["notes"] = "\n".join(record.notes)
        run_id, start, tags = self._child(record, tags)
        end = start + _trial_milliseconds(record)
        self._log_batches(run_id, [Metric(key, value, end, 0) for key, value in metrics.items()], record.params, tags)
        self.client.set_terminated(run_id, _TRIAL_STATUS[record.status], end_time=end)
        self._written[record.trial_id] = record.status
        if not self._has_view:
            self.write_view(record.searched)
            self._has_view = True
        return True

    @property
    def has_progress(self) -> bool:  # type: ignore[override]
        """Whether there is progress that :meth:`write_progress` has not written yet."""
        return bool(self._points)

    def write_progress(self) -> None:
        """Write the parent's progress series up to the last trial."""
        if self._points:
            self._log_batches(self.run_id, [metric for metrics in self._points.values() for metric in metrics])
            self._last_step = max(self._points)
            self._points = {}

    def write_view(self, searched: tuple[str, ...]) -> None:
        """Save the page's view of this sweep, see :mod:`subband.tracking.view`."""
        info, now = self.description.info, _milliseconds()
        content = ranked_view(info.run_name, self.description.sweep_id, self.run_id, info.objectives, searched, now)
        self.client.set_experiment_tag(self.experiment_id, TAG_PREFIX + view_key(self.description.sweep_id), content)
        tags = self.client.get_experiment(self.experiment_id).tags
        for key in outdated_views(tags):
            self.client.delete_experiment_tag(self.experiment_id, key)

    def finish(self, status: Status) -> None:
        """Write the last progress, the best trial so far and the sweep's status; no child is left running."""
        if best := self.best_runs(1):
            chosen_by = f"{self.progress.first_objective}, selection={self.description.info.selection}"
            self._log_batches(self.run_id, tags={"best_run": best[0], "best_chosen_by": chosen_by})
        super().finish(status)

    def best_runs(self, count: int) -> list[str]:
        """Run ids of the best complete trials, best first."""
        return [self.runs[trial_id] for trial_id in self.progress.ranked() if trial_id in self.runs][:count]

    def _read_children(self) -> None:
        token = None
        while True:
            query = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
            page = self.client.search_runs([self.experiment_id], query, max_results=_PAGE, page_token=token)
            for run in page:
                trial_id = run.data.tags.get("trial_id")
                if trial_id is not None:
                    self.runs[trial_id] = run.info.run_id
                    if run.info.status != "RUNNING":  # else its writer died half-way: it is written again
                        self._written[trial_id] = run.data.tags.get("trial_status", "")
            token = page.token
            if not token:
                return

    def _child(self, record: TrialRecord, outcome: dict[str, str]) -> tuple[str, int, dict[str, str]]:
        """The child run of a trial, created where there is none: its id, its start in ms since 1970, tags it lacks."""
        if record.trial_id in self.runs:
            run = self.client.get_run(self.runs[record.trial_id])
            return str(run.info.run_id), int(run.info.start_time), outcome
        info = self.description.info
        name = trial_name(record, info.trial_name)
        tags = {
            "mlflow.parentRunId": self.run_id,
            "mlflow.user": _user(),
            "role": "trial",
            "trial_id": record.trial_id,
            "sweep_id": self.description.sweep_id,
            "method": info.method,
            "selection": info.selection,
            "searched": ", ".join(record.searched),
            **outcome,
        }
        start = _milliseconds() - _trial_milliseconds(record)
        run = self.client.create_run(self.experiment_id, start_time=start, tags=legal_tags(tags), run_name=name)
        self.runs[record.trial_id] = str(run.info.run_id)
        return self.runs[record.trial_id], start, {}


def writer_of(client: MlflowClient, description: Description, artifact_root: str | None) -> MlflowWriter:
    """The writer of a run: a sweep has children."""
    if isinstance(description, SweepFile):
        return SweepWriter(client, description, artifact_root)
    return MlflowWriter(client, description, artifact_root)


def _origin() -> dict[str, str]:
    """Tags that say who started a run, from which program and commit."""
    commit = source_commit()
    return {
        "mlflow.user": _user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name or "python",
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }


def source_commit() -> str | None:
    """The git commit of this package's checkout, with ``-dirty`` where files were changed; None without a checkout."""
    here = Path(__file__).resolve().parents[1]
    try:
        _git(
            here, "ls-files", "--error-unmatch", "errors.py"
        )  # else some other repository that encloses an installed package
        return _git(here, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _trial_milliseconds(record: TrialRecord) -> int:
    return int(1000 * record.timings.get("trial", 0.0))
