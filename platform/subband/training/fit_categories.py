"""Fits of one method to categories: images on N workers, then each fit, its proof, and MLflow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from subband.analysis.results import Analysis
from subband.champions.fitted import ChampionReport, Winner, build_champion, champion_split, copies_noticed
from subband.champions.promote import champion_name, champion_tags
from subband.compute import cluster
from subband.compute.shares import worker_share
from subband.data import Category, Dataset, Split, fingerprint_dataset, is_embedded
from subband.data.checks import data_decisions
from subband.decisions import Decision
from subband.errors import SubbandError
from subband.evaluation import CategoryBench
from subband.home import home
from subband.methods import StagedMethod, make_params, staged_method
from subband.methods.weights_rule import settled_for_job, weights_record
from subband.runs.description import ChampionEntry
from subband.runs.folders import new_name
from subband.stages import Store
from subband.tracking import DatasetInfo, ReportFile, TrackingTarget, push, registry_name, resolve_tracking
from subband.training.settings import FitSettings
from subband.training.share_features import share_pictures

SMOKE_PARAMS = {"image_size": 64}
Say = Callable[[str], None]


@dataclass(frozen=True)
class FitPlan:
    """Fits, decided and checked.

    Attributes:
        settings: as given.
        method: what is fitted.
        params: its params.
        dataset: opened.
        categories: that are fitted to.
        folder: of the results.
        target: MLflow's.
        decisions: for the person and for MLflow.
    """

    settings: FitSettings
    method: StagedMethod
    params: BaseModel
    dataset: Dataset
    categories: tuple[Category, ...]
    folder: Path
    target: TrackingTarget
    decisions: tuple[Decision, ...]

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.name


@dataclass
class FitResult:
    """What fits left.

    Attributes:
        rows: one a category, of numbers by name.
        detectors: reports of the proven detectors.
        registered: names and versions in MLflow's registry.
        problems: what failed; the rest stands.
        run_id: in MLflow, or None if it was not logged.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    detectors: list[ChampionReport] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    run_id: str | None = None


def make_fit_plan(name: str, values: Mapping[str, Any], settings: FitSettings) -> FitPlan:
    """Resolve and check everything before anything is started or written.

    Args:
        name: of the method.
        values: params that the user gave.
        settings: the rest.

    Raises:
        ParamsError: a param or setting is illegal.
        DataError: no such dataset or category, or one with defective training images.
    """
    method, dataset = staged_method(name), settings.dataset()
    decisions: list[Decision] = []
    given = dict(values)
    if settings.smoke:
        given = {key: value for key, value in SMOKE_PARAMS.items() if key in method.params_type.model_fields} | given
        decisions.append(Decision("smoke", "on", "few small images: checks the path, says nothing about quality"))
    given, decision = settled_for_job(method, given, embedded=is_embedded(dataset.uri), smoke=settings.smoke)
    if decision is not None:
        decisions.append(decision)
    params = make_params(method, given)
    decisions += data_decisions(dataset, settings.check)
    names = dataset.categories if settings.category is None else (settings.category,)
    categories = tuple(dataset.category(each) for each in names)
    for category in categories:
        decisions += copies_noticed(category)
        method.chain(params, len(category.train), len(category.test or category.train))
    folder = (settings.out or home() / "fits" / (settings.name or new_name(name))).expanduser().absolute()
    target = resolve_tracking(settings.tracking_uri, home())
    decisions.append(Decision("tracking", target.uri, target.reason))
    return FitPlan(settings, method, params, dataset, categories, folder, target, tuple(decisions))


def run_fits(plan: FitPlan, say: Say) -> FitResult:
    """Fit every category, prove each saved detector, and log.

    Detectors lie in ``champions/CATEGORY``; the table and figures in ``report/``. A category that fails is a problem, and the rest
    goes on.

    Args:
        plan: from `make_fit_plan`.
        say: called with one line for the person at every step.

    Raises:
        SubbandError: the workers could not compute their shares, or every category failed.
        KeyboardInterrupt: interrupted; what was computed and proven stays.
    """
    for decision in plan.decisions:
        say(str(decision))
    store, result = plan.settings.source().store(), FitResult()
    with _made(plan.folder), Analysis(plan.folder / "report", say=say) as report:
        seconds = _share(plan, store, say)
        failures: list[SubbandError] = []
        for category in plan.categories:
            try:
                row = _fit(plan, category, store, report, result, say)
            except SubbandError as error:
                failures.append(error)
                report.problem(f"{category.name}: {error}")
                continue
            result.rows.append({"category": category.name, "images_seconds": seconds.get(category.name, 0.0), **row})
        if not result.rows:
            raise failures[0]
        result.problems = report.findings.problems
        report.table("fits", result.rows)
        report.publish(_report_file(plan, result).model_dump(mode="json"))
    _track(plan, result)
    return result


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Leave no empty folder behind."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()


