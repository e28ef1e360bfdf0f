"""What one trial leaves behind, the ledger file that keeps it, and which of two trials is preferred.

The ledger (``trials.jsonl`` in the sweep's folder) is the sweep's own memory: it is appended as soon as a trial ends, so that an
interrupted sweep resumes from it and a tracking server that was down can be given the results later.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from subband.metrics import TIE_BREAKERS, merit

LEDGER_NAME = "trials.jsonl"


class TrialRecord(BaseModel):
    """One params evaluated.

    Attributes:
        trial_id: unique in its sweep.
        number: order of completion, from 0.
        proposed: order of proposal, from 0, which does not depend on which worker was faster: of a preset or grid the place in its
            list. None in ledgers written before it was kept.
        params: the method's full params, as plain values.
        searched: names of the params that the search space varies.
        status: ``complete`` (all categories, or all epochs), ``stopped`` (early) or ``failed``.
        choose: mean over the evaluated categories of the metrics that selection may look at; of a trained method, those of the
            validation examples after its best epoch.
        report: mean over the evaluated categories of the metrics on samples that selection did not look at
            (the same as ``choose`` under ``selection="test"``; empty where there are no labelled test samples). Costs, which
            need no labels, stand in both.
        categories: per category, ``{"choose": {...}, "report": {...}}``; of a trained method, its test sets.
        timings: seconds by stage name, plus ``stages`` (their sum), ``costs`` (building and timing detectors, where an objective
            is a cost) and ``trial`` (all of it).
        notes: what a reader must know (undefined metrics, masks that vanished, ...).
        error: the failure's message, for ``failed``.
        model: folder of a trained method's saved model, below the sweep's; kept for the winner so far and the Pareto front.
    """

    # An undefined metric is NaN, which JSON would otherwise turn into null, and null could not be read again.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    trial_id: str
    number: int
    proposed: int | None = None
    params: dict[str, Any]
    searched: tuple[str, ...] = ()
    status: Literal["complete", "stopped", "failed"]
    choose: dict[str, float] = {}
    report: dict[str, float] = {}
    categories: dict[str, dict[str, dict[str, float]]] = {}
    timings: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    error: str | None = None
    model: str | None = None


def preference(
    record: TrialRecord, objectives: Sequence[str], source: Literal["choose", "report"] = "choose"
) -> tuple[float, ...]:
    """Sort key of trials: the smaller is preferred, and no two trials of a sweep have the same.

    Compared in turn: the objectives in their order, the `TIE_BREAKERS` of the task, the order of proposal, and that of completion
    (it decides between attempts at the same proposal, and in ledgers that do not know who was proposed first). A metric that is
    missing or not a number is worse than any value.

    Args:
        record: the trial.
        objectives: metrics and costs, the ranking one first.
        source: the metrics that are compared.
    """
    values: dict[str, float] = getattr(record, source)
    names = (*objectives, *chain.from_iterable(TIE_BREAKERS.values()))
    merits = [merit(name, values[name]) if not math.isnan(values.get(name, math.nan)) else -math.inf for name in names]
    place = record.number if record.proposed is None else record.proposed
    return (*(-value for value in merits), place, record.number)


def append_record(folder: Path, record: TrialRecord) -> None:
    """Append one record to the folder's ledger, durable before this returns."""
    path = folder / LEDGER_NAME
    with path.open("ab+") as ledger:
        if ledger.tell() > 0:
            ledger.seek(-1, os.SEEK_END)
            if ledger.read() != b"\n":
                ledger.write(b"\n")  # an interrupted line must not take this one with it
        ledger.write(record.model_dump_json().encode() + b"\n")
        ledger.flush()
        os.fsync(ledger.fileno())


def read_records(folder: Path) -> list[TrialRecord]:
    """The folder's records in order; a last line that an interruption cut off is left out."""
    path = folder / LEDGER_NAME
    if not path.exists():
        return []
    records = []
    # Bytes, and split at line feeds alone: a cut may halve a character, and a message may hold what Unicode calls a line end.
    for line in path.read_bytes().split(b"\n"):
        try:
            content = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError):
            continue
        records.append(TrialRecord.model_validate(content))
    return records
