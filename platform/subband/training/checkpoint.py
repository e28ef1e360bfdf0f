"""A training's checkpoint: a folder with all that it needs to go on, and the weights that were best so far.

    state.pt            model, optimiser, moving average, loss scaler, metrics of every epoch (tensors and plain values)
    best.safetensors    weights of the best epoch by the method's metric
    training.json       method, params, epochs done, for people and for checks before anything large is read

The state of random generators is not among them: it is a function of seed, epoch and rank (see `training.loop`).
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from subband.errors import ModelError
from subband.training.loop import Training

STATE, BEST, DESCRIPTION = "state.pt", "best.safetensors", "training.json"
CHANGEABLE = (
    "epochs",
    "patience",
    "validate_from",
    "compile",
    "gradient_checkpointing",
    "precision",
    "accumulation",
    "lr",
    "clip",
    "ema",
)
"""Params that a continued training may be given anew."""


def write_checkpoint(training: Training, folder: Path) -> None:
    """Write a checkpoint into an existing empty folder.

    Raises:
        ModelError: it cannot be written.
    """
    try:
        torch.save(training.state(), folder / STATE)
        if training.best_weights:
            save_file({name: value.contiguous() for name, value in training.best_weights.items()}, folder / BEST)
        about = {
            "method": training.method.name,
            "params": training.params.model_dump(mode="json"),
            "epoch": training.epoch,
            "metrics": training.history[-1] if training.history else {},
        }
        (folder / DESCRIPTION).write_text(json.dumps(about, indent=1), encoding="utf-8")
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"the checkpoint could not be written to {folder}: {error}") from error


def restore_checkpoint(training: Training, folder: Path) -> None:
    """Let a training go on from a checkpoint.

    Raises:
        ModelError: no or a damaged checkpoint, or one of another method or other params.
    """
    about = read_description(folder)
    if about["method"] != training.method.name:
        raise ModelError(f"{folder} is a checkpoint of {about['method']}, not of {training.method.name}")
    now = training.params.model_dump(mode="json")
    changed = [name for name, value in about["params"].items() if name not in CHANGEABLE and now.get(name) != value]
    if changed:
        raise ModelError(
            f"{folder} was trained with other params: "
            + ", ".join(f"{name}={about['params'][name]} (now {now.get(name)})" for name in changed)
        )
    try:
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        best = load_file(folder / BEST) if (folder / BEST).exists() else {}
        training.restore(state, best)
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise ModelError(f"the checkpoint {folder} cannot be read: {error}") from error


def read_description(folder: Path) -> dict[str, Any]:
    """Method, params, epoch and last metrics of a checkpoint.

    Raises:
        ModelError: no or a damaged checkpoint.
    """
    try:
        about = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if not {"method", "params", "epoch"} <= set(about):
            raise ValueError("it lacks method, params or epoch")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no checkpoint of a training: {error}") from error
    return about  # type: ignore[no-any-return]


def read_best(folder: Path) -> dict[str, Tensor]:
    """The best weights of a checkpoint.

    Raises:
        ModelError: there are none, or they are damaged.
    """
    try:
        return dict(load_file(folder / BEST))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / BEST} cannot be read: {error}") from error
