"""GELU, which needs no second tensor where no gradient is asked for."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Kind = Literal["tanh", "none"]
"""GELU by torch's names: ``tanh`` its approximation, ``none`` the exact function."""


def gelu(fresh: Tensor, kind: Kind) -> Tensor:
    """GELU of a tensor that nobody else reads: without gradients it is overwritten."""
    if torch.is_grad_enabled():
        return functional.gelu(fresh, approximate=kind)
    overwritten: Tensor = torch.ops.aten.gelu_(fresh, approximate=kind)
    return overwritten


class Gelu(nn.Module):
    """`gelu` as a layer, for what the layer before it made.

    Where no gradient is asked for, a forward hook that keeps the output of the layer before sees it activated afterwards: clone it
    in the hook.

    Args:
        kind: which GELU.
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind: Kind = kind

    def forward(self, fresh: Tensor) -> Tensor:
        """Any shape."""
        return gelu(fresh, self.kind)
