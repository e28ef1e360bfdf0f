"""The smallest method there is: how far a pixel lies from the mean of the good images. And ways to break it.

It takes milliseconds, so that every check of the contract can be shown to pass for it, and to fail for a broken copy of it.
"""

import contextlib
import os
import socket
from dataclasses import replace

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from subband.data import Preprocess, load_images
from subband.errors import DataError, ModelError
from subband.methods import LEAVE_ONE_OUT, UNCALIBRATED, Calibration, Detector, Fitted
from subband.methods.detector import parse_calibration
from subband.stages import Stage


class ToyParams(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(32, ge=8)
    power: float = Field(1.0, gt=0, le=4)
    gain: float = Field(1.0, gt=0)


class ToyDetector(Detector):
    def __init__(self, params, mean, calibration, about):
        super().__init__("toy", params, Preprocess(framing="stretch", image_size=params.image_size), calibration, about)
        self.register_buffer("mean", mean)

    def forward(self, images):
        maps = (images - self.mean).abs().mean(dim=1) ** self.params.power * self.params.gain
        return maps, maps.amax(dim=(1, 2))


class Toy:
    name = "toy"
    params_type = ToyParams

    def preprocess(self, params):
        return Preprocess(framing="stretch", image_size=params.image_size)

    def images(self, upstream, params, source):
        preprocess = Preprocess(framing="stretch", image_size=params.image_size)
        return {"fit": load_images(source.fit, preprocess), "query": load_images(source.query, preprocess)}

    def maps(self, upstream, params, source):
        images = upstream()
        mean = images.array("fit").astype(np.float32).mean(axis=0) / np.float32(255)
        away = np.abs(images.array("query").astype(np.float32) / np.float32(255) - mean).mean(axis=1)
        maps = (away ** np.float32(params.power) * np.float32(params.gain)).astype(np.float32)
        return {"maps": maps, "scores": maps.max(axis=(1, 2), initial=0)}

    def chain(self, params, fitted, scored):
        if fitted < 2:
            raise DataError(f"the toy needs 2 training images; there is {fitted}")
        images = Stage("images", 1, ("image_size",), self.images, per_picture=True)
        return (images, Stage("maps", 1, ("power", "gain"), self.maps)), "toy"

    def fit_inputs(self, params):
        return ((self.chain(params, 2, 0)[0][:1], params),)

    def build(self, params, runner):
        chain, _ = self.chain(params, len(runner.source.fit), len(runner.source.query))
        images = torch.tensor(runner.run(chain[:1], params.model_dump()).array("fit")).float() / 255
        return ToyDetector(params, images.mean(dim=0), UNCALIBRATED, {})

    def fit(self, params, runner):
        detector = self.build(params, runner)
        good = np.linspace(0.1, 1, len(runner.source.fit), dtype=np.float32)
        detector.calibration = Calibration.at_fpr(good.tolist(), 0.01)
        return Fitted(detector, good, LEAVE_ONE_OUT)

    def restore(self, params, tensors, description):
        if tensors.keys() != {"mean"}:
            raise ModelError(f"not a toy's tensors: {sorted(tensors)}")
        return ToyDetector(params, tensors["mean"], parse_calibration(description), description["about"])


class Forgetful(Toy):
    """A stage takes `gain` from the params that made the chain, and does not declare it."""

    def chain(self, params, fitted, scored):
        (images, _), why = super().chain(params, fitted, scored)

        def compute(upstream, view, source):
            return self.maps(upstream, ToyParams(power=view.power, gain=params.gain), source)

        return (images, Stage("maps", 1, ("power",), compute)), why


class Peeking(Toy):
    """A stage reads from the names of the images which of them are defective."""

    def maps(self, upstream, params, source):
        found = super().maps(upstream, params, source)
        guess = np.array(["/good/" not in name for name in source.query_names])
        return {**found, "maps": found["maps"] + guess[:, None, None].astype(np.float32)}


class Dicing(Toy):
    """A stage draws random numbers without a seed."""

    def maps(self, upstream, params, source):
        found = super().maps(upstream, params, source)
        noise = np.random.default_rng().random(found["maps"].shape, np.float32)
        return {**found, "maps": found["maps"] + noise}


class Drifting(Toy):
    """What is fitted is not what was evaluated."""

    def fit(self, params, runner):
        return super().fit(params.model_copy(update={"gain": params.gain * 1.001}), runner)


class Flattering(Toy):
    """What is measured is smaller than what is fitted."""

    def build(self, params, runner):
        detector = super().build(params, runner)
        detector.mean = detector.mean.half()
        return detector

    def fit(self, params, runner):
        fitted = super().fit(params, runner)
        fitted.detector.mean = fitted.detector.mean.float()
        return fitted


class Amnesic(Toy):
    """Restoring forgets what was learnt."""

    def restore(self, params, tensors, description):
        return super().restore(params, {"mean": torch.zeros_like(tensors["mean"])}, description)


class CrowdedDetector(ToyDetector):
    def forward(self, images):
        maps, scores = super().forward(images)
        return maps / scores.max(), scores / scores.max()


class Crowded(Toy):
    """An image's score depends on the others of its batch."""

    def fit(self, params, runner):
        fitted = super().fit(params, runner)
        detector = fitted.detector
        return replace(fitted, detector=CrowdedDetector(params, detector.mean, detector.calibration, {}))


class Careless(Toy):
    """Saving writes into whatever folder is there."""

    def fit(self, params, runner):
        fitted = super().fit(params, runner)
        save = fitted.detector.save

        def overwrite(folder):
            if folder.exists() and folder.is_dir():
                (folder / "model.json").write_text("{}")
            return save(folder)

        fitted.detector.save = overwrite
        return fitted


class Online(Toy):
    """A stage asks the network."""

    def maps(self, upstream, params, source):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
        return super().maps(upstream, params, source)


class Lax(Toy):
    """Params without limits."""

    class Params(ToyParams):
        power: float = 1.0

    params_type = Params


class Silent(Toy):
    """An image that cannot be read is replaced by a black one."""

    def images(self, upstream, params, source):
        preprocess = Preprocess(framing="stretch", image_size=params.image_size)
        black = np.zeros((1, 3, params.image_size, params.image_size), np.uint8)

        def load(picture):
            try:
                return load_images([picture], preprocess)
            except DataError:
                return black

        return {
            "fit": np.concatenate([load(picture) for picture in source.fit]),
            "query": np.concatenate([load(picture) for picture in source.query] or [black[:0]]),
        }


class Sociable(Toy):
    """A row of a stage that is said to be per image depends on the others."""

    def images(self, upstream, params, source):
        found = super().images(upstream, params, source)
        return {role: rows // 2 + rows[:1] // 2 for role, rows in found.items()}


class Private(Toy):
    """Every process has keys of its own, so nothing is shared."""

    def chain(self, params, fitted, scored):
        (images, maps), why = super().chain(params, fitted, scored)
        return (Stage("images", 1, images.reads, self.images, content=lambda view: str(os.getpid())), maps), why


TOY = Toy()
AMNESIC = Amnesic()
