"""Giving MLflow later what it missed: a sweep's folder holds everything that its log would have written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from subband.errors import TrackingError
from subband.tracking.connection import answering, connect
from subband.tracking.sweep_file import SWEEP_FILE_NAME, SweepFile, lock_sweep
from subband.tracking.uri import TrackingTarget, resolve_tracking
from subband.trials import read_records


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        target: where it wrote.
        run_id: the parent run.
        experiment_id: its experiment.
        trials: how many trials the sweep has.
        new_trials: how many of them MLflow did not have.
        files: how many figures and reports were written.
        champions: versions by registered model name.
        best_runs: run ids of the best complete trials, best first.
    """

    target: TrackingTarget
    run_id: str
    experiment_id: str
    trials: int
    new_trials: int
    files: int
    champions: dict[str, int]
    best_runs: tuple[str, ...]


def push(folder: Path, tracking_uri: str | None = None) -> Pushed:
    """Write a sweep's folder to MLflow, as far as it is not there yet; repeating it changes nothing.

    Args:
        folder: a sweep's folder, with its ``sweep.json`` and its ledger.
        tracking_uri: where to; by default where the sweep itself logged.

    Raises:
        TrackingError: the folder is not a sweep's, a process is still logging it, or MLflow does not answer or refuses
            something. What was written until then stays, and is not written again.
    """
    if not (folder / SWEEP_FILE_NAME).is_file():
        raise TrackingError(f"{folder} is not a sweep's folder: it has no {SWEEP_FILE_NAME}")
    lock = lock_sweep(folder)
    try:
        file = SweepFile.load(folder)
        if file is None:
            raise TrackingError(f"{folder} has no {SWEEP_FILE_NAME} any more")
        target = resolve_tracking(tracking_uri, folder) if tracking_uri else _original(file)
        with answering(target):
            return _push(folder, file, target)
    finally:
        lock.release()


def _original(file: SweepFile) -> TrackingTarget:
    return TrackingTarget(file.tracking_uri, file.artifact_root, "where the sweep logged")


def _push(folder: Path, file: SweepFile, target: TrackingTarget) -> Pushed:
    from subband.tracking.writer import SweepWriter

    if file.status == "running":  # nobody holds the lock: the sweep was killed before it could say so
        file.status = "killed"
        file.save(folder)
    writer = SweepWriter(connect(target), file, target.artifact_root)
    records = {record.trial_id: record for record in read_records(folder)}
    written = [writer.write_trial(record) for record in records.values()]
    files = writer.write_files(folder)
    champions = {}
    for entry in file.champions.values():
        registered = writer.write_champion(entry, target)
        champions[registered.name] = registered.version
        file.save(folder)
    writer.finish(file.status)
    return Pushed(
        target=target,
        run_id=writer.run_id,
        experiment_id=writer.experiment_id,
        trials=len(records),
        new_trials=sum(written),
        files=files,
        champions=champions,
        best_runs=tuple(writer.best_runs(8)),
    )
