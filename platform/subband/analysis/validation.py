"""Top-1 and top-5 of a classifier on labelled images, under any crop, size and precision, as timm's validation counts them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from timm.utils import check_batch_size_retry, decay_batch_step, natural_key
from torch import Tensor
from torch.utils.data import DataLoader

from subband.analysis.detectors import REGISTRY
from subband.analysis.results import Analysis
from subband.analysis.scoring import device
from subband.analysis.settings import AnalysisSettings
from subband.data import ClassData, Dataset, ExampleKey, LabelledPictures, class_data, open_dataset
from subband.data.classification.examples import ClassExamples, CropMode, Framing, Interpolation
from subband.data.classification.labelled import Chosen
from subband.data.ruled import read_classes_as_taught
from subband.errors import DataError, ModelError, ParamsError, unknown_name
from subband.methods import adopt, load
from subband.metrics.classification import rank_of, summarise_ranks
from subband.report import confusion_matrix

DEMO = "synthetic-shapes:"
SMOKE_DATA = "synthetic-shapes:?classes=3&train=3&validation=0&test=12&size=32"
SHOWN = 10  # names of classes in a note
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class ValidationSettings(AnalysisSettings):
    """Settings of a validation."""

    model: str = Field(
        ...,
        description="Folder of a saved classifier, models:/NAME@champion, or a published .pth or .safetensors file.",
    )
    data: str = Field(
        DEMO, description="Dataset URI: imagefolder:PATH, timm:NAME?root=PATH, synthetic-shapes: and their options."
    )
    split: str | None = Field(None, description="train, validation or test; by default the last of them that is there.")
    image_size: int | None = Field(None, ge=32, le=4096, description="Side of the images; by default as trained.")
    crop_pct: float | None = Field(
        None, gt=0, le=1, description="Share of the resized side that is kept; as trained if left out."
    )
    crop_mode: CropMode | None = Field(None, description="center, squash or border; by default as trained.")
    interpolation: Interpolation | None = Field(None, description="Interpolation of the resize; by default as trained.")
    mean: tuple[float, float, float] | None = Field(
        None, description="Mean of red, green and blue levels in [0, 1], which is taken off; by default as trained."
    )
    std: tuple[float, float, float] | None = Field(
        None, description="Standard deviations that they are then divided by, above 0; by default as trained."
    )
    classes: str | None = Field(
        None,
        description="Only images of these classes are looked at, and told apart among these alone: names with commas between, or "
        "a file with one a line.",
    )
    real: Path | None = Field(
        None,
        description="JSON file of ReaL labels, also counted: a list for each image of ImageNet's validation by its number, or "
        "lists by file name; each of indices of the model's classes.",
    )
    channel_heads: str | None = Field(
        None,
        description="With a published file, which does not tell them: heads of the channel attention in the four stages.",
    )
    batch: int = Field(64, ge=1, description="Images at a time; less where the memory is too small.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Autocast precision; weights stay float32."
    )
    loaders: int = Field(0, ge=0, description="Processes that prepare images; 0 prepares them in the job's own.")

    def dataset(self) -> Dataset:
        """The dataset, opened; a tiny one in a smoke run that names no other."""
        return open_dataset(SMOKE_DATA if self.smoke and self.data == DEMO else self.data)


def run(analysis: Analysis, settings: ValidationSettings) -> None:
    """Classify every image of a split, and write tables of how often that is right.

    Raises:
        SubbandError: the model is no classifier, knows other classes than the data have, or a setting is wrong.
    """
    if not settings.model:
        raise ParamsError("give the classifier: its folder, models:/NAME@champion, or a published checkpoint's file")
    if settings.real is not None and settings.classes is not None:
        raise ParamsError("real and classes: ReaL labels are of all classes; leave one of the two out")
    data = class_data(settings.dataset())
    classifier = classifier_of(settings)
    read_classes_as_taught(data, classifier.reading)
    known = classifier.classes
    if known == tuple(map(str, range(len(data.classes)))) and set(known) != set(data.classes):
        # The published code and timm number folders in this order.
        known = tuple(sorted(data.classes, key=natural_key))
        analysis.note(
            "the model's classes have no names: they are taken to be the data's in timm's order, "
            + ", ".join(known[:SHOWN])
            + (", ..." if len(known) > SHOWN else "")
        )
    for line in classifier.about.get("notes", ()):
        analysis.note(f"of the model: {line}")
    split = list(data.splits)[-1] if settings.split is None else settings.split
    if split == "train":
        analysis.note("these are training images: a model that saw them does better on them than on others")
    pictures, outputs, names = _compared(data, split, settings, known)
    framing = framed(classifier.params.framing, settings)
    examples = ClassExamples(pictures, framing)
    network = classifier.to(device()).eval()
    logits, batch = all_logits(network, examples, settings.batch, settings.precision, settings.loaders, analysis.note)
    if not bool(logits.isfinite().all()):
        raise ModelError(
            f"{settings.model} gives logits that are no finite numbers in {settings.precision}; give another --precision, or the "
            "weights are damaged"
        )
    told = logits[:, torch.from_numpy(outputs)]
    results = rank_of(told, torch.from_numpy(pictures.labels))
    metrics = summarise_ranks(results, len(outputs))
    if settings.real is not None:
        real = _read_real(settings.real, pictures)
        metrics["real_top1"], counted = real_accuracy(logits, real)
        analysis.note(f"ReaL labels: {counted} of {len(pictures)} images have any, and only these count")
    answers = told.argmax(dim=1).numpy()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    row = {
        "model": settings.model,
        "data": data.uri,
        "images": len(pictures),
        "classes": len(outputs),
        **{name: f"{value:.4f}" for name, value in metrics.items()},
        "parameters": parameters,
        "image_size": framing.size,
        "crop_pct": framing.crop_pct,
        "crop_mode": framing.crop_mode,
        "interpolation": framing.interpolation,
        "precision": settings.precision,
        "batch": batch,
    }
    analysis.table("results", [row])
    analysis.path("results.json").write_text(json.dumps({**row, **metrics}, indent=1), encoding="utf-8")
    shown = ("images", "classes", *metrics, "parameters", "image_size", "crop_pct", "crop_mode", "precision")
    analysis.findings.shown["validation"] = [{name: row.get(name, f"{metrics.get(name, 0):.4f}") for name in shown}]
    analysis.table("classes", _by_class(pictures.labels, answers, names))
    probabilities = told.float().softmax(dim=1).amax(dim=1)
    analysis.table(
        "images",
        [
            {
                "image": pictures.name(index),
                "class": names[pictures.labels[index]],
                "answer": names[answers[index]],
                "probability": f"{float(probabilities[index]):.4f}",
                "rank": results[index].rank,
            }
            for index in range(len(pictures))
        ],
    )
    analysis.figure(
        "confusion", confusion_matrix(pictures.labels, answers, names, f"{data.name}: {Path(settings.model).name}")
    )
    for name, value in metrics.items():
        analysis.number(name, value)
    analysis.number("parameters", parameters)


def classifier_of(settings: ValidationSettings) -> Any:
    """The classifier that the settings name.

    Raises:
        ModelError: it cannot be loaded.
        ParamsError: it is a model for another task, or has its own channel heads.
    """
    path = Path(settings.model).expanduser()
    given = {"channel_heads": settings.channel_heads} if settings.channel_heads else {}
    if not settings.model.startswith(REGISTRY) and path.is_file():
        model: Any = adopt(path, values=given)
    elif given:
        raise ParamsError(f"channel_heads are for a published file; {settings.model} has its own params")
    else:
        model = load(settings.model if settings.model.startswith(REGISTRY) else path, settings.tracking_uri)
    if model.task != "classification":
        raise ParamsError(f"{settings.model} is for {model.task}; give a classifier")
    return model


def framed(trained: Framing, settings: ValidationSettings) -> Framing:
    """How images are framed: as trained, but for what the settings say.

    Raises:
        ParamsError: a standard deviation that is not above 0.
    """
    changes = {
        name: value
        for name in ("crop_pct", "crop_mode", "interpolation", "mean", "std")
        if (value := getattr(settings, name)) is not None
    }
    if settings.std is not None and min(settings.std) <= 0:
        raise ParamsError(f"std {settings.std}: levels are divided by these, so that each must be above 0")
    if settings.image_size is not None:
        changes["size"] = settings.image_size
    return dataclasses.replace(trained, **changes)


def all_logits(
    network: Any,
    examples: ClassExamples,
    batch: int,
    precision: str = "float32",
    loaders: int = 0,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[Tensor, int]:
    """Logits (N, K) of all examples, float32 on the CPU, and the batch that fitted into the memory.

    Args:
        network: gives logits of normalised images.
        examples: images to be judged.
        batch: to begin with; where the memory is too small it is reduced by timm's rule, and what is done is kept.
        precision: of the computation.
        loaders: processes that prepare images.
        note: told of a reduction.

    Raises:
        ModelError: the memory is too small for a single image.
    """
    found: list[Tensor] = []
    done = 0
    while done < len(examples):
        try:
            for logits in _logits(network, examples, done, batch, precision, loaders):
                found.append(logits)
                done += len(logits)
        except (RuntimeError, MemoryError) as error:
            # Of running out of memory torch has several errors, some of which only their words tell.
            if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not _out_of_memory(error):
                raise
            if batch == 1:
                raise ModelError("the memory is too small for one image; give a smaller image_size") from error
            reduced = max(1, decay_batch_step(batch))
            note(f"the memory was too small for batches of {batch} images: they were reduced to {reduced}")
            batch = reduced
            torch.cuda.empty_cache()
    if not found:
        raise DataError("there are no images to classify")
    return torch.cat(found), batch


def _out_of_memory(error: BaseException) -> bool:
    words = str(error).lower()
    return any(each in words for each in ("out of memory", "can't allocate memory", "not enough memory")) or (
        "cuda" in words and bool(check_batch_size_retry(str(error)))
    )


@torch.inference_mode()
def _logits(
    network: Any, examples: ClassExamples, first: int, batch: int, precision: str, loaders: int
) -> Iterator[Tensor]:
    where, dtype = device(), _DTYPES[precision]
    order = [ExampleKey(index) for index in range(first, len(examples))]
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    loader: Any = DataLoader(examples, batch_sampler=batches, num_workers=loaders)  # type: ignore[arg-type]  # by Draw
    for prepared in loader:
        with torch.autocast(where.type, dtype, enabled=dtype != torch.float32):
            logits = network(prepared["images"].to(where))
        yield logits.float().cpu()


def _compared(
    data: ClassData, split: str, settings: ValidationSettings, known: Sequence[str]
) -> tuple[LabelledPictures, np.ndarray, list[str]]:
    """The images with their labels among the compared classes, the model's outputs for these, and their names."""
    pictures = data.split(split)
    own = {name: index for index, name in enumerate(known)}
    if settings.classes is None:
        if strange := [name for name in data.classes if name not in own]:
            raise ModelError(
                f"{settings.model} tells {len(known)} classes apart and {data.uri} has {len(data.classes)}: "
                f"{unknown_name('class of the model', strange[0], known[:20])}"
            )
        outputs = np.array([own[name] for name in data.classes])
        if len(data.classes) == len(known):
            return pictures, outputs, list(data.classes)
        # Data of fewer classes than the model's: it may still answer with any of its own.
        everything = np.arange(len(known))
        indices = np.arange(len(pictures))
        return Chosen(pictures, indices, outputs[pictures.labels]), everything, list(known)
    names = _named(settings.classes)
    for name in names:
        for kind, legal in ((f"class of {data.uri}", data.classes), ("class of the model", known)):
            if name not in legal:
                raise ParamsError(f"classes: {unknown_name(kind, name, legal[:50])}")
    if len(set(names)) < max(2, len(names)):
        raise ParamsError(f"classes: give two different names or more, not {settings.classes!r}")
    place = np.full(len(data.classes), -1)
    place[[data.classes.index(name) for name in names]] = np.arange(len(names))
    labels = place[pictures.labels]
    kept = np.flatnonzero(labels >= 0)
    if not len(kept):
        raise DataError(f"{data.uri} has no image of {', '.join(names)} in the split")
    return Chosen(pictures, kept, labels[kept]), np.array([own[name] for name in names]), names


