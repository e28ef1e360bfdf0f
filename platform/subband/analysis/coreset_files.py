"""What a coreset job leaves behind: row indices, the radius after each pick, and the rows themselves."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from subband.banks.rows import Rows
from subband.errors import StoreError
from subband.files import whole_folder


@dataclass(frozen=True)
class Selection:
    """Chosen rows.

    Attributes:
        picks: (k,) row indices in their order.
        radii: (k,) covering radius after each pick, or empty where only the last is known.
        radius: covering radius of all picks.
        note: what else is known of it.
    """

    picks: np.ndarray
    radii: np.ndarray
    radius: float
    note: str = ""


def write_selection(folder: Path, selection: Selection, rows: Rows, about: Mapping[str, Any]) -> None:
    """Write indices.npy, radii.csv and coreset.safetensors into a new folder, which appears complete or not at all.

    Args:
        folder: must not exist.
        selection: what was chosen.
        rows: from which.
        about: how; stored as JSON in the metadata of the safetensors file, whose one tensor is `memory_bank` (k, D).

    Raises:
        StoreError: the folder cannot be written.
    """
    metadata = {"selection": json.dumps({**about, "rows": len(rows), "covering_radius": selection.radius})}
    try:
        with whole_folder(folder) as draft:
            np.save(draft / "indices.npy", selection.picks)
            with (draft / "radii.csv").open("w", newline="", encoding="utf-8") as file:
                table = csv.writer(file)
                table.writerow(["rows", "covering_radius"])
                if len(selection.radii):
                    table.writerows(enumerate(map(repr, selection.radii.tolist()), start=1))
                else:
                    table.writerow([len(selection.picks), repr(selection.radius)])
            save_file({"memory_bank": rows.take(selection.picks)}, draft / "coreset.safetensors", metadata)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error}") from error
