"""Where classifiers look: Grad-CAM of their most probable class, several models side by side (Selvaraju et al., 2017; captum).

The map is taken where the last stage of the network ends: the mean over the map of the logit's gradient weighs each channel, and
the weighted sum is cut at 0, brought to [0, 1] and resized to what the model saw of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from captum.attr import LayerGradCam
from pydantic import Field
from timm.data import ImageNetInfo, resolve_data_config
from torch import Tensor, nn
from torch.nn import functional

from subband.analysis.detectors import REGISTRY
from subband.analysis.running import Analysis
from subband.analysis.scoring import device
from subband.analysis.settings import AnalysisSettings
from subband.data import ClassData, Dataset, ImageSource, open_dataset
from subband.data.class_examples import Framing
from subband.errors import DataError, ModelError, ParamsError
from subband.methods import adopt, load
from subband.nn.backbones import check_weights, read_state
from subband.report.cam_rows import Looked, cam_rows

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
        DEMO, description="Dataset URI whose pictures are explained: imagefolder:PATH, images:PATH (any folder), ..."
    )
    pictures: int = Field(
        8, ge=1, le=64, description="Pictures, evenly spread over the last split, or over all of a folder."
    )

    def dataset(self) -> Dataset:
        """The dataset, opened; a tiny one in a smoke run that names no other."""
        return open_dataset(SMOKE_DATA if self.smoke and self.data == DEMO else self.data)


@dataclass(frozen=True)
class Explained:
    """A classifier whose looking is shown.

    Attributes:
        name: short.
        network: gives logits of normalised pictures.
        layer: whose output, an NCHW map, is where the last stage ends.
        framing: how it wants pictures.
        labels: names of its classes.
    """

    name: str
    network: nn.Module
    layer: nn.Module
    framing: Framing
    labels: Sequence[str]


@dataclass(frozen=True)
class Cam:
    """What a classifier looked at in one picture.

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


def grad_cam(network: nn.Module, layer: nn.Module, image_3SS: Tensor) -> Cam:
    """Grad-CAM of the class with the highest logit.

    Args:
        network: gives logits (1, K) of normalised pictures.
        layer: of it, whose output is a map (1, C, h, w).
        image_3SS: normalised.

    Raises:
        ModelError: the layer's output is no such map.
    """
    where = next(network.parameters()).device
    image = image_3SS[None].to(where)
    with torch.no_grad():
        logits = network(image)[0].float()
    number = int(logits.argmax())
    found = LayerGradCam(network, layer).attribute(image, target=number)
    if not isinstance(found, Tensor) or found.dim() != 4:
        raise ModelError("Grad-CAM needs a layer that gives a map (N, C, H, W)")
    return Cam(number, float(logits.softmax(dim=0)[number]), found[0, 0].detach().cpu())


def run(analysis: Analysis, settings: ExplanationSettings) -> None:
    """Draw what every model looks at in every picture, and write the maps and answers.

    Raises:
        SubbandError: a model cannot be loaded or explained, or there are no pictures.
    """
    if not settings.models:
        raise ParamsError(
            "give the models to explain: a saved classifier's folder, models:/NAME@champion, or timm names"
        )
    dataset = settings.dataset()
    chosen = _pictures(dataset, settings.pictures)
    models = [explained(text, settings.tracking_uri) for text in settings.models]
    rows: list[dict[str, Any]] = []
    shown: list[list[Looked]] = []
    for name, truth, source in chosen:
        picture = source.open()
        looked = []
        for number, model in enumerate(models):
            image = model.framing.transform()(picture)
            cam = grad_cam(model.network, model.layer, image)
            seen = model.framing.shown(image).transpose(1, 2, 0)
            looked.append(Looked(seen, cam.scaled(model.framing.size), model.labels[cam.number], cam.probability))
            np.save(analysis.path(f"maps/{number}/{len(shown):03d}.npy"), cam.raw.numpy())
            rows.append(
                {
                    "picture": name,
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
    sizes = ", ".join(f"{model.name} at {model.framing.size}" for model in models)
    figure = cam_rows(
        [np.asarray(source.open()) for _, _, source in chosen],
        words,
        [model.name for model in models],
        shown,
        title=f"Grad-CAM on {dataset.name}",
        caption=f"most probable class; each map from 0 to its own maximum; pixels: {sizes}",
    )
    analysis.figure("grad-cam", figure)
    analysis.number("pictures", len(chosen))


def _pictures(dataset: Dataset, count: int) -> list[tuple[str, str, ImageSource]]:
    """Name, class ("" if unknown) and source of evenly spread pictures."""
    found: list[tuple[str, str, ImageSource]] = []
    if isinstance(dataset, ClassData):
        split = list(dataset.splits.values())[-1]
        for index in _spread(len(split), count):
            found.append((split.name(index), dataset.classes[split.labels[index]], split.image(index)))
        return found
    samples = [sample for name in dataset.categories for sample in dataset.category(name).test]
    if not samples:
        raise DataError(f"{dataset.uri} has no test pictures to explain")
    return [(samples[index].name, "", samples[index].image) for index in _spread(len(samples), count)]


def _spread(total: int, count: int) -> list[int]:
    return [int(index) for index in np.unique(np.linspace(0, total - 1, count).astype(int))]


def explained(text: str, tracking_uri: str | None = None) -> Explained:
    """A model as the settings name it, on the accelerator if there is one.

    Raises:
        ParamsError: it names nothing, or a model for another task.
        ModelError: it cannot be loaded, its weights cannot be fetched, or its last stage gives no map.
    """
    path = Path(text).expanduser()
    name, equals, weights = text.partition("=")
    if text.startswith(REGISTRY) or path.exists():
        model: Any = load(text, tracking_uri) if text.startswith(REGISTRY) or path.is_dir() else adopt(path)
        if model.task != "classification":
            raise ParamsError(f"{text} is for {model.task}; give a classifier")
        network, framing, labels = model.network, model.params.framing, model.labels
        short = path.parent.name if path.name == "model" else path.name
    else:
        network, framing, labels = _of_timm(name, weights if equals else "pretrained", text)
        short = name
    network = network.to(device()).eval()
    return Explained(short, network, last_stage(network, short), framing, labels)


def last_stage(network: nn.Module, name: str) -> nn.Module:
    """The module whose output is the map that the last stage ends with: that of its last block.

    Raises:
        ModelError: the network says nothing of its stages.
    """
    stages = getattr(network, "feature_info", None)
    last = stages[-1]["module"] if stages else None
    if not last or last not in dict(network.named_modules()):
        raise ModelError(
            f"{name} has no stages that end in a map; Grad-CAM is for convolutional and hierarchical networks"
        )
    return network.get_submodule(last)


def _of_timm(name: str, weights: str, text: str) -> tuple[Any, Framing, Sequence[str]]:
    if not timm.is_model(name):
        raise ParamsError(
            f"{text!r} is neither a saved model, nor a checkpoint's file, nor a model of timm's: see timm.list_models()"
        )
    check_weights(weights)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(weights[7:]) if weights.startswith("random:") else 0)
            network: Any = timm.create_model(name, pretrained=weights == "pretrained")
        if weights != "pretrained" and not weights.startswith("random:"):
            network.load_state_dict(read_state(weights))
    except ModelError:
        raise
    except Exception as error:  # each hub has its own
        raise ModelError(
            f"the weights of {name} could not be had ({type(error).__name__}: {str(error).splitlines()[0][:200]}); without a "
            f"network give {name}=PATH of a state dict, or {name}=random:0 (untrained: its maps say nothing)"
        ) from error
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
