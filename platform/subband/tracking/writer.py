"""Writing one sweep to MLflow: a parent run, its children, their artifacts. All of it may be repeated without harm.

The parent is found again by its tag ``sweep_id``, a child by its tag ``trial_id``; so resuming a sweep, and giving a
server later what it missed, are the same operation: go through the ledger and write what is not there.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from subband.errors import TrackingError
from subband.tracking.connection import restore_command
from subband.tracking.naming import flat_params, legal_tags, shortened, trial_metrics, trial_name
from subband.tracking.progress import Progress
from subband.tracking.registry import Registered, register_with
from subband.tracking.sweep_file import FIGURES, REPORT, ChampionEntry, Status, SweepFile
from subband.tracking.uri import TrackingTarget
from subband.tracking.view import TAG_PREFIX, outdated_views, ranked_view, view_key
from subband.trials import TrialRecord

# MLflow's limits of one log_batch call.
_METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100
_DIGEST_LENGTH = 12  # MLflow's limit is 36; the page shows it beside the name
_PAGE = 1000

_RUN_STATUS: dict[Status, str] = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
_TRIAL_STATUS = {"complete": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


class SweepWriter:
    """One sweep in one MLflow.

    Args:
        client: an open client.
        file: the sweep's description.
        artifact_root: where a new experiment keeps artifacts, None to let the server decide.

    Attributes:
        experiment_id: the experiment's id.
        run_id: the parent run's id.
        runs: MLflow run id by trial id.
        progress: what the trials written so far add up to.
    """

    def __init__(self, client: MlflowClient, file: SweepFile, artifact_root: str | None) -> None:
        self.client = client
        self.file = file
        self.progress = Progress(file.info)
        self.runs: dict[str, str] = {}
        self._written: dict[str, str] = {}  # status by trial id, of children that are completely there
        self._points: dict[int, list[Metric]] = {}  # the parent's progress that is not written yet, by step
        self._has_view = False
        self.experiment_id = self._find_or_create_experiment(artifact_root)
        parent = self._find_parent()
        if parent is None:
            self.run_id = self._create_parent()
            self._last_step = 0
        else:
            self.run_id = parent.info.run_id
            self._last_step = int(parent.data.metrics.get("trials/done", 0))
            self._read_children()
        self._describe_parent(parent)

    def write_trial(self, record: TrialRecord) -> bool:
        """Write one trial as a child run; returns False when it is there already."""
        points = self.progress.add(record)
        if self.progress.done > self._last_step:
            now, step = _milliseconds(), self.progress.done
            self._points[step] = [Metric(key, value, now, step) for key, value in points.items()]
        if self._written.get(record.trial_id) == record.status:
            return False
        metrics, undefined = trial_metrics(record, with_report=self.file.info.selection != "test")
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
    def has_progress(self) -> bool:
        """Whether there is progress that :meth:`write_progress` has not written yet."""
        return bool(self._points)

    def write_progress(self) -> None:
        """Write the parent's progress series up to the last trial."""
        if self._points:
            self._log_batches(self.run_id, [metric for metrics in self._points.values() for metric in metrics])
            self._last_step = max(self._points)
            self._points = {}

    def write_file(self, path: Path, group: str) -> None:
        """Put a file among the parent's artifacts, under ``group`` (``figures`` or ``report``)."""
        self.client.log_artifact(self.run_id, str(path), group)

    def write_view(self, searched: tuple[str, ...]) -> None:
        """Save the page's view of this sweep, see :mod:`subband.tracking.view`."""
        info, now = self.file.info, _milliseconds()
        content = ranked_view(info.run_name, self.file.sweep_id, self.run_id, info.objectives, searched, now)
        self.client.set_experiment_tag(self.experiment_id, TAG_PREFIX + view_key(self.file.sweep_id), content)
        tags = self.client.get_experiment(self.experiment_id).tags
        for key in outdated_views(tags):
            self.client.delete_experiment_tag(self.experiment_id, key)

    def write_champion(self, entry: ChampionEntry, target: TrackingTarget) -> Registered:
        """Register a champion, once for each tracking URI."""
        if target.uri not in entry.versions:
            champion = register_with(
                self.client, Path(entry.model_dir), entry.name, entry.tags, target, self.run_id, entry.loader
            )
            entry.versions[target.uri] = champion.version
            entry.names[target.uri] = champion.name
        return Registered(entry.names.get(target.uri, entry.name), entry.versions[target.uri])

    def write_files(self, folder: Path) -> int:
        """Put every figure and report of the sweep's folder among the artifacts; returns how many."""
        files = [(path, group) for group in (FIGURES, REPORT) for path in sorted((folder / group).glob("[!.]*"))]
        for path, group in files:
            self.write_file(path, group)
        return len(files)

    def finish(self, status: Status) -> None:
        """Write the last progress, the best trial so far and the sweep's status; no child is left running."""
        self.write_progress()
        ranked = [trial_id for trial_id in self.progress.ranked() if trial_id in self.runs]
        if ranked:
            objective = self.progress.first_objective
            tags = {
                "best_run": self.runs[ranked[0]],
                "best_chosen_by": f"{objective}, selection={self.file.info.selection}",
            }
            self._log_batches(self.run_id, tags=tags)
        self.client.set_terminated(self.run_id, _RUN_STATUS[status])

    def answers(self) -> bool:
        """Whether MLflow answers at all."""
        try:
            self.client.search_experiments(max_results=1)
        except Exception:
            return False
        return True

    def best_runs(self, count: int) -> list[str]:
        """Run ids of the best complete trials, best first."""
        return [self.runs[trial_id] for trial_id in self.progress.ranked() if trial_id in self.runs][:count]

    def _find_or_create_experiment(self, artifact_root: str | None) -> str:
        name = self.file.info.experiment
        found = self.client.get_experiment_by_name(name)
        if found is None:
            digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]
            location = f"{artifact_root}/{digest}" if artifact_root else None
            try:
                return str(self.client.create_experiment(name, artifact_location=location))
            except MlflowException:  # another sweep was faster
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment {name!r} was deleted in MLflow; give another name, "
                f"or restore it: {restore_command(self.client.tracking_uri, found.experiment_id)}"
            )
        return str(found.experiment_id)

    def _find_parent(self) -> Run | None:
        query = f"tags.`sweep_id` = '{self.file.sweep_id}' and tags.`role` = 'sweep'"
        runs = self.client.search_runs([self.experiment_id], query, max_results=1)
        return runs[0] if runs else None

    def _create_parent(self) -> str:
        info = self.file.info
        tags = {
            "role": "sweep",
            "sweep_id": self.file.sweep_id,
            "method": info.method,
            "selection": info.selection,
            "objective": ", ".join(f"{name} ({direction})" for name, direction in info.objectives.items()),
            "seed": info.seed,
            "weights": info.weights,
            "dataset": info.dataset.name,
            "dataset_digest": info.dataset.digest,
            "mlflow.user": _user(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": Path(sys.argv[0]).name or "python",
            **info.tags,
        }
        if commit := source_commit():
            tags["mlflow.source.git.commit"] = commit
        run = self.client.create_run(self.experiment_id, tags=legal_tags(tags), run_name=info.run_name)
        return str(run.info.run_id)

    def _describe_parent(self, parent: Run | None) -> None:
        """Params and dataset of the parent; of a run that is there, only what is missing or changed."""
        info = self.file.info
        wanted = flat_params({"method": info.method, "selection": info.selection, "seed": info.seed, **info.settings})
        there: Mapping[str, str] = parent.data.params if parent else {}
        changed = [f"{key}: {there[key]} -> {value}" for key, value in wanted.items() if there.get(key, value) != value]
        tags = {"settings_changed_on_resume": "; ".join(changed)} if changed else {}
        missing = {key: value for key, value in wanted.items() if key not in there}
        self._log_batches(self.run_id, params=missing, tags=tags)
        if parent is None or not parent.inputs.dataset_inputs:
            self._log_dataset()
        if parent is not None and parent.info.status != "RUNNING" and self.file.status == "running":
            self.client.update_run(self.run_id, status="RUNNING")

    def _log_dataset(self) -> None:
        dataset = self.file.info.dataset
        entity = Dataset(
            name=shortened(dataset.name, 500),
            digest=dataset.digest[:_DIGEST_LENGTH],
            source_type="subband",
            source=json.dumps({"uri": dataset.source}),
            schema=json.dumps({"categories": list(dataset.categories)}),
        )
        context = [InputTag(key="mlflow.data.context", value="search")]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset=entity, tags=context)])

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
        info = self.file.info
        name = trial_name(record, info.trial_name)
        tags = {
            "mlflow.parentRunId": self.run_id,
            "mlflow.user": _user(),
            "role": "trial",
            "trial_id": record.trial_id,
            "sweep_id": self.file.sweep_id,
            "method": info.method,
            "selection": info.selection,
            "searched": ", ".join(record.searched),
            **outcome,
        }
        start = _milliseconds() - _trial_milliseconds(record)
        run = self.client.create_run(self.experiment_id, start_time=start, tags=legal_tags(tags), run_name=name)
        self.runs[record.trial_id] = str(run.info.run_id)
        return self.runs[record.trial_id], start, {}

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
