"""The saved view of a sweep: its trials as a ranked table with the columns that matter.

MLflow's table of runs shows neither params nor metrics until somebody picks columns. A saved view (the page's menu
*Views*) picks them: the page reads it from an experiment tag ``mlflow.sharedViewState.KEY``, which holds a name, two
times and the page's state as JSON. The format is the page's own (seen in MLflow 3.17); a page that does not know it
shows its plain table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

TAG_PREFIX = "mlflow.sharedViewState."
# The page offers no more than 40 views; some are left for the people who work with it.
VIEWS_KEPT = 25


_KEY_PREFIX = "sweep-"


def view_key(sweep_id: str) -> str:
    """The view's key in addresses."""
    return f"{_KEY_PREFIX}{sweep_id[:12]}"


def ranked_view(
    name: str,
    sweep_id: str,
    run_id: str,
    objectives: Mapping[str, Literal["max", "min"]],
    searched: Sequence[str],
    created: int,
) -> str:
    """The value of the experiment tag: the sweep's runs, the parent unfolded, trials best first.

    Args:
        name: the view's name in the menu.
        sweep_id: the sweep's tag.
        run_id: the parent run.
        objectives: metrics to show, the first one ranks; each comes with its ``report/`` counterpart.
        searched: params to show.
        created: milliseconds since 1970.
    """
    ranking = next(iter(objectives))
    metrics = [column for metric in objectives for column in (metric, f"report/{metric}")]
    state = {
        "searchFilter": f"tags.sweep_id = '{sweep_id}'",
        "orderByKey": f"metrics.`{ranking}`",
        "orderByAsc": objectives[ranking] == "min",
        "selectedColumns": [*(f"metrics.`{metric}`" for metric in metrics), *(f"params.`{name}`" for name in searched)],
        "runsExpanded": {run_id: True},
    }
    return json.dumps({"name": name, "createdAt": created, "updatedAt": created, "state": json.dumps(state)})


def outdated_views(tags: Mapping[str, str]) -> list[str]:
    """Keys of the experiment tags that hold our oldest views, when there are more than :data:`VIEWS_KEPT`."""
    ours = {key: value for key, value in tags.items() if key.startswith(TAG_PREFIX + _KEY_PREFIX)}
    ages = {key: _created(value) for key, value in ours.items()}
    return sorted(ages, key=lambda key: ages[key], reverse=True)[VIEWS_KEPT:]


def _created(value: str) -> int:
    try:
        return int(json.loads(value)["createdAt"])
    except (ValueError, KeyError, TypeError):
        return 0
