"""Opening MLflow: short timeouts, a database that two sweeps may share, and errors told apart."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from subband.errors import SubbandError, TrackingError
from subband.tracking.uri import TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own defaults retry for about four minutes with timeouts of two minutes. A sweep keeps its results in its
# folder anyway, so one request may take this long and is then tried again by our own queue, which grows its pauses.
REQUEST_SECONDS = 15
CREATION_SECONDS = 120

_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_SECONDS),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # else two lines a trial, and one more request
    "MLFLOW_DISABLE_TELEMETRY": "true",  # an inspection line's machine calls nobody unasked
}


def prepare_environment() -> None:
    """Set MLflow's process-wide options where the user has not; MLflow offers no other way to set them."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def connect(target: TrackingTarget) -> MlflowClient:
    """A client of the target; creates a sqlite database where there is none (about two seconds of migrations).

    Raises:
        TrackingError: the database cannot be opened, or has the schema of another MLflow version.
        Exception: whatever MLflow raises when a server does not answer; see :func:`is_unreachable`.
    """
    prepare_environment()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for noisy in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Unnamed CHECK constraint", category=UserWarning)  # alembic, on creation
    path = target.sqlite_path
    try:
        with _alone(path) if path else nullcontext():
            client = MlflowClient(tracking_uri=target.uri, registry_uri=target.uri)
            client.search_experiments(max_results=1)
    except (OSError, sqlite3.Error) as error:
        if path is None:
            raise
        raise TrackingError(f"cannot open the tracking database {path}: {error}") from error
    except MlflowException as error:
        if "out-of-date database schema" in str(error):
            raise TrackingError(
                f"{target.uri} was made by another MLflow version; back it up, then run: mlflow db upgrade {target.uri}"
            ) from error
        raise
    return client


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Open a database file while nobody else does: MLflow runs its migrations without a lock, and two would collide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=CREATION_SECONDS):
        with closing(sqlite3.connect(path, timeout=CREATION_SECONDS)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # the web page reads while a sweep writes
        yield


@contextmanager
def answering(target: TrackingTarget) -> Iterator[None]:
    """Turn MLflow's silence and its refusals inside the block into a :class:`TrackingError` that says which it was."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except SubbandError:
        raise
    except Exception as error:
        if is_unreachable(error):
            raise TrackingError(f"MLflow at {target.uri} does not answer: {str(error)[:300]}") from error
        if isinstance(error, MlflowException):
            raise TrackingError(f"MLflow at {target.uri} refuses this: {str(error)[:300]}") from error
        raise


def experiment_of(client: MlflowClient, name: str, artifact_root: str | None) -> str:
    """Id of the experiment of that name, made if there is none.

    Raises:
        TrackingError: it was deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]
        location = f"{artifact_root}/{digest}" if artifact_root else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            # As it can be typed in any folder and environment.
            f"experiment {name!r} was deleted in MLflow; give another --experiment, or restore it: "
            f"MLFLOW_TRACKING_URI={shlex.quote(client.tracking_uri)} {shlex.quote(sys.executable)} -m mlflow experiments restore "
            f"--experiment-id {found.experiment_id}"
        )
    return str(found.experiment_id)


def is_unreachable(error: BaseException) -> bool:
    """Whether trying again later may help: no answer, a busy database, a server error, a refused login."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import OperationalError

    if isinstance(error, MlflowException):
        code = int(error.get_http_status_code())
        return code >= 500 or code in (401, 403, 408, 429)
    return isinstance(error, (RequestException, OperationalError, OSError))