def _named(text: str) -> list[str]:
    path = Path(text).expanduser()
    try:
        words = path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"classes: {path} cannot be read as text with a name a line: {error}") from error
    return [word.strip() for word in words if word.strip()]


def real_accuracy(logits_NK: Tensor, real: Sequence[Sequence[int]]) -> tuple[float, int]:
    """Share of the images whose most probable class is one of their ReaL labels, and how many images have any.

    Beyer et al., "Are we done with ImageNet?", 2020.
    """
    said = logits_NK.argmax(dim=1).tolist()
    right = [answer in labels for answer, labels in zip(said, real, strict=True) if len(labels)]
    if not right:
        raise DataError("no image has a ReaL label")
    return float(np.mean(right)), len(right)


def _read_real(path: Path, pictures: LabelledPictures) -> list[list[int]]:
    try:
        content = json.loads(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"ReaL labels {path} cannot be read: {error}") from error
    if isinstance(content, list):
        content = {f"ILSVRC2012_val_{number:08d}": labels for number, labels in enumerate(content, 1)}
    if not isinstance(content, dict):
        raise DataError(f"ReaL labels {path} are neither a list of lists nor lists by file name")
    for name, labels in content.items():
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise DataError(f"ReaL labels {path} give {name} {labels!r}; each entry is a list of classes' numbers")
    names = [pictures.name(index) for index in range(len(pictures))]
    if not all(name in content for name in names):
        names = _by_stem(path, content, names)
    return [content[name] for name in names]


