"""What is under contract: one method with small params on one small category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from subband.data import Category, Split, load_images, open_dataset
from subband.evaluation import CategoryBench
from subband.methods import Fitted, StagedMethod, make_params
from subband.stages import Runner, Store

TOLERANCE = 1e-5
"""Greatest allowed difference of two results that must be the same, relative to the greatest value."""


@dataclass(frozen=True)
class Subject:
    """One method, params and category.

    Attributes:
        method: under contract.
        values: small params, as a user would write them.
        category: few and small images, good and defective ones.
    """

    method: StagedMethod
    values: Mapping[str, Any]
    category: Category

    @classmethod
    def of(cls, method: StagedMethod, values: Mapping[str, Any], dataset: str) -> Subject:
        """The subject on the first category of a dataset URI."""
        opened = open_dataset(dataset)
        return cls(method, values, opened.category(opened.categories[0]))

    @property
    def params(self) -> BaseModel:
        """The validated params."""
        return make_params(self.method, dict(self.values))  # type: ignore[no-any-return]

    def bench(self, store: Store | None = None, category: Category | None = None) -> CategoryBench:
        """A fresh worker's bench under ``selection="test"``."""
        return CategoryBench(category or self.category, "test", 0, store)

    def maps(self, store: Store | None = None, category: Category | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Maps (M, S, S) and scores (M,) of the test images, by a fresh worker."""
        return self.bench(store, category).maps(self.method, self.params)

    def fitted(self, store: Store | None = None) -> Fitted:
        """The detector that a fresh worker fits."""
        return self.method.fit(self.params, self.bench(store).runner)

    def runner(self, split: Split, store: Store | None = None) -> Runner:
        """A runner on a split of its own; without a store, so that the fingerprint does not matter."""
        return Runner(split, "contract", store)

    def queries(self) -> np.ndarray:
        """The test images in the method's frame, uint8 (M, 3, S, S)."""
        sources = [sample.image for sample in self.category.test]
        return load_images(sources, self.method.preprocess(self.params))


def require(condition: bool, message: str) -> None:
    """Fail with a message, under any test runner and with python -O too.

    Raises:
        AssertionError: the condition does not hold.
    """
    if not condition:
        raise AssertionError(message)


def require_equal(got: np.ndarray, wanted: np.ndarray, what: str, tolerance: float = TOLERANCE) -> None:
    """Fail unless two arrays have one shape and differ by no more than the tolerance, relative to the greatest value.

    Raises:
        AssertionError: they differ; the message says by how much.
    """
    require(got.shape == wanted.shape, f"{what}: shape {got.shape}, not {wanted.shape}")
    difference = float(np.abs(got - wanted).max(initial=0.0))
    scale = max(float(np.abs(wanted).max(initial=0.0)), 1e-12)
    require(difference <= tolerance * scale, f"{what}: differs by {difference / scale:.2e} of its greatest value")
