"""TrainedMethodContract: the suite that every trained method of the platform passes, as a class to inherit.

    from subband.testing import TrainedMethodContract

    class TestMyMethod(TrainedMethodContract):
        name = "mymethod"
        dataset = "synthetic-surface:?train=10&test=3&size=64"
        params = {"epochs": 2, "batch": 4, "weights": "random:0"}
        bad_params = {"lr": -1}

Like `MethodContract` it needs no pytest: every check is a function of `subband.testing.training` that raises AssertionError.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from subband.data import Dataset, open_dataset
from subband.methods import TrainedMethod, trained_method
from subband.testing import training
from subband.testing.training import TrainedSubject


class TrainedMethodContract:
    """Inherit, name the method, and give small params; pytest runs the rest.

    Attributes:
        name: of the method in the registry.
        dataset: URI of small data.
        params: params that train two epochs or more in seconds, without fetched weights, and draw nothing inside the network
            (dropout), which differs between workers.
        bad_params: for some params an illegal value.
        workers_tolerance: by how much the loss of the first update on two workers may differ from that on one, relatively.
    """

    name: ClassVar[str]
    dataset: ClassVar[str]
    params: ClassVar[Mapping[str, Any]]
    bad_params: ClassVar[Mapping[str, Any]] = {}
    workers_tolerance: ClassVar[float] = 1e-4

    def method(self) -> TrainedMethod:
        """The method under contract; by default the registered one."""
        return trained_method(self.name)

    def data(self) -> Dataset:
        """What it learns from."""
        return open_dataset(self.dataset)

    def subject(self) -> TrainedSubject:
        """What every check receives."""
        return TrainedSubject(self.method(), dict(self.params), self.data())

    def test_it_learns_and_is_evaluated(self) -> None:
        """Finite losses, the metric that chooses, weights that change."""
        training.check_learning(self.subject())

    def test_same_seed_same_weights(self) -> None:
        """Two trainings agree, whatever ran before."""
        training.check_same_seed(self.subject())

    def test_resumed_ends_as_uninterrupted(self, tmp_path: Path) -> None:
        """Cut off after an epoch and resumed, the weights are the same bits."""
        training.check_resuming(self.subject(), tmp_path)

    def test_save_and_load(self, tmp_path: Path) -> None:
        """Loaded afresh and moved, a model answers the same, and nothing saved can run code."""
        training.check_save_and_load(self.subject(), tmp_path)

    def test_two_workers(self, tmp_path: Path) -> None:
        """Two workers that share every batch learn what one does."""
        training.check_two_workers(self.subject(), tmp_path, self.workers_tolerance)

    def test_bad_params(self) -> None:
        """Illegal values and misspelt names are named."""
        training.check_bad_params(self.subject(), self.bad_params)
