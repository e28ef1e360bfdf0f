"""Where classifiers look: Grad-CAM of their most probable class, several models side by side (Selvaraju et al., 2017; captum).

The map is taken where a stage of the network ends, by default the last: the mean over the map of the logit's gradient weighs each
channel, and the weighted sum is cut at 0, brought to [0, 1] and resized to what the model saw of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from pydantic import Field
from timm.data import ImageNetInfo, resolve_data_config
from torch import Tensor, nn
from torch.nn import functional

from subband.analysis.detectors import REGISTRY
from subband.analysis.results import Analysis
from subband.analysis.scoring import device
from subband.analysis.settings import AnalysisSettings
from subband.data import ClassData, Dataset, ImageSource, open_dataset
from subband.data.classification.examples import Framing
from subband.data.reading import ReadingRule
from subband.data.ruled import source_as_taught
from subband.errors import DataError, ModelError, ParamsError
from subband.extras import extra
from subband.methods import adopt, get_method, list_methods, load
from subband.nn.backbones import check_weights, read_state
from subband.report.cam_rows import Looked, cam_rows

FEW_CELLS = 4  # of a map's side: with fewer it shows no place
DEMO = "synthetic-shapes:"
SMOKE_DATA = "synthetic-shapes:?classes=3&train=3&validation=0&test=4&size=32"
IMAGENET_CLASSES = 1000


class ExplanationSettings(AnalysisSettings):
    """Settings of explanations."""

    models: tuple[str, ...] = Field(
        (),
        description="Compared side by side; each the folder of a saved classifier, models:/NAME@champion, a published checkpoint's "
        "file, or a model of timm's: NAME (with timm's weights, fetched once), NAME=PATH of its weights, NAME=random:SEED.",
    )
    data: str = Field(
        DEMO, description="Dataset URI whose images are explained: imagefolder:PATH, images:PATH (any folder), ..."
    )
    images: int = Field(
        8, ge=1, le=64, description="Images, evenly spread over the last split, or over all of a folder."
    )
    reduction: int | None = Field(
        None,
        ge=1,
        description="Side of the image by side of the map: by default that of the last stage, mostly 32; 16 or 8 looks at "
        "an earlier stage, whose map is finer and says less of the class.",
    )

    def dataset(self) -> Dataset:
        """The dataset, opened; a tiny one in a smoke run that names no other."""
        return open_dataset(SMOKE_DATA if self.smoke and self.data == DEMO else self.data)


@dataclass(frozen=True)
class StageEnd:
    """Where a stage of a network ends.

    Attributes:
        layer: whose output is the stage's map.
        channels: of the map.
        reduction: side of the image by side of the map.
    """

    layer: nn.Module
    channels: int
    reduction: int


@dataclass(frozen=True)
class Explained:
    """A classifier whose looking is shown.

    Attributes:
        name: short.
        network: gives logits of normalised images.
        end: of the stage that is looked at.
        framing: how it wants images.
        labels: names of its classes.
        reading: how its images are read; None as the data set says.
    """

    name: str
    network: nn.Module
    end: StageEnd
    framing: Framing
    labels: Sequence[str]
    reading: ReadingRule | None = None

    @property
    def cells(self) -> int:
        """Of a side of the map."""
        return math.ceil(self.framing.size / self.end.reduction)


@dataclass(frozen=True)
class Cam:
    """What a classifier looked at in one image.

    Attributes:
        number: of the most probable class.
        probability: of that class.
        raw: (h, w) weighted sum of the layer's channels, signed.
    """

    number: int
    probability: float
    raw: Tensor

    def scaled(self, size: int) -> np.ndarray:
        """The positive part, from 0 to 1, resized bilinearly to (size, size); all 0 where nothing speaks for the class."""
        positive = self.raw.clamp(min=0)
        positive = positive - positive.min()
        unit = positive / (positive.max() + 1e-7)
        resized = functional.interpolate(unit[None, None], (size, size), mode="bilinear", align_corners=False)
        return resized[0, 0].numpy()


def grad_cam(network: nn.Module, end: StageEnd, image_3SS: Tensor) -> Cam:
    """Grad-CAM of the class with the highest logit.

    Args:
        network: gives logits (1, K) of normalised images.
        end: of one of its stages, with a map (1, C, h, w).
        image_3SS: normalised.

    Raises:
        ModelError: the stage ends in something else, as in networks that keep their channels last.
    """
    outputs: list[Any] = []
    handle = end.layer.register_forward_hook(lambda module, inputs, out: outputs.append(out))
    image = image_3SS[None].to(next(network.parameters()).device)
    try:
        with torch.no_grad():
            logits = network(image)[0].float()
    finally:
        handle.remove()
    out = outputs[0] if outputs else None
    if not isinstance(out, Tensor) or out.dim() != 4 or out.shape[1] != end.channels:
        given = str(tuple(out.shape)) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise ModelError(f"Grad-CAM needs a map (1, {end.channels}, h, w), but the stage ends in {given}")
    number = int(logits.argmax())
    found = extra("captum.attr", "explain").LayerGradCam(network, end.layer).attribute(image, target=number)
    return Cam(number, float(logits.softmax(dim=0)[number]), found[0, 0].detach().cpu())


def run(analysis: Analysis, settings: ExplanationSettings) -> None:
    """Draw what every model looks at in every image, and write the maps and answers.

    Raises:
        SubbandError: a model cannot be loaded or explained, or there are no images.
    """
    if not settings.models:
        raise ParamsError(
            "give the models to explain: a saved classifier's folder, models:/NAME@champion, or timm names"
        )
    dataset = settings.dataset()
    chosen = _pictures(dataset, settings.images)
    models = [explained(text, settings.tracking_uri, settings.reduction) for text in settings.models]
    for model in models:
        if model.cells < FEW_CELLS and model.end.reduction > 4:
            analysis.note(
                f"{model.name} sees {model.framing.size} pixels, so its map has {model.cells} x {model.cells} cells: --reduction "
                f"{model.end.reduction // 2} looks at a finer one"
            )
    rows: list[dict[str, Any]] = []
    shown: list[list[Looked]] = []
    for name, truth, source in chosen:
        looked = []
        for number, model in enumerate(models):
            own = source if model.reading is None else source_as_taught(source, model.reading)
            image = model.framing.transform()(own.open())
            cam = grad_cam(model.network, model.end, image)
            seen = model.framing.shown(image).transpose(1, 2, 0)
            looked.append(Looked(seen, cam.scaled(model.framing.size), model.labels[cam.number], cam.probability))
            np.save(analysis.path(f"maps/{number}/{len(shown):03d}.npy"), cam.raw.numpy())
            rows.append(
                {
                    "image": name,
                    "class": truth,
                    "model": model.name,
                    "answer": model.labels[cam.number],
                    "probability": f"{cam.probability:.4f}",
                    "map": f"maps/{number}/{len(shown):03d}.npy",
                }
            )
        shown.append(looked)
    analysis.table("answers", rows, title="most probable classes")
    words = [f"{name} ({truth})" if truth else name for name, truth, _ in chosen]
    sizes = "; ".join(
        f"{model.name} {model.framing.size} pixels, {model.cells} x {model.cells} cells" for model in models
    )
    figure = cam_rows(
        [np.asarray(source.open()) for _, _, source in chosen],
        words,
        [model.name for model in models],
        shown,
        title=f"Grad-CAM on {dataset.name}",
        caption=f"most probable class; each map from 0 to its own maximum; {sizes}",
    )
    analysis.figure("grad-cam", figure)
    analysis.number("images", len(chosen))


def _pictures(dataset: Dataset, count: int) -> list[tuple[str, str, ImageSource]]:
    """Name, class ("" if unknown) and source of evenly spread images."""
    found: list[tuple[str, str, ImageSource]] = []
    if isinstance(dataset, ClassData):
        split = list(dataset.splits.values())[-1]
        for index in _spread(len(split), count):
            found.append((split.name(index), dataset.classes[split.labels[index]], split.image(index)))
        return found
    samples = [sample for name in dataset.categories for sample in dataset.category(name).test]
    if not samples:
        raise DataError(f"{dataset.uri} has no test images to explain")
    return [(samples[index].name, "", samples[index].image) for index in _spread(len(samples), count)]


def _spread(total: int, count: int) -> list[int]:
    return [int(index) for index in np.unique(np.linspace(0, total - 1, count).astype(int))]


def explained(text: str, tracking_uri: str | None = None, reduction: int | None = None) -> Explained:
    """A model as the settings name it, on the accelerator if there is one, and which of its stages is looked at.

    Raises:
        ParamsError: it names nothing or a model for another task, or no stage has this reduction.
        ModelError: it cannot be loaded, its weights cannot be fetched, or it has no stages.
    """
    path = Path(text).expanduser()
    name, equals, weights = text.partition("=")
    if text.startswith(REGISTRY) or path.exists():
        model: Any = load(text, tracking_uri) if text.startswith(REGISTRY) or path.is_dir() else adopt(path)
        if model.task != "classification":
            raise ParamsError(f"{text} is for {model.task}; give a classifier")
        network, framing, labels, reading = model.network, model.params.framing, model.labels, model.reading
        short = path.parent.name if path.name == "model" else path.name
    else:
        reading = None
        network, framing, labels = _of_timm(name, weights if equals else "pretrained", text)
        short = name
    network = network.to(device()).eval()
    return Explained(short, network, stage_end(network, short, reduction), framing, labels, reading)


def stage_end(network: nn.Module, name: str, reduction: int | None = None) -> StageEnd:
    """Where a stage of a network ends, by what timm's models say of themselves.

    Args:
        network: of timm's kind.
        name: how messages call it.
        reduction: of the map; None is the last stage's. Of several stages with the same, the last is taken.

    Raises:
        ModelError: the network says nothing of its stages.
        ParamsError: no stage has this reduction; the message says which there are.
    """
    modules = dict(network.named_modules())
    told = [stage for stage in getattr(network, "feature_info", None) or () if stage["module"] in modules]
    if not told:
        raise ModelError(
            f"{name} has no stages that end in a map; Grad-CAM is for convolutional and hierarchical networks"
        )
    ends = {int(stage["reduction"]): stage for stage in told}
    wanted = int(told[-1]["reduction"]) if reduction is None else reduction
    if wanted not in ends:
        raise ParamsError(
            f"no stage of {name} has a reduction of {wanted}; there are {', '.join(map(str, sorted(ends)))}"
        )
    return StageEnd(modules[ends[wanted]["module"]], int(ends[wanted]["num_chs"]), wanted)


def _of_timm(name: str, weights: str, text: str) -> tuple[Any, Framing, Sequence[str]]:
    if not timm.is_model(name):
        for method in list_methods():
            get_method(method)  # it may register networks of its own with timm
    if not timm.is_model(name):
        raise ParamsError(
            f"{text!r} is neither a saved model, nor a checkpoint's file, nor a model of timm's: see timm.list_models()"
        )
    check_weights(weights)
    drawn = weights.startswith("random:")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(weights[7:]) if drawn else 0)
            network: Any = timm.create_model(name, pretrained=weights == "pretrained")
    except Exception as error:  # each hub has its own
        first = next(iter(str(error).splitlines()), "").partition(";")[0][:200]
        raise ModelError(
            f"the weights of {name} could not be had ({type(error).__name__}: {first}); give {name}=PATH of a state dict, or "
            f"{name}=random:0 (untrained: its maps say nothing)"
        ) from error
    if weights != "pretrained" and not drawn:
        try:
            network.load_state_dict(read_state(weights))
        except RuntimeError as error:
            raise ModelError(f"{weights} does not fit {name}: {str(error).splitlines()[-1].strip()[:200]}") from error
    config = resolve_data_config({}, model=network)
    framing = Framing(
        config["input_size"][-1],
        config["crop_pct"],
        config["crop_mode"],
        config["interpolation"],
        config["mean"],
        config["std"],
    )
    count = network.num_classes
    if count == IMAGENET_CLASSES:
        info = ImageNetInfo("imagenet-1k")
        return network, framing, [info.index_to_description(index) for index in range(count)]
    return network, framing, [str(index) for index in range(count)]