def _by_stem(path: Path, content: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The entries of images by their file names alone, without folders and suffixes.

    Raises:
        DataError: an image has no entry, or a file name is of several entries or of several images.
    """
    entries: dict[str, list[str]] = defaultdict(list)
    for name in content:
        entries[Path(name).stem].append(name)
    stems = [Path(name).stem for name in names]
    if missing := [stem for stem in stems if stem not in entries]:
        raise DataError(
            f"ReaL labels {path} have none for {missing[0]} ({len(missing)} of {len(stems)} images); they are for ImageNet's "
            "validation images by their numbers, or give lists by file name"
        )
    asked = Counter(stems)
    if several := [stem for stem in asked if asked[stem] > 1 or len(entries[stem]) > 1]:
        raise DataError(
            f"ReaL labels {path}: {several[0]} names {asked[several[0]]} images and {len(entries[several[0]])} entries; give "
            f"every image an entry by its whole name, for instance {names[0]}"
        )
    return [entries[stem][0] for stem in stems]


def _by_class(labels: np.ndarray, answers: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for index, name in enumerate(names):
        own = labels == index
        if own.any():
            top1 = f"{(answers[own] == index).mean():.4f}"
            rows.append(
                {"class": name, "images": int(own.sum()), "top1": top1, "answers": int((answers == index).sum())}
            )
    return rows
