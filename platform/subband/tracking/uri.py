"""Where results go: the tracking URI is decided once, with its reason, before a sweep starts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from subband.errors import TrackingError, unknown_name

SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlartifacts"
DEFAULT_PORT = 5000

# Without it MLflow's page shows the menu of language applications, not that of trained models.
_WORKFLOW = "workflowType=machine_learning"


@dataclass(frozen=True)
class TrackingTarget:
    """One place that keeps runs, artifacts and registered models.

    Attributes:
        uri: the MLflow tracking URI; paths in it are absolute, so that it means the same from every folder.
        artifact_root: file URI of the folder where new experiments keep artifacts, or None where a server decides.
        reason: why this one, for the log and the job's output.
    """

    uri: str
    artifact_root: str | None
    reason: str

    @property
    def is_server(self) -> bool:
        """Whether the URI names an MLflow server (and not a database that this process opens itself)."""
        return urlsplit(self.uri).scheme in SERVERS

    @property
    def sqlite_path(self) -> Path | None:
        """The database file of a sqlite URI, else None."""
        return Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:") else None


def resolve_tracking(uri: str | None, folder: Path) -> TrackingTarget:
    """Decide where to track: the given URI, else ``MLFLOW_TRACKING_URI``, else a sqlite file in ``folder``.

    Args:
        uri: ``http(s)://``, ``sqlite:///``, ``postgresql://``, ``mysql://`` or ``mssql://``; None for the default.
        folder: where the default database ``mlflow.db`` and the artifacts of any database lie.

    Raises:
        TrackingError: the URI is malformed, or names a file store (which MLflow refuses since 3.13).
    """
    if uri is not None:
        return _target(uri.strip(), folder, "given")
    if from_environment := os.environ.get("MLFLOW_TRACKING_URI", "").strip():
        return _target(from_environment, folder, "from the environment variable MLFLOW_TRACKING_URI")
    default = f"sqlite:///{(folder / DATABASE_NAME).resolve()}"
    return _target(default, folder, "the default: no tracking URI was given")


def _target(uri: str, folder: Path, reason: str) -> TrackingTarget:
    scheme, separator, rest = uri.partition(":")
    if not uri or not separator or scheme == "file":
        raise TrackingError(
            f"{uri!r} is not a tracking URI: MLflow keeps no file store any more; "
            f"write sqlite:///{(folder / DATABASE_NAME).resolve()}, or http://HOST:{DEFAULT_PORT} for a server"
        )
    family = scheme.split("+")[0].lower()  # postgresql+psycopg2 names the driver as well
    if family not in SERVERS + DATABASES:
        raise TrackingError(f"tracking URI {uri!r}: {unknown_name('tracking scheme', family, SERVERS + DATABASES)}")
    if family == "sqlite":
        return _sqlite_target(uri, rest, reason)
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise TrackingError(f"tracking URI {uri!r}: {error}") from error
    if not rest.startswith("//") or not host:
        raise TrackingError(f"tracking URI {uri!r} names no host; write {family}://HOST:PORT")
    if family in SERVERS:
        return TrackingTarget(uri.rstrip("/"), None, reason)
    return TrackingTarget(uri, (folder / ARTIFACTS_NAME).resolve().as_uri(), reason)


def _sqlite_target(uri: str, rest: str, reason: str) -> TrackingTarget:
    name = rest.removeprefix("///")
    if not rest.startswith("///") or not name or name == ":memory:" or "?" in name:
        raise TrackingError(
            f"tracking URI {uri!r} names no database file; write sqlite:////absolute/path/{DATABASE_NAME}"
        )
    path = Path(name).resolve()
    if path.is_dir():
        raise TrackingError(f"tracking URI {uri!r} names a folder; write sqlite:///{path / DATABASE_NAME}")
    if path.is_file() and not _is_database(path):
        raise TrackingError(f"tracking URI {uri!r}: {path} is a file, but not a sqlite database; name another")
    return TrackingTarget(f"sqlite:///{path}", (path.parent / ARTIFACTS_NAME).as_uri(), reason)


def _is_database(path: Path) -> bool:
    """Whether sqlite can read the file (an empty one too).

    Sqlite itself must look: closing a file that was opened beside it drops the locks of every connection that this process has
    to the database (POSIX), and another process then removes the write-ahead log under them.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:  # busy or not readable: opening it will say so
        return True
    except sqlite3.DatabaseError:
        return False
    return True


def ui_url(target: TrackingTarget, port: int = DEFAULT_PORT) -> str:
    """Address of the target's web page: the server itself, or the local page that :func:`ui_command` starts."""
    return target.uri if target.is_server else f"http://127.0.0.1:{port}"


def ui_command(target: TrackingTarget, port: int = DEFAULT_PORT) -> str | None:
    """The line to type to open the MLflow page of a database; None for a server, whose page is already there."""
    if target.is_server:
        return None
    return f"{_program('mlflow')} ui --workers 1 --port {port} --backend-store-uri {shlex.quote(target.uri)}"


def experiment_url(base: str, experiment_id: str, view: str | None = None) -> str:
    """Address of an experiment's table of runs below the page's address ``base``; ``view``: key of a saved view."""
    query = f"&viewStateShareKey={quote(view)}" if view else ""
    return f"{base.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs?{_WORKFLOW}{query}"


def comparison_url(base: str, run_ids: Iterable[str], experiment_id: str) -> str:
    """Address of the page that compares runs side by side (MLflow's ``/#/compare-runs``).

    Args:
        base: the page's address, see :func:`ui_url`.
        run_ids: the runs, in the order of the columns.
        experiment_id: the experiment they belong to.
    """
    runs, experiments = (quote(json.dumps(list(ids))) for ids in (run_ids, [experiment_id]))
    return f"{base.rstrip('/')}/#/compare-runs?runs={runs}&experiments={experiments}&{_WORKFLOW}"


def _program(name: str) -> str:
    """A program of this environment as it can be typed in the current folder."""
    inside = Path(sys.executable).with_name(name)
    if shutil.which(name) or not inside.exists():
        return name
    return shlex.quote(str(inside.relative_to(Path.cwd()) if inside.is_relative_to(Path.cwd()) else inside))
