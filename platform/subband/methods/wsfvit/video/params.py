"""Hyper-parameters of video prediction with WSF-ViT and the two faithful modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from subband.errors import ParamsError
from subband.methods.modes import FaithfulModes
from subband.methods.training_params import TrainingParams
from subband.nn.undecimated import check_orthogonal

HEAD_WIDTH = 32  # channels of a head of the window and grid attention
CHANNEL_HEADS = 32
NO_WAVELET = "none"

REFERENCE: Mapping[str, Any] = {"validation": "test"}
CORRECTED: Mapping[str, Any] = {"validation": "holdout"}


class WSFViTVideoParams(TrainingParams, FaithfulModes):
    """Hyper-parameters of WSF-ViT as a video predictor; the defaults are those published for Moving MNIST.

    Corrected: sequences of digits that are not learnt from choose the checkpoint. Reference: the test sequences do, as published.

    `mode` chooses the defaults of these fields; a field given explicitly wins over the mode.
    """

    reference: ClassVar[Mapping[str, Any]] = REFERENCE
    corrected: ClassVar[Mapping[str, Any]] = CORRECTED

    epochs: int = Field(200, ge=1, description="Passes over the training sequences; the schedule ends with the last.")
    batch: int = Field(
        16, ge=1, description="Sequences of one update, over all workers and accumulated micro-batches together."
    )
    lr: float = Field(1e-3, gt=0, allow_inf_nan=False, description="Learning rate at the height of its one cycle.")
    image_size: int = Field(64, ge=8, le=1024, description="Side of the square frames in pixels.")
    frames_in: int = Field(10, ge=1, le=200, description="Frames that are seen.")
    frames_out: int = Field(
        10,
        ge=1,
        le=1000,
        description="Frames that are predicted. The network gives as many as it sees; what is asked beyond is predicted from "
        "predictions.",
    )
    frame_channels: int = Field(64, ge=2, le=1024, description="Width of encoder and decoder (published as hid_S).")
    translator_channels: int = Field(
        512, ge=HEAD_WIDTH, le=8192, description="Width behind the translator's first block (published as hid_T)."
    )
    frame_layers: int = Field(
        4, ge=2, le=8, description="Convolutions of the encoder, every second of stride 2, and of the decoder (N_S)."
    )
    translator_blocks: int = Field(2, ge=2, le=16, description="WSF-ViT blocks of the translator (N_T).")
    channel_mlp_ratio: int = Field(
        8, ge=1, le=16, description="Width of the MLP in the channel attention, by channels."
    )
    wavelet: str = Field(
        "haar", description="Wavelet of the fixed undecimated analysis in front of the encoder; none leaves it out."
    )
    drop_path: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Stochastic depth of the translator's last block; from 0.01 in the first it grows linearly.",
    )
    validation: Literal["holdout", "test"] = Field(
        "holdout",
        description="What chooses the checkpoint. holdout: sequences of training digits that are set aside. test: the test "
        "sequences, as published, which makes their figures optimistic.",
    )

    @field_validator("wavelet")
    @classmethod
    def _known_wavelet(cls, value: str) -> str:
        return value if value == NO_WAVELET else check_orthogonal(value)

    @model_validator(mode="after")
    def _sizes_fit(self) -> WSFViTVideoParams:
        halvings = 2 ** (self.frame_layers // 2)
        if self.image_size % halvings:
            raise ParamsError(
                f"frames of {self.image_size} pixels cannot be halved {self.frame_layers // 2} times (frame_layers); choose a "
                f"multiple of {halvings}, for instance {max(1, round(self.image_size / halvings)) * halvings}"
            )
        if self.frame_channels % 2:
            raise ParamsError(f"frame_channels {self.frame_channels} must be even: they are normalised in two groups")
        widths = {
            "frames_in x frame_channels": self.frames_in * self.frame_channels,
            "translator_channels": self.translator_channels,
        }
        for name, width in widths.items():
            if width % HEAD_WIDTH:
                raise ParamsError(
                    f"{name} is {width}, which heads of {HEAD_WIDTH} channels cannot share; choose a multiple, for instance "
                    f"{max(1, round(width / HEAD_WIDTH)) * HEAD_WIDTH}"
                )
        return self
