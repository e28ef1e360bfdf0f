"""The model registry: champions go in as plain folders, and come out as plain folders.

A registered version is an MLflow model (so that ``mlflow.pyfunc.load_model("models:/NAME@champion")`` works) that wraps
the saved detector's own files unchanged; see :mod:`subband.tracking.pyfunc`.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from subband.errors import SubbandError, TrackingError
from subband.tracking.connection import answering, connect, experiment_of
from subband.tracking.naming import legal_tags
from subband.tracking.uri import TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
DIGEST_TAG = "detector_sha256"
DATA_TAG = "data"
DEFAULT_EXPERIMENT = "champions"

_SCORED = (None, "anomaly detection", "segmentation")
"""Tasks whose answers are a score and a decision an image; a model that tells none is a detector."""

_LOADER_MODULE = "subband.tracking.pyfunc"
# What a detector needs at prediction time; ours is not listed because it comes from a checkout.
_REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pillow",
    "pytorch-wavelets",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)
_PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt"})
_LEGAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class Registered(NamedTuple):
    """Under which name and version a champion is found."""

    name: str
    version: int


@dataclass(frozen=True)
class Champion:
    """One registered version.

    Attributes:
        name: the registered model's name.
        version: the version that the alias ``champion`` names.
        run_id: the run that it comes from, or None.
        tags: the version's tags.
        created: when it was registered, in milliseconds since 1970.
    """

    name: str
    version: int
    run_id: str | None
    tags: dict[str, str] = field(default_factory=dict)
    created: int = 0

    @property
    def uri(self) -> str:
        """The model URI that follows the alias."""
        return f"models:/{self.name}@{ALIAS}"


def check_champion(model_dir: Path, name: str, loader: str) -> None:
    """Refuse early what could not be registered or loaded again.

    Raises:
        TrackingError: the name is illegal, or the folder is not a saved detector (safetensors and JSON, no pickle).
    """
    from subband.tracking.pyfunc import import_dotted

    if not _LEGAL_NAME.fullmatch(name):
        raise TrackingError(f"{name!r} cannot name a registered model; use letters, digits, '_', '-' and '.'")
    files = [path for path in model_dir.rglob("*") if path.is_file()] if model_dir.is_dir() else []
    suffixes = {path.suffix for path in files}
    if not {".safetensors", ".json"} <= suffixes:
        raise TrackingError(f"{model_dir} is not a saved detector: a folder with .safetensors and .json files")
    if pickled := sorted(path.name for path in files if path.suffix in _PICKLES):
        raise TrackingError(f"{model_dir} holds {', '.join(pickled)}, which may run code when loaded; use safetensors")
    try:
        import_dotted(loader)
    except SubbandError as error:
        raise TrackingError(str(error)) from error


def register_champion(
    model_dir: Path,
    name: str,
    tags: Mapping[str, str],
    *,
    target: TrackingTarget,
    run_id: str | None = None,
    loader: str = "subband.load",
) -> Champion:
    """Register a saved detector and let the alias ``champion`` name it.

    The same files registered again under the same name get no second version: the alias and the tags are renewed.
    When something fails, the version is taken back and the alias stays where it was.

    A model belongs to the data that its first champion learnt from (the tag ``data``). A champion of other data never takes its
    place: it goes under the name with a digest of its own data behind.

    Args:
        model_dir: the saved detector's folder: safetensors and JSON.
        name: the registered model's stable name; letters, digits, ``_``, ``-`` and ``.``.
        tags: tags of the version; ``data``, where it is given, is the URI of the data.
        target: the registry, from :func:`~subband.tracking.uri.resolve_tracking`.
        run_id: the run that the detector comes from; without one it is kept in the experiment ``champions``.
        loader: dotted path of the function that opens the folder and gives the detector.

    Raises:
        TrackingError: the folder is not a saved detector, the name is illegal, or MLflow has no such run.
    """
    check_champion(model_dir, name, loader)
    with answering(target):
        return register_with(connect(target), model_dir, name, tags, target, run_id, loader)


def list_champions(target: TrackingTarget) -> list[Champion]:
    """Every registered model that has a champion, by name.

    Raises:
        TrackingError: the registry cannot be opened.
    """
    with answering(target):
        client = connect(target)
        models = [model for model in registered_models(client) if ALIAS in model.aliases]
        found = [_champion(client.get_model_version(model.name, str(model.aliases[ALIAS]))) for model in models]
    return sorted(found, key=lambda champion: champion.name)


def registered_models(client: MlflowClient) -> list[Any]:
    """All registered models, page by page."""
    models: list[Any] = []
    token = None
    while True:
        page = client.search_registered_models(max_results=1000, page_token=token)
        models += page
        token = page.token
        if not token:
            return models


def register_with(
    client: MlflowClient,
    model_dir: Path,
    name: str,
    tags: Mapping[str, str],
    target: TrackingTarget,
    run_id: str | None,
    loader: str,
) -> Champion:
    """:func:`register_champion` with an open client; raises what MLflow raises."""
    wanted = {**legal_tags(tags), DIGEST_TAG: _digest(model_dir, loader)}
    name, is_new = _own_model(client, name, wanted.get(DATA_TAG))
    registered = _version_with_digest(client, name, wanted[DIGEST_TAG])
    if registered is None:
        try:
            registered = _new_version(client, model_dir, name, wanted, target, run_id, loader)
        except BaseException:
            if is_new:
                with suppress(Exception):
                    client.delete_registered_model(name)
            raise
    else:
        for key, value in wanted.items():
            client.set_model_version_tag(name, str(registered), key, value)
        client.set_registered_model_alias(name, ALIAS, str(registered))
    return _champion(client.get_model_version(name, str(registered)))


def _own_model(client: MlflowClient, name: str, data: str | None) -> tuple[str, bool]:
    """The model that champions of these data go to, created where there is none: its name, and whether it is new."""
    from mlflow.exceptions import MlflowException

    tags = {DATA_TAG: data} if data else None
    try:
        client.create_registered_model(name, tags, description="Defect detector of the subband platform.")
        return name, True
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if data is None:
        return name, False
    owner = client.get_registered_model(name).tags.get(DATA_TAG)
    if owner is None:  # registered by hand, or before models said whose they are
        client.set_registered_model_tag(name, DATA_TAG, data)
    elif owner != data:
        return _own_model(client, f"{name}-{hashlib.sha256(data.encode()).hexdigest()[:6]}", data)
    return name, False


def _new_version(
    client: MlflowClient,
    model_dir: Path,
    name: str,
    tags: dict[str, str],
    target: TrackingTarget,
    run_id: str | None,
    loader: str,
) -> int:
    from mlflow.entities import LoggedModelOutput

    experiment_id = _experiment_of(client, run_id, target)
    logged = client.create_logged_model(experiment_id, name, run_id, tags, model_type="detector")
    created: str | None = None
    try:
        with tempfile.TemporaryDirectory(prefix="subband-champion-") as folder:
            package = Path(folder) / "model"
            _save_package(package, model_dir, loader, logged.model_id, run_id)
            client.log_model_artifacts(logged.model_id, str(package))
        client.finalize_logged_model(logged.model_id, "READY")
        # A database's registry looks up models:/ID, and a model without a run, in MLflow's process-wide tracking URI,
        # which is the user's to set (a TODO in its create_model_version); so it gets the plain location.
        source = f"models:/{logged.model_id}" if target.is_server else logged.artifact_location
        model_id = logged.model_id if target.is_server or run_id else None
        registered = client.create_model_version(name, source, run_id=run_id, tags=tags, model_id=model_id)
        created = str(registered.version)
        client.set_registered_model_alias(name, ALIAS, created)
    except BaseException:
        with suppress(Exception):
            if created is not None:
                client.delete_model_version(name, created)
            client.delete_logged_model(logged.model_id)
        raise
    if run_id is not None:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return int(created)


def _save_package(package: Path, model_dir: Path, loader: str, model_id: str, run_id: str | None) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    # No input schema: MLflow would then accept only one of arrays and tables.
    scored = Schema([ColSpec(DataType.double, "score"), ColSpec(DataType.boolean, "defective")])
    signature = ModelSignature(
        outputs=scored if _task(model_dir) in _SCORED else None,
        params=ParamSchema([ParamSpec("maps", DataType.boolean, False)]),
    )
    mlflow.pyfunc.save_model(
        path=str(package),
        loader_module=_LOADER_MODULE,
        data_path=str(model_dir),
        mlflow_model=Model(model_id=model_id, run_id=run_id, signature=signature),
        model_config={"loader": loader},
        pip_requirements=_requirements(),  # else MLflow loads the model in another process to guess them
    )


def _task(model_dir: Path) -> str | None:
    description = model_dir / "model.json"
    return json.loads(description.read_text(encoding="utf-8")).get("task") if description.is_file() else None


def _requirements() -> list[str]:
    pinned = []
    for package in _REQUIREMENTS:
        try:
            pinned.append(f"{package}=={version(package).split('+')[0]}")
        except PackageNotFoundError:
            continue
    return pinned


def _experiment_of(client: MlflowClient, run_id: str | None, target: TrackingTarget) -> str:
    from mlflow.exceptions import MlflowException

    if run_id is not None:
        try:
            return str(client.get_run(run_id).info.experiment_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise TrackingError(f"{target.uri} has no run {run_id!r}") from error
    return experiment_of(client, DEFAULT_EXPERIMENT, target.artifact_root)


def _version_with_digest(client: MlflowClient, name: str, digest: str) -> int | None:
    versions = client.search_model_versions(f"name = '{name}'", max_results=1000)
    return max((int(found.version) for found in versions if found.tags.get(DIGEST_TAG) == digest), default=None)


def _champion(found: Any) -> Champion:
    return Champion(
        found.name, int(found.version), found.run_id or None, dict(found.tags), int(found.creation_timestamp)
    )


def _digest(folder: Path, loader: str) -> str:
    """SHA-256 over the loader's name and the folder's file names and contents."""
    total = hashlib.sha256(loader.encode() + b"\0")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
