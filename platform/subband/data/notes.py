"""Notes of a data set: what a reader of its results must know."""

from __future__ import annotations

from subband.data.anomaly.mask_notes import mask_notes
from subband.data.folders import FolderDataset
from subband.data.sample import Dataset
from subband.data.task_data import TaskData


def dataset_notes(dataset: Dataset) -> list[str]:
    """What a reader of results must know of a data set, one sentence each.

    Args:
        dataset: any; where it has several categories, a sentence begins with the name of the one that it is of.

    Raises:
        DataError: a category is inconsistent: an image has two labels, or its masks mark nothing or everything.
    """
    if isinstance(dataset, TaskData):
        return list(dataset.notes)
    option = "rule" if isinstance(dataset, FolderDataset) and dataset.scheme == "folder" else "masks"
    found: dict[str, list[str]] = {}
    for name in dataset.categories:
        category = dataset.category(name)
        for note in (*category.notes, *mask_notes(category, option)):
            found.setdefault(note, []).append(name)
    if len(dataset.categories) == 1:
        return list(found)
    return [f"{', '.join(names)}: {note}" for note, names in found.items()]
