"""Fusion of several detectors' scores into one (specification wdam_fmas 5, point 8).

Shapes: K members; the values of a member have any one shape, image scores (N,) or anomaly maps (N, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, stack

from subband.errors import ParamsError


def fused(members: Sequence[Tensor], calibration: Sequence[Tensor] | None = None) -> Tensor:
    """Mean over members of their min-max scaled values.

    Args:
        members: K tensors of one shape.
        calibration: K tensors whose smallest and largest values scale the members, for instance the same values of held-out
            good images. None takes each member's own, as published: then the result depends on which images are scored
            together (it is transductive), and a report must say so.

    Returns:
        A tensor of the members' shape; a member that is constant adds 0.

    Raises:
        ParamsError: no member, members of different shapes, or another number of calibrations.
    """
    if not members or len({member.shape for member in members}) != 1:
        shapes = ", ".join(str(tuple(member.shape)) for member in members) or "none"
        raise ParamsError(f"fusion needs members of one shape, not {shapes}")
    if calibration is not None and len(calibration) != len(members):
        raise ParamsError(f"{len(members)} members need as many calibrations, not {len(calibration)}")
    scaled = []
    for member, known in zip(members, members if calibration is None else calibration, strict=True):
        lowest, highest = known.aminmax()
        span = highest - lowest
        scaled.append((member - lowest) / span.where(span > 0, 1))
    return stack(scaled).mean(dim=0)
