"""From a model URI to the detector's own files on this machine."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from subband.errors import TrackingError, unknown_name
from subband.tracking.connection import answering, connect
from subband.tracking.registry import ALIAS, registered_models
from subband.tracking.uri import TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_LOGGED_MODEL_URI = re.compile(r"models:/(?P<model_id>m-[0-9a-f]+)")


def download_model(uri: str, target: TrackingTarget, into: Path | None = None) -> Path:
    """The detector folder behind a model URI, on this machine.

    Args:
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``models:/m-ID`` or ``runs:/RUN_ID/MODEL_NAME``.
        target: the registry.
        into: copy the files there (a new or empty folder). By default files that are on this machine already are used
            where they lie, and others are fetched into a new temporary folder.

    Returns:
        The folder that ``subband.load`` opens.

    Raises:
        TrackingError: the URI is malformed, nothing has that name (near matches are named), or the files are gone.
    """
    if into is not None and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise TrackingError(f"cannot copy {uri} into {into}: it is not an empty folder")
    if into is not None:
        with tempfile.TemporaryDirectory(prefix="subband-download-") as passing:
            shutil.copytree(_fetch(uri, target, passing), into, dirs_exist_ok=True)
        return into
    return _fetch(uri, target, None)


def read_model_file(uri: str, name: str, target: TrackingTarget) -> bytes:
    """One small file of the detector behind a model URI; its weights are not fetched.

    Args:
        uri: as for :func:`download_model`.
        name: the file's name in the detector's folder, for instance ``model.json``.
        target: the registry.

    Raises:
        TrackingError: as for :func:`download_model`, or the detector has no such file.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    with answering(target):
        location = _artifact_uri(connect(target), uri)
    with tempfile.TemporaryDirectory(prefix="subband-download-") as folder:

        def fetch(path: str) -> Path:
            whole = f"{location.rstrip('/')}/{path}"
            return Path(download_artifacts(artifact_uri=whole, tracking_uri=target.uri, dst_path=folder))

        try:
            flavour = Model.load(str(fetch("MLmodel"))).flavors["python_function"]
            return fetch(f"{flavour['data']}/{name}").read_bytes()
        except (MlflowException, OSError, KeyError) as error:
            raise TrackingError(f"cannot fetch {name} of {uri} from {location}: {error}") from error


def _fetch(uri: str, target: TrackingTarget, folder: str | None) -> Path:
    """The detector's folder: where it lies, or copied below ``folder``."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    with answering(target):
        location = _artifact_uri(connect(target), uri)
    try:
        local = Path(download_artifacts(artifact_uri=location, tracking_uri=target.uri, dst_path=folder))
        flavour = Model.load(str(local)).flavors["python_function"]
        detector = local / str(flavour["data"])
    except (MlflowException, OSError, KeyError) as error:
        raise TrackingError(f"cannot fetch the files of {uri} from {location}: {error}") from error
    if not detector.is_dir():
        raise TrackingError(f"{uri} is not a detector of this platform: {location} has no folder {flavour['data']!r}")
    return detector


def _artifact_uri(client: MlflowClient, uri: str) -> str:
    """Where the files of a model URI lie."""
    from mlflow.exceptions import MlflowException

    if uri.startswith("runs:/"):
        run_id, _, model_name = uri.removeprefix("runs:/").partition("/")
        return _model_of_run(client, uri, run_id, model_name)
    if logged := _LOGGED_MODEL_URI.fullmatch(uri):
        try:
            return str(client.get_logged_model(logged["model_id"]).artifact_location)
        except MlflowException as error:
            raise TrackingError(f"there is no model {uri}: {error.message}") from error
    parts = _MODEL_URI.fullmatch(uri)
    if parts is None:
        raise TrackingError(
            f"{uri!r} is not a model URI; write models:/NAME@{ALIAS}, models:/NAME/3 or runs:/RUN_ID/NAME"
        )
    name, alias, number = parts["name"], parts["alias"], parts["version"]
    models = {model.name: model for model in registered_models(client)}
    if name not in models:
        raise TrackingError(unknown_name("registered model", name, sorted(models)))
    if alias is not None:
        aliases = models[name].aliases
        if alias not in aliases:
            raise TrackingError(f"model {name!r}: {unknown_name('alias', alias, sorted(aliases))}")
        number = str(aliases[alias])
    try:
        found = client.get_model_version(name, number)
    except MlflowException as error:
        versions = sorted(int(entry.version) for entry in client.search_model_versions(f"name = '{name}'"))
        raise TrackingError(
            f"model {name!r} has no version {number}; it has {', '.join(map(str, versions))}"
        ) from error
    if found.model_id:
        return str(client.get_logged_model(found.model_id).artifact_location)
    return str(client.get_model_version_download_uri(name, number))


def _model_of_run(client: MlflowClient, uri: str, run_id: str, model_name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise TrackingError(f"{uri}: there is no run {run_id!r}") from error
    outputs = run.outputs.model_outputs if run.outputs else []
    models = {model.name: model for model in (client.get_logged_model(output.model_id) for output in outputs)}
    if model_name not in models:
        raise TrackingError(f"run {run_id}: {unknown_name('model of this run', model_name, sorted(models))}")
    return str(models[model_name].artifact_location)
