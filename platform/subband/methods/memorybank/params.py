"""Params that every memory-bank method shares: which vectors are kept, and how distances become maps and scores."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from subband.banks import Projection
from subband.errors import ParamsError
from subband.methods.backbone_params import FrozenBackboneParams
from subband.nn.backbone_specs import Tap
from subband.nn.timm_networks import AUTO_BLOCKS

CoresetStart = Literal["first", "approximate", "norms"]

# Fields whose defaults differ between the methods.
Ratio = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the training vectors that the bank keeps, above 0 and up to 1 (all). Smaller ratios are prefixes of "
        "larger ones, so they cost nothing beside them.",
    ),
]
CoresetStartParam = Annotated[
    CoresetStart,
    Field(
        description="How greedy selection starts. first: with vector 0 (WEDGE-Net). approximate: far from ten random vectors on "
        "average (PatchCore). norms: from the norms of the distance matrix's rows (PatchCore's exact form, slow).",
    ),
]
ProjectionParam = Annotated[
    Projection,
    Field(
        description="Space in which the greedy selection measures distances: the vectors themselves, a random linear map to 128 "
        "numbers, or a sparse Johnson-Lindenstrauss map. The bank keeps whole vectors.",
    ),
]
ImageScoreParam = Annotated[
    Literal["map", "cell"],
    Field(
        description="Score of an image: the maximum of the smoothed map, or of the cells before smoothing.",
    ),
]

LAYERS = ("layer2", "layer3")


class MemoryBankParams(FrozenBackboneParams):
    """Base of the params of memory-bank methods; their vectors come from the levels layer2 and layer3 (`subband.nn.levels`)."""

    coreset: Literal["greedy", "random"] = Field(
        "greedy",
        description="greedy: k-center, each pick the vector farthest from those before. random: the first of one permutation.",
    )
    ratio: Ratio = 0.01
    coreset_start: CoresetStartParam = "first"
    coreset_seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of the random subset, of the ten vectors and of the projection."
    )
    projection: ProjectionParam = "none"
    neighbours: int = Field(
        1, ge=1, le=50, description="A cell's score is the mean over this many nearest bank vectors."
    )
    distance: Literal["euclidean", "squared"] = Field(
        "euclidean", description="Cell score: the Euclidean distance to the bank, or its square."
    )
    image_score: ImageScoreParam = "map"
    reweight: int = Field(
        0,
        ge=0,
        le=100,
        description="PatchCore's re-weighting of the image score over this many neighbours of the nearest bank vector (9 in the "
        "paper); 0 is off. Needs image_score=cell and distance=euclidean.",
    )
    sigma: float = Field(
        4.0, gt=0, le=64, allow_inf_nan=False, description="Standard deviation of the smoothing, pixels at image_size."
    )

    @field_validator("reweight")
    @classmethod
    def _weighs_something(cls, value: int) -> int:
        if value == 1:
            raise ParamsError("reweight 1 would weight every score by 0; choose 0 (off) or at least 2, for instance 9")
        return value

    @model_validator(mode="after")
    def _bank_is_consistent(self) -> MemoryBankParams:
        self.levels()
        if self.reweight and (self.image_score, self.distance, self.neighbours) != ("cell", "euclidean", 1):
            raise ParamsError(
                f"reweight {self.reweight} changes the score of the highest cell: it needs image_score=cell, distance=euclidean "
                "and neighbours=1"
            )
        return self

    def levels(self) -> tuple[Tap, Tap]:
        """The taps of layer2 and layer3; the same one twice if the vectors come from one map.

        Raises:
            ParamsError: the network has no such levels, or more than two blocks are named.
        """
        spec = self.network()
        if spec.bank is None:
            if self.blocks != AUTO_BLOCKS:
                raise ParamsError(f"blocks {self.blocks}: a memory bank reads one block or two, for instance 9+12")
            raise ParamsError(
                f"{self.backbone} has no features at stride 8, which a memory bank reads beside those at 16"
            )
        layer2, layer3 = (spec.taps[index] for index in spec.bank)
        return layer2, layer3

    def grid_side(self) -> int:
        """Side of the grid of cells: that of layer2."""
        return self.levels()[0].size(self.image_size)

    def channels(self) -> int:
        """Length D of one vector."""
        raise NotImplementedError
