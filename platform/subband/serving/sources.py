"""Where detectors come from: a folder of saved ones, or the champions of an MLflow registry.

A source names its models with the version each has now, which is cheap and asked every few seconds, and loads one version of one
model, which is slow and asked when somebody needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

from subband.errors import ModelError, TrackingError
from subband.home import home
from subband.methods import Deployable, load
from subband.methods.deployable import DESCRIPTION, TENSORS, read_description
from subband.tracking import download_model, list_champions, read_model_file, resolve_tracking


class Source(Protocol):
    """A place that models come from."""

    kind: str
    where: str

    def versions(self) -> dict[str, str]:
        """The version that each model has now, by name.

        Raises:
            SubbandError: the place cannot be read at the moment.
        """
        ...

    def describe(self, name: str, version: str) -> dict[str, Any]:
        """The JSON part of that version (method, params, calibration, about), without its tensors.

        Raises:
            SubbandError: it cannot be read.
        """
        ...

    def load(self, name: str, version: str) -> Deployable:
        """That version, on the CPU.

        Raises:
            SubbandError: it cannot be fetched, or is damaged.
        """
        ...


class Folder:
    """Saved detectors that lie side by side, as a sweep leaves them in its ``champions`` folder.

    A version is a hash of the description and of the tensor file's size and time, so that a detector saved again, or whose
    threshold was changed with `set_calibration`, is a new version.

    Args:
        path: the folder.
    """

    kind = "folder"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)

    def versions(self) -> dict[str, str]:
        """Every subfolder that holds a saved detector."""
        try:
            folders = [folder for folder in self.path.iterdir() if not folder.name.startswith(".")]
        except OSError as error:
            raise ModelError(f"the folder of detectors {self.path} cannot be read: {error.strerror}") from error
        return {folder.name: _file_version(folder) for folder in folders if (folder / DESCRIPTION).is_file()}

    def describe(self, name: str, version: str) -> dict[str, Any]:
        """The description that lies there now."""
        return read_description(self.path / name)

    def load(self, name: str, version: str) -> Deployable:
        """The detector that lies there now."""
        model: Deployable = load(self.path / name)
        return model


class Registry:
    """Champions of an MLflow registry: every registered model that has the alias ``champion``.

    Files are fetched once a version, into a folder of this process, so that a detector that had to make room can be loaded again
    while the registry is down.

    Args:
        tracking_uri: a database or a server.
    """

    kind = "registry"

    def __init__(self, tracking_uri: str) -> None:
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a server's log is no terminal
        self.target = resolve_tracking(tracking_uri, home())
        self.where = tracking_uri
        self._scratch = tempfile.TemporaryDirectory(prefix="subband-serve-")

    def versions(self) -> dict[str, str]:
        """The version that each alias names now."""
        database = self.target.sqlite_path
        if database is not None and not database.is_file():  # MLflow would create it
            raise TrackingError(f"there is no tracking database {database} (yet); a sweep makes it")
        return {champion.name: str(champion.version) for champion in list_champions(self.target)}

    def describe(self, name: str, version: str) -> dict[str, Any]:
        """The registered description."""
        kept = self._folder(name, version)
        if kept.is_dir():
            return read_description(kept)
        uri = f"models:/{name}/{version}"
        try:
            description = json.loads(read_model_file(uri, DESCRIPTION, self.target))
        except ValueError as error:
            raise ModelError(f"{uri}: {DESCRIPTION} is damaged: {error}") from error
        if not isinstance(description, dict):
            raise ModelError(f"{uri}: {DESCRIPTION} is damaged: it holds no JSON object")
        return description

    def load(self, name: str, version: str) -> Deployable:
        """The registered detector; files of the model's other versions are removed once this one works."""
        folder = self._folder(name, version)
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(prefix="fetching-", dir=self._scratch.name))
            download_model(f"models:/{name}/{version}", self.target, into=partial)
            folder.parent.mkdir(exist_ok=True)
            partial.rename(folder)
        model: Deployable = load(folder)
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        return model

    def _folder(self, name: str, version: str) -> Path:
        return Path(self._scratch.name) / f"model-{name}" / version


def _file_version(folder: Path) -> str:
    digest = hashlib.sha256((folder / DESCRIPTION).read_bytes())
    try:
        tensors = (folder / TENSORS).stat()
        digest.update(f"{tensors.st_size} {tensors.st_mtime_ns}".encode())
    except OSError:
        digest.update(b"missing")  # loading will say so
    return digest.hexdigest()[:12]
