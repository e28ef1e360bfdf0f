"""Parity: what is kept, served and registered is what was evaluated. The one definition in the code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from subband.errors import ModelError
from subband.methods import Deployable, load

PARITY = 1e-5
"""Greatest difference that is allowed."""

Answer = Callable[[Any], np.ndarray]
"""What a model gives for fixed images, as one array."""


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Greatest absolute difference, relative to the greatest absolute expected value; infinite where shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    greatest = max(float(np.abs(expected).max(initial=0.0)), 1e-12)
    return float(np.abs(found - expected).max(initial=0.0) / greatest)


def check_saved(folder: Path, answer: Answer, expected: np.ndarray) -> float:
    """Load the model of a folder afresh and compare it with what was evaluated.

    Returns:
        Its `difference`.

    Raises:
        ModelError: it is above `PARITY`, or no model can be loaded there.
    """
    parity = difference(answer(load(folder)), expected)
    if not parity <= PARITY:
        raise ModelError(
            f"the model, loaded afresh, differs from the evaluated one by {parity:.2e} of the greatest value (allowed: "
            f"{PARITY:.0e}); it is not used"
        )
    return parity


def save_proven(model: Deployable, folder: Path, answer: Answer, expected: np.ndarray) -> float:
    """Save a model, if it gives the evaluated values when it is loaded afresh.

    Args:
        model: in eval mode, on the CPU.
        folder: the model's; one that is there is replaced once the new one is proven.
        answer: how it is asked.
        expected: what it was evaluated with.

    Returns:
        The `difference`.

    Raises:
        ModelError: it gives other values, or cannot be saved; nothing is kept.
    """
    # Saved beside its place: what lies in the folder may be served at any time.
    unproven = folder.with_name(f".{folder.name}.unproven")
    shutil.rmtree(unproven, ignore_errors=True)
    model.save(unproven)
    try:
        parity = check_saved(unproven, answer, expected)
    except ModelError:
        shutil.rmtree(unproven, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    unproven.replace(folder)
    return parity