def _share(plan: FitPlan, store: Store, say: Say) -> dict[str, float]:
    """Seconds by category of the images' own stages."""
    settings, seconds = plan.settings, dict[str, float]()
    share: dict[str, Any] = {}
    if settings.workers > 1:
        where, why = cluster.connect()
        say(f"ray: {where} ({why})")
        found = worker_share(settings.workers, settings.device, settings.cpus_per_worker)
        say(f"workers: {settings.workers} with {found} each ({found.reason})")
        share = {"use_gpu": found.gpu, "cpus_per_worker": found.cpus, "max_failures": settings.max_failures}

    def heard(message: Mapping[str, Any]) -> None:
        seconds[message["split"]] = message["seconds"]
        say(f"{message['split']}: images done in {message['seconds']:.1f} s")

    splits: dict[str, Split] = {category.name: champion_split(category) for category in plan.categories}
    started = time.perf_counter()
    share_pictures(plan.method, plan.params, splits, store, workers=settings.workers, on_message=heard, **share)
    if seconds:
        say(f"images: {time.perf_counter() - started:.1f} s in all, {sum(seconds.values()):.1f} s of them at work")
    else:
        say("images: all of this was in the store")
    return seconds


def _fit(
    plan: FitPlan, category: Category, store: Store, report: Analysis, result: FitResult, say: Say
) -> dict[str, Any]:
    started = time.perf_counter()
    found = build_champion(
        Winner(
            method=plan.method,
            params=plan.params,
            category=category,
            reported=None,
            fpr=plan.settings.fpr,
            pixel_fpr=plan.settings.pixel_fpr,
            about={
                "dataset": plan.dataset.name,
                "data": plan.dataset.uri,
                "selection": "none: these params were given",
                "fit": plan.name,
                **weights_record(plan.decisions),
            },
        ),
        store,
        plan.folder / "champions" / category.name,
        report.path("figures"),
    )
    seconds = time.perf_counter() - started
    say(f"{category.name}: fitted, saved and checked in {seconds:.1f} s")
    result.detectors.append(found)
    report.table(f"scores-{registry_name(category.name)}", found.scores)
    metrics: Mapping[str, float] = {}
    if category.test:
        evaluation = CategoryBench(category, "test", 0, store).evaluate(plan.method, plan.params)
        metrics = evaluation.report
        report.note(*(f"{category.name}: {note}" for note in evaluation.notes))
    return {
        "fit_seconds": seconds,
        "training_images": len(category.train),
        "threshold": found.threshold,
        "false_alarms": found.false_alarms,
        "detected": found.detected,
        "parity": found.parity,
        **metrics,
    }


def _report_file(plan: FitPlan, result: FitResult) -> ReportFile:
    return ReportFile(
        experiment=plan.settings.experiment or f"{plan.method.name}/{plan.dataset.name}",
        run_name=plan.name,
        dataset=DatasetInfo(
            name=plan.dataset.name,
            digest=fingerprint_dataset(plan.dataset),
            source=plan.dataset.uri,
            categories=tuple(category.name for category in plan.categories),
        ),
        params={
            **plan.params.model_dump(mode="json"),
            "workers": plan.settings.workers,
            "fpr": plan.settings.fpr,
        },
        points=[
            (f"{row['category']}.{name}", float(value), 0)
            for row in result.rows
            for name, value in row.items()
            if isinstance(value, float | int)
        ],
        tags={
            "role": "fit",
            "method": plan.method.name,
            "selection": "none: all labelled test images report, nothing is chosen",
            "problems": "\n".join(result.problems) or "none",
            **dict(decision.tag for decision in plan.decisions),
        },
        tracking_uri=plan.target.uri,
        artifact_root=plan.target.artifact_root,
        champions=_champions(plan, result),
    )


def _champions(plan: FitPlan, result: FitResult) -> dict[str, ChampionEntry]:
    entries = {}
    for found in result.detectors if plan.settings.register_model else ():
        name = champion_name(plan.method.name, plan.dataset, found.category, plan.settings.smoke)
        more = {"category": found.category, "selection": "none"}
        tags = champion_tags(plan.method.name, plan.dataset, found.parity, found.threshold, more)
        entries[name] = ChampionEntry(name=name, model_dir=str(found.folder), tags=tags)
    return entries


def _track(plan: FitPlan, result: FitResult) -> None:
    """Log, and register what is to be registered; what MLflow refuses is a problem and loses nothing."""
    try:
        pushed = push(plan.folder)
    except SubbandError as error:
        result.problems.append(f"{error}; log it later: python -m subband.tracking push {plan.folder}")
        return
    result.run_id = pushed.run_id
    result.registered = [f"{name} version {version}" for name, version in pushed.champions.items()]
