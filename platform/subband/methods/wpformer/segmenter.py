"""WPFormerSegmenter: the deployable model, and how its network is made, restored, or adopted from a published checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from subband.data import Preprocess
from subband.errors import ModelError
from subband.methods.deployable import as_pictures
from subband.methods.detector import Calibration, Detector
from subband.methods.wpformer import checkpoint
from subband.methods.wpformer.backbone import build_backbone, pretrained_state
from subband.methods.wpformer.maps import prediction_map
from subband.methods.wpformer.network import WPFormer
from subband.methods.wpformer.params import WPFormerParams
from subband.nn.backbones import read_state
from subband.validating import validated

NAME = "wpformer"
THRESHOLD = 0.5
DEFAULT = Calibration(
    good_scores=(),
    fpr=0.01,
    threshold=THRESHOLD,
    rule=f"an image is defective if any pixel's probability is above {THRESHOLD}",
    estimate="not estimated from good images",
)


class WPFormerSegmenter(Detector):
    """Maps of defect probability, and their highest value as the image's score.

    Args:
        params: of the method.
        network: with its weights.
        calibration: how scores become decisions.
        about: what a reader must know.
    """

    frozen: ClassVar[tuple[str, ...]] = ()
    task = "segmentation"

    def __init__(
        self, params: WPFormerParams, network: WPFormer, calibration: Calibration, about: Mapping[str, Any]
    ) -> None:
        super().__init__(NAME, params, frame(params), calibration, about)
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            images: (N, 3, H, W) float32 in [0, 1]; the preprocessing gives squares; any rectangle from 33 pixels on will do.

        Returns:
            Maps (N, H, W) of probabilities, which may be compared with the threshold whatever the params say of `prediction_maps`;
            and scores (N,), the highest probability of each.
        """
        probabilities = torch.sigmoid(self.network(images, final_only=True)[:, 0])
        return probabilities, probabilities.amax(dim=(1, 2))

    @torch.inference_mode()
    def prediction_maps(
        self, pictures: Sequence[Image], order: str | None = None, stretch: bool | None = None
    ) -> list[np.ndarray]:
        """8-bit grey maps of their images' own sizes, to be written to files; see `subband.methods.wpformer.maps`.

        Args:
            pictures: of any sizes.
            order: ``defect`` or ``object``; by default that of the params.
            stretch: whether each map is brought to full contrast by its own extremes; by default as the params say.
        """
        params: Any = self.params
        seen = as_pictures(pictures, self.reading)
        prepared = np.stack([self.preprocess.image(image).transpose(2, 0, 1) for image in seen])
        images = torch.from_numpy(prepared).to(self.network.mean.device).float() / 255
        logits_NHW = self.network(images, final_only=True)[:, 0].cpu()
        chosen: Any = params.map_order if order is None else order
        stretched_too = params.map_stretching if stretch is None else stretch
        return [
            prediction_map(logits, picture.size[::-1], chosen, stretched_too)
            for logits, picture in zip(logits_NHW, seen, strict=True)
        ]


def frame(params: WPFormerParams) -> Preprocess:
    """The whole image, stretched to the square."""
    return Preprocess(framing="stretch", image_size=params.image_size, resampling="bilinear")


def make_network(params: WPFormerParams, starting: bool = True) -> WPFormer:
    """The network, in training mode on the CPU; the global random generators are left as they were.

    Args:
        params: the same ones give the same weights.
        starting: whether the weights that `params.weights` names are put in; else `load_state_dict` will replace them all.

    Raises:
        ModelError: a file holds other weights, or the hub cannot be reached.
    """
    source = params.weights if starting else "random:0"
    drawn = source.startswith("random:")
    backbone = build_backbone(params.backbone, params.drop_path, int(source[7:]) if drawn else 0)
    # torch.manual_seed would seed the generators of GPUs too, which this block does not put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(params.seed)
        network = WPFormer(backbone, params.channels, params.wavelet, params.prototypes, params.dropout)
    if drawn:
        return network
    if source == "pretrained":
        checkpoint.load_backbone(backbone, pretrained_state(params.backbone), "timm's state dict", params.backbone)
        return network
    state = read_state(source)
    if checkpoint.is_whole(state):
        checkpoint.load_whole(network, state, source, described(params))
    else:
        checkpoint.load_backbone(backbone, state, source, params.backbone)
    return network


def described(params: WPFormerParams) -> str:
    """The network in words, for messages."""
    off = [name for name, on in (("wavelet", params.wavelet), ("prototype", params.prototypes)) if not on]
    without = f" without {' and '.join(off)} attention" if off else ""
    return f"WPFormer of {params.backbone} with {params.channels} channels{without}"


def restore_segmenter(
    params: WPFormerParams, tensors: Mapping[str, Tensor], calibration: Calibration, about: Mapping[str, Any]
) -> WPFormerSegmenter:
    """The segmenter that was saved with these tensors.

    Raises:
        ModelError: the tensors are not of the params' network.
    """
    segmenter = WPFormerSegmenter(params, make_network(params, starting=False), calibration, about)
    try:
        segmenter.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ModelError(f"the saved tensors are not those of {described(params)}: {error}") from error
    return segmenter


def adopt_checkpoint(path: Path | str, **values: Any) -> WPFormerSegmenter:
    """A segmenter of a published checkpoint; backbone and channels are read off the file.

    Args:
        path: ``.pth`` of the whole network, as the released training code writes it.
        values: further params, for instance those of a recipe; what they say of backbone and channels must be true of the file.

    Raises:
        ModelError: the file is no checkpoint of a WPFormer, or of another one than `values` say; the message says which tensors
            differ.
        ParamsError: illegal values.
    """
    state = read_state(str(path))
    if not checkpoint.is_whole(state):
        raise ModelError(
            f"{path} is no checkpoint of a whole WPFormer: it has no queries. A backbone's state dict goes into "
            "the param weights of a training"
        )
    backbone, channels = checkpoint.variant_of(state)
    found = {"channels": channels} if backbone is None else {"backbone": backbone, "channels": channels}
    params = validated(WPFormerParams, {**found, **values, "weights": str(path)}, NAME)
    about = {"weights": f"published checkpoint {Path(path).name}; which images chose it is not in the file"}
    return WPFormerSegmenter(params, make_network(params), DEFAULT, about).eval()
