"""Giving MLflow later what it missed: a run's folder holds everything that its log would have written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from subband.errors import TrackingError
from subband.runs.description import Description, ReportFile, SweepFile, read_description
from subband.tracking.connection import answering, connect
from subband.tracking.log import let_go, lock_run
from subband.tracking.uri import TrackingTarget, resolve_tracking
from subband.trials import read_records


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        target: where it wrote.
        run_id: the run.
        experiment_id: its experiment.
        files: how many figures, tables and other files it has.
        champions: versions by registered model name.
        trials: how many trials a sweep has.
        new_trials: how many of them MLflow did not have.
        best_runs: run ids of the best complete trials, best first.
    """

    target: TrackingTarget
    run_id: str
    experiment_id: str
    files: int
    champions: dict[str, int]
    trials: int = 0
    new_trials: int = 0
    best_runs: tuple[str, ...] = ()


def push(folder: Path, tracking_uri: str | None = None) -> Pushed:
    """Write a run's folder to MLflow, as far as it is not there yet; repeating it changes nothing.

    Args:
        folder: of a sweep, a training, a fit or an analysis.
        tracking_uri: where to; by default where the run itself logs.

    Raises:
        TrackingError: the folder is not a run's, a process is still logging it, or MLflow does not answer or refuses something.
            What was written until then stays, and is not written again.
    """
    folder = described(folder)
    lock = lock_run(folder)
    try:
        description = read_description(folder)
        target = TrackingTarget(description.tracking_uri, description.artifact_root, "where the run logs")
        if tracking_uri:
            target = resolve_tracking(tracking_uri, folder)
        with answering(target):
            return _push(folder, description, target)
    finally:
        let_go(lock)


def described(folder: Path) -> Path:
    """The folder with the description: a training and a fit keep theirs in ``report/``.

    Raises:
        TrackingError: there is none.
    """
    names = (SweepFile.file_name, ReportFile.file_name)
    for place in (folder, folder / "report"):
        if any((place / name).is_file() for name in names):
            return place
    raise TrackingError(f"{folder} is not the folder of a run: it has neither {' nor '.join(names)}")


def _push(folder: Path, description: Description, target: TrackingTarget) -> Pushed:
    from subband.tracking.writer import SweepWriter, writer_of

    if description.status == "running":  # nobody holds the lock: the run was killed before it could say so
        description.status = "killed"
        description.save(folder)
    writer = writer_of(connect(target), description, target.artifact_root)
    try:
        trials: dict[str, bool] = {}
        if isinstance(writer, SweepWriter):
            trials = {record.trial_id: writer.write_trial(record) for record in read_records(folder)}
        champions = {}
        for entry in description.champions.values():
            registered = writer.write_champion(entry, target)
            champions[registered.name] = registered.version
            description.save(folder)
        files = writer.write_files(folder)
        writer.finish(description.status)
    except BaseException:
        writer.give_up()
        raise
    return Pushed(
        target=target,
        run_id=writer.run_id,
        experiment_id=writer.experiment_id,
        files=files,
        champions=champions,
        trials=len(trials),
        new_trials=sum(trials.values()),
        best_runs=tuple(writer.best_runs(8)) if isinstance(writer, SweepWriter) else (),
    )
