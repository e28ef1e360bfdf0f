"""VideoPredictor: the deployable model, and how its network is made, restored, or adopted from a published checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Image
from torch import Tensor

from subband.data.images import to_picture
from subband.data.reading import ReadingRule
from subband.errors import DataError, ModelError
from subband.methods.deployable import Deployable
from subband.methods.wsfvit.video import checkpoint
from subband.methods.wsfvit.video.network import VideoNetwork
from subband.methods.wsfvit.video.params import WSFViTVideoParams
from subband.nn.backbones import read_state
from subband.validating import validated

NAME = "wsfvit-video"


class VideoPredictor(Deployable):
    """Grey frames to the frames that follow.

    Args:
        params: of the method.
        network: with its weights.
        about: what a reader must know.
    """

    task = "video prediction"

    def __init__(self, params: WSFViTVideoParams, network: VideoNetwork, about: Mapping[str, Any]) -> None:
        super().__init__(NAME, params, about)
        self.network = network

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Frames that it sees, frames that it predicts, and their side in pixels."""
        params = cast("WSFViTVideoParams", self.params)
        return params.frames_in, params.frames_out, params.image_size

    def forward(self, frames_BT1SS: Tensor) -> Tensor:
        """Predict a batch.

        Args:
            frames_BT1SS: (B, frames_in, 1, S, S) float32 in [0, 1].

        Returns:
            (B, frames_out, 1, S, S) float32, not clipped.
        """
        predicted: Tensor = self.network(frames_BT1SS)
        return predicted

    @torch.inference_mode()
    def predict(self, frames: npt.ArrayLike | Sequence[Image]) -> npt.NDArray[np.float32]:
        """The frames that follow.

        Args:
            frames: the last `frames_in` frames, oldest first: an array (T, S, S), uint8 or floating point in [0, 1]; or as many
                images of S x S pixels, colours of which become grey.

        Returns:
            (frames_out, S, S) float32, clipped to [0, 1].

        Raises:
            DataError: another number of frames, another size, or values that are neither.
        """
        seen, _, side = self.sizes
        unit = _as_frames(frames, seen, side, self.reading)
        device = next(self.parameters()).device
        predicted = self(torch.from_numpy(unit)[None, :, None].to(device))[0, :, 0]
        return np.asarray(predicted.float().clamp(0, 1).cpu().numpy())

    @torch.inference_mode()
    def replay(self, examples: Sequence[Mapping[str, Tensor]]) -> np.ndarray:
        """Every pixel of the predictions, not clipped."""
        device = next(self.parameters()).device
        frames = torch.stack([example["frames"] for example in examples]).to(device)
        return np.asarray(self(frames).float().cpu().numpy().ravel())

    def timing_probe(self) -> Callable[[], object]:
        """A call that predicts what follows frames of noise."""
        seen, _, side = self.sizes
        noise = np.random.default_rng(0).integers(0, 256, (seen, side, side), np.uint8)
        return lambda: self.predict(noise)


def _as_frames(frames: Any, seen: int, side: int, rule: ReadingRule) -> npt.NDArray[np.float32]:
    """(T, S, S) in [0, 1]."""
    wanted = f"this model sees {seen} grey frames of {side} x {side} pixels"
    if isinstance(frames, Image):
        raise DataError(f"{wanted}, not one image")
    if isinstance(frames, Sequence) and any(isinstance(frame, Image) for frame in frames):
        sizes = {frame.size for frame in frames if isinstance(frame, Image)}
        if len(frames) != seen or sizes != {(side, side)}:
            words = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
            raise DataError(f"{wanted}, oldest first; {len(frames)} of {words} were given")
        frames = np.stack([np.asarray(to_picture(frame, rule).convert("L")) for frame in frames])
    try:
        array: npt.NDArray[Any] = np.asarray(frames)
    except ValueError as error:
        raise DataError(f"{wanted}; the frames that were given differ in size") from error
    if array.shape != (seen, side, side):
        raise DataError(f"{wanted}, oldest first: an array {(seen, side, side)}; one of {array.shape} was given")
    if array.dtype == np.uint8:
        array = array / np.float32(255)
    elif array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):
        raise DataError(f"frames are uint8, or floating-point numbers from 0 to 1; {_found(array)} was given")
    return np.asarray(array, np.float32)


def _found(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} from {array.min():g} to {array.max():g}" if array.dtype.kind in "iuf" else str(array.dtype)


def make_network(params: WSFViTVideoParams) -> VideoNetwork:
    """The network with its starting weights, on the CPU; the global random generators are left as they were.

    Args:
        params: the same ones give the same weights.
    """
    # torch.manual_seed would seed the generators of GPUs too, which this block does not put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(params.seed)
        return VideoNetwork(params)


def restore_predictor(
    params: WSFViTVideoParams, tensors: Mapping[str, Tensor], about: Mapping[str, Any]
) -> VideoPredictor:
    """The predictor that was saved with these tensors.

    Raises:
        ModelError: the tensors are not of the params' network.
    """
    predictor = VideoPredictor(params, make_network(params), about)
    try:
        predictor.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ModelError(f"the saved tensors are not those of a {NAME} with these params: {error}") from error
    return predictor


def adopt_checkpoint(path: Path | str, **values: Any) -> VideoPredictor:
    """A predictor of a published checkpoint; its sizes are read off the file.

    Args:
        path: the file, of torch.save or .safetensors; no code in it is run.
        values: further params, for instance the size of frames; what they say of the sizes must be true of the file.

    Raises:
        ModelError: the file is no checkpoint of this method, or of other sizes; the message says which tensors differ.
        ParamsError: illegal values.
    """
    state = checkpoint.bare_names(read_state(str(path), checkpoint.WRAPPERS))
    params = validated(WSFViTVideoParams, {**checkpoint.sizes_of(state, str(path)), **values}, NAME)
    network = make_network(params)
    checkpoint.load_published(network, state, str(path))
    about = {"weights": f"published checkpoint {Path(path).name}; which sequences chose it is not in the file"}
    return VideoPredictor(params, network, about).eval()
