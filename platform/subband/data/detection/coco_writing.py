"""Writing any dataset for object detection as files in COCO's format, exactly: masks as run lengths, images as PNG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from subband.data.detection.instances import AnnotatedPicture, DetectionData
from subband.errors import DataError
from subband.files import whole_folder


def write_coco(data: DetectionData, folder: Path | str) -> Path:
    """Write ``annotations/instances_SPLIT.json`` and ``SPLIT/NAME.png`` into a new folder, which ``coco:FOLDER`` then opens.

    Args:
        data: what is written.
        folder: where; it must not exist.

    Raises:
        DataError: the folder exists, or cannot be written; nothing is left half-written.
    """
    folder = Path(folder)
    if folder.exists():
        raise DataError(f"{folder} exists already; write the data into a new folder")
    try:
        with whole_folder(folder) as partial:
            (partial / "annotations").mkdir()
            for split, pictures in data.splits.items():
                _write_split(data.classes, split, pictures, partial)
    except OSError as error:
        raise DataError(f"the data could not be written to {folder}: {error}") from error
    return folder


def _write_split(classes: tuple[str, ...], split: str, pictures: tuple[AnnotatedPicture, ...], folder: Path) -> None:
    (folder / split).mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, 1):
        name = f"{picture.name}.png"
        image = picture.image.open()
        (folder / split / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / split / name)
        images.append({"id": number, "file_name": name, "width": image.width, "height": image.height})
        objects = picture.instances()
        for (x0, y0, x1, y1), label, mask, area, crowd in zip(
            objects.boxes.tolist(),
            objects.labels.tolist(),
            objects.masks,
            objects.areas.tolist(),
            objects.crowd,
            strict=True,
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": area,
                    "iscrowd": int(crowd),
                    "segmentation": {"size": list(mask["size"]), "counts": mask["counts"]},
                }
            )
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")
