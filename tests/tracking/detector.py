"""A small real detector, saved as safetensors and JSON, with the interface that ``subband.load`` promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file


class Prediction(NamedTuple):
    scores: np.ndarray
    decisions: np.ndarray
    maps: np.ndarray


class ColourDetector(torch.nn.Module):
    """Distance of each pixel from a mean colour; the score is the largest one."""

    def __init__(self, mean: torch.Tensor, threshold: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.threshold = threshold

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = (images - self.mean[None, :, None, None]).square().sum(dim=1).sqrt()
        return maps, maps.flatten(1).amax(dim=1)

    def predict(self, images: list) -> Prediction:
        batch = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in images])
        maps, scores = self(batch)
        return Prediction(scores.numpy(), (scores > self.threshold).numpy(), maps.numpy())


def save(folder: Path, mean: tuple[float, float, float], threshold: float) -> Path:
    folder.mkdir(parents=True)
    save_file({"mean": torch.tensor(mean)}, folder / "detector.safetensors")
    (folder / "detector.json").write_text(json.dumps({"method": "colour", "threshold": threshold}))
    return folder


def load(path: Path) -> ColourDetector:
    config = json.loads((Path(path) / "detector.json").read_text())
    return ColourDetector(load_file(Path(path) / "detector.safetensors")["mean"], config["threshold"])
