"""The two lanes as a sweep's flags see them: what is stage by stage, and what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from subband.errors import ParamsError
from subband.methods import is_trained, trained_method
from subband.tuning.settings import SweepSettings


@dataclass(frozen=True)
class Lane:
    """What the flags of a sweep offer.

    Attributes:
        hidden: settings that this lane does not have.
        kinds: types of settings of which it has only some values.
        more_help: what it adds to the help of settings.
    """

    hidden: tuple[str, ...]
    kinds: Mapping[str, Any] = field(default_factory=dict)
    more_help: Mapping[str, str] = field(default_factory=dict)


STAGES = Lane(
    hidden=("workers_per_trial", "recipe"),
    kinds={"search": Literal["tpe", "random", "gp", "nsga2", "qmc", "grid"]},
    more_help={"workers": "By default one per CPU of the cluster."},
)
"""WE-PaDiM, WEDGE-Net, PatchCore: trials recombine stored stages."""

TRAINING_HIDDEN = ("selection", "fpr", "pixel_fpr", "store", "store_gb")
"""What a trained method decides by its params, or does not have."""


def lane_of(method: str) -> Lane:
    """The lane of a method."""
    if not is_trained(method):
        return STAGES
    return Lane(
        hidden=TRAINING_HIDDEN,
        more_help={
            "search": "pbt: population-based training, in which trials take over each other's weights and change lr, clip and ema "
            "on the way.",
            "workers": "By default one per GPU, else per 4 CPUs.",
            "recipe": f"One of {', '.join(trained_method(method).recipes)}.",
        },
    )


def refuse_training_settings(method: str, settings: SweepSettings) -> None:
    """Refuse what only trained methods have.

    Raises:
        ParamsError: such a setting was given for a method that is not trained.
    """
    if settings.search == "pbt":
        raise ParamsError(
            f"population-based training changes params while weights are learnt; {method} learns none: use --search tpe"
        )
    if settings.workers_per_trial > 1:
        raise ParamsError(
            f"a trial of {method} runs on one worker: leave --workers-per-trial out, --workers runs several"
        )
    if settings.recipe is not None:
        raise ParamsError(f"{method} has no recipes: leave --recipe out")
