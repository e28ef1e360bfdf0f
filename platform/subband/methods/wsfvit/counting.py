"""Parameters and multiply-adds of the thirteen published models, beside what is published of them (section 8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from subband.errors import ParamsError, unknown_name
from subband.methods.wsfvit.architecture import ARCHITECTURES
from subband.methods.wsfvit.network import WSFViT
from subband.methods.wsfvit.published import MODELS, PublishedModel
from subband.methods.wsfvit.spatial_attention import RelativePositionBias
from subband.nn.counting import Operations, count_operations, count_parameters


@dataclass(frozen=True)
class Count:
    """One model, counted.

    Attributes:
        name: timm's.
        published: what is claimed of it.
        parameters: counted.
        operations: of one image, counted.
        lookups: multiply-adds that the published code spends on reading position biases with one-hot products. This network reads
            them by index; they are added where its figures are compared with published ones.
    """

    name: str
    published: PublishedModel
    parameters: int
    operations: Operations
    lookups: int

    @property
    def products(self) -> float:
        """Matrix products and convolutions, lookups included, in 1e9 multiply-adds."""
        return (self.operations.products + self.lookups) / 1e9

    @property
    def inference(self) -> float:
        """The same with normalisations as fvcore counts them in inference."""
        return (self.operations.with_norms() + self.lookups) / 1e9

    @property
    def training(self) -> float:
        """The same with normalisations as fvcore counts them in training mode, from which most published figures come."""
        return (self.operations.with_norms(training=True) + self.lookups) / 1e9

    def row(self) -> dict[str, str | int | float]:
        """Flat, for a table or a file; multiply-adds in 1e9, differences in per cent of the other figure."""
        published = self.published
        return {
            "model": self.name,
            "input": published.side,
            "parameters": self.parameters,
            "published_parameters_m": published.parameters_m,
            "gmacs_here": self.operations.products / 1e9,
            "gmacs_products": self.products,
            "gmacs_products_of_published_code": published.counted_gmacs,
            "difference_percent": 100 * (self.products / published.counted_gmacs - 1),
            "gmacs_inference": self.inference,
            "gmacs_training": self.training,
            "published_gmacs": published.gmacs,
            "difference_from_published_percent": 100 * (self.training / published.gmacs - 1),
        }


def count_models(names: Iterable[str] = tuple(MODELS)) -> Iterator[Count]:
    """Count published models, one after the other, without computing anything.

    Args:
        names: keys of `MODELS`.

    Raises:
        ParamsError: no such model; near matches are given.
    """
    for name in names:
        if name not in MODELS:
            raise ParamsError(unknown_name("published WSF-ViT", name, MODELS))
        published = MODELS[name]
        with torch.device("meta"):
            network = WSFViT(ARCHITECTURES[published.variant], published.window, channel_heads=published.channel_heads)
        operations = count_operations(network, (1, 3, published.side, published.side))
        yield Count(name, published, count_parameters(network), operations, one_hot_lookups(network))


def one_hot_lookups(network: WSFViT) -> int:
    """Multiply-adds of reading every position bias by two one-hot products, rows then columns."""
    total = 0
    for module in network.modules():
        if isinstance(module, RelativePositionBias):
            heads, side = module.relative_position_bias_table.shape[:2]
            cells = module.window**2
            total += heads * cells * side * (side + cells)
    return total
